-- timing.lua - fasc.time: how long an operation takes. The sampling loop is in C (src/timing.c);
-- here are its options and what it found, as tables.
local bit = require "bit"
local fasc_ffi = require "fasc.ffi"
local errors = require "fasc.errors"
local options = require "fasc.options"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

local DEFAULT_MAX_SAMPLES = 200

--- How long to look. Times are in seconds.
---@class fasc.TimingOptions
---@field min_samples integer?    samples before the stopping rule is asked; 5
---@field max_samples integer?    200
---@field warmup_seconds number?  call at least this long first; 0.05
---@field max_seconds number?     sample for at most this long; 2
---@field target_rse number?      stop once the median's relative standard error is below; 0.005
---@field rest_seconds number?    let a GPU rest this long before the first sample and after each
---       20 ms of them, and when it holds its clock down: then the samples since it was last asked
---       are taken again; 0 (the default): no rests, they are kept, marked
---@field cold boolean?           empty the caches before each sample
---@field graph boolean?          GPU: capture a sample's calls as a CUDA graph and replay it
---@field rotate fasc.Op[]?       operations like the first, on tensors of their own: all take turns
local RULES = {
    min_samples = {is = "integer", min = 1},
    max_samples = {is = "integer", min = 1, max = 1e7},
    warmup_seconds = {is = "number", min = 0},
    max_seconds = {is = "number", min = 0},
    target_rse = {is = "number", min = 0},
    rest_seconds = {is = "number", min = 0},
    cold = {is = "boolean", default = false},
    graph = {is = "boolean", default = false},
    rotate = {is = "table"},
}

-- The bits of fasc_throttle.
local THROTTLE = {{1, "power"}, {2, "thermal"}, {4, "hardware"}, {8, "sync"}}

--- Seconds of one call.
---@class fasc.Timing
---@field n integer            samples taken
---@field batch integer        calls in each sample
---@field converged boolean    the target was reached
---@field cold boolean
---@field graph boolean
---@field rotate integer       how many operations took turns; 1 = one alone
---@field min number
---@field median number
---@field mean number
---@field p5 number
---@field p95 number
---@field max number
---@field rse number           relative standard error of the median; infinite for one sample
---@field spread number        (p95 - p5) / median
---@field host_overhead number seconds the host spends in a call of a GPU operation
---@field throttled integer    samples taken while the device held its clock down
---@field discarded integer    such samples that were taken again
---@field throttle string[]?   why: "power", "thermal", "hardware", "sync"
---@field clock_mhz number?    medians while sampling, of a device that tells them
---@field power_watts number?
---@field temperature number?  degrees Celsius
---@field samples number[]
---@field marks integer[]?     of each sample, a sum of fasc_throttle; nil when all are 0

--- The names of a sum of fasc_throttle; nil for none.
---@param bits integer
---@return string[]?
function M.throttle_names(bits)
    local names = {}
    for _, row in ipairs(THROTTLE) do
        names[#names + 1] = bit.band(bits, row[1]) ~= 0 and row[2] or nil
    end
    return #names > 0 and names or nil
end

local function as_table(timing)
    local t = {n = timing.samples, batch = timing.batch, converged = timing.converged ~= 0}
    for _, name in ipairs {"min", "median", "mean", "p5", "p95", "max", "rse", "host_overhead"} do
        t[name] = timing[name]
    end
    for _, name in ipairs {"clock_mhz", "power_watts", "temperature"} do
        t[name] = timing[name] > 0 and timing[name] or nil
    end
    t.throttled, t.discarded = timing.throttled, timing.discarded
    t.throttle = M.throttle_names(timing.throttle)
    t.spread = t.median ~= 0 and (t.p95 - t.p5) / math.abs(t.median) or 0
    return t
end

-- The C structs of the operations that take turns, one after the other.
local function arguments_in_turn(op, others)
    local all = {op, unpack(others or {})}
    for i, other in ipairs(all) do
        options.argument("time", ("rotate[%d]"):format(i - 1), other, {is = "op"})
        if other.code ~= op.code then
            errors.usage("time: rotate[%d]: is a %s, the operation a %s", i - 1, other.kind,
                op.kind)
        end
    end
    if #all == 1 then
        return op.args, 1
    end
    local array = ffi.new(ffi.typeof("$[?]", ffi.typeof(op.args)), #all)
    for i, other in ipairs(all) do
        ffi.copy(array + (i - 1), other.args, ffi.sizeof(op.args))
    end
    return array, #all
end

--- Times an operation (see fasc.op): warm-up, then samples until the median is known well
--- enough. Raises ECANCELED after Ctrl-C, and what the operation itself raises.
---
---     local t = fasc.time(fasc.op.attention(q, k, v, {causal = true}), {max_seconds = 1})
---     print(t.median, t.spread)
---@param op fasc.Op
---@param given fasc.TimingOptions?
---@return fasc.Timing
function M.time(op, given)
    options.argument("time", "op", op, {is = "op"})
    local o = options.check("time", given, RULES)
    local settings = fasc_ffi.new "fasc_timing_options"
    for _, name in ipairs {
        "min_samples", "max_samples", "warmup_seconds", "max_seconds", "target_rse",
        "rest_seconds",
    } do
        settings[name] = o[name] or 0
    end
    settings.cold, settings.graph = o.cold and 1 or 0, o.graph and 1 or 0
    local arguments, count = arguments_in_turn(op, o.rotate)
    settings.rotate = count
    local timing = fasc_ffi.new "fasc_timing"
    local room = o.max_samples or DEFAULT_MAX_SAMPLES
    local samples, marks = ffi.new("double[?]", room), ffi.new("uint8_t[?]", room)
    settings.marks = marks
    op:invoke("fasc_time", op.code, arguments, settings, timing, samples, room)
    local t = as_table(timing)
    t.cold, t.graph, t.rotate = o.cold, o.graph, count
    t.samples = {}
    t.marks = t.throttled > 0 and {} or nil
    for i = 1, t.n do
        t.samples[i] = samples[i - 1]
        if t.marks then
            t.marks[i] = marks[i - 1]
        end
    end
    return t
end

--- The same statistics of any numbers: percentiles by linear interpolation between the sorted
--- ones, rse as src/timing.h says.
---@param samples number[]
---@return fasc.Timing
function M.statistics(samples)
    if type(samples) ~= "table" or #samples == 0 then
        errors.usage("statistics: samples: must be a list of numbers")
    end
    local timing = fasc_ffi.new "fasc_timing"
    local values = ffi.new("double[?]", #samples, samples)
    errors.check(C.fasc_timing_from_samples(values, #samples, timing))
    return as_table(timing)
end

return M
