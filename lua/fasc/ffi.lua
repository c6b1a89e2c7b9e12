-- ffi.lua - the C library as Lua sees it: the declarations of fasc.h (the host hands over the
-- marked region as the module "fasc.cdef"), checked against the library that is loaded, and the
-- few words that every module needs to talk to it.
local ffi = require "ffi"

-- The interface that these modules are written for: FASC_ABI_VERSION of src/fasc.h.
local ABI_VERSION = 2

local STRUCTS = {
    "fasc_device_info", "fasc_memory_stats", "fasc_summary", "fasc_difference",
    "fasc_matmul_args", "fasc_kernel_config", "fasc_attention_args", "fasc_attention_plan",
    "fasc_kernel_info", "fasc_check_entry", "fasc_check_result", "fasc_copy_args",
    "fasc_timing_options", "fasc_timing", "fasc_file_tensor", "fasc_heatmap_args",
    "fasc_heatmap_info", "fasc_pool_args", "fasc_pool_info",
    "fasc_function_report", "fasc_compile_report",
    "fasc_device_state",
}

-- LuaJIT keeps C declarations for the life of the process and rejects a second reading, while
-- modules may be loaded again (a test runner does so): ask LuaJIT itself whether they are there.
if not pcall(ffi.typeof, "fasc_attention_args") then
    ffi.cdef(require "fasc.cdef")
end

local C = ffi.C

local abi = C.fasc_abi_version()
if abi ~= ABI_VERSION then
    error(("fasc: libfasc has interface version %d; these Lua modules need %d")
        :format(abi, ABI_VERSION), 0)
end
for _, name in ipairs(STRUCTS) do
    local here, there = ffi.sizeof(name), tonumber(C.fasc_struct_size(name))
    if here ~= there then
        error(("fasc: struct %s has %d bytes in Lua and %d in libfasc")
            :format(name, here, there), 0)
    end
end

local M = {ffi = ffi, C = C, structs = STRUCTS}

local types = {}
for _, name in ipairs(STRUCTS) do
    types[name] = ffi.typeof(name)
end

--- A zeroed struct of fasc.h with its `size` field set (where it has one): M.new "fasc_summary".
---@param name string
---@return ffi.cdata*
function M.new(name)
    local struct = types[name]()
    if ffi.offsetof(types[name], "size") then
        struct.size = ffi.sizeof(types[name])
    end
    return struct
end

--- A Lua string from a C string; nil for NULL.
---@param text ffi.cdata*
---@return string?
function M.string(text)
    if text ~= nil then
        return ffi.string(text)
    end
end

local anchored = setmetatable({}, {__mode = "k"})

--- Keeps a Lua value alive as long as the C object that points into it; returns the C object.
---@param object ffi.cdata*
---@param value any
---@return ffi.cdata*
function M.anchor(object, value)
    anchored[object] = value
    return object
end

--- A C array (const char *[]) of the strings in a list.
---@param list string[]
---@return ffi.cdata*
function M.strings(list)
    return M.anchor(ffi.new("const char *[?]", #list + 1, list), list)
end

return M
