-- heat.lua - maps in the terminal: two cells of 24-bit colour in each character, the upper half of
-- the block in one and the background in the other. And show: the same as a PNG somewhere.
local fasc_ffi = require "fasc.ffi"
local create = require "fasc.create"
local errors = require "fasc.errors"
local heatmap = require "fasc.heatmap"
local host = require "fasc.host"
local options = require "fasc.options"
local tensors = require "fasc.tensor"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

local POOL = {max = C.FASC_POOL_MAX, mass = C.FASC_POOL_MASS, mean = C.FASC_POOL_MEAN}
local SCALE = {log = C.FASC_SCALE_LOG, linear = C.FASC_SCALE_LINEAR}
local MAP = {
    viridis = C.FASC_MAP_VIRIDIS, magma = C.FASC_MAP_MAGMA, cividis = C.FASC_MAP_CIVIDIS,
    diverging = C.FASC_MAP_DIVERGING,
}
local FLOOR = 1e-4 -- where a log scale begins
local LINES = 24   -- of text at most
local HALF_BLOCK, RESET = "\226\150\128", "\27[0m"

--- How fasc.heat draws.
---@class fasc.HeatOptions
---@field width integer?  characters; default: what the terminal has
---@field height integer? lines of text, two cells each; default 24
---@field scale string?   "log" or "linear"; default: log for values in 0 to 1
---@field pool string?    "max" (the default), "mass" or "mean"
---@field map string?     "viridis" (the default) or "diverging"
---@field causal boolean? cells past the diagonal are masked: grey
local RULES = {
    width = {is = "integer", min = 1, max = 1000},
    height = {is = "integer", min = 1, max = 1000, default = LINES},
    scale = {is = "string", values = {"log", "linear"}},
    pool = {is = "string", values = {"max", "mass", "mean"}, default = "max"},
    map = {is = "string", values = {"viridis", "magma", "cividis", "diverging"},
        default = "viridis"},
    causal = {is = "boolean", default = false},
}

-- The first matrix of a tensor, and which one that is: "[0,3]".
local function matrix(call, t)
    tensors.argument(call, "t", t)
    if t.rank < 1 or t:numel() == 0 then
        errors.usage("%s: t: %s, must have a dimension and elements", call, tensors.describe(t))
    elseif t.rank == 1 then
        return t:reshape {1, t.shape[1]}, ""
    end
    local first = {}
    for d = 1, t.rank - 2 do
        first[d] = 0
    end
    return #first > 0 and t:slice(unpack(first)) or t,
        #first > 0 and "[" .. table.concat(first, ",") .. "] of it" or ""
end

-- Each element stands alone where there is room, and a cell for several where there is not.
local function pool(map, o, width)
    local rows, cols = map.shape[1], map.shape[2]
    local args, info = fasc_ffi.new "fasc_pool_args", fasc_ffi.new "fasc_pool_info"
    args.pool = POOL[o.pool]
    args.pool_rows = math.ceil(rows / math.min(rows, 2 * o.height))
    args.pool_cols = math.ceil(cols / math.min(cols, width))
    args.causal, args.diagonal = o.causal and 1 or 0, cols - rows
    args.map = map:handle()
    local cells = create.empty({math.ceil(rows / args.pool_rows), math.ceil(cols / args.pool_cols)},
        {dtype = "f32", device = "cpu"})
    args.cells = cells:handle()
    errors.check(C.fasc_map_pool(args, info))
    return cells, tonumber(args.pool_rows), tonumber(args.pool_cols), info
end

local function range_of(cells, o, info)
    local low, high = ffi.new "double[1]", ffi.new "double[1]"
    errors.check(C.fasc_map_range(cells:handle(), 0, low, high))
    local least, most = low[0], high[0]
    if least > most then
        return "linear", 0, 1
    end
    local scale = o.scale or (info.lowest >= 0 and most <= 1 and o.map ~= "diverging" and "log"
        or "linear")
    if scale == "log" then
        return scale, FLOOR, math.max(most, 10 * FLOOR)
    elseif o.map == "diverging" then
        most = math.max(math.abs(least), math.abs(most))
        least = -most
    end
    return scale, least, most
end

local function paint(cells, o, scale, low, high)
    local rows, cols = cells.shape[1], cells.shape[2]
    local colors = ffi.new("uint8_t[?]", rows * cols)
    local palette = ffi.new("uint8_t[?]", 3 * C.FASC_PALETTE)
    errors.check(C.fasc_map_paint(cells:handle(), SCALE[scale], low, high, colors))
    errors.check(C.fasc_colormap_palette(MAP[o.map], palette))
    local function code(ground, row, col)
        local c = palette + 3 * colors[row * cols + col]
        return ("\27[%d;2;%d;%d;%dm"):format(ground, c[0], c[1], c[2])
    end
    local lines = {}
    for row = 0, rows - 1, 2 do
        local parts, upper, lower = {}, nil, nil
        for col = 0, cols - 1 do
            local fore = code(38, row, col)
            local back = row + 1 < rows and code(48, row + 1, col) or "\27[49m"
            parts[#parts + 1] = (fore ~= upper and fore or "") .. (back ~= lower and back or "")
                .. HALF_BLOCK
            upper, lower = fore, back
        end
        lines[#lines + 1] = table.concat(parts) .. RESET
    end
    return lines
end

--- What fasc.heat gives; tostring draws it.
---@class fasc.Heat
---@field lines string[] text with colours, two rows of cells a line
---@field caption string
local metatable = {
    __name = "fasc.heat",
    __tostring = function(heat)
        return table.concat(heat.lines, "\n") .. "\n" .. heat.caption
    end,
}

--- Draws a tensor's first matrix in the terminal, queries down and keys across: print it, or let
--- the prompt do so. What does not fit is pooled; grey is masked, magenta NaN.
---
---     heat(r.probs:slice(0, 3))
---     print(fasc.heat(scores, {scale = "linear", map = "diverging", width = 120}))
---@param t fasc.Tensor
---@param opts fasc.HeatOptions?
---@return fasc.Heat
function M.heat(t, opts)
    local map, place = matrix("heat", t)
    local o = options.check("heat", opts, RULES)
    local cells, pool_rows, pool_cols, info = pool(map, o, o.width or host.width() or 80)
    local scale, low, high = range_of(cells, o, info)
    local lines = paint(cells, o, scale, low, high)
    cells:free()
    local words = {("%d x %d"):format(map.shape[1], map.shape[2])}
    words[#words + 1] = place ~= "" and place or nil
    if pool_rows * pool_cols > 1 then
        words[#words + 1] = ("a cell is the %s of %d x %d"):format(o.pool, pool_rows, pool_cols)
    end
    words[#words + 1] = ("%s %.3g to %.3g"):format(scale, low, high)
    if info.nan_count > 0 then
        words[#words + 1] = ("%.0f NaN"):format(tonumber(info.nan_count))
    end
    return setmetatable({lines = lines, caption = table.concat(words, ", ")}, metatable)
end

--- Draws a tensor's first matrix as a PNG, in the folder for temporary files unless path says
--- where, and returns the path. Takes fasc.heatmap's options.
---
---     show(r.probs:slice(0, 3), {scale = "log"})
---@param t fasc.Tensor
---@param opts fasc.HeatmapOptions?
---@return string path
function M.show(t, opts)
    local map = matrix("show", t)
    local with = {}
    for name, value in pairs(opts or {}) do
        with[name] = value
    end
    if not with.path then
        local unique = os.tmpname() -- made, so that it is ours; the picture stands beside it
        os.remove(unique)
        with.path = unique .. ".png"
    end
    return heatmap.heatmap(map, with).path
end

return M
