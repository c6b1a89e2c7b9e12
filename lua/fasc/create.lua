-- create.lua - new tensors: filled with a value, a progression, random numbers, or what a Lua
-- table holds. Every constructor takes the options dtype (default "f32") and device (default
-- fasc.device()); the *_like ones take both, and the shape, from another tensor.
local fasc_ffi = require "fasc.ffi"
local devices = require "fasc.device"
local dtypes = require "fasc.dtype"
local errors = require "fasc.errors"
local options = require "fasc.options"
local random = require "fasc.random"
local shapes = require "fasc.shape"
local tensors = require "fasc.tensor"
require "fasc.values"

local C = fasc_ffi.C

local M = {}

---@class fasc.CreateOptions
---@field dtype string? "f16", "bf16", "f32" (the default), "f64", "i32", "i64", "u8"
---@field device string|fasc.Device|nil default fasc.device()

---@class fasc.RandOptions : fasc.CreateOptions
---@field seed integer?   numbers depend on seed, stream and place alone; without one every tensor
---                       gets numbers of its own (see fasc.manual_seed)
---@field stream integer? an independent sequence of the same seed; default 0
---@field low number?     rand: the numbers lie in [low, high); default 0
---@field high number?    default 1
---@field mean number?    randn; default 0
---@field std number?     randn; default 1

local function rules(more)
    local all = {dtype = {is = "string"}, device = {is = "string|device"}}
    for name, rule in pairs(more or {}) do
        all[name] = rule
    end
    return all
end

local EMPTY = rules()
local SEED = {is = "integer", min = 0}
local RAND = rules {
    seed = SEED, stream = SEED,
    low = {is = "number", default = 0}, high = {is = "number", default = 1},
}
local RANDN = rules {
    seed = SEED, stream = SEED,
    mean = {is = "number", default = 0}, std = {is = "number", default = 1},
}
local FROM_TABLE = rules {shape = {is = "table"}}

-- A new tensor from options that are checked already.
local function new(call, shape, opts)
    local dtype = opts.dtype and dtypes.parse(call, "dtype", opts.dtype) or "f32"
    return tensors.new(shape, dtype, devices.open(opts.device))
end

-- What the constructors of a shape begin with: the new tensor, and the checked options.
local function make(call, shape, opts, option_rules)
    shape = shapes.check(call, "shape", shape)
    opts = options.check(call, opts, option_rules)
    return new(call, shape, opts), opts
end

-- The same for those that follow another tensor.
local function make_like(call, t, opts, option_rules)
    tensors.argument(call, "tensor", t)
    opts = options.check(call, opts, option_rules)
    opts.dtype = opts.dtype or t.dtype
    opts.device = opts.device or t.device
    return new(call, t.shape, opts), opts
end

local function fill_uniform(t, opts)
    local seed, stream = random.draw(opts)
    errors.check(C.fasc_tensor_rand(t._handle, seed, stream, opts.low, opts.high))
    return t
end

local function fill_normal(t, opts)
    local seed, stream = random.draw(opts)
    errors.check(C.fasc_tensor_randn(t._handle, seed, stream, opts.mean, opts.std))
    return t
end

--- A tensor whose contents are unspecified: fasc.empty({2, 3}, {dtype = "f16"}).
---@param shape number[]
---@param opts fasc.CreateOptions?
---@return fasc.Tensor
function M.empty(shape, opts)
    return (make("empty", shape, opts, EMPTY))
end

--- The same with the shape, and unless the options say otherwise the dtype and device, of t.
---@param t fasc.Tensor
---@param opts fasc.CreateOptions?
---@return fasc.Tensor
function M.empty_like(t, opts)
    return (make_like("empty_like", t, opts, EMPTY))
end

--- A tensor of zeros.
---@param shape number[]
---@param opts fasc.CreateOptions?
---@return fasc.Tensor
function M.zeros(shape, opts)
    return make("zeros", shape, opts, EMPTY):fill(0)
end

--- The same with the shape, and unless the options say otherwise the dtype and device, of t.
---@param t fasc.Tensor
---@param opts fasc.CreateOptions?
---@return fasc.Tensor
function M.zeros_like(t, opts)
    return make_like("zeros_like", t, opts, EMPTY):fill(0)
end

--- A tensor of ones.
---@param shape number[]
---@param opts fasc.CreateOptions?
---@return fasc.Tensor
function M.ones(shape, opts)
    return make("ones", shape, opts, EMPTY):fill(1)
end

--- The same with the shape, and unless the options say otherwise the dtype and device, of t.
---@param t fasc.Tensor
---@param opts fasc.CreateOptions?
---@return fasc.Tensor
function M.ones_like(t, opts)
    return make_like("ones_like", t, opts, EMPTY):fill(1)
end

--- Uniform random numbers in [low, high), computed in float32. Floating dtypes only.
---@param shape number[]
---@param opts fasc.RandOptions?
---@return fasc.Tensor
function M.rand(shape, opts)
    return fill_uniform(make("rand", shape, opts, RAND))
end

--- The same with the shape, and unless the options say otherwise the dtype and device, of t.
---@param t fasc.Tensor
---@param opts fasc.RandOptions?
---@return fasc.Tensor
function M.rand_like(t, opts)
    return fill_uniform(make_like("rand_like", t, opts, RAND))
end

--- Normal random numbers with the given mean and standard deviation, computed in float32.
--- Floating dtypes only.
---@param shape number[]
---@param opts fasc.RandOptions?
---@return fasc.Tensor
function M.randn(shape, opts)
    return fill_normal(make("randn", shape, opts, RANDN))
end

--- The same with the shape, and unless the options say otherwise the dtype and device, of t.
---@param t fasc.Tensor
---@param opts fasc.RandOptions?
---@return fasc.Tensor
function M.randn_like(t, opts)
    return fill_normal(make_like("randn_like", t, opts, RANDN))
end

--- A tensor whose every element is x, rounded to the dtype.
---@param shape number[]
---@param x number
---@param opts fasc.CreateOptions?
---@return fasc.Tensor
function M.full(shape, x, opts)
    options.argument("full", "x", x, {is = "number"})
    return make("full", shape, opts, EMPTY):fill(x)
end

--- The same with the shape, and unless the options say otherwise the dtype and device, of t.
---@param t fasc.Tensor
---@param x number
---@param opts fasc.CreateOptions?
---@return fasc.Tensor
function M.full_like(t, x, opts)
    options.argument("full_like", "x", x, {is = "number"})
    return make_like("full_like", t, opts, EMPTY):fill(x)
end

--- A rank-1 tensor with start, start + step, ... up to but without stop; computed in float64, then
--- rounded to the dtype (default "f32"). fasc.arange(5); fasc.arange(2, 8, 2, {dtype = "i64"}).
---@param ... number|fasc.CreateOptions [start,] stop [, step] [, options]
---@return fasc.Tensor
function M.arange(...)
    local numbers, opts = {...}, nil
    if type(numbers[#numbers]) == "table" then
        opts = table.remove(numbers)
    end
    if #numbers < 1 or #numbers > 3 then
        errors.usage("arange: give stop, or start and stop, or start, stop and step")
    end
    for i, x in ipairs(numbers) do
        options.argument("arange", "argument " .. i, x, {is = "number"})
    end
    opts = options.check("arange", opts, EMPTY)
    local start = #numbers > 1 and numbers[1] or 0
    local stop = #numbers > 1 and numbers[2] or numbers[1]
    local step = numbers[3] or 1
    local count = math.ceil((stop - start) / step)
    if step == 0 or not options.is_integer(count) or count < 0 then
        errors.usage("arange: step %g does not lead from %g to %g", step, start, stop)
    end
    local t = new("arange", {count}, opts)
    errors.check(C.fasc_tensor_arange(t._handle, start, step))
    return t
end

-- ---- from Lua tables ----------------------------------------------------------------------

-- Sizes of a nested table, read along its first entries.
local function infer_shape(list)
    local shape = {}
    while type(list) == "table" do
        shape[#shape + 1] = #list
        list = list[1]
    end
    return shapes.check("from_table", "shape", shape)
end

-- Calls visit with every number of a nested table of this shape, in row-major order.
local function each_number(list, shape, d, path, visit)
    if d > #shape then
        if type(list) == "boolean" then
            list = list and 1 or 0
        elseif type(list) ~= "number" then
            errors.usage("from_table: entry %s must be a number, got %s", path, options.show(list))
        end
        return visit(list)
    end
    if type(list) ~= "table" or #list ~= shape[d] then
        errors.usage("from_table: entry %s must be a table with %.0f entries, as its neighbours "
            .. "are; got %s", path, shape[d],
            type(list) == "table" and ("one with %d"):format(#list) or options.show(list))
    end
    for i = 1, #list do
        each_number(list[i], shape, d + 1, ("%s[%d]"):format(path, i), visit)
    end
end

local function first_leaf(list)
    while type(list) == "table" do
        list = list[1]
    end
    return list
end

--- A tensor from nested Lua tables of numbers: fasc.from_table{{1, 2}, {3, 4}}; a number alone
--- gives rank 0. opts.shape gives a flat list that shape. Booleans become 1 and 0 and make the
--- default dtype "u8", as an attention mask wants it. EINVAL where the tables are ragged.
---@param list table|number
---@param opts {dtype: string?, device: string|fasc.Device|nil, shape: number[]?}?
---@return fasc.Tensor
function M.from_table(list, opts)
    opts = options.check("from_table", opts, FROM_TABLE)
    if type(list) ~= "table" and type(list) ~= "number" or tensors.is(list) then
        errors.usage("from_table: list: must be a table or a number, got %s", options.show(list))
    end
    local nested = infer_shape(list)
    local shape = opts.shape and shapes.check("from_table", "shape", opts.shape) or nested
    if shapes.numel(shape) ~= shapes.numel(nested) then
        errors.usage("from_table: shape {%s} has %.0f elements, the table %.0f",
            shapes.text(shape), shapes.numel(shape), shapes.numel(nested))
    end
    opts.dtype = opts.dtype or type(first_leaf(list)) == "boolean" and "u8" or nil
    local plain = tensors.new(shape, "f64", devices.open("cpu"))
    local data, n = plain:data(), 0
    each_number(list, nested, 1, "", function(x)
        data[n] = x
        n = n + 1
    end)
    local t = new("from_table", shape, opts):copy_from(plain)
    plain:free()
    return t
end

return M
