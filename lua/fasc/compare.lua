-- compare.lua - two records of the same points: did B become faster or slower than A?
local bootstrap = require "fasc.bootstrap"
local errors = require "fasc.errors"
local records = require "fasc.records"

local M = {}

--- A change below this share is none, unless --threshold says otherwise.
M.THRESHOLD = 0.02

--- All verdicts, in the order in which they are told.
M.VERDICTS = {"faster", "slower", "same", "unclear", "broken", "mended", "no time"}

-- What a status means for a point that could be measured before.
local BROKEN = {wrong = true, error = true, crashed = true, timeout = true}

--- One point that both records have.
---@class fasc.Comparison
---@field a table   A's record
---@field b table
---@field label string
---@field ratio fasc.Ratio?  B's median over A's; nil where one has no time
---@field verdict string     "faster", "slower", "same", "unclear"; "broken" and "mended" where only
---                          one of them was measured and the other failed; "no time"

--- The verdict on a ratio of times: faster or slower when the whole interval lies on that side of 1
--- and the ratio is off by more than the threshold; same when the whole interval lies within it;
--- otherwise unclear.
---@param r fasc.Ratio
---@param threshold number
---@return string
function M.verdict(r, threshold)
    local limit = 1 + threshold
    if r.low > 1 and r.ratio > limit then
        return "slower"
    elseif r.high < 1 and r.ratio < 1 / limit then
        return "faster"
    elseif r.low >= 1 / limit and r.high <= limit then
        return "same"
    end
    return "unclear"
end

local function samples_of(record)
    local list = record.samples
    return type(list) == "table" and #list > 0 and list or nil
end

local function rse_of(record)
    local rse = record.timing.rse
    return type(rse) == "number" and rse or math.huge
end

--- B's time over A's, from their samples; from their standard errors where a record has none.
---@param a table
---@param b table
---@return fasc.Ratio
function M.ratio(a, b)
    local before, after = samples_of(a), samples_of(b)
    if before and after then
        return bootstrap.ratio(before, after)
    end
    return bootstrap.from_errors({median = a.timing.median, rse = rse_of(a)},
        {median = b.timing.median, rse = rse_of(b)})
end

local function compare_point(a, b, label, threshold)
    local c = {a = a, b = b, label = label, verdict = "no time"}
    if a.timing and b.timing then
        c.ratio = M.ratio(a, b)
        c.verdict = M.verdict(c.ratio, threshold)
    elseif a.timing and BROKEN[b.status] then
        c.verdict = "broken"
    elseif b.timing and BROKEN[a.status] then
        c.verdict = "mended"
    end
    return c
end

-- The axes by which points are paired: those that both have. One that only one record has must
-- have a single value there.
local function common_axes(a, b)
    local names, of_b = {}, {}
    for _, name in ipairs(b.axes) do
        of_b[name] = true
    end
    local function must_be_single(set, name, other)
        local values = records.values(set.records, name)
        if #values > 1 then
            errors.usage("%s has %d values of %s, %s does not know it", set.path, #values,
                name, other.path)
        end
    end
    for _, name in ipairs(a.axes) do
        if of_b[name] then
            names[#names + 1] = name
        else
            must_be_single(a, name, b)
        end
        of_b[name] = nil
    end
    for name in pairs(of_b) do
        must_be_single(b, name, a)
    end
    return names
end

-- The axes to call points by: those that vary in either record.
local function naming_axes(names, a, b)
    local varying = {}
    for _, name in ipairs(names) do
        if #records.values(a.records, name) > 1 or #records.values(b.records, name) > 1 then
            varying[#varying + 1] = name
        end
    end
    return varying
end

--- The comparison of two records.
---@class fasc.ComparisonSet
---@field points fasc.Comparison[]
---@field only_a string[]  points that only A has
---@field only_b string[]
---@field environment string[][] {name, A's, B's} where they differ
---@field count table<string, integer> points by verdict

--- Compares two sets of records.
---@param a fasc.RecordSet
---@param b fasc.RecordSet
---@param threshold number?
---@return fasc.ComparisonSet
function M.sets(a, b, threshold)
    local names = common_axes(a, b)
    local naming = naming_axes(names, a, b)
    local result = {points = {}, only_a = {}, only_b = {}, count = {},
        environment = M.environment(a, b)}
    local of_b = {}
    for _, record in ipairs(b.records) do
        of_b[records.key(record, names)] = record
    end
    for _, record in ipairs(a.records) do
        local key, label = records.key(record, names), records.label(record, naming)
        local other = of_b[key]
        if other then
            local c = compare_point(record, other, label, threshold or M.THRESHOLD)
            result.points[#result.points + 1] = c
            result.count[c.verdict] = (result.count[c.verdict] or 0) + 1
        else
            result.only_a[#result.only_a + 1] = label
        end
        of_b[key] = nil
    end
    for _, record in ipairs(b.records) do
        if of_b[records.key(record, names)] then
            result.only_b[#result.only_b + 1] = records.label(record, naming)
        end
    end
    if #result.points == 0 then
        errors.usage("%s and %s have no point in common", a.path, b.path)
    end
    return result
end

-- All values of each of an environment's entries.
local function entries(set)
    local order, values = {}, {}
    for _, env in ipairs(records.environments(set)) do
        for _, pair in ipairs(records.environment(env)) do
            local name, text = pair[1], pair[2]
            if not values[name] then
                order[#order + 1] = name
                values[name] = text
            elseif not (" | " .. values[name] .. " | "):find(" | " .. text .. " | ", 1, true) then
                values[name] = values[name] .. " | " .. text
            end
        end
    end
    return order, values
end

--- Where the environments of two sets differ: {name, A's, B's}, "-" where one has no such entry.
---@param a fasc.RecordSet
---@param b fasc.RecordSet
---@return string[][]
function M.environment(a, b)
    local order_a, of_a = entries(a)
    local order_b, of_b = entries(b)
    local differences = {}
    for _, name in ipairs(order_a) do
        if of_a[name] ~= of_b[name] then
            differences[#differences + 1] = {name, of_a[name], of_b[name] or "-"}
        end
    end
    for _, name in ipairs(order_b) do
        if not of_a[name] then
            differences[#differences + 1] = {name, "-", of_b[name]}
        end
    end
    return differences
end

--- Is this a regression: a point that became slower, or that fails now?
---@param c fasc.Comparison
---@return boolean
function M.is_regression(c)
    return c.verdict == "slower" or c.verdict == "broken"
end

return M
