-- device.lua - the machines that tensors live on: "cpu", "cuda:0", ...
local fasc_ffi = require "fasc.ffi"
local errors = require "fasc.errors"
local options = require "fasc.options"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

--- A device. tostring(dev) is its name; there is one object per device.
---@class fasc.Device
---@field name string "cpu", "cuda:0"
---@field handle ffi.cdata* fasc_device *
---@field headroom number see device:set_headroom
local Device = {}

local FIELDS = {name = true, handle = true, headroom = true}

local function names()
    local all = {}
    for _, set in ipairs {FIELDS, Device} do
        for name in pairs(set) do
            all[name] = true
        end
    end
    return all
end

local metatable = {
    __name = "fasc.device",
    __index = function(_, name)
        if Device[name] then
            return Device[name]
        end
        errors.usage("device: no field %s%s", options.show(name), options.hint(name, names()))
    end,
    __tostring = function(device)
        return device.name
    end,
    __concat = function(a, b)
        return tostring(a) .. tostring(b)
    end,
    __names = names,
}

-- Every device opened so far, by name.
local opened = {}

-- Runs once for each device, when it is opened; fasc.memory sets its soft limit here.
local on_open = function() end

--- Registers what to do with each device as it is opened.
function M.on_open(f)
    on_open = f
end

--- The devices opened so far, by name.
---@return table<string, fasc.Device>
function M.opened()
    return opened
end

--- The device object of a C handle.
---@param handle ffi.cdata* fasc_device *
---@return fasc.Device
function M.from_handle(handle)
    local name = fasc_ffi.string(C.fasc_device_name(handle))
    local device = opened[name]
    if not device then
        device = setmetatable({name = name, handle = handle}, metatable)
        opened[name] = device
        on_open(device)
    end
    return device
end

local host = package.loaded["fasc.host"]
local default_name = host and host.device

--- Sets the device that fasc.device() gives and that tensors made without `device` use, as
--- --device does.
---@param name string
function M.set_default(name)
    default_name = name
end

local result = ffi.new("fasc_device *[1]")

--- Opens a device: "cpu", "cuda" (= "cuda:0"), "cuda:1", ... Without a name the one given to
--- fasc-bench with --device, else the best present ("cuda:0" when usable, else "cpu").
--- A device is returned as it is. Errors: EINVAL no such name; ENODEVICE not usable, and why.
---@param name string|fasc.Device|nil
---@return fasc.Device
function M.open(name)
    if options.typename(name) == "device" then
        return name
    end
    if name == nil then
        name = default_name
    end
    if opened[name] then
        return opened[name]
    end
    if name ~= nil and type(name) ~= "string" then
        errors.usage("device: name: must be a string such as \"cpu\" or a device, got %s",
            options.show(name))
    end
    errors.check(C.fasc_device_open(name, result))
    return M.from_handle(result[0])
end

--- The usable devices, as a list, and a table that says why a backend has none:
--- {cuda = "cuda: no driver ..."}.
---@return fasc.Device[]
---@return table<string, string>
function M.list()
    local devices, reasons = {}, {}
    local count = ffi.new("int32_t[1]")
    for _, backend in ipairs {"cuda", "cpu"} do
        if C.fasc_device_count(backend, count) ~= 0 then
            reasons[backend] = fasc_ffi.string(C.fasc_last_error())
        else
            for i = 0, count[0] - 1 do
                devices[#devices + 1] = M.open(backend == "cpu" and "cpu" or backend .. ":" .. i)
            end
        end
    end
    return devices, reasons
end

--- What the device is: name, index, model, arch ("sm_90", "avx512"), driver, runtime, units
--- (multiprocessors or threads), memory_total, memory_free, l2_bytes, smem_per_block (bytes).
---@return table
function Device:info()
    local info = fasc_ffi.new "fasc_device_info"
    errors.check(C.fasc_device_get_info(self.handle, info))
    local t = {index = info.index, units = info.units}
    for _, field in ipairs {"name", "model", "arch", "driver", "runtime"} do
        t[field] = fasc_ffi.string(info[field])
    end
    for _, field in ipairs {"memory_total", "memory_free", "l2_bytes", "smem_per_block"} do
        t[field] = tonumber(info[field])
    end
    return t
end

local STATE = {"clock_mhz", "clock_max_mhz", "memory_clock_mhz", "power_watts", "power_max_watts",
    "temperature"}

--- How it runs at this moment: clock_mhz, clock_max_mhz, memory_clock_mhz, power_watts,
--- power_max_watts, temperature (degrees Celsius), throttle (sum of fasc_throttle). What it does
--- not tell is nil.
---@return table? state nil for a device that tells nothing
---@return string? reason
function Device:state()
    local state = fasc_ffi.new "fasc_device_state"
    local status = C.fasc_device_get_state(self.handle, state)
    if status == C.FASC_EUNSUPPORTED then
        return nil, fasc_ffi.string(C.fasc_last_error())
    end
    errors.check(status)
    local t = {throttle = state.throttle}
    for _, field in ipairs(STATE) do
        t[field] = state[field] > 0 and state[field] or nil
    end
    return t
end

--- Waits for all work queued on the device.
function Device:synchronize()
    errors.check(C.fasc_device_synchronize(self.handle))
end

--- Waits for all work queued on a device (the default one without an argument).
---@param device string|fasc.Device|nil
function M.synchronize(device)
    M.open(device):synchronize()
end

--- Sets how many threads CPU kernels use; 0 = one per usable core.
---@param n number
function M.set_num_threads(n)
    options.argument("set_num_threads", "n", n, {is = "integer", min = 0})
    errors.check(C.fasc_set_num_threads(n))
end

--- How many threads CPU kernels use.
---@return number
function M.num_threads()
    return C.fasc_num_threads()
end

M.methods = Device

return M
