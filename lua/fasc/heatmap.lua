-- heatmap.lua - a 2-D map as a PNG: queries down, keys across.
local fasc_ffi = require "fasc.ffi"
local errors = require "fasc.errors"
local files = require "fasc.io"
local memory = require "fasc.memory"
local options = require "fasc.options"
local tensors = require "fasc.tensor"

local C = fasc_ffi.C

local M = {}

local POOL = {max = C.FASC_POOL_MAX, mass = C.FASC_POOL_MASS, mean = C.FASC_POOL_MEAN}
local SCALE = {log = C.FASC_SCALE_LOG, linear = C.FASC_SCALE_LINEAR}
local MAP = {viridis = C.FASC_MAP_VIRIDIS, diverging = C.FASC_MAP_DIVERGING}
local ALIGN = {bottom_right = C.FASC_ALIGN_BOTTOM_RIGHT, top_left = C.FASC_ALIGN_TOP_LEFT}

---@class fasc.HeatmapOptions
---@field path string       the PNG to write
---@field scale string?     "linear" (the default), or "log": the one for probabilities, >= 0
---@field pool string?      how a cell sums up the elements it stands for: "max" (the default) keeps
---                         single hot ones, "mass" (sum over keys, mean over queries) row totals,
---                         "mean" averages
---@field map string?       "viridis" (the default), or "diverging": blue, white at 0, red
---@field max_size integer? cells of the longer side at most; larger maps are pooled; default 1024
---@field cell integer?     pixels of a cell and side; default 1
---@field range number[]?   {low, high} of the colours; default: what the values span
---@field floor number?     where a log scale without a range begins; default 1e-4
---@field causal boolean|string|nil true or "bottom_right", "top_left": cells past the diagonal are
---                         masked, which is grey, as is -inf
---@field metadata table<string, string|number|boolean>? text that the PNG carries
local RULES = {
    path = {is = "string", required = true},
    scale = {is = "string", values = {"linear", "log"}, default = "linear"},
    pool = {is = "string", values = {"max", "mass", "mean"}, default = "max"},
    map = {is = "string", values = {"viridis", "diverging"}, default = "viridis"},
    max_size = {is = "integer", default = 1024, min = 1, max = 65536},
    cell = {is = "integer", default = 1, min = 1, max = 4096},
    range = {is = "table"},
    floor = {is = "number"},
    causal = {is = "boolean|string", values = {"bottom_right", "top_left"}, default = false},
    metadata = {is = "table"},
}

---@class fasc.HeatmapInfo
---@field path string
---@field width integer      pixels
---@field height integer
---@field pool_rows integer  how many elements of the map a cell stands for
---@field pool_cols integer
---@field nan_count number   elements that are NaN; their cells are magenta
---@field masked_count number elements that are masked
---@field low number         the colour range that was used
---@field high number

local function set_range(args, range)
    local low, high = range[1], range[2]
    if type(low) ~= "number" or type(high) ~= "number" or #range ~= 2 then
        errors.usage("heatmap: range: must be {low, high}, got {%s, %s}", options.show(low),
            options.show(high))
    end
    args.has_range, args.low, args.high = 1, low, high
end

--- Draws a 2-D tensor, on any device, as a PNG. P = 0, masked (grey) and NaN (magenta) all look
--- different; the file says in its text how it was made, and the same input gives the same bytes.
---
---     fasc.heatmap(probs:slice(0, 3), {path = "head3.png", scale = "log", causal = true})
---@param map fasc.Tensor (Nq, Nk)
---@param opts fasc.HeatmapOptions
---@return fasc.HeatmapInfo
function M.heatmap(map, opts)
    local handle = tensors.argument("heatmap", "map", map)
    opts = options.check("heatmap", opts, RULES)
    local args, info = fasc_ffi.new "fasc_heatmap_args", fasc_ffi.new "fasc_heatmap_info"
    args.map = handle
    args.pool, args.scale, args.colormap = POOL[opts.pool], SCALE[opts.scale], MAP[opts.map]
    args.max_size, args.cell = opts.max_size, opts.cell
    args.floor = opts.floor or 0
    args.causal = opts.causal and 1 or 0
    args.align = ALIGN[opts.causal] or ALIGN.bottom_right
    if opts.range then
        set_range(args, opts.range)
    end
    local text, count = files.metadata_pairs("heatmap", opts.metadata)
    memory.call(C.fasc_heatmap_png, args, opts.path, count, text, info)
    return {
        path = opts.path,
        width = info.width,
        height = info.height,
        pool_rows = info.pool_rows,
        pool_cols = info.pool_cols,
        nan_count = tonumber(info.nan_count),
        masked_count = tonumber(info.masked_count),
        low = info.low,
        high = info.high,
    }
end

return M
