-- dtype.lua - element types by name: "f16", "bf16", "f32", "f64" to compute with, "i32", "i64",
-- "u8" to store. The spellings of fasc_dtype_parse (float16, half, ...) are understood too.
local fasc_ffi = require "fasc.ffi"
local errors = require "fasc.errors"
local options = require "fasc.options"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

--- The dtypes' names, floating ones first.
M.names = {}

-- What an element looks like in C memory; f16 and bf16 as their bits.
local C_TYPE = {
    f16 = "uint16_t", bf16 = "uint16_t", f32 = "float", f64 = "double",
    i32 = "int32_t", i64 = "int64_t", u8 = "uint8_t",
}

local info = {}
for code = 1, 7 do
    local name = fasc_ffi.string(C.fasc_dtype_name(code))
    M.names[code] = name
    info[name] = {
        code = code,
        size = tonumber(C.fasc_dtype_size(code)),
        pointer = ffi.typeof(C_TYPE[name] .. " *"),
        is_float = code <= 4,
    }
end

local parsed = ffi.new("fasc_dtype[1]")

--- The canonical name of a dtype, or nil when the text names none.
---@param name any
---@return string?
function M.find(name)
    if info[name] then
        return name
    end
    if type(name) == "string" and C.fasc_dtype_parse(name, parsed) == 0 then
        return M.names[tonumber(parsed[0])]
    end
end

--- The canonical name of a dtype; EINVAL with the nearest known name otherwise.
---@param call string
---@param argument string
---@param name any
---@return string
function M.parse(call, argument, name)
    local found = M.find(name)
    if not found then
        local near = type(name) == "string" and options.nearest(name, M.names)
        errors.usage("%s: %s: no dtype %s%s (%s)", call, argument, options.show(name),
            near and ("; did you mean '%s'?"):format(near) or "", table.concat(M.names, ", "))
    end
    return found
end

--- The fasc_dtype of a canonical name.
function M.code(name)
    return info[name].code
end

--- Bytes of one element.
function M.size(name)
    return info[name].size
end

--- The C pointer type to elements: "f32" gives `float *`.
function M.pointer(name)
    return info[name].pointer
end

--- Is it one of f16, bf16, f32, f64?
function M.is_float(name)
    return info[name].is_float
end

--- The canonical name of a fasc_dtype.
function M.name(code)
    return M.names[tonumber(code)]
end

return M
