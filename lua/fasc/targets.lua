-- targets.lua - measured values beside what they are meant to reach.
local json = require "fasc.json"

local M = {}

--- One target: a value that must be at least, or at most, a number.
---@class fasc.Target
---@field [1] string name
---@field [2] number value
---@field least number?
---@field most number?

--- Prints each target with its outcome and returns them as a summary for a sweep's record, and
--- whether any was missed: what a sweep's finish() returns.
---@param list fasc.Target[]
---@param write fun(line: string)
---@return table summary
---@return boolean missed
function M.judge(list, write)
    local summary, missed, width = json.array(), false, 0
    for _, t in ipairs(list) do
        width = math.max(width, #t[1])
    end
    for i, t in ipairs(list) do
        local met = (not t.least or t[2] >= t.least) and (not t.most or t[2] <= t.most)
        missed = missed or not met
        write(("%-" .. width .. "s  %8.3f  (%s %.3g: %s)"):format(t[1], t[2],
            t.least and "at least" or "at most", t.least or t.most, met and "met" or "MISSED"))
        summary[i] = json.object {
            {"name", t[1]}, {"value", t[2]}, {"least", t.least}, {"most", t.most}, {"met", met},
        }
    end
    return json.object {{"targets", summary}}, missed
end

return M
