-- guarded.lua - outputs that hold poison before a kernel writes them and have guards around, so
-- that what it leaves out and what it writes beside them shows.
local support = require "support"
local tensors = require "fasc.tensor"

local M = {}

M.GUARD = 4096 -- elements before and behind

--- A tensor full of NaN inside a longer one, {all, view}. `opts`: pitch, the elements from row to
--- row (the row's length); base, elements that it starts behind a multiple of 8192 bytes or more
--- (0).
function M.tensor(shape, dtype, opts)
    opts = opts or {}
    local pitch, base, rows = opts.pitch or shape[#shape], opts.base or 0, 1
    for i = 1, #shape - 1 do
        rows = rows * shape[i]
    end
    local all = support.empty({rows * pitch + 2 * M.GUARD + base}, {dtype = dtype}):fill(0 / 0)
    local stride, step = {}, 1
    for i = #shape, 1, -1 do
        stride[i], step = step, step * (i == #shape and pitch or shape[i])
    end
    return {all = all, view = tensors.view(all, M.GUARD + base, shape, stride)}
end

--- Asserts that nothing was written around the view, which holds NaN afterwards.
function M.check(g, what)
    g.view:fill(0 / 0)
    local touched = g.all:numel() - g.all:nan_count()
    assert(touched == 0, ("%s: %d elements around it were written"):format(what, touched))
end

return M
