-- semantics_spec.lua - what attention means, rule by rule, on every kernel of the device under
-- test. Expected values come from formulas or from support.oracle, which is plain Lua.
local fasc = require "fasc"
local support = require "support"
local tensors = require "fasc.tensor"

local near = support.near
local inf = math.huge
local FAR = 2^31 + 64
local ALL = {"out", "lse", "row_max", "logits", "masked", "probs"}
local TOLERANCE = {f16 = 4e-3, bf16 = 3e-2, f32 = 2e-5, f64 = 1e-12}

-- A dtype to state rules in: the most exact one of f32 and f16 that the kernel serves.
local function dtype_of(kernel)
    return support.dtypes(kernel, {"f32", "f16"})[1]
end

-- Runs a problem on a kernel and compares every output with the oracle's.
local function compare(kernel, p, opts, oracle_opts)
    local dtype = dtype_of(kernel)
    local q, k, v = support.qkv(p, dtype, 7)
    local with = {kernel = kernel, want = ALL}
    for name, value in pairs(opts or {}) do
        with[name] = value
    end
    local r = fasc.attention(q, k, v, with)
    local expected = support.oracle(q, k, v, oracle_opts or opts)
    for _, name in ipairs(ALL) do
        near(r[name], expected[name], TOLERANCE[dtype], kernel .. ": " .. name)
    end
    return r, expected
end

describe("the device", function()
    it("has the kernels that its users count on", function()
        local names = {}
        for _, name in ipairs(support.kernel_names()) do
            names[name] = true
        end
        for _, name in ipairs {"flash", "naive", "blas"} do
            assert(names[name], "no kernel " .. name)
        end
        assert(names.reference or not support.is_cpu, "no kernel reference")
    end)

    it("serves f16, bf16 and f32, and f64 in the reference alone", function()
        for _, name in ipairs(support.kernel_names()) do
            if support.is_cpu or name ~= "flash" then
                assert.same({"f16", "bf16", "f32"}, support.dtypes(name))
            end
            assert.equal(name == "reference", #support.dtypes(name, {"f64"}) == 1)
        end
        for _, dtype in ipairs {"f16", "bf16"} do
            assert.is_true(support.serves("flash", support.qkv({1, 1, 1, 2, 2, 64}, dtype)))
        end
    end)
end)

for _, kernel in ipairs(support.kernels()) do
    describe(kernel .. ":", function()
        it("computes softmax(Q K^T / sqrt(D)) V and all scores", function()
            compare(kernel, {2, 2, 2, 5, 7, 16})
        end)

        it("the scale is 1/sqrt(D) unless sm_scale is given", function()
            compare(kernel, {1, 1, 1, 3, 4, 64})
            compare(kernel, {1, 1, 1, 3, 4, 16}, {sm_scale = 0.5})
            compare(kernel, {1, 1, 1, 3, 4, 16}, {sm_scale = -0.25})
            compare(kernel, {1, 1, 1, 3, 4, 16}, {sm_scale = 0})
        end)

        it("query head h reads key head floor(h / (Hq/Hk))", function()
            compare(kernel, {2, 6, 2, 4, 5, 8})
            compare(kernel, {1, 4, 1, 4, 5, 8}, {causal = true})
        end)

        it("causal is aligned to the bottom right: j <= i + Nk - Nq", function()
            compare(kernel, {1, 2, 1, 5, 5, 8}, {causal = true})
            compare(kernel, {1, 2, 1, 3, 8, 8}, {causal = true})
            compare(kernel, {1, 2, 1, 1, 8, 8}, {causal = true})
        end)

        it("causal = \"top_left\" means j <= i", function()
            compare(kernel, {1, 1, 1, 3, 8, 8}, {causal = "top_left"})
            compare(kernel, {1, 1, 1, 8, 3, 8}, {causal = "top_left"})
            compare(kernel, {1, 1, 1, 3, 8, 8}, {causal = "bottom_right"})
        end)

        it("a window reaches left and right of the query's own place", function()
            compare(kernel, {1, 1, 1, 9, 9, 8}, {window = {2, 1}})
            compare(kernel, {1, 1, 1, 9, 9, 8}, {window = {3, -1}})
            compare(kernel, {1, 1, 1, 9, 9, 8}, {window = {-1, 0}})
            compare(kernel, {1, 1, 1, 9, 9, 8}, {window = {0, 0}})
            compare(kernel, {1, 1, 1, 5, 9, 8}, {window = {2}, causal = true})
            compare(kernel, {1, 1, 1, 5, 9, 8}, {window = {2, 1}, causal = "top_left"})
            compare(kernel, {1, 1, 1, 5, 9, 8}, {window = {2, 1}, align = "top_left"})
        end)

        it("a row that sees no key has out 0, LSE and maximum -inf, probabilities 0", function()
            local r = compare(kernel, {1, 1, 1, 6, 3, 8}, {causal = true})
            for _, name in ipairs(ALL) do
                assert.equal(0, r[name]:nan_count())
            end
            near(r.out:slice(0, 0, {0, 3}), {{0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0},
                {0, 0, 0, 0, 0, 0, 0, 0}}, 0)
            near(r.lse:slice(0, 0, {0, 3}), {-inf, -inf, -inf}, 0)
            near(r.row_max:slice(0, 0, {0, 3}), {-inf, -inf, -inf}, 0)
            near(r.probs:slice(0, 0, {0, 3}), {{0, 0, 0}, {0, 0, 0}, {0, 0, 0}}, 0)
            assert.is_true(r.lse:get(0, 0, 3) > -inf)
        end)

        it("logits are the whole matrix, masked has -inf where a key is not visible", function()
            local q, k, v = support.qkv({1, 1, 1, 4, 4, 8}, dtype_of(kernel))
            local r = fasc.attention(q, k, v,
                {kernel = kernel, causal = true, want = {"logits", "masked", "probs"}})
            assert.equal(0, r.logits:summary().inf_count)
            assert.equal(6, r.masked:summary().inf_count)
            for i = 0, 3 do
                for j = 0, 3 do
                    local sees = j <= i
                    assert.equal(sees and r.logits:get(0, 0, i, j) or -inf,
                        r.masked:get(0, 0, i, j))
                    assert.equal(sees, r.probs:get(0, 0, i, j) > 0)
                end
            end
        end)

        it("a boolean mask hides keys; a floating one is added to the scaled scores", function()
            local p = {2, 2, 1, 5, 6, 8}
            local function sees(b, h, i, j)
                return (b + h + i * j) % 3 ~= 0
            end
            local function bias(b, h, i, j)
                return b - h + 0.25 * i - 0.5 * j
            end
            local hidden, added = {}, {}
            for b = 0, 1 do
                hidden[b + 1], added[b + 1] = {}, {}
                for h = 0, 1 do
                    hidden[b + 1][h + 1], added[b + 1][h + 1] = {}, {}
                    for i = 0, 4 do
                        hidden[b + 1][h + 1][i + 1], added[b + 1][h + 1][i + 1] = {}, {}
                        for j = 0, 5 do
                            hidden[b + 1][h + 1][i + 1][j + 1] = sees(b, h, i, j)
                            added[b + 1][h + 1][i + 1][j + 1] = bias(b, h, i, j)
                        end
                    end
                end
            end
            compare(kernel, p, {attn_mask = support.from_table(hidden)}, {sees = sees})
            compare(kernel, p, {attn_mask = support.from_table(added)}, {bias = bias})
            compare(kernel, p, {attn_mask = support.from_table(hidden), causal = true},
                {sees = sees, causal = true})
        end)

        it("masks are broadcast along dimensions of size 1 and missing ones", function()
            local p = {2, 2, 2, 3, 4, 8}
            local row = support.from_table({true, false, true, true})
            local function sees(_, _, _, j)
                return j ~= 1
            end
            compare(kernel, p, {attn_mask = row}, {sees = sees})
            compare(kernel, p, {attn_mask = row:reshape({1, 1, 1, 4})}, {sees = sees})
            local column = support.from_table({{true}, {false}, {true}})
            local r = compare(kernel, p, {attn_mask = column}, {sees = function(_, _, i)
                return i ~= 1
            end})
            assert.equal(-inf, r.lse:get(1, 1, 1))
        end)

        it("a floating mask of -inf hides keys as a boolean one does", function()
            local added = support.from_table({{0, -inf, 0}, {-inf, -inf, -inf}})
            local r = compare(kernel, {1, 1, 1, 2, 3, 8}, {attn_mask = added},
                {bias = function() return 0 end, sees = function(_, _, i, j)
                    return i == 0 and j ~= 1
                end})
            assert.equal(0, r.out:nan_count())
        end)

        it("LSE is the natural logarithm, in f32, of each row", function()
            local q, k, v = support.qkv({1, 1, 1, 2, 4, 16}, dtype_of(kernel))
            q:fill(0)
            local r = fasc.attention(q, k, v, {kernel = kernel, want = {"lse", "row_max"}})
            assert.equal("f32", r.lse.dtype)
            near(r.lse, {{{math.log(4), math.log(4)}}}, 1e-6)
            near(r.row_max, {{{0, 0}}}, 0)
        end)

        it("scores come in q's dtype, or in f32 when asked for", function()
            for _, dtype in ipairs(support.dtypes(kernel)) do
                local q, k, v = support.qkv({1, 2, 1, 5, 6, 16}, dtype)
                for _, name in ipairs {"logits", "masked", "probs"} do
                    local opts = {kernel = kernel, causal = true, want = {name}}
                    local plain = fasc.attention(q, k, v, opts)[name]
                    opts.scores_dtype = "f32"
                    local wide = fasc.attention(q, k, v, opts)[name]
                    assert.equal(dtype, plain.dtype)
                    assert.equal("f32", wide.dtype)
                    support.same(wide:to(dtype), plain, kernel .. ": " .. name)
                end
            end
        end)

        it("out comes in q's dtype, or in f32 when asked for", function()
            for _, dtype in ipairs(support.dtypes(kernel)) do
                local q, k, v = support.qkv({1, 2, 1, 5, 6, 16}, dtype)
                local plain = fasc.attention(q, k, v, {kernel = kernel}).out
                local wide = fasc.attention(q, k, v, {kernel = kernel, out_dtype = "f32"}).out
                assert.equal(dtype, plain.dtype)
                assert.equal("f32", wide.dtype)
                assert.is_true(wide:max_abs_diff(plain) < 2 * TOLERANCE[dtype])
            end
        end)

        it("f16 and bf16 inputs accumulate in f32 or better", function()
            for _, dtype in ipairs(support.dtypes(kernel)) do
                local n = 4096
                local q = support.ones({1, 1, 1, 256}, {dtype = dtype})
                local k = support.ones({1, 1, n, 256}, {dtype = dtype})
                local v = support.ones({1, 1, n, 256}, {dtype = dtype})
                local r = fasc.attention(q, k, v,
                    {kernel = kernel, want = {"out", "lse"}, out_dtype = "f32"})
                near(r.lse:item(), 16 + math.log(n), 1e-4, dtype)
                assert.is_true(r.out:max_abs_diff(fasc.ones_like(r.out)) < 2e-3)
            end
        end)

        it("large scores do not overflow", function()
            local dtype = dtype_of(kernel)
            local q, k, v = support.qkv({1, 1, 1, 3, 4, 16}, dtype)
            q:fill(50)
            k:fill(50)
            local r = fasc.attention(q, k, v, {kernel = kernel, want = {"out", "lse", "row_max"}})
            near(r.row_max, {{{10000, 10000, 10000}}}, 0)
            near(r.lse:get(0, 0, 0), 10000 + math.log(4), 1e-2)
            assert.equal(0, r.out:nan_count())
        end)

        it("NaN in a query touches its row alone", function()
            local q, k, v = support.qkv({1, 2, 1, 5, 6, 8}, dtype_of(kernel))
            local clean = fasc.attention(q, k, v, {kernel = kernel, want = ALL})
            q:slice(0, 1, 3, {2, 3}):fill(0 / 0)
            local r = fasc.attention(q, k, v, {kernel = kernel, want = ALL})
            assert.equal(8, r.out:nan_count())
            assert.equal(8, r.out:slice(0, 1, 3):nan_count())
            assert.equal(1, r.lse:nan_count())
            assert.equal(6, r.logits:nan_count())
            for h = 0, 1 do
                for i = 0, 4 do
                    if not (h == 1 and i == 3) then
                        support.same(r.out:slice(0, h, i), clean.out:slice(0, h, i), "out")
                        support.same(r.probs:slice(0, h, i), clean.probs:slice(0, h, i), "probs")
                    end
                end
            end
        end)

        it("NaN in a key touches the rows that see it alone", function()
            local q, k, v = support.qkv({1, 1, 1, 5, 5, 8}, dtype_of(kernel))
            local opts = {kernel = kernel, causal = true, want = ALL}
            local clean = fasc.attention(q, k, v, opts)
            k:slice(0, 0, 3, 0):fill(0 / 0)
            local r = fasc.attention(q, k, v, opts)
            assert.equal(2 * 8, r.out:nan_count())
            assert.equal(2, r.lse:nan_count())
            assert.equal(5, r.logits:nan_count())
            assert.equal(5, r.logits:slice(0, 0, nil, 3):nan_count())
            support.same(r.out:slice(0, 0, {0, 3}), clean.out:slice(0, 0, {0, 3}), "out")
            support.same(r.masked:slice(0, 0, {0, 3}), clean.masked:slice(0, 0, {0, 3}), "masked")
        end)

        it("NaN in a value touches its column of the rows that see it alone", function()
            local q, k, v = support.qkv({1, 1, 1, 5, 5, 8}, dtype_of(kernel))
            local opts = {kernel = kernel, causal = true, want = ALL}
            local clean = fasc.attention(q, k, v, opts)
            v:slice(0, 0, 3, 6):fill(0 / 0)
            local r = fasc.attention(q, k, v, opts)
            assert.equal(2, r.out:nan_count())
            assert.equal(2, r.out:slice(0, 0, {3}, 6):nan_count())
            for _, columns in ipairs {{0, 6}, {7, 8}} do
                local change = r.out:slice(0, 0, nil, columns):max_abs_diff(
                    clean.out:slice(0, 0, nil, columns))
                assert(change <= TOLERANCE[q.dtype], "another column changed by " .. change)
            end
            support.same(r.probs, clean.probs, "probs")
        end)

        it("infinite inputs give what the reference gives", function()
            local q, k, v = support.qkv({1, 1, 1, 6, 6, 8}, dtype_of(kernel))
            k:slice(0, 0, 4, 1):fill(inf)
            v:slice(0, 0, 1, 2):fill(-inf)
            q:slice(0, 0, 0, 3):fill(-inf)
            support.agrees(fasc.check(q, k, v, {kernel = kernel, causal = true, want = ALL}))
        end)

        it("does not depend on the inputs' strides", function()
            local q, k, v = support.qkv({2, 4, 2, 7, 9, 16}, dtype_of(kernel))
            local plain = fasc.attention(q, k, v, {kernel = kernel, causal = true, want = ALL})
            local function bthd(t)
                return t:transpose(1, 2):contiguous():transpose(1, 2)
            end
            local function column_major(t)
                return t:transpose(2, 3):contiguous():transpose(2, 3)
            end
            for _, layout in ipairs {bthd, column_major} do
                local opts = {kernel = kernel, causal = true, want = ALL}
                if support.serves(kernel, layout(q), layout(k), layout(v), opts) then
                    local r = fasc.attention(layout(q), layout(k), layout(v), opts)
                    for _, name in ipairs(ALL) do
                        assert.is_true(r[name]:max_abs_diff(plain[name])
                            <= TOLERANCE[dtype_of(kernel)], name)
                    end
                else
                    assert.is_false(support.is_cpu)
                end
            end
        end)

        it("writes to given outputs of any strides", function()
            local q, k, v = support.qkv({1, 2, 1, 5, 6, 16}, dtype_of(kernel))
            local plain = fasc.attention(q, k, v, {kernel = kernel, want = ALL})
            local out = support.zeros({1, 5, 2, 16}, {dtype = q.dtype}):transpose(1, 2)
            local probs = support.zeros({1, 2, 6, 5}, {dtype = q.dtype}):transpose(2, 3)
            local r = fasc.attention(q, k, v,
                {kernel = kernel, outputs = {out = out, probs = probs}})
            assert.equal(out, r.out)
            assert.is_nil(r.lse)
            assert.is_true(out:max_abs_diff(plain.out) <= TOLERANCE[q.dtype])
            support.same(probs, plain.probs, "probs")
        end)

        it("gives the same bits every time and for any number of threads", function()
            local q, k, v = support.qkv({2, 4, 2, 70, 90, 64}, support.dtypes(kernel)[1])
            local opts = {kernel = kernel, causal = true, want = ALL}
            local threads = fasc.num_threads()
            local a = fasc.attention(q, k, v, opts)
            fasc.set_num_threads(1)
            local b = fasc.attention(q, k, v, opts)
            fasc.set_num_threads(threads)
            for _, name in ipairs(ALL) do
                support.same(a[name], b[name], name)
            end
        end)
    end)
end

describe("head_dim", function()
    it("may be any multiple of 8 up to 256 on every kernel", function()
        for _, kernel in ipairs(support.kernels()) do
            for d = 8, 256, 8 do
                local q, k, v = support.qkv({1, 1, 1, 3, 5, d}, support.dtypes(kernel)[1])
                support.agrees(fasc.check(q, k, v, {kernel = kernel, want = {"out", "lse"}}),
                    kernel .. " D " .. d)
            end
        end
    end)

    it("may be any other on naive and blas; flash serves it or says why not", function()
        for _, kernel in ipairs {"naive", "blas"} do
            for _, d in ipairs {1, 3, 17, 100, 300} do
                local q, k, v = support.qkv({1, 2, 1, 3, 5, d}, support.dtypes(kernel)[1])
                support.agrees(fasc.check(q, k, v, {kernel = kernel, want = ALL}),
                    kernel .. " D " .. d)
            end
        end
        local q, k, v = support.qkv({1, 1, 1, 3, 5, 300}, "f16")
        local serves, err = support.serves("flash", q, k, v)
        if serves then
            support.agrees(fasc.check(q, k, v, {kernel = "flash", want = ALL}), "flash D 300")
        else
            assert.truthy(err.message:find("head_dim", 1, true) and err.message:find "300")
            assert.is_true(fasc.attention(q, k, v).plan.kernel ~= "flash")
        end
    end)
end)

describe("sizes", function()
    it("of one work everywhere", function()
        for _, kernel in ipairs(support.kernels()) do
            local q, k, v = support.qkv({1, 1, 1, 1, 1, 8}, support.dtypes(kernel)[1])
            local r = fasc.attention(q, k, v, {kernel = kernel, causal = true, want = ALL})
            support.same(r.out, v, kernel)
            assert.equal(1, r.probs:item())
            assert.equal(r.logits:item(), r.masked:item())
        end
    end)

    -- A tensor with the same elements whose heads lie more than 2^31 elements apart.
    local function far_apart(t)
        local stride = {2 * FAR, FAR, t.shape[4], 1}
        return tensors.new(t.shape, t.dtype, t.device, stride):copy_from(t)
    end

    it("whose products pass 2^31 work: heads 2^31 elements apart", function()
        for _, kernel in ipairs(support.kernels()) do
            local q, k, v = support.qkv({1, 2, 2, 3, 5, 16}, "f16")
            local plain = fasc.attention(q, k, v, {kernel = kernel, want = {"out", "probs"}})
            for _, name in ipairs {"q", "k", "v", "out", "probs"} do
                fasc.scope(function()
                    local t = {q = q, k = k, v = v, out = plain.out, probs = plain.probs}
                    t[name] = far_apart(t[name])
                    t.out:fill(0)
                    t.probs:fill(0)
                    local r = fasc.attention(t.q, t.k, t.v,
                        {kernel = kernel, outputs = {out = t.out, probs = t.probs}})
                    support.agrees(fasc.check(t.q, t.k, t.v, r), kernel .. ": far " .. name)
                end)
            end
        end
    end)
end)
