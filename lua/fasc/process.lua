-- process.lua - what this process holds of the machine's memory, as the kernel counts it: also what
-- the library's own accounting cannot see (other libraries' buffers, thread stacks).
local errors = require "fasc.errors"

local M = {}

local function status_kib(field)
    local file = io.open("/proc/self/status", "r")
    local text = file and file:read "*a" or ""
    if file then
        file:close()
    end
    local kib = text:match("\n" .. field .. ":%s*(%d+) kB")
    if not kib then
        errors.raise("EUNSUPPORTED", "process: /proc/self/status has no %s here", field)
    end
    return tonumber(kib)
end

--- Calls fn(...) and returns by how many bytes the resident memory grew while it ran, at most.
--- Memory that fn touches again without growing is not counted.
---@param fn function
---@return number
function M.peak_growth(fn, ...)
    local file = io.open("/proc/self/clear_refs", "w")
    if not (file and file:write "5" and file:close()) then
        errors.raise("EUNSUPPORTED", "process: the kernel does not let the peak be reset")
    end
    local before = status_kib "VmRSS"
    fn(...)
    return 1024 * math.max(0, status_kib "VmHWM" - before)
end

return M
