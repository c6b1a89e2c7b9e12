-- random.lua - which random numbers a tensor gets. They depend on (seed, stream) and the element's
-- place alone, not on device or threads. A tensor made with a seed uses stream 0 of it (or the
-- stream it names); one made without takes the next stream of the process's seed, so that a script
-- makes the same numbers every time it runs, and no two tensors the same ones.
local ffi = require "ffi"
local options = require "fasc.options"

local M = {}

local seed, next_stream = 0, 1

--- Seeds the tensors that fasc.rand and fasc.randn make without a seed of their own, and starts
--- their streams anew. The process begins as after manual_seed(0).
---@param value integer >= 0
function M.manual_seed(value)
    options.argument("manual_seed", "seed", value, {is = "integer", min = 0})
    seed, next_stream = value, 1
end

--- The seed and stream of the next random tensor, from its options.
---@param opts {seed: integer?, stream: integer?}
---@return ffi.cdata* seed   uint64_t
---@return ffi.cdata* stream uint64_t
function M.draw(opts)
    local stream = opts.stream or 0
    if not opts.seed and not opts.stream then
        stream = next_stream
        next_stream = next_stream + 1
    end
    return ffi.new("uint64_t", opts.seed or seed), ffi.new("uint64_t", stream)
end

return M
