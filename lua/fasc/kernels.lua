-- kernels.lua - the attention kernels of a device, and how one is chosen by name or configuration.
local fasc_ffi = require "fasc.ffi"
local configurations = require "fasc.configurations"
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
---@field device fasc.Device

local TEXTS = {"name", "arch", "summary", "supports"}

local Kernel = {}
Kernel.__index = Kernel

local PROBLEM = {dtype = "f16", head_dim = 128, seqlen = 1024}

-- Calls f(q, k, v, options) on tensors of the problem that opts describe, which hold nothing yet.
local function with_problem(self, opts, f)
    local create = require "fasc.create" -- it needs this module
    local with, problem = {}, {}
    for name, default in pairs(PROBLEM) do
        problem[name] = opts and opts[name] or default
    end
    for name, value in pairs(opts or {}) do
        with[name] = not PROBLEM[name] and value or nil
    end
    local function tensor()
        return create.empty({1, 1, problem.seqlen, problem.head_dim},
            {dtype = problem.dtype, device = self.device})
    end
    local q, k, v = tensor(), tensor(), tensor()
    local ok, result = pcall(f, q, k, v, with)
    for _, t in ipairs {q, k, v} do
        t:free()
    end
    if not ok then
        error(result, 0)
    end
    return result
end

--- What the compiler says of this kernel for a problem: registers, spills, shared memory,
--- occupancy. opts are those of fasc.attention, and the problem's dtype ("f16"), head_dim (128) and
--- seqlen (1024).
---
---     print(fasc.kernels("cuda")[1]:info {head_dim = 64, causal = true, want = {"out", "logits"}})
---@param opts table?
---@return fasc.CompileReport[]
function Kernel:info(opts)
    return with_problem(self, opts, function(q, k, v, with)
        with.kernel = {name = self.name, arch = self.arch}
        return require("fasc.attention").inspect(q, k, v, with)
    end)
end

local configurations_metatable = {
    __tostring = function(list)
        local lines = {}
        for i, row in ipairs(list) do
            lines[i] = row.plan.config
        end
        return table.concat(lines, "\n")
    end,
}

--- The configurations in which this kernel serves a problem, the library's own choice first. opts
--- as for kernel:info.
---
---     kernels()[1]:configurations {head_dim = 64, want = {"out", "probs"}}
---@param opts table?
---@return fasc.Configuration[]
function Kernel:configurations(opts)
    return with_problem(self, opts, function(q, k, v, with)
        local sound = false -- the problem itself, of which the kernel's own choice tells
        local list = configurations.of(self, function(config)
            with.kernel = config
            local ok, plan = pcall(require("fasc.attention").plan, q, k, v, with)
            if not ok and not (errors.is(plan) and (sound or plan.status == "EUNSUPPORTED")) then
                error(plan, 0)
            end
            sound = true
            return ok and plan or nil
        end)
        return setmetatable(list, configurations_metatable)
    end)
end

local function configurations_text(kernel)
    local list = kernel:configurations()
    local first = {}
    local both = list[1] and list[1].plan.block_n > 0 -- else there are tiles of rows alone
    for i = 1, math.min(4, #list) do
        first[i] = list[i].plan.block_m .. (both and "x" .. list[i].plan.block_n or "")
    end
    if #list < 2 then
        return ""
    end
    return ("\n%20s %s of its %d configurations: %s%s"):format("",
        both and "block_m x block_n" or "block_m", #list, table.concat(first, ", "),
        #list > #first and ", ... (kernel:configurations())" or "")
end

local list_metatable = {
    __tostring = function(list)
        local lines = {}
        for i, kernel in ipairs(list) do
            lines[i] = ("%-10s %-9s %s\n%20s %s%s"):format(kernel.name, kernel.arch,
                kernel.summary, "", kernel.supports, configurations_text(kernel))
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
        kernel.device = device
        list[#list + 1] = setmetatable(kernel, Kernel)
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
---@field splits number?  parts that the keys are split into, worked on side by side; 1 = no split

local SIZE = {is = "integer", min = 1, max = 2^31 - 1}
local CONFIG = {
    name = {is = "string"}, arch = {is = "string"},
    block_m = SIZE, block_n = SIZE, stages = SIZE, warps = SIZE, splits = SIZE,
}

local names_of = setmetatable({}, {__mode = "k"}) -- of each device's kernels, which stay the same

local function check_name(call, device, name)
    local names = names_of[device]
    if not names then
        names = {}
        for _, kernel in ipairs(M.list(device)) do
            names[kernel.name] = true
        end
        names_of[device] = names
    end
    if names[name] then
        return
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
