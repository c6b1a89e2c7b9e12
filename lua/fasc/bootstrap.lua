-- bootstrap.lua - how well is a ratio of two medians known? Confidence intervals by resampling.
--
-- Successive samples of a timing are not independent (clocks and caches drift), so whole blocks of
-- neighbours are drawn: circular blocks of about n^(1/3) samples. Few samples cannot show how far
-- the median may be off, so the interval is widened by 1 + GUARD / n about its middle, n being the
-- smaller number; tests/lua/compare_spec.lua holds what verdicts made from it get wrong.
local errors = require "fasc.errors"

local M = {}

local RESAMPLES = 1000
local CONFIDENCE = 0.99
local GUARD = 10
local LEAST = 5 -- samples below which nothing can be said

-- Uniform integers in [0, n), the same in every run: a multiplicative generator modulo 2^31 - 1.
local function new_random(seed)
    local state = seed
    return function(n)
        state = state * 16807 % 2147483647
        return math.floor(state / 2147483647 * n)
    end
end

-- values sorted, and for each sample in its order the rank (0-based) that it has there.
local function rank(samples)
    local order = {}
    for i = 1, #samples do
        order[i] = i
    end
    table.sort(order, function(a, b)
        return samples[a] < samples[b] or samples[a] == samples[b] and a < b
    end)
    local sorted, ranks = {}, {}
    for r, i in ipairs(order) do
        sorted[r], ranks[i] = samples[i], r
    end
    return sorted, ranks
end

-- The value at position p (0 to 1) of sorted numbers, between neighbours by linear interpolation.
local function percentile(sorted, p)
    local at = (#sorted - 1) * p
    local below = math.floor(at)
    local low = sorted[below + 1]
    return low + (at - below) * ((sorted[below + 2] or low) - low)
end

-- A function that gives the median of one resample after the other.
local function resampler(samples, random)
    local n = #samples
    local sorted, ranks = rank(samples)
    local block = math.max(1, math.floor(n ^ (1 / 3) + 0.5))
    local count = {}
    return function()
        for r = 1, n do
            count[r] = 0
        end
        local drawn = 0
        while drawn < n do
            local first = random(n)
            for i = first, math.min(first + block, first + n - drawn) - 1 do
                local r = ranks[i % n + 1]
                count[r] = count[r] + 1
            end
            drawn = drawn + block
        end
        local seen, r, low = 0, 0, nil
        local middle_low, middle_high = math.floor((n + 1) / 2), math.floor(n / 2) + 1
        while true do
            r = r + 1
            seen = seen + count[r]
            if not low and seen >= middle_low then
                low = sorted[r]
            end
            if seen >= middle_high then
                return 0.5 * (low + sorted[r])
            end
        end
    end
end

-- The interval of the given logarithms about their middle, widened for few samples.
local function interval(logs, n)
    table.sort(logs)
    local tail = (1 - CONFIDENCE) / 2
    local low, high = percentile(logs, tail), percentile(logs, 1 - tail)
    local middle, half = 0.5 * (low + high), 0.5 * (high - low) * (1 + GUARD / n)
    return math.exp(middle - half), math.exp(middle + half)
end

--- A ratio and the interval that holds it with 99 % confidence.
---@class fasc.Ratio
---@field ratio number
---@field low number
---@field high number

--- The median of `b` over that of `a`: seconds of single samples, in the order they were taken.
--- Fewer than 5 of either tell nothing: low is 0 and high infinite.
---@param a number[]
---@param b number[]
---@return fasc.Ratio
function M.ratio(a, b)
    if #a == 0 or #b == 0 then
        errors.usage("bootstrap: there are no samples")
    end
    local median_a, median_b = percentile(rank(a), 0.5), percentile(rank(b), 0.5)
    local result = {ratio = median_b / median_a, low = 0, high = math.huge}
    if math.min(#a, #b) >= LEAST then
        local random = new_random(20231)
        local next_a, next_b = resampler(a, random), resampler(b, random)
        local logs = {}
        for i = 1, RESAMPLES do
            logs[i] = math.log(next_b() / next_a())
        end
        result.low, result.high = interval(logs, math.min(#a, #b))
    end
    return result
end

--- The median of ratios that were measured one after the other, each from two measurements made in
--- turns.
---@param ratios number[]
---@return fasc.Ratio
function M.of_ratios(ratios)
    local result = {ratio = percentile(rank(ratios), 0.5), low = 0, high = math.huge}
    if #ratios >= LEAST then
        local draw, logs = resampler(ratios, new_random(20231)), {}
        for i = 1, RESAMPLES do
            logs[i] = math.log(draw())
        end
        result.low, result.high = interval(logs, #ratios)
    end
    return result
end

--- The ratio of two medians of which only the relative standard errors are kept.
---@param a {median: number, rse: number}
---@param b {median: number, rse: number}
---@return fasc.Ratio
function M.from_errors(a, b)
    local half = 2.576 * math.sqrt(a.rse ^ 2 + b.rse ^ 2) -- 99 % of a normal distribution
    local ratio = b.median / a.median
    return {ratio = ratio, low = ratio * math.exp(-half), high = ratio * math.exp(half)}
end

return M
