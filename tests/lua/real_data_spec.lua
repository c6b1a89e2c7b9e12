-- real_data_spec.lua - one layer of a small language model (tests/data/README.md): every kernel
-- agrees with values computed elsewhere, in float64, from the same tensors.
local fasc = require "fasc"
local support = require "support"

local folder = debug.getinfo(1, "S").source:match("^@(.*)/lua/[^/]*$")
local LAYER = "layers.3."

local function load(name)
    return fasc.load(("%s/data/gpt-d64-layer3-n128.%s.safetensors"):format(folder, name))
end

describe("layer 3 of the model", function()
    local inputs, expected = load("qkv"), load("expected")
    local q = inputs[LAYER .. "q"]:to(support.device)
    local k = inputs[LAYER .. "k"]:to(support.device)
    local v = inputs[LAYER .. "v"]:to(support.device)

    it("is what its description says", function()
        assert.same({1, 8, 128, 64}, q.shape)
        assert.same({1, 2, 128, 64}, k.shape)
        assert.equal("bf16", q.dtype)
        assert.equal(0, q:nan_count() + k:nan_count() + v:nan_count())
    end)

    -- The expected values are stored as f32 (probs as f16), each rounded once more. A kernel may
    -- round P to the inputs' bf16 before the second product: 2^-8 of the largest |v| at most.
    local range = v:summary()
    local largest = math.max(-range.min, range.max)
    local BOUND = {out = 1e-4 + 2^-8 * largest, lse = 2e-5, row_max = 2e-5, probs = 5e-4,
        entropy = 2e-5}

    for _, kernel in ipairs(support.kernels()) do
        it("comes out of " .. kernel .. " as expected", function()
            local opts = {
                kernel = kernel, causal = true, sm_scale = 1 / 8,
                want = {"out", "lse", "row_max", "probs"}, out_dtype = "f32", scores_dtype = "f32",
            }
            local more = {"out", "lse", "row_max", "probs", "entropy"}
            opts.want = support.serves(kernel, q, k, v, {want = more}) and more or opts.want
            local r = fasc.attention(q, k, v, opts)
            for _, name in ipairs(opts.want) do
                local bound = BOUND[name]
                local d = r[name]:to("cpu"):compare(expected[LAYER .. name])
                assert.equal(0, d.mismatch)
                assert(d.max_abs <= bound, ("%s: off by %.3g, more than %.3g"):format(name,
                    d.max_abs, bound))
            end
            support.agrees(fasc.check(q, k, v, r), kernel)
        end)
    end

    -- The stored probabilities are rounded to f16: sums of them are that far off.
    it("has the column sums that its probabilities have, and keeps the same keys", function()
        local probs = expected[LAYER .. "probs"]:to "f64":tolist()[1]
        local sums = fasc.attention(q, k, nil, {causal = true, want = {"col_sum_probs"}})
        local kept = fasc.stats.h2o(q, k, {heavy = 16, recent = 16}).keep:tolist()[1]
        local stored = fasc.attention(q:to "f64":to "cpu", k:to "f64":to "cpu", nil,
            {causal = true, want = {"col_sum_probs"}}).col_sum_probs:tolist()[1]
        for h = 1, 8 do
            local order = {}
            for j = 1, 128 do
                local sum = 0
                for i = j, 128 do
                    sum = sum + probs[h][i][j]
                end
                assert.near(sum, sums.col_sum_probs:get(0, h - 1, j - 1), 2^-11 * sum + 1e-5)
                order[j] = j
            end
            local exact = stored[h]
            table.sort(order, function(a, b)
                return exact[a] > exact[b] or exact[a] == exact[b] and a < b
            end)
            local keep, n = {}, 0
            for _, j in ipairs(order) do
                if j <= 112 and n < 16 then
                    n = n + 1
                    keep[n] = j - 1
                end
            end
            table.sort(keep)
            for j = 112, 127 do
                keep[#keep + 1] = j
            end
            assert.same(keep, kept[h])
        end
    end)
end)
