-- inputs.lua - how the tensors that are measured are filled: what an operation takes may depend on
-- it (power, and with it the clock, follows the bits that toggle).
local create = require "fasc.create"
local devices = require "fasc.device"
local errors = require "fasc.errors"
local files = require "fasc.io"
local layers = require "fasc.layers"
local tensors = require "fasc.tensor"

local M = {}

--- An axis for sweeps: bench.main {axes = {inputs.AXIS, ...}, options = {inputs.OPTION, ...}}.
M.AXIS = {"inputs", {"normal"}, "how q, k and v are filled; file: from --inputs-file",
    choices = {"normal", "uniform", "zeros", "file"}}

--- The option that "file" needs.
M.OPTION = {"inputs_file", "", "safetensors with LAYER.q, .k and .v; its first layer, or that with "
    .. "this number (0-based); repeated along heads and tokens as far as the shapes ask for",
    argname = "FILE[:NUMBER]"}

-- Copies `source` into the tensor again and again along a dimension (0-based).
local function tile(dst, source, dimension)
    local n, each = dst.shape[dimension + 1], source.shape[dimension + 1]
    for first = 0, n - 1, each do
        local ranges, part = {}, {}
        for d = 1, dst.rank do
            ranges[d], part[d] = {0, dst.shape[d]}, {0, source.shape[d]}
        end
        local past = math.min(first + each, n)
        ranges[dimension + 1], part[dimension + 1] = {first, past}, {0, past - first}
        dst:slice(unpack(ranges)):copy_from(source:slice(unpack(part)))
    end
    return dst
end

local function from_file(name, shape, dtype, options)
    local path, number = options.inputs_file:match "^(.+):(%d+)$"
    path = path or options.inputs_file
    if path == "" then
        errors.usage("inputs: file: --inputs-file names none")
    end
    local found = layers.find(files.open(path))
    local layer = found[(tonumber(number) or 0) + 1]
    if not layer then
        errors.usage("inputs: --inputs-file %s: there are %d layers", options.inputs_file, #found)
    end
    local source = layer.file:read(layer.name .. "." .. name)
    if source.rank ~= 4 or source.shape[4] ~= shape[4] then
        errors.raise("EUNSUPPORTED", "inputs: %s: %s.%s is %s; head_dim %d is asked for", path,
            layer.name, name, tensors.describe(source), shape[4])
    end
    source = source:to(dtype)
    for dimension = 2, 0, -1 do
        local grown = {unpack(source.shape)}
        grown[dimension + 1] = shape[dimension + 1]
        local opts = {dtype = dtype, device = source.device}
        source = tile(create.empty(grown, opts), source, dimension)
    end
    return source
end

local FILL = {
    normal = function(shape, opts) return create.randn(shape, opts) end,
    uniform = function(shape, opts) return create.rand(shape, opts) end,
    zeros = function(shape, opts) return create.zeros(shape, {dtype = opts.dtype}) end,
}

--- A tensor of a point.
---@param kind string one of M.AXIS's values
---@param name "q"|"k"|"v" which tensor of a file it is
---@param shape number[] (B, H, N, D)
---@param opts {dtype: string, seed: number}
---@param options table the sweep's, with M.OPTION in it
---@return fasc.Tensor on the default device
function M.make(kind, name, shape, opts, options)
    if kind == "file" then
        return from_file(name, shape, opts.dtype, options):to(devices.open())
    end
    return FILL[kind](shape, opts)
end

return M
