-- trial.lua - what trying a configuration tells at the prompt: how long the call takes, how long
-- the library's own choice would take, and what the compiler says of the kernel.
local attention = require "fasc.attention"
local fasc_ffi = require "fasc.ffi"
local compile_reports = require "fasc.compile_report"
local errors = require "fasc.errors"
local ops = require "fasc.op"
local report = require "fasc.report"
local timing = require "fasc.timing"

local C = fasc_ffi.C

local M = {}

local LOOK = {max_seconds = 0.25, min_samples = 3, warmup_seconds = 0.01} -- a trial, no benchmark
local ASKED = {"arch", "block_m", "block_n", "stages", "warps"}

-- Was more asked for than a kernel's name?
local function is_configured(kernel)
    for _, field in ipairs(ASKED) do
        if kernel[field] then
            return true
        end
    end
    return false
end

local function time_text(op, t)
    return ("%s median of %d%s"):format(report.time(t.median), t.n * t.batch,
        op.flops > 0 and (", %.4g GFLOP/s"):format(op.flops / t.median / 1e9) or "")
end

-- The compile reports of a call; nil where kernels are compiled with the program.
local function reports(op)
    local ok, list = pcall(compile_reports.all, function(index, struct, count)
        return C.fasc_attention_inspect(op.args, index, struct, count)
    end, errors.check)
    if not ok and list.status ~= "EUNSUPPORTED" then
        error(list, 0)
    end
    return ok and list or nil
end

--- The lines that follow a result whose configuration was asked for; nil for any other value, and
--- where q, k or v is gone.
---@param value any
---@return string?
function M.report(value)
    local origin = attention.origin(value)
    if not origin or not is_configured(origin.kernel) then
        return nil
    end
    local op = ops.of(value)
    if not op then
        return nil
    end
    local own = ops.of(value, {})
    local chosen = timing.time(own, LOOK)
    local t = timing.time(op, LOOK) -- last, so that the outputs are this configuration's
    local lines = {
        ("%-8s %s"):format("time", time_text(op, t)),
        ("%-8s %s (%s %s)"):format("default", time_text(own, chosen), own.plan.kernel,
            own.plan.config),
    }
    local list = reports(op)
    lines[#lines + 1] = list and tostring(list) or nil
    return table.concat(lines, "\n")
end

return M
