-- kernels.lua - the attention kernels of a device, and how one is chosen by name or configuration.
local fasc_ffi = require "fasc.ffi"
local devices = require "fasc.device"
local errors = require "fasc.errors"
local options = require "fasc.options"

local C = fasc_ffi.C

local M = {}

---@class fasc.Kernel
---@field name string     "flash"
---@field arch string     "avx512", "sm_90a"
---@field summary string  what it is and when it is right
---@field supports string dtypes, head_dim, outputs

local TEXTS = {"name", "arch", "summary", "supports"}

local list_metatable = {
    __tostring = function(list)
        local lines = {}
        for i, kernel in ipairs(list) do
            lines[i] = ("%-10s %-9s %s\n%20s %s"):format(kernel.name, kernel.arch, kernel.summary,
                "", kernel.supports)
        end
        return table.concat(lines, "\n")
    end,
}

--- The kernels of a device, best first; of the default device without an argument.
---@param device string|fasc.Device|nil
---@return fasc.Kernel[]
function M.list(device)
    device = devices.open(device)
    local list, info = setmetatable({}, list_metatable), fasc_ffi.new "fasc_kernel_info"
    while C.fasc_kernel_describe(device.handle, #list, info) == 0 do
        local kernel = {}
        for _, field in ipairs(TEXTS) do
            kernel[field] = fasc_ffi.string(info[field])
        end
        list[#list + 1] = kernel
    end
    return list
end

---@class fasc.KernelConfig a configuration; what is left out is the library's choice
---@field name string?    "reference", "naive", "blas", "flash"
---@field arch string?    "sm_80", "sm_90a", "avx2", ...
---@field block_m number? query rows of a tile
---@field block_n number? keys of a tile
---@field stages number?  K/V tiles in flight
---@field warps number?   warps, or consumer warpgroups, of a block

local SIZE = {is = "integer", min = 1, max = 2^31 - 1}
local CONFIG = {
    name = {is = "string"}, arch = {is = "string"},
    block_m = SIZE, block_n = SIZE, stages = SIZE, warps = SIZE,
}

local function check_name(call, device, name)
    local names = {}
    for _, kernel in ipairs(M.list(device)) do
        if kernel.name == name then
            return
        end
        names[kernel.name] = true
    end
    errors.usage("%s: kernel: %s has no kernel '%s'%s", call, device.name, name,
        options.hint(name, names))
end

--- Writes a kernel option into a fasc_kernel_config. The struct points into the strings of the
--- returned table, which must live as long.
---@param call string
---@param device fasc.Device
---@param kernel string|fasc.KernelConfig|nil
---@param config ffi.cdata* fasc_kernel_config
---@return table
function M.configure(call, device, kernel, config)
    if type(kernel) == "string" then
        kernel = {name = kernel}
    end
    local checked = options.check(call .. ": kernel", kernel, CONFIG)
    if checked.name then
        check_name(call, device, checked.name)
    end
    for field, value in pairs(checked) do
        config[field] = value
    end
    return checked
end

return M
