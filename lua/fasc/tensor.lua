-- tensor.lua - the tensor as Lua holds it: a table around a fasc_tensor handle that the collector,
-- t:free() or a scope ends. Views are here; values.lua adds what touches the elements and
-- print.lua how a tensor prints.
local fasc_ffi = require "fasc.ffi"
local devices = require "fasc.device"
local dtypes = require "fasc.dtype"
local errors = require "fasc.errors"
local memory = require "fasc.memory"
local options = require "fasc.options"
local scope = require "fasc.scope"
local shapes = require "fasc.shape"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

--- Elements of one dtype on one device, with any strides; possibly a view that shares its storage
--- with others. Indices and dimensions are 0-based, negative ones count from the end.
---@class fasc.Tensor
---@field shape number[]  sizes; shape[1] is dimension 0
---@field stride number[] in elements
---@field dtype string    "f16", "bf16", "f32", "f64", "i32", "i64", "u8"
---@field device fasc.Device
---@field rank number     how many dimensions
local Tensor = {}

--- The methods of tensors; other modules add to them.
M.methods = Tensor

local FIELDS = {shape = true, stride = true, dtype = true, device = true, rank = true}

-- What t.NAME may be: a set of names, for messages and completion.
local function names()
    local all = {}
    for _, set in ipairs {FIELDS, Tensor} do
        for name in pairs(set) do
            all[name] = true
        end
    end
    return all
end

--- The metatable of every tensor.
M.metatable = {
    __name = "fasc.tensor",
    __names = names,
    __index = function(_, name)
        local method = Tensor[name]
        if method then
            return method
        end
        if type(name) == "number" then
            errors.usage("tensor: no indexing with [%s]: use t:get(i, j, ...) for one element, "
                .. "t:slice(...) for a part, t:tolist() for all", options.show(name))
        end
        errors.usage("tensor: no field %s%s", options.show(name),
            options.hint(name, names()))
    end,
    __newindex = function(_, name)
        errors.usage("tensor: field %s cannot be set: t:fill(x) and t:copy_from(src) change "
            .. "elements", options.show(name))
    end,
    __concat = function(a, b)
        return tostring(a) .. tostring(b)
    end,
}

-- ---- life ---------------------------------------------------------------------------------

--- A Lua tensor from a C handle, which it owns from now on.
---@param handle ffi._handle* fasc_tensor *
---@return fasc.Tensor
function M.wrap(handle)
    local rank = C.fasc_tensor_rank(handle)
    local t = setmetatable({
        _handle = ffi.gc(handle, C.fasc_tensor_free),
        rank = rank,
        shape = shapes.list(C.fasc_tensor_shape(handle), rank),
        stride = shapes.list(C.fasc_tensor_stride(handle), rank),
        dtype = dtypes.name(C.fasc_tensor_dtype(handle)),
        device = devices.from_handle(C.fasc_tensor_device(handle)),
    }, M.metatable)
    scope.add(t)
    return t
end

--- Is this a tensor?
---@param value any
---@return boolean
function M.is(value)
    return options.typename(value) == "tensor"
end

--- "tensor[1,32,1024,128] f16 cuda:0"
---@param t fasc.Tensor
---@return string
function M.describe(t)
    return ("tensor[%s] %s %s"):format(shapes.text(t.shape), t.dtype, t.device.name)
end

--- The handle of an argument that must be a tensor; EINVAL when it is none or was freed.
---@param call string
---@param name string
---@param value any
---@return ffi._handle* fasc_tensor *
function M.argument(call, name, value)
    if not M.is(value) then
        errors.usage("%s: %s: must be a tensor, got %s", call, name, options.show(value))
    end
    if not value._handle then
        errors.usage("%s: %s: %s was freed", call, name, M.describe(value))
    end
    return value._handle
end

--- Calls a C function that makes a tensor: f(..., fasc_tensor **).
---@return fasc.Tensor
function M.make(f, ...)
    local result = ffi.new("fasc_tensor *[1]")
    local n = select("#", ...)
    local arguments = {...}
    arguments[n + 1] = result
    memory.call(f, unpack(arguments, 1, n + 1))
    return M.wrap(result[0])
end

--- A new tensor with unspecified contents. shape and dtype are checked already.
---@param shape number[]
---@param dtype string
---@param device fasc.Device
---@param stride number[]? row-major without it
---@return fasc.Tensor
function M.new(shape, dtype, device, stride)
    if stride then
        return M.make(C.fasc_tensor_empty_strided, device.handle, dtypes.code(dtype), #shape,
            shapes.array(shape), shapes.array(stride))
    end
    return M.make(C.fasc_tensor_empty, device.handle, dtypes.code(dtype), #shape,
        shapes.array(shape))
end

--- The `fasc_tensor *`, for calls of the C interface; it lives as long as the tensor.
---@return ffi._handle*
function Tensor:handle()
    return M.argument("handle", "tensor", self)
end

--- Ends this tensor now; its storage goes with the last tensor that looks into it. Calling it
--- again does nothing; any other use is an error.
function Tensor:free()
    if self._handle then
        C.fasc_tensor_free(ffi.gc(self._handle, nil))
        self._handle = false
    end
end

-- ---- looking ------------------------------------------------------------------------------

--- How many elements it has.
---@return number
function Tensor:numel()
    return shapes.numel(self.shape)
end

--- Do its elements lie in row-major order without gaps?
---@return boolean
function Tensor:is_contiguous()
    return C.fasc_tensor_is_contiguous(M.argument("is_contiguous", "tensor", self))
end

--- The address of element (0, 0, ...) as a C pointer to its elements (f16 and bf16 as uint16_t);
--- a device pointer on a GPU, NULL when there are no elements. It is valid as long as the tensor:
--- keep the tensor.
---@return ffi._handle*
function Tensor:data()
    local handle = M.argument("data", "tensor", self)
    return ffi.cast(dtypes.pointer(self.dtype), C.fasc_tensor_data(handle))
end

-- ---- views --------------------------------------------------------------------------------

--- A view that starts `offset` elements behind t's first one, with any strides >= 0; EINVAL where
--- it would leave the storage.
---@return fasc.Tensor
function M.view(t, offset, shape, stride)
    return M.make(C.fasc_tensor_view, t._handle, offset, #shape, shapes.array(shape),
        shapes.array(stride))
end

-- A dimension's number, 0-based; negative ones count from the end.
local function dimension(call, t, name, d)
    if not options.is_integer(d) or d < -t.rank or d >= t.rank then
        errors.usage("%s: %s: must be a dimension from 0 to %d (or %d to -1), got %s", call, name,
            t.rank - 1, -t.rank, options.show(d))
    end
    return d < 0 and d + t.rank or d
end

-- A bound in 0..n, where a negative one counts from the end.
local function bound(d, n, value, default, last)
    if value == nil then
        value = default
    end
    if not options.is_integer(value) or value < -n or value > last then
        errors.usage("slice: dimension %d: index %s is outside of its %.0f entries", d,
            options.show(value), n)
    end
    return value < 0 and value + n or value
end

--- A view of a part. For each dimension in order: an integer picks one entry and drops the
--- dimension, {a, b} keeps the half-open range [a, b) (b left out: to the end), nil keeps all, and
--- so do the dimensions past the last argument. Indices start at 0; negative ones count from the
--- end. EINVAL when an index lies outside.
---
---     scores:slice(0, 3)              -- the map of batch 0, head 3
---     scores:slice(nil, nil, {-64})   -- the last 64 queries
---@param ... integer|table|nil
---@return fasc.Tensor
function Tensor:slice(...)
    M.argument("slice", "tensor", self)
    local given = select("#", ...)
    if given > self.rank then
        errors.usage("slice: %d indices for rank %d", given, self.rank)
    end
    local offset, shape, stride = 0, {}, {}
    for d = 0, self.rank - 1 do
        local index = d < given and (select(d + 1, ...)) or nil
        local n, step = self.shape[d + 1], self.stride[d + 1]
        local first, last = 0, n
        if type(index) == "table" then
            first = bound(d, n, index[1], 0, n)
            last = bound(d, n, index[2], n, n)
            if last < first then
                errors.usage("slice: dimension %d: range {%s, %s} ends before it begins", d,
                    options.show(index[1]), options.show(index[2]))
            end
        elseif index ~= nil then
            first = bound(d, n, index, nil, n - 1)
        end
        offset = offset + first * step
        if index == nil or type(index) == "table" then
            shape[#shape + 1], stride[#stride + 1] = last - first, step
        end
    end
    if shapes.numel(shape) == 0 then
        offset = 0
    end
    return M.view(self, offset, shape, stride)
end

--- A view with two dimensions exchanged: k:transpose(2, 3), or k:transpose(-2, -1).
---@param d0 integer
---@param d1 integer
---@return fasc.Tensor
function Tensor:transpose(d0, d1)
    M.argument("transpose", "tensor", self)
    local a = dimension("transpose", self, "d0", d0) + 1
    local b = dimension("transpose", self, "d1", d1) + 1
    local shape, stride = {unpack(self.shape)}, {unpack(self.stride)}
    shape[a], shape[b] = shape[b], shape[a]
    stride[a], stride[b] = stride[b], stride[a]
    return M.view(self, 0, shape, stride)
end

-- The shape with -1 replaced by what is left for it.
local function infer(t, list)
    local known, open = 1, nil
    local shape = {}
    for d, n in ipairs(list) do
        if not options.is_integer(n) then
            return list
        elseif n == -1 and open then
            errors.usage("reshape: shape: only one size may be -1, got {%s}", shapes.text(list))
        elseif n == -1 then
            open, shape[d] = d, 1
        else
            shape[d] = n
            known = known * n
        end
    end
    if open then
        local left = t:numel() / known
        if left % 1 ~= 0 then
            errors.usage("reshape: %s has %.0f elements, which {%s} does not divide",
                M.describe(t), t:numel(), shapes.text(list))
        end
        shape[open] = left
    end
    return shape
end

--- A view with another shape of as many elements; one size may be -1, meaning what is left.
--- EINVAL where the strides do not allow it: t:contiguous():reshape{...} copies first.
---@param shape number[]
---@return fasc.Tensor
function Tensor:reshape(shape)
    M.argument("reshape", "tensor", self)
    if options.typename(shape) == "table" then
        shape = infer(self, shape)
    end
    shape = shapes.check("reshape", "shape", shape)
    if shapes.numel(shape) ~= self:numel() then
        errors.usage("reshape: %s has %.0f elements, {%s} %.0f", M.describe(self), self:numel(),
            shapes.text(shape), shapes.numel(shape))
    end
    local result = ffi.new("fasc_tensor *[1]")
    local status = C.fasc_tensor_reshape(self._handle, #shape, shapes.array(shape), result)
    if status == C.FASC_EINVAL then
        errors.usage("reshape: %s with strides {%s} cannot be seen as {%s} without a copy; use "
            .. "t:contiguous():reshape{...}", M.describe(self), shapes.text(self.stride),
            shapes.text(shape))
    end
    errors.check(status)
    return M.wrap(result[0])
end

return M
