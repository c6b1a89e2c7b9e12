-- matmul.lua - the matrix product, batched.
local fasc_ffi = require "fasc.ffi"
local dtypes = require "fasc.dtype"
local errors = require "fasc.errors"
local memory = require "fasc.memory"
local options = require "fasc.options"
local tensors = require "fasc.tensor"

local C = fasc_ffi.C

local M = {}

local RULES = {
    alpha = {is = "number", default = 1},
    out = {is = "tensor"},
    out_dtype = {is = "string"},
}

--- One matrix product, ready to run any number of times.
---@class fasc.MatmulCall
---@field args ffi.cdata* fasc_matmul_args; valid as long as the call
---@field out fasc.Tensor
local Call = {}
Call.__index = Call

local function out_shape(a, b)
    for name, t in pairs {a = a, b = b} do
        if t.rank < 2 then
            errors.usage("matmul: %s: %s must have rank 2 or more: (..., rows, columns)", name,
                tensors.describe(t))
        end
    end
    local shape = {unpack(a.shape)}
    shape[a.rank] = b.shape[b.rank]
    return shape
end

--- A product that can run again and again on the same tensors: call:run(), call.out, call.args
--- (the C struct, for timing). Options as for fasc.matmul.
---@return fasc.MatmulCall
function M.prepare(a, b, opts)
    opts = options.check("matmul", opts, RULES)
    if opts.alpha == 0 then
        errors.usage("matmul: alpha: must not be 0")
    end
    local args = fasc_ffi.new "fasc_matmul_args"
    args.a = tensors.argument("matmul", "a", a)
    args.b = tensors.argument("matmul", "b", b)
    args.alpha = opts.alpha
    local dtype = opts.out_dtype and dtypes.parse("matmul", "out_dtype", opts.out_dtype) or a.dtype
    local out = opts.out or tensors.new(out_shape(a, b), dtype, a.device)
    args.out = tensors.argument("matmul", "out", out)
    return setmetatable({args = args, a = a, b = b, out = out}, Call)
end

--- Runs it (on a GPU: queues it).
function Call:run()
    memory.call(C.fasc_matmul, self.args)
end

--- alpha * a b for a (..., M, K) and b (..., K, N), accumulated in float32 (float64 for f64). b's
--- batch dimensions equal a's, or are 1 or absent. Any strides: b:transpose(-2, -1) multiplies by
--- the transpose. out (..., M, N) receives the result; without it a new tensor of a's dtype, or of
--- out_dtype = "f32", does.
---@param a fasc.Tensor
---@param b fasc.Tensor
---@param opts {alpha: number?, out: fasc.Tensor?, out_dtype: string?}?
---@return fasc.Tensor
function M.matmul(a, b, opts)
    local call = M.prepare(a, b, opts)
    call:run()
    return call.out
end

return M
