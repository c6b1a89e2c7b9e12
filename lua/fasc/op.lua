-- op.lua - operations as objects: arguments and tensors put together once, so that they can be run,
-- checked and timed without anything of Lua between two calls.
local fasc_ffi = require "fasc.ffi"
local attention = require "fasc.attention"
local devices = require "fasc.device"
local dtypes = require "fasc.dtype"
local errors = require "fasc.errors"
local kernels = require "fasc.kernels"
local libraries = require "fasc.library"
local matmul = require "fasc.matmul"
local memory = require "fasc.memory"
local options = require "fasc.options"
local plans = require "fasc.plan"
local tensors = require "fasc.tensor"
local verify = require "fasc.verify"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

--- Something that fasc.time can repeat. It keeps its tensors alive.
---@class fasc.Op
---@field kind "attention"|"matmul"|"copy"|"fill"
---@field code integer        fasc_op_kind
---@field args ffi.cdata*     the C struct
---@field device fasc.Device
---@field flops number        of one call
---@field bytes number        that one call must move: each input read once, each output written
---@field dtype string?       of what it computes with; nil where it only moves data
---@field plan fasc.Plan?     of attention
---@field outputs table<string, fasc.Tensor>
---@field library ffi.cdata*? another build that does it: see fasc.library
local Op = {}

local metatable = {
    __name = "fasc.op",
    __index = Op,
    __tostring = function(op)
        return ("%s on %s, %.4g GFLOP, %.4g MB"):format(op.kind, op.device, op.flops / 1e9,
            op.bytes / 1e6)
    end,
}

local RUN = {
    attention = function(op) op:invoke("fasc_attention", op.args, nil) end,
    matmul = function(op) op:invoke("fasc_matmul", op.args) end,
    copy = function(op) op:invoke("fasc_tensor_copy", op.args.src, op.args.dst) end,
    fill = function(op) op:invoke("fasc_tensor_fill", op.args.dst, op.args.value) end,
}

local function new(kind, code, fields)
    fields.kind, fields.code = kind, tonumber(code)
    return setmetatable(fields, metatable)
end

local function size(t)
    return t:numel() * dtypes.size(t.dtype)
end

--- Attention, with fasc.attention's arguments.
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param v fasc.Tensor?
---@param opts fasc.AttentionOptions?
---@return fasc.Op
function M.attention(q, k, v, opts)
    local call = attention.prepare(q, k, v, opts)
    local plan = call:plan()
    return new("attention", C.FASC_OP_ATTENTION, {
        args = call.args, call = call, outputs = call.outputs, device = q.device,
        plan = plan, flops = plan.flops, bytes = plan.bytes, dtype = q.dtype,
        q = q, k = k, v = v, opts = opts or {},
    })
end

--- The call that gave a result of fasc.attention, again on the same tensors; nil when q, k or v is
--- gone. `kernel` replaces the configuration: {} is the library's choice.
---@param result fasc.AttentionResult
---@param kernel fasc.KernelConfig?
---@return fasc.Op?
function M.of(result, kernel)
    local origin = attention.origin(result)
    if not origin then
        errors.usage("of: result: must be a result of fasc.attention")
    end
    local inputs, args = origin.inputs, ffi.new("fasc_attention_args", origin.args)
    for name, handle in pairs {q = args.q, k = args.k, v = args.v} do
        if handle ~= nil and not (inputs[name] and inputs[name]._handle) then
            return nil
        end
    end
    local keep = {inputs.q, inputs.k, inputs.v, origin}
    if kernel then
        args.kernel = ffi.new "fasc_kernel_config"
        keep[5] = kernels.configure("of", inputs.q.device, kernel, args.kernel)
    end
    local struct = plans.struct()
    errors.check(C.fasc_attention_query(args, struct))
    local plan = plans.from(struct)
    return new("attention", C.FASC_OP_ATTENTION, {
        args = args, keep = keep, outputs = origin.outputs, device = inputs.q.device, plan = plan,
        flops = plan.flops, bytes = plan.bytes, dtype = inputs.q.dtype,
    })
end

--- The matrix product, with fasc.matmul's arguments.
---@return fasc.Op
function M.matmul(a, b, opts)
    local call = matmul.prepare(a, b, opts)
    return new("matmul", C.FASC_OP_MATMUL, {
        args = call.args, call = call, outputs = {out = call.out}, device = a.device,
        flops = 2 * call.out:numel() * a.shape[a.rank],
        bytes = size(a) + size(b) + size(call.out), dtype = a.dtype,
    })
end

--- Copies src to dst (equal shapes; dtypes, strides and devices may differ).
---@param src fasc.Tensor
---@param dst fasc.Tensor
---@return fasc.Op
function M.copy(src, dst)
    local args = fasc_ffi.new "fasc_copy_args"
    args.src = tensors.argument("copy", "src", src)
    args.dst = tensors.argument("copy", "dst", dst)
    return new("copy", C.FASC_OP_COPY, {
        args = args, src = src, outputs = {dst = dst}, flops = 0, bytes = size(src) + size(dst),
        device = dst.device.name == "cpu" and src.device or dst.device,
    })
end

--- Sets every element of dst to a value, 0 unless given.
---@param dst fasc.Tensor
---@param value number?
---@return fasc.Op
function M.fill(dst, value)
    local args = fasc_ffi.new "fasc_copy_args"
    args.dst = tensors.argument("fill", "dst", dst)
    args.value = options.argument("fill", "value", value or 0, {is = "number"})
    return new("fill", C.FASC_OP_FILL, {
        args = args, outputs = {dst = dst}, device = dst.device, flops = 0, bytes = size(dst),
    })
end

--- Calls one of the library's functions that returns a fasc_status, the library being the one that
--- does the operation: op:invoke("fasc_time", ...). Raises what is an error.
function Op:invoke(name, ...)
    local lib = self.library
    if lib then
        return libraries.check(lib, lib[name](...))
    end
    memory.call(C[name], ...)
end

--- Runs it once and waits for it.
function Op:run()
    devices.synchronize(self.device) -- another build has a stream of its own
    RUN[self.kind](self)
    devices.synchronize(self.device)
end

--- Compares the outputs, as they are now, with what they must be (see fasc.verify).
---@return fasc.Verdict
function Op:check()
    return verify[self.kind](self)
end

return M
