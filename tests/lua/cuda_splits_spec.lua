-- cuda_splits_spec.lua - keys split among blocks (flash_split.cu): against the float64 reference,
-- with splits that see nothing, NaN that nobody sees, and the same bits in every run.
local fasc = require "fasc"
local gpu = require "gpu"
local support = require "support"

local on_gpu = gpu.tests(it, pending)

local WANT = {"out", "lse", "row_max"}

-- {B, Hq, Hk, Nq, Nk, D}, options
local PROBLEMS = {
    {{2, 4, 1, 1, 700, 64}, {}},
    {{1, 8, 2, 3, 513, 128}, {causal = true}},
    {{1, 2, 2, 33, 260, 40}, {window = {50, 10}}},
    {{1, 4, 2, 70, 65, 104}, {causal = true}}, -- the first queries see no key
    {{1, 2, 1, 5, 129, 128}, {sm_scale = -0.3}},
}

local function inputs(sizes, dtype)
    local b, hq, hk, nq, nk, d = unpack(sizes)
    return support.randn({b, hq, nq, d}, {dtype = dtype, seed = 1}),
        support.randn({b, hk, nk, d}, {dtype = dtype, seed = 2}),
        support.randn({b, hk, nk, d}, {dtype = dtype, seed = 3})
end

local function options(given, splits)
    local opts = {want = WANT, kernel = {name = "flash", arch = "sm_80", splits = splits}}
    for name, value in pairs(given) do
        opts[name] = value
    end
    return opts
end

describe("split keys", function()
    on_gpu("agree with the reference", function()
        for _, problem in ipairs(PROBLEMS) do
            for _, dtype in ipairs {"f16", "bf16"} do
                local q, k, v = inputs(problem[1], dtype)
                for _, splits in ipairs {2, 3, 7} do
                    local check = fasc.check(q, k, v, options(problem[2], splits))
                    assert(check.ok, ("%s %s, %d splits\n%s"):format(
                        table.concat(problem[1], "x"), dtype, splits, tostring(check)))
                end
            end
        end
    end)

    on_gpu("are the planner's choice for one query over many keys", function()
        local q, k, v = inputs({1, 4, 1, 1, 8192, 64}, "f16")
        local r = fasc.attention(q, k, v, {want = {"out", "lse"}})
        assert.is_true(r.plan.splits > 1)
        assert(fasc.check(q, k, v, r).ok)
        local whole = fasc.attention(q, k, v, {kernel = {name = "flash", splits = 1}})
        assert.equal(1, whole.plan.splits)
    end)

    on_gpu("give the same bits in every run", function()
        local q, k, v = inputs({2, 4, 2, 2, 1500, 128}, "f16")
        local first = fasc.attention(q, k, v, options({}, 5))
        for _ = 1, 5 do
            local again = fasc.attention(q, k, v, options({}, 5))
            for _, name in ipairs(WANT) do
                local d = first[name]:compare(again[name])
                assert.equal(0, d.max_abs + d.mismatch)
            end
        end
    end)

    on_gpu("keep a key's NaN from queries that do not see it", function()
        local q, k, v = inputs({1, 2, 1, 6, 300, 64}, "f16")
        v:slice(nil, nil, {298, 300}):fill(0 / 0)
        local check = fasc.check(q, k, v, options({causal = true}, 4))
        assert(check.ok, tostring(check))
    end)

    on_gpu("refuse outputs that they do not give", function()
        local q, k, v = inputs({1, 1, 1, 1, 300, 64}, "f16")
        local ok, err = pcall(fasc.attention, q, k, v,
            {want = {"probs"}, kernel = {name = "flash", splits = 2}})
        assert.is_false(ok)
        assert.matches("out, lse and row_max alone when keys are split", err.message, 1, true)
    end)
end)
