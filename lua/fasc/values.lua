-- values.lua - the tensor methods that touch elements: copies and conversions, single elements,
-- Lua tables, statistics and comparisons. They wait for the device where they hand back numbers.
local fasc_ffi = require "fasc.ffi"
local devices = require "fasc.device"
local dtypes = require "fasc.dtype"
local errors = require "fasc.errors"
local memory = require "fasc.memory"
local options = require "fasc.options"
local shapes = require "fasc.shape"
local tensors = require "fasc.tensor"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local Tensor = tensors.methods

-- ---- copying ------------------------------------------------------------------------------

--- Copies the elements of src, which must have the same shape, into this tensor, converted to its
--- dtype (round to nearest even; to integers: truncated and saturated). Returns this tensor.
---@param src fasc.Tensor
---@return fasc.Tensor
function Tensor:copy_from(src)
    local dst_handle = tensors.argument("copy_from", "tensor", self)
    local src_handle = tensors.argument("copy_from", "src", src)
    memory.call(C.fasc_tensor_copy, src_handle, dst_handle)
    return self
end

--- A copy with its own storage, in row-major order.
---@return fasc.Tensor
function Tensor:clone()
    tensors.argument("clone", "tensor", self)
    return tensors.new(self.shape, self.dtype, self.device):copy_from(self)
end

--- The same elements in row-major order without gaps: a copy, or a view where they lie so already.
---@return fasc.Tensor
function Tensor:contiguous()
    return self:is_contiguous() and self:reshape(self.shape) or self:clone()
end

local TO = {dtype = {is = "string"}, device = {is = "string|device"}}

-- What t:to() was given, as a table: a dtype or a device may stand for itself.
local function target(given)
    if options.typename(given) == "device" then
        return {device = given}
    elseif type(given) ~= "string" then
        return options.check("to", given, TO)
    elseif dtypes.find(given) then
        return {dtype = given}
    elseif given:match("^cpu") or given:match("^cuda") or given == "auto" then
        return {device = given}
    end
    local near = options.nearest(given, {"cpu", "cuda", unpack(dtypes.names)})
    errors.usage("to: '%s' is no dtype and no device%s (%s; cpu, cuda:0, ...)", given,
        near and ("; did you mean '%s'?"):format(near) or "", table.concat(dtypes.names, ", "))
end

--- The same elements as another dtype or on another device: t:to("f32"), t:to("cpu"),
--- t:to{dtype = "f16", device = "cuda:0"}. A copy; a view of this tensor where nothing changes.
---@param to string|fasc.Device|{dtype: string?, device: string|fasc.Device|nil}
---@return fasc.Tensor
function Tensor:to(to)
    tensors.argument("to", "tensor", self)
    to = target(to)
    local dtype = to.dtype and dtypes.parse("to", "dtype", to.dtype) or self.dtype
    local device = to.device and devices.open(to.device) or self.device
    if dtype == self.dtype and device == self.device then
        return self:slice()
    end
    return tensors.new(self.shape, dtype, device):copy_from(self)
end

--- Sets every element to x, rounded to the dtype. Returns this tensor.
---@param x number
---@return fasc.Tensor
function Tensor:fill(x)
    local handle = tensors.argument("fill", "tensor", self)
    options.argument("fill", "x", x, {is = "number"})
    errors.check(C.fasc_tensor_fill(handle, x))
    return self
end

-- ---- single elements and Lua tables -------------------------------------------------------

-- Lua's numbers hold integers exactly up to 2^53 only.
local function exact(call, t, x)
    if t.dtype == "i64" and (x >= 2^53 or x <= -2^53) then
        errors.usage("%s: the i64 element %.0f is too large for a Lua number (2^53)", call, x)
    end
    return x
end

local value = ffi.new("double[1]")

--- One element as a number, by its 0-based indices (negative ones count from the end).
---@param ... integer as many as the rank
---@return number
function Tensor:get(...)
    local handle = tensors.argument("get", "tensor", self)
    if select("#", ...) ~= self.rank then
        errors.usage("get: %d indices for %s", select("#", ...), tensors.describe(self))
    end
    local index = {...}
    for d, n in ipairs(self.shape) do
        local i = index[d]
        if not options.is_integer(i) or i < -n or i >= n then
            errors.usage("get: dimension %d: index %s is outside of its %.0f entries", d - 1,
                options.show(i), n)
        end
        index[d] = i < 0 and i + n or i
    end
    errors.check(C.fasc_tensor_get(handle, shapes.array(index), value))
    return exact("get", self, value[0])
end

--- The one element of a tensor that has just one, whatever its rank.
---@return number
function Tensor:item()
    tensors.argument("item", "tensor", self)
    if self:numel() ~= 1 then
        errors.usage("item: %s has %.0f elements, not 1", tensors.describe(self), self:numel())
    end
    local zeros = {}
    for d = 1, self.rank do
        zeros[d] = 0
    end
    return self:get(unpack(zeros))
end

local TOLIST = {limit = {is = "integer", default = 2^20, min = 0}}

--- All elements as nested Lua tables (a number for rank 0). More than `limit` elements (default
--- 2^20) are an error: Lua's tables take far more memory than the tensor.
---@param opts {limit: integer?}?
---@return number|table
function Tensor:tolist(opts)
    tensors.argument("tolist", "tensor", self)
    local limit = options.check("tolist", opts, TOLIST).limit
    if self:numel() > limit then
        errors.usage("tolist: %s has %.0f elements, more than limit = %.0f; slice it, or give a "
            .. "larger limit", tensors.describe(self), self:numel(), limit)
    end
    local plain = tensors.new(self.shape, "f64", devices.open("cpu")):copy_from(self)
    local data = plain:data()
    local n = 0
    local function build(d)
        if d > self.rank then
            n = n + 1
            return exact("tolist", self, data[n - 1])
        end
        local list = {}
        for i = 1, self.shape[d] do
            list[i] = build(d + 1)
        end
        return list
    end
    local list = build(1)
    plain:free()
    return list
end

-- ---- statistics ---------------------------------------------------------------------------

local SUMMARY_INTEGERS = {"count", "nan_count", "inf_count"}
local SUMMARY_REALS = {"min", "max", "sum", "mean"}

local Summary = {
    __tostring = function(s)
        local text = ("min %.6g, mean %.6g, max %.6g, %.0f NaN"):format(s.min, s.mean, s.max,
            s.nan_count):gsub("-nan", "nan")
        return s.inf_count > 0 and ("%s, %.0f inf"):format(text, s.inf_count) or text
    end,
}

---@class fasc.Summary
---@field count number     elements
---@field nan_count number
---@field inf_count number of either sign
---@field min number       over all that are not NaN; NaN when there is none
---@field max number       likewise
---@field sum number       over the finite elements, in float64
---@field mean number      likewise

--- Statistics of all elements in one pass.
---@return fasc.Summary
function Tensor:summary()
    local handle = tensors.argument("summary", "tensor", self)
    local summary = fasc_ffi.new "fasc_summary"
    memory.call(C.fasc_tensor_summarize, handle, summary)
    local t = {}
    for _, field in ipairs(SUMMARY_INTEGERS) do
        t[field] = tonumber(summary[field])
    end
    for _, field in ipairs(SUMMARY_REALS) do
        t[field] = summary[field]
    end
    return setmetatable(t, Summary)
end

--- The sum of all elements, in float64; NaN and infinities count as IEEE arithmetic has it.
---@return number
function Tensor:sum()
    local s = self:summary()
    if s.nan_count > 0 then
        return 0 / 0
    elseif s.inf_count > 0 then
        return (s.max == math.huge and s.max or 0) + (s.min == -math.huge and s.min or 0)
    end
    return s.sum
end

--- The mean of all elements: sum / count, NaN when there are none.
---@return number
function Tensor:mean()
    return self:sum() / self:numel()
end

--- The smallest element that is not NaN; NaN when there is none.
---@return number
function Tensor:min()
    return self:summary().min
end

--- The largest element that is not NaN; NaN when there is none.
---@return number
function Tensor:max()
    return self:summary().max
end

--- How many elements are NaN.
---@return number
function Tensor:nan_count()
    return self:summary().nan_count
end

-- ---- comparison ---------------------------------------------------------------------------

local Difference = {
    __tostring = function(d)
        return ("max |a-b| %.3g%s, max |a-b|/|b| %.3g, %.0f of %.0f mismatched"):format(d.max_abs,
            d.worst and " at [" .. shapes.text(d.worst) .. "]" or "", d.max_rel, d.mismatch,
            d.count)
    end,
}

---@class fasc.Difference
---@field count number    elements compared
---@field mismatch number pairs of which one alone is NaN, or infinite otherwise than the other
---@field max_abs number  the largest |a - b| over the pairs where both are finite
---@field max_rel number  the largest |a - b| / |b| where b is finite and not 0
---@field worst number[]? 0-based indices of the pair with max_abs

--- Compares with a tensor of the same shape, element by element in float64; dtypes, strides and
--- devices may differ.
---@param other fasc.Tensor
---@return fasc.Difference
function Tensor:compare(other)
    tensors.argument("compare", "tensor", self)
    tensors.argument("compare", "other", other)
    local a, b = self, other
    if a.device ~= b.device then
        a, b = a:to("cpu"), b:to("cpu")
    end
    local difference = fasc_ffi.new "fasc_difference"
    memory.call(C.fasc_tensor_compare, a:handle(), b:handle(), difference)
    local index = tonumber(difference.max_abs_index)
    return setmetatable({
        count = tonumber(difference.count),
        mismatch = tonumber(difference.mismatch),
        max_abs = difference.max_abs,
        max_rel = difference.max_rel,
        worst = index >= 0 and shapes.unravel(self.shape, index) or nil,
    }, Difference)
end

--- The largest |a - b| over all elements; infinity where a NaN or an infinity stands in one tensor
--- alone.
---@param other fasc.Tensor
---@return number
function Tensor:max_abs_diff(other)
    local difference = self:compare(other)
    return difference.mismatch > 0 and math.huge or difference.max_abs
end

return Tensor
