-- reducers_spec.lua - statistics of the scores on every kernel of the device: each against the
-- float64 reference over what shapes, bands and ranges can do, the same bits in two runs, and what
-- needs no reference to be seen.
local fasc = require "fasc"
local support = require "support"

local ROWS = {"entropy", "mean_distance", "row_sum", "row_argmax"}
local SUMS = {"out", "lse", "row_max", "entropy", "row_sum"} -- rows' sums beside the output
local OTHERS = {
    "row_sum", "topk_values", "topk_indices", "col_sum_probs", "col_sum_logits", "col_max_probs",
    "diag_sum_probs", "diag_sum_logits", "pooled_max", "pooled_mass", "max_logit",
}

local PROBLEMS = {
    {"whole tiles", {1, 2, 2, 64, 128, 64}},
    {"groups, causal, short", {1, 4, 2, 150, 90, 40}, causal = true, topk = 5, tile = 16},
    {
        "key heads summed, ranges", {1, 4, 2, 70, 190, 128}, causal = true, per = "kv_head",
        query_range = {10, 61}, key_range = {3, 150}, topk = 13,
    },
    {"window", {1, 2, 1, 100, 130, 80}, window = {20, 15}, tile = 10, topk = 30},
    {"one query", {1, 2, 2, 1, 100, 64}},
    {"one key", {1, 2, 2, 100, 1, 64}, topk = 1},
    {"top-left", {1, 2, 2, 33, 65, 200}, causal = "top_left", tile = 48},
    {"a mask that adds, negative scale", {1, 2, 2, 65, 33, 64}, mask = true, sm_scale = -0.3},
    {"scale 0", {1, 2, 2, 65, 33, 64}, sm_scale = 0},
    {"rows without keys", {2, 2, 2, 40, 20, 64}, causal = true, tile = 8, topk = 64},
    {"the last queries", {1, 2, 2, 300, 300, 64}, causal = true, query_range = {236, 300}},
    {"many keys, small tiles", {1, 2, 1, 70, 2100, 64}, causal = true, topk = 7, tile = 3},
    {"tiles of one score", {1, 2, 1, 50, 70, 128}, causal = true, topk = 16, tile = 1},
}

local function options_of(problem, kernel, want)
    local b, hq, _, nq, nk = unpack(problem[2])
    return {
        want = want, causal = problem.causal, window = problem.window, per = problem.per,
        query_range = problem.query_range, key_range = problem.key_range,
        sm_scale = problem.sm_scale, topk = problem.topk or 8, tile = problem.tile or 64,
        attn_mask = problem.mask and support.randn({b, hq, nq, nk}, {dtype = "f32", seed = 9})
            or nil,
        kernel = {name = kernel.name, arch = kernel.arch},
    }
end

-- Only the options that the outputs want.
local function fitting(opts)
    local has = {}
    for _, name in ipairs(opts.want) do
        has[name:match("^%a+")] = true
    end
    opts.topk = has.topk and opts.topk or nil
    opts.tile = has.pooled and opts.tile or nil
    opts.per = has.col and opts.per or nil
    opts.query_range = (has.col or has.diag) and opts.query_range or nil
    local ranged = has.col or has.diag or table.concat(opts.want, " "):find("row_sum", 1, true)
    opts.key_range = ranged and opts.key_range or nil
    return opts
end

local function agrees(problem, kernel, want, dtype)
    local q, k, v = support.qkv(problem[2], dtype, 3)
    local opts = fitting(options_of(problem, kernel, want))
    if not support.serves(opts.kernel, q, k, v, opts) then
        return 0
    end
    local result = fasc.attention(q, k, v, opts)
    local check = fasc.check(q, k, v, result)
    assert(check.ok, ("%s %s: %s\n%s"):format(problem[1], dtype, tostring(result.plan),
        tostring(check)))
    local again = fasc.attention(q, k, v, opts)
    for _, name in ipairs(want) do
        assert.equal(0, result[name]:max_abs_diff(again[name]), problem[1] .. " " .. name)
    end
    return 1
end

describe("statistics agree with the reference on", function()
    for _, kernel in ipairs(fasc.kernels(support.device)) do
        if kernel.name ~= "reference" then
            it(kernel.name .. " " .. kernel.arch, function()
                local served = 0
                for n, problem in ipairs(PROBLEMS) do
                    local dtype = n % 2 == 1 and "f16" or "bf16"
                    served = served + agrees(problem, kernel, OTHERS, dtype)
                        + agrees(problem, kernel, ROWS, dtype)
                        + agrees(problem, kernel, SUMS, dtype)
                        + agrees(problem, kernel, OTHERS, "f32")
                        + agrees(problem, kernel, {"out", "lse", "col_sum_probs"}, dtype)
                end
                if support.serves({name = kernel.name, arch = kernel.arch},
                    support.qkv({1, 1, 1, 64, 64, 64}, "f16")) then
                    assert.is_true(served > 0)
                end
            end)
        end
    end
end)

-- A tensor of small whole numbers, whose scores are exact in float32: f(row, column).
local function whole(rows, columns, f)
    local list = {}
    for row = 0, rows - 1 do
        for column = 0, columns - 1 do
            list[#list + 1] = f(row, column)
        end
    end
    return fasc.from_table(list, {dtype = "f16"}):reshape({1, 1, rows, columns})
        :to(support.device)
end

-- The places of the k largest of a list, the lower place first where they are equal; from 0.
local function largest(list, k)
    local order = {}
    for place = 1, #list do
        order[place] = place
    end
    table.sort(order, function(a, b)
        if list[a] ~= list[b] then
            return list[a] > list[b]
        end
        return a < b
    end)
    local places = {}
    for n = 1, k do
        places[n] = order[n] and order[n] - 1 or -1
    end
    return places
end

describe("top-k", function()
    local KEYS = 1400
    local ORDERS = {
        {"ties everywhere", function(j) return (j * 7919) % 5 end},
        {"all the same", function() return 3 end},
        {"rising", function(j) return j end},
        {"falling", function(j) return KEYS - j end},
        {"all in every eighth column", function(j) return j % 8 == 3 and j or 0 end},
        {"a high end", function(j) return j >= KEYS - 9 and 2000 or j % 50 end},
    }
    for _, kernel in ipairs(fasc.kernels(support.device)) do
        if kernel.name ~= "reference" then
            it("takes the lower key of equals on " .. kernel.name .. " " .. kernel.arch, function()
                for _, order in ipairs(ORDERS) do
                    for _, k in ipairs{5, 8, 16, 64} do
                        local opts = {
                            want = {"topk_values", "topk_indices"}, topk = k, sm_scale = 1,
                            causal = true, kernel = {name = kernel.name, arch = kernel.arch},
                        }
                        local q = whole(20, 64, function(_, c) return c == 0 and 1 or 0 end)
                        local key = whole(KEYS, 64, function(j, c)
                            return c == 0 and order[2](j) or 0
                        end)
                        if support.serves(opts.kernel, q, key, key, opts) then
                            local r = fasc.attention(q, key, key, opts)
                            local got = r.topk_indices:to("cpu"):tolist()[1][1]
                            for row = 0, 19, 19 do
                                local seen = {}
                                for j = 0, KEYS - 20 + row do
                                    seen[j + 1] = order[2](j)
                                end
                                assert.same(largest(seen, k), got[row + 1],
                                    ("%s, k = %d, row %d"):format(order[1], k, row))
                            end
                        end
                    end
                end
            end)
        end
    end
end)

describe("statistics of the scores", function()
    it("sum over the keys to the number of rows that see one", function()
        local q, k, v = support.qkv({1, 2, 2, 90, 60, 64}, "f16")
        local sums = fasc.attention(q, k, v, {causal = true, want = {"col_sum_probs"}})
            .col_sum_probs:tolist()
        for head = 1, 2 do
            local total = 0
            for _, x in ipairs(sums[1][head]) do
                total = total + x
            end
            assert.is_true(math.abs(total - 60) < 1e-3) -- 90 queries, the first 30 see nothing
        end
    end)

    it("feel a key, or a query, of large numbers only where a pair has it", function()
        local q, k, v = support.qkv({1, 1, 1, 300, 300, 64}, "f16")
        q:slice(0, 0, 110):fill(1e4)
        k:slice(0, 0, 70):fill(1e4)
        for _, row in ipairs(fasc.kernels(support.device)) do
            local kernel = {name = row.name, arch = row.arch}
            for _, left in ipairs(support.serves(kernel, q, k, v) and {0, 3, 20, 90} or {}) do
                local check = fasc.check(q, k, v, {window = {left, 2}, kernel = kernel,
                    want = {"row_sum", "col_sum_logits"}})
                assert(check.ok, ("window %d: %s\n%s"):format(left, row.name, tostring(check)))
            end
        end
    end)

    it("feel a NaN only where a pair has it", function()
        local q, k, v = support.qkv({1, 1, 1, 50, 50, 64}, "f16")
        k:slice(0, 0, 20):fill(0 / 0) -- key 20: seen by queries 20 and on
        local r = fasc.attention(q, k, v, {causal = true, want = {"row_sum"}})
        local q_nan = support.randn({1, 1, 50, 64}, {dtype = "f16"})
        q_nan:slice(0, 0, 5):fill(0 / 0) -- query 5: sees keys 0 to 5
        local _, good = support.qkv({1, 1, 1, 50, 50, 64}, "f16")
        local c = fasc.attention(q_nan, good, v, {causal = true, want = {"col_sum_logits",
            "col_sum_probs"}})
        local rows, logits = r.row_sum:tolist()[1][1], c.col_sum_logits:tolist()[1][1]
        local probs = c.col_sum_probs:tolist()[1][1]
        for n = 1, 50 do
            assert.equal(n <= 20, rows[n] == rows[n], "row " .. n)
            assert.equal(n > 6, logits[n] == logits[n], "logits of key " .. n)
            assert.equal(n > 6, probs[n] == probs[n], "probs of key " .. n)
        end
    end)
end)
