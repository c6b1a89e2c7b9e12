-- kernels_spec.lua - every kernel of the device under test, in every dtype, on shapes that are no
-- multiple of anything, under every kind of mask, against the float64 reference and its bounds.
local fasc = require "fasc"
local support = require "support"

-- {b, hq, hk, nq, nk, d}
local SHAPES = {
    {1, 1, 1, 1, 1, 8},
    {1, 2, 1, 1, 130, 64},
    {2, 2, 2, 3, 7, 16},
    {2, 4, 2, 17, 33, 64},
    {1, 3, 1, 64, 257, 256},
    {1, 2, 2, 65, 131, 80},
    {1, 1, 1, 129, 64, 128},
    {1, 8, 2, 100, 100, 40},
    {1, 1, 1, 257, 255, 72},
}

local MASKS = {
    {name = "full", opts = {}},
    {name = "causal", opts = {causal = true}},
    {name = "top left", opts = {causal = "top_left"}},
    {name = "window", opts = {window = {20, 11}}},
    {name = "causal window", opts = {causal = true, window = {13}}},
    {name = "scaled", opts = {causal = true, sm_scale = 0.37}},
}

local ALL = {"out", "lse", "row_max", "logits", "masked", "probs"}

local function with(opts, more)
    local all = {}
    for _, part in ipairs {opts, more} do
        for name, value in pairs(part) do
            all[name] = value
        end
    end
    return all
end

-- A mask that hides keys here and there, and one query's keys altogether.
local function random_masks(p, dtype)
    local nq, nk = p[4], p[5]
    local noise = support.randn({nq, nk}, {seed = 9, dtype = dtype})
    local keep = support.rand({p[1], 1, nq, nk}, {seed = 10, low = 0, high = 2})
    local hidden = keep:to("u8")
    hidden:slice(0, 0, nq - 1):fill(0)
    return {{name = "bias", opts = {attn_mask = noise}},
        {name = "hidden", opts = {attn_mask = hidden, causal = true}}}
end

local function label(kernel, dtype, p, name)
    return ("%s %s {%s} %s"):format(kernel, dtype, table.concat(p, ","), name)
end

for _, kernel in ipairs(support.kernels()) do
    local dtypes = support.dtypes(kernel, {"f16", "bf16", "f32", "f64"})

    describe(tostring(kernel), function()
        for _, dtype in ipairs(dtypes) do
            for _, p in ipairs(SHAPES) do
                it(("%s {%s} agrees with the reference"):format(dtype, table.concat(p, ",")),
                    function()
                        local q, k, v = support.qkv(p, dtype, 3)
                        local masks = {unpack(MASKS)}
                        for _, mask in ipairs(random_masks(p, dtype)) do
                            masks[#masks + 1] = mask
                        end
                        for _, mask in ipairs(masks) do
                            local check = fasc.check(q, k, v,
                                with(mask.opts, {kernel = kernel, want = ALL}))
                            support.agrees(check, label(kernel, dtype, p, mask.name))
                            assert.equal(p[1] * p[2] * p[4], check.rows)
                            assert.equal(#ALL, #check.entries)
                        end
                    end)
            end

            it(dtype .. " writes f32 scores and outputs within f32's bounds", function()
                if dtype ~= "f64" then
                    local p = {1, 2, 1, 65, 67, 64}
                    local q, k, v = support.qkv(p, dtype)
                    support.agrees(fasc.check(q, k, v, {kernel = kernel, causal = true, want = ALL,
                        out_dtype = "f32", scores_dtype = "f32"}), label(kernel, dtype, p, "f32"))
                end
            end)

            it(dtype .. " gives each output alone as it does with the others", function()
                local q, k, v = support.qkv({1, 2, 1, 70, 90, 64}, dtype)
                local all = fasc.attention(q, k, v, {kernel = kernel, causal = true, want = ALL})
                for _, name in ipairs(ALL) do
                    local values = name == "out" and v or nil
                    local check = fasc.check(q, k, values,
                        {kernel = kernel, causal = true, want = {name}})
                    support.agrees(check, kernel .. " " .. name)
                    assert.equal(0, check.result[name]:compare(all[name]).mismatch)
                end
            end)

            it(dtype .. " keeps its bounds where scores are large and mixed in sign", function()
                local q, k, v = support.qkv({1, 2, 2, 40, 300, 64}, dtype)
                q:copy_from(support.randn(q.shape, {seed = 5, std = 8}))
                k:copy_from(support.randn(k.shape, {seed = 6, std = 8}))
                support.agrees(fasc.check(q, k, v, {kernel = kernel, causal = true, want = ALL}),
                    label(kernel, dtype, {40, 300}, "large"))
            end)
        end
    end)
end

describe("a check", function()
    local q, k, v = support.qkv({1, 2, 1, 20, 30, 16}, "f32")

    it("finds a single wrong element, and says where", function()
        for _, name in ipairs(ALL) do
            local r = fasc.attention(q, k, v, {want = ALL})
            local place = {0, 1, 7, 9}
            local element = r[name]:slice(unpack(place, 1, r[name].rank))
            element:fill(element:item() + 0.01)
            local check = fasc.check(q, k, v, r)
            assert.is_false(check.ok)
            assert.equal(1, check[name].failed)
            assert.same({unpack(place, 1, r[name].rank)}, check[name].worst)
            assert.is_true(check[name].max_share > 1)
            support.near(check[name].max_abs, 0.01, 1e-4)
            support.near(check[name].worst_value - check[name].worst_reference, 0.01, 1e-4)
            assert.truthy(tostring(check):find("DIFFERS", 1, true))
            r[name]:slice(unpack(place, 1, r[name].rank)):fill(0 / 0)
            assert.equal(1, fasc.check(q, k, v, r)[name].failed)
        end
    end)

    it("looks at the rows it is given, or at every tile's edges and some others", function()
        local r = fasc.attention(q, k, v)
        r.out:slice(0, 0, 5):fill(100)
        assert.is_true(fasc.check(q, k, v, r, {rows = {0, 4, 6, 19}}).ok)
        local check = fasc.check(q, k, v, r, {rows = {5}})
        assert.is_false(check.ok)
        assert.equal(2, check.rows)
        local long_q, long_k, long_v = support.qkv({1, 1, 1, 1000, 20, 16}, "f32")
        local edges = fasc.check(long_q, long_k, long_v, {causal = true}, {rows = "edges"})
        assert.is_true(edges.ok and edges.rows >= 64 and edges.rows < 1000)
        support.fails("EINVAL", function() fasc.check(q, k, v, r, {rows = {20}}) end, "20",
            "0 to 19")
        support.fails("EINVAL", function() fasc.check(q, k, v, r, {rows = {}}) end, "at least one")
        support.fails("EINVAL", function() fasc.check(q, k, v, r, {rows = "all"}) end, "edges")
    end)

    it("prints a table", function()
        local text = tostring(fasc.check(q, k, v, {want = {"out", "lse"}}))
        assert.truthy(text:find("^agrees over 40 rows\n"))
        assert.truthy(text:find("\nout ") and text:find("\nlse "))
    end)
end)

describe("kernels", function()
    it("are described, best first", function()
        local list = fasc.kernels(support.device)
        assert.is_true(#list >= 3)
        for _, kernel in ipairs(list) do
            for _, field in ipairs {"name", "arch", "summary", "supports"} do
                assert.is_true(#kernel[field] > 0, field)
            end
        end
        assert.equal("flash", list[1].name)
        assert.truthy(tostring(list):find("flash", 1, true))
    end)

    it("list their configurations for a problem", function()
        for _, kernel in ipairs(fasc.kernels(support.device)) do
            local seen = {}
            local list = kernel:configurations {dtype = "f16", head_dim = 64, want = {"out", "lse"}}
            for i, row in ipairs(list) do
                assert.equal(kernel.name, row.plan.kernel)
                assert.equal(kernel.arch, row.plan.arch)
                assert.is_nil(seen[row.plan.config])
                seen[row.plan.config] = true
                for _, field in ipairs {"block_m", "block_n"} do -- 0: the kernel has no such tile
                    assert.is_true(i == 1 or (row.config[field] or 0) == row.plan[field], field)
                end
            end
            local several = kernel.name == "flash" and support.is_cpu
            assert.is_true(#list >= (several and 3 or 1))
            assert.equal(#list, select(2, tostring(list):gsub("\n", "")) + 1)
        end
        local text = tostring(fasc.kernels(support.device))
        assert.matches("block_m x block_n of its %d+ configurations: %d+x%d+", text)
        support.fails("EINVAL", function()
            fasc.kernels(support.device)[1]:configurations {casual = true}
        end, "did you mean 'causal'?")
    end)

    it("are chosen by name or configuration, and the plan tells which ran and why", function()
        local q, k, v = support.qkv({1, 1, 1, 64, 64, 64}, "f16")
        for _, name in ipairs(support.kernel_names()) do
            local r = fasc.attention(q, k, v, {kernel = name})
            assert.equal(name, r.plan.kernel)
            assert.is_true(#r.plan.reason > 0 and #r.plan.arch > 0)
            assert.equal(4 * 64 * 64 * 64, r.plan.flops)
            assert.equal(4 * 64 * 64 * 2, r.plan.bytes)
        end
        local plan = fasc.plan(q, k, v)
        local r = fasc.attention(q, k, v)
        assert.equal(plan.kernel, r.plan.kernel)
        assert.equal("flash", plan.kernel)
        local configured = fasc.attention(q, k, v, {kernel = {
            name = "flash", block_m = plan.block_m, block_n = plan.block_n}})
        assert.equal(plan.block_m, configured.plan.block_m)
        assert.truthy(tostring(plan):find("flash", 1, true))
    end)

    it("split keys into no more parts than there are tiles of them", function()
        local q, k, v = support.qkv({1, 2, 1, 3, 500, 64}, "f16")
        local r = fasc.attention(q, k, v, {splits = 300000})
        assert.equal(math.ceil(500 / r.plan.block_n), r.plan.splits)
        assert(fasc.check(q, k, v, r).ok)
        r = fasc.attention(q, k, v, {splits = 300000, window = {10, 0}}) -- most see nothing
        assert(r.plan.splits <= math.ceil(500 / r.plan.block_n))
        assert(fasc.check(q, k, v, r).ok)
    end)

    it("are planned without memory for the outputs", function()
        local q = support.empty({1, 1, 2^18, 64}, {dtype = "f16"})
        local before = support.device:memory().count
        local plan = fasc.plan(q, q, q, {want = {"out", "probs"}, causal = true})
        assert.equal(before, support.device:memory().count)
        assert.is_true(plan.bytes > 2 * 2^36)
    end)
end)
