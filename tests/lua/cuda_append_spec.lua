-- cuda_append_spec.lua - a few new queries over very many keys: lengths at which a row takes a
-- million keys, compared with the float64 reference in some rows.
local fasc = require "fasc"
local gpu = require "gpu"
local support = require "support"

local on_gpu = gpu.tests(it, pending)

local function inputs(queries, keys, dtype)
    return support.randn({1, 4, queries, 64}, {dtype = dtype, seed = 1}),
        support.randn({1, 2, keys, 64}, {dtype = dtype, seed = 2}),
        support.randn({1, 2, keys, 64}, {dtype = dtype, seed = 3})
end

local function agree(queries, keys, opts)
    local q, k, v = inputs(queries, keys, queries % 2 == 0 and "bf16" or "f16")
    local r = fasc.attention(q, k, v, opts)
    local check = fasc.check(q, k, v, r, {rows = queries > 1 and {0, queries - 1} or {0}})
    assert(check.ok, ("%d queries, %d keys: %s\n%s"):format(queries, keys, r.plan.config,
        tostring(check)))
    return r.plan
end

describe("a few queries", function()
    on_gpu("over a million keys agree with the reference", function()
        for _, queries in ipairs {1, 4, 16} do
            local plan = agree(queries, 2 ^ 20, {causal = true,
                want = {"out", "lse", "row_max", "entropy", "row_argmax"}})
            assert.is_true(plan.splits > 1)
        end
    end)

    on_gpu("over a million keys give their scores", function()
        agree(1, 2 ^ 20, {want = {"out", "probs"}})
        agree(3, 2 ^ 20 - 1, {want = {"logits", "masked"}, window = {1000, 0}})
    end)

    on_gpu("see a window of a million keys", function()
        agree(16, 2 ^ 20, {want = {"out", "lse", "mean_distance"}, window = {100, 0}})
    end)

    on_gpu("as many as 16 agree in every row", function()
        for queries = 1, 16 do
            local q, k, v = inputs(queries, 3000 + queries, "f16")
            local check = fasc.check(q, k, v, {causal = true, want = {"out", "lse", "entropy"}})
            assert(check.ok, ("%d queries\n%s"):format(queries, tostring(check)))
        end
    end)
end)
