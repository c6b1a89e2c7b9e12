-- interleave.lua - several operations measured in turns, for differences of a percent: whatever the
-- machine does meanwhile, it does to all of them. Rounds go to and fro (a b, b a, a b, ...), so
-- that a drift favours none.
local bootstrap = require "fasc.bootstrap"
local clock = require "fasc.clock"
local timing = require "fasc.timing"

local M = {}

-- What one operation gets in a round: as many samples as fit in this time, at most so many.
local ROUND_SECONDS, ROUND_SAMPLES = 0.01, 20
local LEAST_ROUNDS = 10 -- before the stopping rule is asked
local DEFAULT = {max_seconds = 2, target_rse = 0.005, max_samples = 200}

local SUMS, LATEST = {"throttled", "discarded"}, {"batch", "cold", "graph", "rotate"}
local MEANS = {"host_overhead", "clock_mhz", "power_watts", "temperature"}

-- Everything that was found of one operation, as one timing.
local function joined(parts, converged)
    local samples, marks, marked = {}, {}, false
    for _, part in ipairs(parts) do
        for i, seconds in ipairs(part.samples) do
            samples[#samples + 1] = seconds
            marks[#marks + 1] = part.marks and part.marks[i] or 0
        end
        marked = marked or part.marks ~= nil
    end
    local t = timing.statistics(samples)
    t.samples, t.marks, t.converged = samples, marked and marks or nil, converged
    for _, name in ipairs(SUMS) do
        t[name] = 0
        for _, part in ipairs(parts) do
            t[name] = t[name] + part[name]
        end
    end
    for _, name in ipairs(LATEST) do
        t[name] = parts[#parts][name]
    end
    for _, name in ipairs(MEANS) do
        local values = {}
        for _, part in ipairs(parts) do
            values[#values + 1] = part[name]
        end
        t[name] = #values > 0 and timing.statistics(values).median or nil
    end
    for _, part in ipairs(parts) do
        t.throttle = t.throttle or part.throttle
    end
    return t
end

-- The options of one operation's share of a round.
local function share(options, samples)
    local o = {}
    for name, value in pairs(options) do
        o[name] = value
    end
    o.min_samples, o.max_samples, o.warmup_seconds = samples, samples, 1e-9
    o.rest_seconds = nil -- what throttles one throttles the others
    return o
end

local function median(samples)
    return timing.statistics(samples).median
end

local function all_converged(entries, target)
    for _, entry in ipairs(entries) do
        if timing.statistics(entry.medians).rse > target then
            return false
        end
    end
    return true
end

--- Times operations in turns. Options as for fasc.time, max_seconds for each operation and
--- target_rse for the medians of its rounds; `rotate` may be a list of what fasc.time takes there,
--- one for each operation.
---@param ops fasc.Op[]
---@param given fasc.TimingOptions
---@return fasc.Timing[] timings one for each
---@return fasc.Ratio[] ratios of each to the first, round by round; the first is 1
function M.time(ops, given)
    local o, entries = setmetatable({}, {__index = DEFAULT}), {}
    for name, value in pairs(given) do
        o[name] = value
    end
    for i, op in ipairs(ops) do
        local own = {}
        for name, value in pairs(given) do
            own[name] = value
        end
        own.rotate = given.rotate and given.rotate[i]
        own.min_samples, own.max_samples = 1, 1
        local first = timing.time(op, own) -- the whole warm-up
        local seconds = first.median * first.batch
        local samples = math.floor(ROUND_SECONDS / seconds)
        entries[i] = {op = op, parts = {}, medians = {},
            options = share(own, math.min(math.max(samples, 1), ROUND_SAMPLES))}
    end
    local start, rounds, converged = clock.now(), 0
    repeat
        rounds = rounds + 1
        for turn = 1, #entries do
            local entry = entries[rounds % 2 == 1 and turn or #entries + 1 - turn]
            local part = timing.time(entry.op, entry.options)
            entry.parts[rounds], entry.medians[rounds] = part, median(part.samples)
        end
        converged = rounds >= LEAST_ROUNDS and all_converged(entries, o.target_rse)
    until converged or rounds >= o.max_samples or clock.now() - start >= o.max_seconds * #entries
    local timings, ratios = {}, {}
    for i, entry in ipairs(entries) do
        timings[i] = joined(entry.parts, converged)
        local by_round = {}
        for r = 1, rounds do
            by_round[r] = entry.medians[r] / entries[1].medians[r]
        end
        ratios[i] = bootstrap.of_ratios(by_round)
    end
    return timings, ratios
end

return M
