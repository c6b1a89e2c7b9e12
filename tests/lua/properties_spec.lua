-- properties_spec.lua - what holds whatever the numbers are, on every kernel: sums, symmetries,
-- invariances.
local fasc = require "fasc"
local support = require "support"

local near = support.near
local TOLERANCE = {f16 = 2e-3, bf16 = 1.6e-2, f32 = 1e-5}

local function close(a, b, tolerance, label)
    local d = a:max_abs_diff(b)
    assert(d <= tolerance, ("%s: off by %.3g, more than %.3g"):format(label, d, tolerance))
end

-- rows summed by a product with ones: (..., N, M) -> (..., N, 1), in f32
local function row_sums(t)
    t = t:to("f32")
    return fasc.matmul(t, support.ones({t.shape[4], 1}))
end

-- The tensor with dimension d (0-based) in another order; order is a list of 0-based indices.
local function permute(t, d, order)
    local result = fasc.empty_like(t)
    for to, from in ipairs(order) do
        local into, index = {}, {}
        into[d + 1], index[d + 1] = {to - 1, to}, {from, from + 1}
        result:slice(unpack(into, 1, d + 1)):copy_from(t:slice(unpack(index, 1, d + 1)))
    end
    return result
end

local function reversed(n)
    local order = {}
    for i = 1, n do
        order[i] = n - i
    end
    return order
end

for _, kernel in ipairs(support.kernels()) do
    for _, dtype in ipairs(support.dtypes(kernel)) do
        local tolerance = TOLERANCE[dtype]
        local label = kernel .. " " .. dtype

        local function attend(q, k, v, opts)
            local with = {kernel = kernel}
            for name, value in pairs(opts) do
                with[name] = value
            end
            return fasc.attention(q, k, v, with)
        end

        describe(label .. ":", function()
            it("rows of probs sum to 1, or to 0 where no key is visible", function()
                local q, k, v = support.qkv({2, 4, 2, 37, 29, 32}, dtype)
                local sums = row_sums(attend(q, k, v,
                    {causal = true, want = {"probs"}, scores_dtype = "f32"}).probs)
                close(sums:slice(nil, nil, {8}), fasc.ones_like(sums:slice(nil, nil, {8})), 2e-6,
                    "sums")
                assert.equal(0, sums:slice(nil, nil, {0, 8}):sum())
            end)

            it("sums of causal logits agree with prefix sums of keys", function()
                local nq, nk, d = 21, 40, 16
                local q, k, v = support.qkv({1, 2, 1, nq, nk, d}, dtype)
                local logits = attend(q, k, v, {want = {"logits"}, scores_dtype = "f32"}).logits
                local Q, K, S = q:tolist(), k:tolist(), logits:tolist()
                local prefix, worst = {}, 0
                for c = 1, d do
                    prefix[c] = 0
                end
                local j = 0
                for i = 1, nq do
                    while j < i + nk - nq do
                        j = j + 1
                        for c = 1, d do
                            prefix[c] = prefix[c] + K[1][1][j][c]
                        end
                    end
                    for h = 1, 2 do
                        local expected, sum = 0, 0
                        for c = 1, d do
                            expected = expected + Q[1][h][i][c] * prefix[c] / math.sqrt(d)
                        end
                        for column = 1, j do
                            sum = sum + S[1][h][i][column]
                        end
                        worst = math.max(worst, math.abs(sum - expected))
                    end
                end
                assert(worst < 1e-4, "off by " .. worst)
            end)

            it("permuting keys and values permutes scores and leaves out as it is", function()
                local q, k, v = support.qkv({1, 2, 2, 13, 35, 32}, dtype)
                local order = reversed(35)
                local opts = {want = {"out", "lse", "logits", "probs"}}
                local a = attend(q, k, v, opts)
                local b = attend(q, permute(k, 2, order), permute(v, 2, order), opts)
                close(permute(a.logits, 3, order), b.logits, tolerance, "logits")
                close(permute(a.probs, 3, order), b.probs, tolerance, "probs")
                close(a.out, b.out, tolerance, "out")
                close(a.lse, b.lse, 1e-5, "lse")
            end)

            it("permuting queries permutes rows", function()
                local q, k, v = support.qkv({1, 1, 1, 33, 20, 32}, dtype)
                local order = reversed(33)
                local a = attend(q, k, v, {want = {"out", "probs"}})
                local b = attend(permute(q, 2, order), k, v, {want = {"out", "probs"}})
                close(permute(a.out, 2, order), b.out, tolerance, "out")
                close(permute(a.probs, 2, order), b.probs, tolerance, "probs")
            end)

            it("grouped heads equal repeated heads", function()
                local q, k, v = support.qkv({2, 6, 2, 19, 23, 16}, dtype)
                local order = {0, 0, 0, 1, 1, 1}
                local function repeated(t)
                    local wide = support.empty({2, 6, 23, 16}, {dtype = dtype})
                    for to, from in ipairs(order) do
                        wide:slice(nil, to - 1):copy_from(t:slice(nil, from))
                    end
                    return wide
                end
                local opts = {causal = true, want = {"out", "lse", "masked"}}
                local a, b = attend(q, k, v, opts), attend(q, repeated(k), repeated(v), opts)
                close(a.out, b.out, tolerance, "out")
                close(a.lse, b.lse, 1e-5, "lse")
                close(a.masked, b.masked, tolerance, "masked")
            end)

            it("a power of two may be in the scale or in q", function()
                local q, k, v = support.qkv({1, 2, 2, 17, 18, 32}, dtype)
                local diagonal = support.zeros({32, 32}, {dtype = dtype})
                for c = 0, 31 do
                    diagonal:slice(c, c):fill(0.5)
                end
                local want = {"out", "lse", "masked"}
                local a = attend(q, k, v, {sm_scale = 0.125, want = want})
                local b = attend(fasc.matmul(q, diagonal), k, v, {sm_scale = 0.25, want = want})
                for _, name in ipairs(want) do
                    close(a[name], b[name], 1e-6, name)
                end
            end)

            it("probs times v is out", function()
                local q, k, v = support.qkv({2, 2, 2, 30, 41, 32}, dtype)
                local r = attend(q, k, v, {causal = true, want = {"out", "probs"},
                    scores_dtype = "f32", out_dtype = "f32"})
                close(fasc.matmul(r.probs, v:to("f32")), r.out, tolerance, "out")
            end)

            it("probs are exp(masked - lse)", function()
                local q, k, v = support.qkv({1, 2, 1, 9, 11, 16}, dtype)
                local r = attend(q, k, v, {window = {4, 2}, want = {"probs", "masked", "lse"},
                    scores_dtype = "f32"})
                local probs, masked, lse = r.probs:tolist(), r.masked:tolist(), r.lse:tolist()
                for h = 1, 2 do
                    for i = 1, 9 do
                        for j = 1, 11 do
                            masked[1][h][i][j] = math.exp(masked[1][h][i][j] - lse[1][h][i])
                        end
                    end
                end
                near(probs, masked, 1e-5, "probs")
            end)

            it("row_max is the largest masked score, and LSE lies above it", function()
                local q, k, v = support.qkv({1, 2, 1, 9, 11, 16}, dtype)
                local r = attend(q, k, v, {causal = true, want = {"masked", "row_max", "lse"},
                    scores_dtype = "f32"})
                for h = 0, 1 do
                    for i = 0, 8 do
                        local max = r.row_max:get(0, h, i)
                        near(max, r.masked:slice(0, h, i):max(), 1e-5)
                        local above = r.lse:get(0, h, i) - max
                        assert.is_true(above >= -1e-6 and above <= math.log(11) + 1e-6)
                    end
                end
            end)

            it("a constant added to every score shifts LSE and nothing else", function()
                local q, k, v = support.qkv({1, 2, 2, 15, 16, 32}, dtype)
                local shift = fasc.full({1}, 3, {device = support.device})
                local opts = {want = {"out", "lse", "probs"}}
                local a = attend(q, k, v, opts)
                opts.attn_mask = shift
                local b = attend(q, k, v, opts)
                close(a.out, b.out, tolerance, "out")
                close(a.probs, b.probs, tolerance, "probs")
                near(b.lse:mean() - a.lse:mean(), 3, 1e-5, "shift")
            end)

            it("causal rows do not depend on later keys", function()
                local q, k, v = support.qkv({1, 1, 1, 50, 50, 32}, dtype)
                local opts = {causal = true, want = {"out", "lse"}}
                local a = attend(q, k, v, opts)
                k:slice(0, 0, {30}):fill(9)
                v:slice(0, 0, {30}):fill(-9)
                local b = attend(q, k, v, opts)
                support.same(a.out:slice(0, 0, {0, 30}), b.out:slice(0, 0, {0, 30}), "out")
                support.same(a.lse:slice(0, 0, {0, 30}), b.lse:slice(0, 0, {0, 30}), "lse")
            end)

            it("batches and heads do not touch each other", function()
                local q, k, v = support.qkv({3, 2, 2, 20, 21, 16}, dtype)
                local whole = attend(q, k, v, {want = {"out"}}).out
                -- A BLAS library may choose its algorithm, and so its rounding, by the batch.
                local rounding = kernel == "blas" and 2e-6 or 0
                for b = 0, 2 do
                    for h = 0, 1 do
                        local one = {b, b + 1}
                        local head = {h, h + 1}
                        local part = attend(q:slice(one, head), k:slice(one, head),
                            v:slice(one, head), {want = {"out"}}).out
                        support.near(part, whole:slice(one, head):tolist(), rounding, "out")
                    end
                end
            end)
        end)
    end
end
