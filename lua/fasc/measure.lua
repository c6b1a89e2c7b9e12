-- measure.lua - points of a sweep, from their inputs to their rows. A result is checked before it
-- is timed; whatever goes wrong is the row's status and reason, and never the sweep's end. Only a
-- cancellation passes through.
local clock = require "fasc.clock"
local errors = require "fasc.errors"
local interleave = require "fasc.interleave"
local libraries = require "fasc.library"
local scope = require "fasc.scope"
local timing = require "fasc.timing"

local M = {}

--- What became of a point. Those marked `failure` make the sweep's exit status 1.
---@type table<string, {failure: boolean}>
M.STATUS = {
    ok = {failure = false},            -- checked and timed
    checked = {failure = false},       -- checked only (--dry-run)
    skipped = {failure = false},       -- the sweep's skip() gave a reason
    unsupported = {failure = false},   -- this kernel or device cannot do it, with its reason
    out_of_memory = {failure = false},
    wrong = {failure = true},          -- the check found a wrong result: no speed
    error = {failure = true},
    timeout = {failure = true},        -- only with --isolate, as the next
    crashed = {failure = true},
}

local STATUS_OF_ERROR = {ENOMEM = "out_of_memory", EUNSUPPORTED = "unsupported"}

--- One point's row.
---@class fasc.Row
---@field point table      the axes' values and what derive() added
---@field status string    a key of M.STATUS
---@field reason string?   one line, unless the status is ok or checked
---@field timing fasc.Timing?
---@field check fasc.Verdict?
---@field flops number?    of one call
---@field bytes number?    that one call must move
---@field dtype string?    what it computes with
---@field plan table?      which kernel ran, and why
---@field roof {share: number, bound: string}? the share of what the device can do
---@field peak_memory number? bytes that tensors held at most
---@field versus {first: string, ratio: fasc.Ratio}? measured in turns with others: its time over
---       that of the first of them
---@field build table?     of another build of the library that computed it
---@field wall number      seconds that the point took in all

--- Is this error the end that Ctrl-C asks for?
---@param e any
---@return boolean
function M.is_canceled(e)
    return errors.is(e) and e.status == "ECANCELED"
end

local function status_of(e)
    if errors.is(e) then
        return STATUS_OF_ERROR[e.status] or "error", e.message
    end
    local text = tostring(e)
    return text:find("not enough memory", 1, true) and "out_of_memory" or "error", text
end

-- The sweep's own formula, or what the operation says of itself.
local function cost(sweep, name, point, op, options)
    if sweep[name] then
        return sweep[name](point, options)
    end
    return op[name]
end

-- ---- inputs that take turns ---------------------------------------------------------------

-- With cache = "rotate" the inputs' copies hold, all together, so many times what the caches do.
local ROTATE_FACTOR, ROTATE_MOST = 3, 512

-- How many operations take turns, each on tensors of its own.
local function turns(op, device)
    local cache = device:info().l2_bytes
    local count = math.max(2, math.ceil(ROTATE_FACTOR * cache / op.bytes) + 1)
    if cache == 0 or count > ROTATE_MOST then
        errors.raise("EUNSUPPORTED", "rotate: %s", cache == 0
            and "the caches' size is not known here"
            or ("%d copies of the inputs would be needed to exceed the caches"):format(count))
    end
    return count
end

local function make(sweep, point, o)
    local inputs = sweep.setup and sweep.setup(point, o.own) or nil
    local op = sweep.op(point, inputs, o.own)
    if point.build and point.build ~= "this" then
        op = libraries.port(op, point.build)
    end
    return op, inputs
end

-- The other operations that take turns with this one; nil when it stands alone.
local function others(sweep, point, op, o)
    if point.cache ~= "rotate" then
        return nil
    end
    local list = {}
    for i = 1, turns(op, o.device) - 1 do
        list[i] = make(sweep, point, o)
    end
    return list
end

-- ---- points -------------------------------------------------------------------------------

-- Up to the timing; returns what is to be timed, or nothing when the row is complete.
local function prepare(sweep, row, o)
    local point = row.point
    local op, inputs = make(sweep, point, o)
    row.plan, row.dtype = op.plan, op.dtype
    row.build = op.library and libraries.build_info(point.build) or nil
    row.flops = cost(sweep, "flops", point, op, o.own)
    row.bytes = cost(sweep, "bytes", point, op, o.own)
    if o.check then
        op:run()
        row.check = sweep.check and sweep.check(point, inputs, op, o.own) or op:check()
        if row.check.failed > 0 then
            row.status, row.reason = "wrong", row.check.message
            return
        end
    end
    if o.dry_run then
        row.status = "checked"
        return
    end
    return {row = row, op = op, others = others(sweep, point, op, o)}
end

local function fail(row, e)
    if M.is_canceled(e) then
        error(e, 0)
    end
    row.status, row.reason = status_of(e)
    row.timing = nil
end

-- Times what is prepared: one operation, or several in turns.
local function time(prepared, o)
    local first = prepared[1]
    if not first then
        return
    end
    local options = o.timing(first.row.point)
    o.device:reset_peak()
    if #prepared == 1 then
        options.rotate = first.others
        first.row.timing = timing.time(first.op, options)
    else
        local ops, rotate = {}, {}
        for i, item in ipairs(prepared) do
            ops[i], rotate[i] = item.op, item.others
        end
        options.rotate = first.others and rotate or nil
        local timings, ratios = interleave.time(ops, options)
        for i, item in ipairs(prepared) do
            item.row.timing = timings[i]
            item.row.versus = i > 1 and {first = o.label(first.row.point), ratio = ratios[i]} or nil
        end
    end
    local peak = o.device:memory().peak
    for _, item in ipairs(prepared) do
        item.row.peak_memory, item.row.status = peak, "ok"
    end
end

local function run(sweep, rows, o)
    local prepared = {}
    for _, row in ipairs(rows) do
        local reason = sweep.skip and sweep.skip(row.point, o.own)
        if reason then
            row.status, row.reason = "skipped", reason
        else
            local ok, item = pcall(prepare, sweep, row, o)
            if not ok then
                fail(row, item)
            else
                prepared[#prepared + 1] = item
            end
        end
    end
    local ok, e = pcall(time, prepared, o)
    for _, item in ipairs(ok and {} or prepared) do
        fail(item.row, e)
    end
end

--- Measures points: one, or several in turns.
---@param sweep fasc.Sweep
---@param points table[]
---@param o {device: fasc.Device, own: table, check: boolean, dry_run: boolean, timing: function,
---       label: function}
---@return fasc.Row[] one for each
function M.points(sweep, points, o)
    local start, rows = clock.now(), {}
    for i, point in ipairs(points) do
        rows[i] = {point = point}
    end
    collectgarbage()
    scope.scope(run, sweep, rows, o)
    for _, row in ipairs(rows) do
        row.wall = (clock.now() - start) / #rows
    end
    return rows
end

return M
