-- records.lua - what files of records hold, for those who look at them later: points and their
-- axes, the newest record of each point, and the numbers that can be shown or compared.
local environment = require "fasc.environment"
local errors = require "fasc.errors"
local json = require "fasc.json"
local results = require "fasc.results"

local M = {}

--- The records of one file.
---@class fasc.RecordSet
---@field path string
---@field records table[]   one for each point, in the order they first appear; see record.lua
---@field axes string[]     names of what their points and options hold, in order
---@field summaries table[] records that are no point's
---@field problems string[] lines that could not be read
---@field repeated integer  records that a newer one of the same point replaces

-- The values by which points differ: the axes', then the options'.
local function values_of(record)
    local values = {}
    for _, part in ipairs {record.options or {}, record.point} do
        for name, value in pairs(part) do
            values[name] = value
        end
    end
    return values
end

local function add_axes(set, seen, record)
    for _, part in ipairs {record.point, record.options or {}} do
        for _, name in ipairs(json.keys(part)) do
            if not seen[name] then
                seen[name] = true
                set.axes[#set.axes + 1] = name
            end
        end
    end
end

--- Reads a file. Raises EIO if it cannot be opened, EFORMAT if it holds no point.
---@param path string
---@return fasc.RecordSet
function M.load(path)
    local found, problems = results.read(path)
    local set = {path = path, records = {}, axes = {}, summaries = {}, problems = problems,
        repeated = 0}
    local seen, index = {}, {}
    for _, record in ipairs(found) do
        if type(record.point) ~= "table" then
            set.summaries[#set.summaries + 1] = record
        else
            add_axes(set, seen, record)
            record.values = values_of(record)
            local key = M.key(record)
            set.repeated = set.repeated + (index[key] and 1 or 0)
            index[key] = index[key] or #set.records + 1
            set.records[index[key]] = record
        end
    end
    if #set.records == 0 then
        errors.raise("EFORMAT", "%s: holds no record of a point%s", path,
            problems[1] and " (" .. problems[1] .. ")" or "")
    end
    return set
end

--- What names a point of a sweep, whatever it was measured with. `names`: only by these axes.
---@param record table
---@param names string[]?
---@return string
function M.key(record, names)
    local parts = {tostring(record.sweep)}
    if not names then
        parts[2], parts[3] = json.encode(record.point), json.encode(record.options or {})
    end
    for _, name in ipairs(names or {}) do
        parts[#parts + 1] = name .. "=" .. tostring(record.values[name])
    end
    return table.concat(parts, " ")
end

--- The values that an axis takes, in the order of their appearance (numbers sorted).
---@param records table[]
---@param name string
---@return any[]
function M.values(records, name)
    local list, seen, numbers = {}, {}, true
    for _, record in ipairs(records) do
        local value = record.values[name]
        if value ~= nil and not seen[value] then
            seen[value] = true
            list[#list + 1] = value
            numbers = numbers and type(value) == "number"
        end
    end
    if numbers then
        table.sort(list)
    end
    return list
end

--- The axes that take several values, and a line on those that do not: "cache hot, heads 32".
---@param set fasc.RecordSet
---@return string[] varying
---@return string fixed
function M.varying(set)
    local varying, fixed = {}, {}
    for _, name in ipairs(set.axes) do
        local values = M.values(set.records, name)
        if #values > 1 then
            varying[#varying + 1] = name
        elseif #values == 1 and values[1] ~= "" then
            fixed[#fixed + 1] = name .. " " .. tostring(values[1])
        end
    end
    return varying, table.concat(fixed, ", ")
end

--- A point on one line, by these axes.
---@param record table
---@param names string[]
---@return string
function M.label(record, names)
    local parts = {}
    for _, name in ipairs(names) do
        parts[#parts + 1] = record.values[name] ~= nil
            and name .. "=" .. tostring(record.values[name]) or nil
    end
    return table.concat(parts, " ")
end

-- ---- environments -------------------------------------------------------------------------

-- What is different in each run and makes no difference to the numbers.
local TRANSIENT = {command = true, clock_mhz = true, memory_clock_mhz = true, power_watts = true,
    temperature = true}

local function flatten(value, prefix, into)
    if type(value) == "table" and value ~= json.null then
        for _, name in ipairs(#value > 0 and {} or json.keys(value)) do
            if not TRANSIENT[name] then
                flatten(value[name], prefix == "" and name or prefix .. "." .. name, into)
            end
        end
    else
        into[#into + 1] = {prefix, tostring(value)}
    end
    return into
end

--- An environment as a list of {name, text}: {"device.model", "NVIDIA H200"}.
---@param env table a record's environment
---@return string[][]
function M.environment(env)
    return flatten(env, "", {})
end

--- The environments that a set's records were measured in, each once.
---@param set fasc.RecordSet
---@return table[]
function M.environments(set)
    local list, seen = {}, {}
    for _, record in ipairs(set.records) do
        local env = record.environment or {}
        local key = environment.key(env)
        if not seen[key] then
            seen[key] = true
            list[#list + 1] = env
        end
    end
    return list
end

-- ---- numbers ------------------------------------------------------------------------------

local function rate(name)
    return function(record, seconds)
        local amount = record.rates and record.rates[name]
        return amount and amount > 0 and amount / seconds or nil
    end
end

--- What can be shown of a point: value(record, seconds) with the seconds of its median, of a
--- percentile, or of a sample; better: "less" or "more"; per_time: it changes with the seconds.
---@type table<string, {label: string, unit: string, scale: number, better: string}>
M.METRICS = {
    time = {label = "time", unit = "ms", scale = 1e3, better = "less", per_time = true,
        value = function(_, seconds) return seconds end},
    tflops = {label = "rate", unit = "TFLOP/s", scale = 1e-12, better = "more", per_time = true,
        value = rate "flops"},
    gflops = {label = "rate", unit = "GFLOP/s", scale = 1e-9, better = "more", per_time = true,
        value = rate "flops"},
    bandwidth = {label = "bandwidth", unit = "GB/s", scale = 1e-9, better = "more", per_time = true,
        value = rate "bytes"},
    roof = {label = "share of the roofline", unit = "%", scale = 100, better = "more",
        per_time = true, value = function(record, seconds)
            return record.roof and record.roof.share * record.timing.median / seconds
        end},
    speedup = {label = "speed-up over the baseline", unit = "x", scale = 1, better = "more",
        value = function(record) return record.speedup end},
    host = {label = "host time of a call", unit = "us", scale = 1e6, better = "less",
        value = function(record) return record.timing.host_overhead end},
    error = {label = "error over its bound", unit = "", scale = 1, better = "less",
        value = function(record) return record.check and record.check.share end},
    memory = {label = "peak memory", unit = "MiB", scale = 2^-20, better = "less",
        value = function(record) return record.peak_memory end},
    clock = {label = "clock", unit = "MHz", scale = 1, better = "more",
        value = function(record) return record.timing.clock_mhz end},
    power = {label = "power", unit = "W", scale = 1, better = "less",
        value = function(record) return record.timing.power_watts end},
}

--- A metric of a record in the metric's unit; nil where the record has none.
---@param record table
---@param name string a key of M.METRICS
---@param seconds number? instead of the median
---@return number?
function M.metric(record, name, seconds)
    local metric = M.METRICS[name]
    if type(record.timing) ~= "table" then
        return nil
    end
    local value = metric.value(record, seconds or record.timing.median)
    return type(value) == "number" and value * metric.scale or nil
end

return M
