-- print.lua - how a tensor prints: what it is, its statistics, and the corners of its first matrix.
-- It costs one pass over the elements and one small copy, on any device.
local dtypes = require "fasc.dtype"
local shapes = require "fasc.shape"
local tensors = require "fasc.tensor"

local EDGE = 3 -- rows and columns shown at each side

-- Splits a dimension into what is shown: blocks, their length, and the step between blocks.
local function blocks(size)
    if size > 2 * EDGE then
        return 2, EDGE, size - EDGE
    end
    return 1, size, size
end

-- The shown elements of the first matrix as rows of numbers; gap marks go after row and column
-- EDGE. The corners are one strided view: (row block, row, column block, column).
local function corners(t)
    local rows, columns = t.shape[t.rank - 1] or 1, t.shape[t.rank] or 1
    local row_stride, column_stride = t.stride[t.rank - 1] or 0, t.stride[t.rank] or 0
    local row_blocks, height, row_step = blocks(rows)
    local column_blocks, width, column_step = blocks(columns)
    local view = tensors.view(t, 0, {row_blocks, height, column_blocks, width},
        {row_step * row_stride, row_stride, column_step * column_stride, column_stride})
    local flat = view:tolist()
    local lines = {}
    for i = 1, row_blocks do
        for j = 1, height do
            local line = {}
            for k = 1, column_blocks do
                for l = 1, width do
                    line[#line + 1] = flat[i][j][k][l]
                end
            end
            lines[#lines + 1] = line
        end
    end
    view:free()
    return lines, row_blocks == 2, column_blocks == 2
end

local function number_text(x, is_float)
    if x ~= x then
        return "nan"
    end
    return is_float and ("%.4g"):format(x) or ("%.0f"):format(x)
end

local function matrix_text(t)
    local lines, rows_cut, columns_cut = corners(t)
    local is_float = dtypes.is_float(t.dtype)
    local width = 0
    for _, line in ipairs(lines) do
        for j, x in ipairs(line) do
            line[j] = number_text(x, is_float)
            width = math.max(width, #line[j])
        end
    end
    local text = {}
    for i, line in ipairs(lines) do
        for j, word in ipairs(line) do
            line[j] = (" "):rep(width - #word) .. word
        end
        if columns_cut then
            table.insert(line, EDGE + 1, "...")
        end
        text[#text + 1] = "  " .. table.concat(line, "  ")
        if rows_cut and i == EDGE then
            text[#text + 1] = "  " .. (" "):rep(width - 3) .. "..."
        end
    end
    return table.concat(text, "\n")
end

-- "[0,0,:,:]": which matrix is shown, where there are several.
local function place(t)
    if t.rank <= 2 then
        return ""
    end
    local index = {}
    for d = 1, t.rank do
        index[d] = d <= t.rank - 2 and "0" or ":"
    end
    return "[" .. table.concat(index, ",") .. "]\n"
end

function tensors.metatable.__tostring(t)
    local head = tensors.describe(t)
    if not t._handle then
        return head .. " (freed)"
    elseif shapes.numel(t.shape) == 0 then
        return head .. " (empty)"
    end
    return ("%s\n%s\n%s%s"):format(head, tostring(t:summary()), place(t), matrix_text(t))
end

return tensors
