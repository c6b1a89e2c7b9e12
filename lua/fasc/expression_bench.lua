-- expression_bench.lua - %bench: how long an expression takes, with the harness's statistics. A
-- call of fasc.attention or fasc.matmul, and an fasc.op, run in the library's own loop, where
-- nothing of Lua and no allocation lies between two calls; any other expression is called from Lua.
local clock = require "fasc.clock"
local devices = require "fasc.device"
local options = require "fasc.options"
local report = require "fasc.report"
local timing = require "fasc.timing"

local M = {}

local WARMUP, MAX_SECONDS, MIN_SAMPLES, MAX_SAMPLES = 0.05, 1, 5, 200
local LEAST_SAMPLE = 1e-3 -- a sample is as many calls as take this long
local TARGET_RSE = 0.005

--- What %bench found; tostring says it.
---@class fasc.ExpressionTiming
---@field timing fasc.Timing
---@field op fasc.Op? what was timed, where it is one
local metatable = {
    __name = "fasc.expression_timing",
    __tostring = function(result)
        local t, op = result.timing, result.op
        local lines = {("median %s, 5%% to 95%%: %s to %s, min %s, %d x %d calls%s"):format(
            report.time(t.median), report.time(t.p5), report.time(t.p95), report.time(t.min), t.n,
            t.batch, t.converged and "" or ", not converged")}
        if op and op.flops > 0 then
            lines[#lines + 1] = ("%.4g GFLOP/s, %.4g GB/s"):format(op.flops / t.median / 1e9,
                op.bytes / t.median / 1e9)
        end
        lines[#lines + 1] = op and ("in the library's loop: %s"):format(
            op.plan and tostring(op.plan) or tostring(op)) or "called from Lua, device waited for"
        return table.concat(lines, "\n")
    end,
}

local function new(t, op)
    return setmetatable({timing = t, op = op}, metatable)
end

-- "attention(q, k, v)" alone becomes the operation that it runs.
local function as_op(text)
    local name, list = text:match "^%s*=?%s*fasc%.([%l_]+)%s*(%b())%s*;?%s*$"
    if not name then
        name, list = text:match "^%s*=?%s*([%l_]+)%s*(%b())%s*;?%s*$"
    end
    if name ~= "attention" and name ~= "matmul" then
        return nil
    end
    return loadstring(("return require('fasc.op').%s%s"):format(name, list), "=prompt")
end

local function synchronize()
    for _, device in pairs(devices.opened()) do
        devices.synchronize(device)
    end
end

-- Seconds of `count` calls.
local function seconds(f, count)
    synchronize()
    local start = clock.now()
    for _ = 1, count do
        f()
    end
    synchronize()
    return clock.now() - start
end

-- Warm-up, which also says how many calls make a sample; then samples until the median is known.
local function sample(f)
    local count, warm = 1, clock.now()
    while true do
        local took = seconds(f, count)
        if took < LEAST_SAMPLE then
            count = count * math.max(2, math.min(100, math.ceil(LEAST_SAMPLE / took)))
        elseif clock.now() - warm >= WARMUP then
            break
        end
    end
    local samples, start = {}, clock.now()
    local t, late
    repeat
        samples[#samples + 1] = seconds(f, count) / count
        t = timing.statistics(samples)
        late = clock.now() - start >= MAX_SECONDS
    until #samples == MAX_SAMPLES or #samples >= MIN_SAMPLES and (late or t.rse <= TARGET_RSE)
        or clock.now() - start >= 10 * MAX_SECONDS
    t.batch, t.converged = count, t.rse <= TARGET_RSE
    return t
end

--- Times an expression.
---@param text string  as it was typed
---@param chunk function the same, compiled
---@return fasc.ExpressionTiming
function M.run(text, chunk)
    local make = as_op(text)
    local op = make and make() or nil
    if not op then
        local value = chunk()
        op = options.typename(value) == "op" and value or nil
    end
    if op then
        return new(timing.time(op, {max_seconds = MAX_SECONDS}), op)
    end
    return new(sample(chunk))
end

return M
