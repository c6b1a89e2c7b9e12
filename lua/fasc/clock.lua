-- clock.lua - the time that has passed, as opposed to os.clock's time that was computed.
local ffi = require "ffi"

local M = {}

if not pcall(ffi.typeof, "struct fasc_timespec") then
    ffi.cdef [[
        struct fasc_timespec { long seconds, nanoseconds; };
        int clock_gettime(int clock, struct fasc_timespec *time);
    ]]
end

local MONOTONIC = 1 -- Linux
local time = ffi.new "struct fasc_timespec"

--- Seconds since some moment in the past; never goes back.
---@return number
function M.now()
    ffi.C.clock_gettime(MONOTONIC, time)
    return tonumber(time.seconds) + 1e-9 * tonumber(time.nanoseconds)
end

return M
