-- methods_spec.lua - fasc.stats: what published methods read off attention, against plain loops
-- over `probs`.
local fasc = require "fasc"
local support = require "support"

local fails = support.fails
local stats = fasc.stats

local B, HQ, HK, N, D = 2, 4, 2, 40, 16
local q, k, v = support.qkv({B, HQ, HK, N, N, D}, "f32")

-- P as nested tables, by plain Lua in float64.
local function probs_of(opts)
    return support.oracle(q, k, v, opts).probs
end

local probs = probs_of {causal = true}

local function column(b, h, j, first, P)
    local sum = 0
    for i = first or 1, N do
        sum = sum + (P or probs)[b][h][i][j]
    end
    return sum
end

-- The places (0-based, ascending) of the `count` largest values of a list, ties to the lower.
local function largest(values, count)
    local order = {}
    for i = 1, #values do
        order[i] = i
    end
    table.sort(order, function(a, b)
        return values[a] > values[b] or values[a] == values[b] and a < b
    end)
    local picked = {}
    for i = 1, count do
        picked[i] = order[i] - 1
    end
    table.sort(picked)
    return picked
end

local function followed_by(list, first, last)
    for j = first, last do
        list[#list + 1] = j
    end
    return list
end

local function each_head(visit)
    for b = 1, B do
        for h = 1, HQ do
            visit(b, h)
        end
    end
end

describe("stats.h2o", function()
    it("keeps the keys with the most attention, and the last ones", function()
        local r = stats.h2o(q, k, {heavy = 6, recent = 5})
        local scores, keep = r.scores:tolist(), r.keep:tolist()
        each_head(function(b, h)
            local sums = {}
            for j = 1, N do
                sums[j] = column(b, h, j)
                assert.near(sums[j], scores[b][h][j], 1e-4)
            end
            assert.same(followed_by(largest({unpack(sums, 1, N - 5)}, 6), N - 5, N - 1), keep[b][h])
        end)
    end)

    it("adds up the heads of a group on request", function()
        local scores = stats.h2o(q, k, {heavy = 4, per = "kv_head"}).scores:tolist()
        assert.equal(HK, #scores[1])
        for j = 1, N do
            assert.near(column(2, 3, j) + column(2, 4, j), scores[2][2][j], 1e-4)
        end
    end)

    it("says what cannot be", function()
        fails("EINVAL", function() stats.h2o(q, k, {heavy = N}) end, "stats.h2o: heavy, recent")
        fails("EINVAL", function() stats.h2o(q, k) end, "stats.h2o: heavy: must be given")
        fails("EINVAL", function() stats.h2o(q, 3, {heavy = 1}) end, "stats.h2o: k: must be")
        fails("EINVAL", function() stats.h2o(q, k, {hevy = 1}) end, "did you mean 'heavy'")
    end)
end)

describe("stats.snapkv", function()
    for _, pool in ipairs {"avg", "max"} do
        it("keeps by the last queries' attention, pooled by " .. pool, function()
            local w, size = 8, 5
            local r = stats.snapkv(q, k, {observe = w, capacity = 20, pool = pool})
            local keep, scores = r.keep:tolist(), r.scores:tolist()
            each_head(function(b, h)
                local sums, pooled = {}, {}
                for j = 1, N - w do
                    sums[j] = column(b, h, j, N - w + 1)
                    assert.near(sums[j], scores[b][h][j], 1e-5)
                end
                for j = 1, N - w do
                    local total, most = 0, 0
                    for i = math.max(1, j - 2), math.min(N - w, j + 2) do
                        total, most = total + sums[i], math.max(most, sums[i])
                    end
                    pooled[j] = pool == "avg" and total / size or most
                end
                if pool == "avg" then -- maxima tie
                    assert.same(followed_by(largest(pooled, 20 - w), N - w, N - 1), keep[b][h])
                end
                local taken = {}
                for _, j in ipairs(keep[b][h]) do
                    taken[j] = true
                end
                local least, most = math.huge, 0
                for j = 1, N - w do
                    if taken[j - 1] then
                        least = math.min(least, pooled[j])
                    else
                        most = math.max(most, pooled[j])
                    end
                end
                assert(least >= most - 1e-6 and #keep[b][h] == 20)
            end)
        end)
    end

    it("says what cannot be", function()
        fails("EINVAL", function() stats.snapkv(q, k, {capacity = 9, observe = 10}) end, "capacity")
        fails("EINVAL", function() stats.snapkv(q, k, {capacity = 9}) end, "observe")
        fails("EINVAL", function()
            stats.snapkv(q, k, {capacity = 9, observe = 4, kernel_size = 4})
        end, "kernel_size: must be odd")
    end)
end)

describe("stats.minference", function()
    it("finds vertical and slash lines of the last queries", function()
        local w = 8
        local r = stats.minference(q, k,
            {observe = w, vertical = 6, slash = 7, first = 2, near = 3})
        local columns, diagonals = r.column:tolist(), r.diagonal:tolist()
        each_head(function(b, h)
            local sums, lines = {}, {}
            for j = 1, N do
                sums[j] = column(b, h, j, N - w + 1)
                assert.near(sums[j], columns[b][h][j], 1e-5)
            end
            for delta = 0, N - 1 do
                lines[delta + 1] = 0
                for i = N - w + 1, N do
                    local j = i - delta
                    lines[delta + 1] = lines[delta + 1] + (j >= 1 and probs[b][h][i][j] or 0)
                end
                assert.near(lines[delta + 1], diagonals[b][h][delta + 1], 1e-5)
            end
            sums[1], sums[2] = math.huge, math.huge
            lines[1], lines[2], lines[3] = math.huge, math.huge, math.huge
            assert.same(largest(sums, 6), r.vertical:tolist()[b][h])
            assert.same(largest(lines, 7), r.slash:tolist()[b][h])
        end)
    end)
end)

describe("stats.sink_rate", function()
    it("is the share of heads that attend to a key above the threshold", function()
        for key = 0, 3, 3 do
            local r = stats.sink_rate(q, k, {key = key, threshold = 0.1})
            local scores, over = r.scores:tolist(), 0
            each_head(function(b, h)
                local mean = column(b, h, key + 1) / (N - key)
                assert.near(mean, scores[b][h], 1e-5)
                over = over + (mean > 0.1 and 1 or 0)
            end)
            assert.near(over / (B * HQ), r.rate, 1e-12)
        end
    end)

    it("counts the queries of a later part alone", function()
        local last = q:slice(nil, nil, {N - 4})
        local r = stats.sink_rate(last, k, {key = N - 2})
        local P = probs[1][1]
        assert.near((P[N - 1][N - 1] + P[N][N - 1]) / 2, r.scores:get(0, 0), 1e-5)
    end)
end)

describe("stats.head_classes", function()
    local tokens = {}
    for j = 1, N do
        tokens[j] = j * j % 7
    end

    local function share(b, h, detects)
        local sum = 0
        for i = 1, N do
            for j = 1, i do
                sum = sum + (detects(i, j) and probs[b][h][i][j] or 0)
            end
        end
        return sum / N
    end

    it("tells how much of its attention each detector finds", function()
        local r = stats.head_classes(q, k, {tokens = tokens})
        local detectors = {
            current_token = function(i, j) return i == j end,
            previous_token = function(i, j) return i - j == 1 end,
            duplicate_token = function(i, j) return j < i and tokens[j] == tokens[i] end,
            induction = function(i, j) return j > 1 and tokens[j - 1] == tokens[i] end,
        }
        for name, detects in pairs(detectors) do
            assert.same({B, HQ}, r[name].shape)
            local scores = r[name]:tolist()
            each_head(function(b, h)
                assert.near(share(b, h, detects), scores[b][h], 1e-5)
            end)
        end
    end)

    it("needs no tokens for the diagonals, and one for each key otherwise", function()
        local r = stats.head_classes(q, k)
        assert.truthy(r.previous_token)
        assert.is_nil(r.induction)
        fails("EINVAL", function() stats.head_classes(q, k, {tokens = {1, 2}}) end, "tokens")
    end)
end)
