-- measure.lua - one point of a sweep, from its inputs to its row. A result is checked before it is
-- timed; whatever goes wrong is the row's status and reason, and never the sweep's end. Only a
-- cancellation passes through.
local clock = require "fasc.clock"
local errors = require "fasc.errors"
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

local function run(sweep, row, o)
    local point = row.point
    local inputs = sweep.setup and sweep.setup(point, o.own) or nil
    local op = sweep.op(point, inputs, o.own)
    row.plan, row.dtype = op.plan, op.dtype
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
    o.device:reset_peak()
    row.timing = timing.time(op, o.timing(point))
    row.peak_memory = o.device:memory().peak
    row.status = "ok"
end

--- Measures one point.
---@param sweep fasc.Sweep
---@param point table
---@param o {device: fasc.Device, own: table, check: boolean, dry_run: boolean, timing: function}
---@return fasc.Row
function M.point(sweep, point, o)
    local start = clock.now()
    local row = {point = point}
    local reason = sweep.skip and sweep.skip(point, o.own)
    if reason then
        row.status, row.reason = "skipped", reason
    else
        collectgarbage()
        local ok, e = pcall(scope.scope, run, sweep, row, o)
        if not ok then
            if M.is_canceled(e) then
                error(e, 0)
            end
            row.status, row.reason = status_of(e)
            row.timing = nil
        end
    end
    row.wall = clock.now() - start
    return row
end

return M
