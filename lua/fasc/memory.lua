-- memory.lua - how much memory tensors hold, and how Lua's collector keeps up with it. The
-- collector sees a tensor as a few bytes, whatever its storage. So the library counts: past a
-- soft limit an allocation fails with EPRESSURE, unreachable tensors are collected, the limit is
-- set anew above what is still alive, and the allocation is tried again.
local fasc_ffi = require "fasc.ffi"
local errors = require "fasc.errors"
local devices = require "fasc.device"
local options = require "fasc.options"

local C = fasc_ffi.C

local M = {}

local FIELDS = {"live", "peak", "cached", "soft_limit", "free", "total", "count"}

-- Garbage that a device may hold before a collection: an eighth of its memory, at most 4 GiB.
local HEADROOM_SHARE = 1 / 8
local HEADROOM_MOST = 4 * 2^30

local function size_text(bytes)
    for _, unit in ipairs {"B", "KiB", "MiB", "GiB"} do
        if bytes < 1024 or unit == "GiB" then
            return ("%.4g %s"):format(bytes, unit)
        end
        bytes = bytes / 1024
    end
end

local Memory = {
    __tostring = function(m)
        return ("live %s in %.0f storages, peak %s, cached %s, free %s of %s"):format(
            size_text(m.live), m.count, size_text(m.peak), size_text(m.cached), size_text(m.free),
            size_text(m.total))
    end,
}

local function get(device)
    local stats = fasc_ffi.new "fasc_memory_stats"
    errors.check(C.fasc_memory_get(device.handle, stats))
    local t = {}
    for _, field in ipairs(FIELDS) do
        t[field] = tonumber(stats[field])
    end
    return setmetatable(t, Memory)
end

---@class fasc.Memory
---@field live number       bytes held by tensors
---@field peak number       the most that `live` has been since device:reset_peak()
---@field cached number     bytes that the pool keeps for reuse
---@field soft_limit number past this many live bytes Lua collects garbage; 0 = off
---@field free number       bytes that the device says are free
---@field total number      bytes of the device
---@field count number      storages alive

--- Memory of a device; of the default one without an argument.
---@param device string|fasc.Device|nil
---@return fasc.Memory
function M.memory(device)
    return get(devices.open(device))
end

local function set_limit(device, bytes)
    errors.check(C.fasc_memory_set_soft_limit(device.handle, bytes))
end

-- Room for as much garbage as there is live data, but never for more than half of what is free.
local function adapt_limit(device)
    if device.headroom > 0 then
        local stats = get(device)
        local room = math.min(math.max(device.headroom, stats.live), stats.free / 2)
        set_limit(device, math.max(1, stats.live + math.floor(room)))
    end
end

devices.on_open(function(device)
    device.headroom = math.floor(math.min(get(device).total * HEADROOM_SHARE, HEADROOM_MOST))
    adapt_limit(device)
end)

local function each_device(f)
    for _, device in pairs(devices.opened()) do
        f(device)
    end
end

-- The last try: nothing unreachable, nothing cached, no limit but the device's own.
local function call_without_limit(f, ...)
    collectgarbage()
    each_device(function(device)
        errors.check(C.fasc_memory_trim(device.handle))
        set_limit(device, 0)
    end)
    local status = f(...)
    each_device(adapt_limit)
    return status
end

--- Calls a C function that may allocate, with the collector's help: f(...) must return a
--- fasc_status. Raises what remains an error.
---@param f function|ffi.cdata*
function M.call(f, ...)
    local status = f(...)
    if status == C.FASC_EPRESSURE then
        collectgarbage()
        each_device(adapt_limit)
        status = f(...)
    end
    if status == C.FASC_EPRESSURE or status == C.FASC_ENOMEM then
        status = call_without_limit(f, ...)
    end
    errors.check(status)
end

local methods = devices.methods

--- Like fasc.memory(device).
function methods:memory()
    return get(self)
end

--- Makes `peak` start again from what is live now.
function methods:reset_peak()
    errors.check(C.fasc_memory_reset_peak(self.handle))
end

--- Gives the pool's cached blocks back to the system.
function methods:trim()
    errors.check(C.fasc_memory_trim(self.handle))
end

--- How many bytes of unreachable tensors this device may hold before Lua collects them; 0 =
--- collect only when an allocation fails. Default: an eighth of its memory, at most 4 GiB.
---@param bytes number
function methods:set_headroom(bytes)
    options.argument("set_headroom", "bytes", bytes, {is = "integer", min = 0})
    self.headroom = bytes
    if bytes == 0 then
        set_limit(self, 0)
    else
        adapt_limit(self)
    end
end

return M
