-- largest.lua - the largest entries along a tensor's last dimension, for those statistics that pick
-- keys: on the CPU, with a heap, ties to the lower index.
local create = require "fasc.create"

local M = {}

-- Does entry i come after entry j: is it smaller, or equal and further on?
local function after(data, first, i, j)
    local a, b = data[first + i], data[first + j]
    return a < b or a == b and i > j
end

-- Restores the heap whose root is the last in order, from `at` down.
local function sift(heap, count, data, first, at)
    while true do
        local child = 2 * at
        if child > count then
            return
        end
        if child < count and after(data, first, heap[child + 1], heap[child]) then
            child = child + 1
        end
        if not after(data, first, heap[child], heap[at]) then
            return
        end
        heap[child], heap[at] = heap[at], heap[child]
        at = child
    end
end

--- The indices of the `count` largest of data[first + begin .. first + stop - 1], ascending.
---@param data ffi.cdata* doubles
---@param first integer
---@param begin integer
---@param stop integer
---@param count integer at most stop - begin
---@return integer[]
function M.of(data, first, begin, stop, count)
    local heap = {}
    for i = 1, count do
        heap[i] = begin + i - 1
    end
    for at = math.floor(count / 2), 1, -1 do
        sift(heap, count, data, first, at)
    end
    for i = begin + count, stop - 1 do
        if count > 0 and after(data, first, heap[1], i) then
            heap[1] = i
            sift(heap, count, data, first, 1)
        end
    end
    table.sort(heap)
    return heap
end

--- A contiguous copy of a tensor on the CPU in float64 and its data; keep the tensor as long.
---@param t fasc.Tensor
---@return fasc.Tensor
---@return ffi.cdata*
function M.doubles(t)
    local copy = t:to {dtype = "f64", device = "cpu"}
    copy = copy:contiguous()
    return copy, copy:data()
end

--- For each row of t (its last dimension): pick(data, first, row) gives a list of indices, all
--- lists equally long; together they are an i32 tensor on the CPU whose last dimension is theirs.
---@param t fasc.Tensor
---@param pick fun(data: ffi.cdata*, first: integer): integer[]
---@return fasc.Tensor
function M.rows(t, pick)
    local copy, data = M.doubles(t)
    local length, picked = t.shape[t.rank], {}
    for row = 0, copy:numel() / length - 1 do
        picked[row + 1] = pick(data, row * length)
    end
    local shape = {unpack(t.shape)}
    shape[t.rank] = #picked[1]
    local result = create.empty(shape, {dtype = "i32", device = "cpu"})
    local values = result:data()
    for row, list in ipairs(picked) do
        for i, index in ipairs(list) do
            values[(row - 1) * #list + i - 1] = index
        end
    end
    return result
end

return M
