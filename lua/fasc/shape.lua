-- shape.lua - shapes and indices on their way between Lua tables and C arrays.
local ffi = require "ffi"
local errors = require "fasc.errors"
local options = require "fasc.options"

local M = {}

M.MAX_RANK = 8

local dims_type = ffi.typeof("int64_t[8]")

--- "1,32,1024,128"
---@param list number[]
---@return string
function M.text(list)
    local words = {}
    for d, n in ipairs(list) do
        words[d] = ("%.0f"):format(n)
    end
    return table.concat(words, ",")
end

--- The product of the sizes.
---@param list number[]
---@return number
function M.numel(list)
    local n = 1
    for _, size in ipairs(list) do
        n = n * size
    end
    return n
end

--- A C array with the list's numbers.
---@param list number[]
---@return ffi.cdata*
function M.array(list)
    local dims = dims_type()
    for d, n in ipairs(list) do
        dims[d - 1] = n
    end
    return dims
end

--- A Lua list with the first `rank` numbers of a C array.
---@param dims ffi.cdata*
---@param rank number
---@return number[]
function M.list(dims, rank)
    local list = {}
    for d = 1, rank do
        list[d] = tonumber(dims[d - 1])
    end
    return list
end

--- Row-major strides of a shape, in elements.
---@param list number[]
---@return number[]
function M.strides(list)
    local stride, step = {}, 1
    for d = #list, 1, -1 do
        stride[d] = step
        step = step * math.max(list[d], 1)
    end
    return stride
end

--- The 0-based indices of element number n in row-major order.
---@param list number[] shape
---@param n number
---@return number[]
function M.unravel(list, n)
    local index = {}
    for d = #list, 1, -1 do
        index[d] = n % list[d]
        n = (n - index[d]) / list[d]
    end
    return index
end

--- Checks a shape that a user gave and returns a copy: at most 8 integers >= 0.
---@param call string
---@param name string
---@param list any
---@return number[]
function M.check(call, name, list)
    if options.typename(list) ~= "table" then
        errors.usage("%s: %s: must be a table of sizes such as {2, 3}, got %s", call, name,
            options.show(list))
    end
    local copy, entries = {}, 0
    for _ in pairs(list) do
        entries = entries + 1
    end
    for d = 1, entries do
        local n = list[d]
        if not options.is_integer(n) or n < 0 then
            errors.usage("%s: %s: size %d must be an integer >= 0, got %s", call, name, d - 1,
                options.show(n))
        end
        copy[d] = n
    end
    if entries > M.MAX_RANK then
        errors.usage("%s: %s: rank %d is more than %d", call, name, entries, M.MAX_RANK)
    end
    return copy
end

--- Have both lists the same numbers?
---@param a number[]
---@param b number[]
---@return boolean
function M.equal(a, b)
    if #a ~= #b then
        return false
    end
    for d = 1, #a do
        if a[d] ~= b[d] then
            return false
        end
    end
    return true
end

return M
