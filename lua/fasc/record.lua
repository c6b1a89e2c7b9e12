-- record.lua - a row of a sweep as the JSON object that is kept (see results.lua for the file), and
-- the key by which a later run finds that a point is done.
--
--   schema, sweep, date, status, reason     what became of which sweep's point, and when (UTC)
--   point, options                          the axes' and the script's own options' values
--   timing      n, batch, converged, cold, graph, rotate (how many inputs took turns), min, median,
--               mean, p5, p95, max, rse, spread, host_overhead: seconds of one call (spread, rse:
--               shares of the median); clock_mhz, power_watts, temperature: medians meanwhile;
--               throttled: samples taken while the clock was held down; discarded: such samples
--               that were taken again after a rest; throttle: why
--   samples     seconds of one call, in the order they were taken
--   marks       each sample's sum of fasc_throttle, when any was taken while throttled
--   rates       flops, bytes of one call; flops_per_second, bytes_per_second at the median
--   versus      first, ratio, low, high: measured in turns with others, over the first of them
--   build       how another build of the library was made that computed the point
--   speedup     the baseline's median over this one's
--   roof        share of what the device can do at least, and what bounds it (see roofline.lua)
--   check       share (largest error over its bound), rows, method, outputs
--   plan        the kernel that ran, its configuration and why
--   peak_memory bytes that tensors held at most while it ran
--   load        runnable processes before the sweep's point was written
--   environment library, device, its clocks and power limit, processor, system, command line
local environment = require "fasc.environment"
local json = require "fasc.json"
local results = require "fasc.results"

local M = {}

-- JSON has no infinity: the rse of a single sample is null.
local function finite(x)
    if type(x) == "number" and (x ~= x or math.abs(x) == math.huge) then
        return json.null
    end
    return x
end

local function pick(source, names)
    if not source then
        return nil
    end
    local fields = {}
    for i, name in ipairs(names) do
        fields[i] = {name, finite(source[name])}
    end
    return json.object(fields)
end

local TIMING = {
    "n", "batch", "converged", "cold", "graph", "rotate", "min", "median", "mean", "p5", "p95",
    "max", "rse", "spread", "host_overhead", "clock_mhz", "power_watts", "temperature", "throttled",
    "discarded", "throttle",
}
local OUTPUT = {"name", "count", "failed", "max_abs", "share"}
local PLAN = {"kernel", "arch", "config", "reason", "workspace_bytes"}

-- Six digits are past what a clock resolves.
local function samples(timing)
    local list = json.array()
    for i, seconds in ipairs(timing and timing.samples or {}) do
        list[i] = tonumber(("%.6g"):format(seconds))
    end
    return #list > 0 and list or nil
end

local function versus(row)
    local v = row.versus
    return v and json.object {
        {"first", v.first}, {"ratio", v.ratio.ratio}, {"low", finite(v.ratio.low)},
        {"high", finite(v.ratio.high)},
    }
end

local function names_of(list)
    local names = {}
    for i, item in ipairs(list or {}) do
        names[i] = item.name or item[1]
    end
    return names
end

local function rates(row)
    if not (row.flops or row.bytes) then
        return nil
    end
    local t = row.timing
    return json.object {
        {"flops", row.flops},
        {"bytes", row.bytes},
        {"flops_per_second", t and row.flops and finite(row.flops / t.median)},
        {"bytes_per_second", t and row.bytes and finite(row.bytes / t.median)},
    }
end

local function check(verdict)
    if not verdict then
        return nil
    end
    local outputs = json.array()
    for i, entry in ipairs(verdict.outputs or {}) do
        outputs[i] = pick(entry, OUTPUT)
    end
    return json.object {
        {"share", finite(verdict.share)},
        {"failed", verdict.failed},
        {"rows", verdict.rows},
        {"method", verdict.method},
        {"outputs", outputs},
    }
end

--- What names a point: the sweep, its axes' values and its own options'.
---@param sweep fasc.Sweep
---@param list fasc.Axis[]
---@param point table
---@param own table
local function identity(sweep, list, point, own)
    return pick(point, names_of(list)), pick(own, names_of(sweep.options))
end

--- The record of a row.
---@param row fasc.Row
---@param sweep fasc.Sweep
---@param list fasc.Axis[]
---@param own table the sweep's own options
---@param where table environment.collect's
---@return table
function M.of(row, sweep, list, own, where)
    local point, options = identity(sweep, list, row.point, own)
    return json.object {
        {"schema", results.SCHEMA},
        {"sweep", sweep.name},
        {"date", environment.date()},
        {"status", row.status},
        {"reason", row.reason},
        {"point", point},
        {"options", options},
        {"timing", pick(row.timing, TIMING)},
        {"samples", samples(row.timing)},
        {"marks", row.timing and row.timing.marks},
        {"rates", rates(row)},
        {"speedup", finite(row.speedup)},
        {"versus", versus(row)},
        {"build", row.build},
        {"roof", pick(row.roof, {"share", "bound"})},
        {"check", check(row.check)},
        {"plan", pick(row.plan, PLAN)},
        {"peak_memory", row.peak_memory},
        {"load", environment.load()},
        {"environment", where},
    }
end

local function plain(x)
    if x == json.null then
        return math.huge
    end
    return x
end

--- The row of a record, as far as records tell: what another process has measured.
---@param kept table
---@return fasc.Row
function M.row(kept)
    local row = {status = kept.status, reason = kept.reason, point = kept.point,
        plan = kept.plan, peak_memory = kept.peak_memory, roof = kept.roof}
    if kept.timing then
        row.timing = {}
        for _, name in ipairs(TIMING) do
            row.timing[name] = plain(kept.timing[name])
        end
        row.timing.samples, row.timing.marks = kept.samples, kept.marks
    end
    if kept.rates then
        row.flops, row.bytes = kept.rates.flops, kept.rates.bytes
    end
    if kept.check then
        row.check = {}
        for _, name in ipairs {"share", "failed", "rows", "method", "outputs"} do
            row.check[name] = plain(kept.check[name])
        end
    end
    return row
end

--- A record that is no point's: what a sweep concludes from its rows.
---@param sweep fasc.Sweep
---@param own table
---@param summary table
---@param where table
---@return table
function M.summary(sweep, own, summary, where)
    return json.object {
        {"schema", results.SCHEMA},
        {"sweep", sweep.name},
        {"date", environment.date()},
        {"status", "summary"},
        {"options", pick(own, names_of(sweep.options))},
        {"summary", summary},
        {"environment", where},
    }
end

--- The key of a point that is to be measured.
---@return string
function M.key(sweep, list, point, own, where)
    local values, options = identity(sweep, list, point, own)
    return table.concat({sweep.name, json.encode(values), json.encode(options),
        environment.key(where)}, "\n")
end

--- The key of a point that was measured; nil for records that are no point's.
---@param record table
---@return string?
function M.key_of(record)
    if type(record.point) == "table" and type(record.environment) == "table" then
        return table.concat({record.sweep, json.encode(record.point),
            json.encode(record.options or {}), environment.key(record.environment)}, "\n")
    end
end

return M
