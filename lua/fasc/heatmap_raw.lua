-- heatmap_raw.lua - a map's cells as pixels of a PNG with a palette, band after band: no more of
-- the picture is in memory than one band, whatever its size.
local fasc_ffi = require "fasc.ffi"
local errors = require "fasc.errors"
local files = require "fasc.io"
local scope = require "fasc.scope"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

--- With more cells, the map is read twice: for the range of its colours, then to draw.
M.KEPT_CELLS = 2^24

-- Calls f(result of source:pool) for band after band of the map's cells.
local function each_band(source, spec, rows, band, f)
    local q0, q1, k0, k1 = unpack(spec.crop)
    for first = 0, rows - 1, band do
        local last = math.min(rows, first + band)
        local part = {}
        for key, value in pairs(spec) do
            part[key] = value
        end
        part.crop = {q0 + first * spec.pool_rows, math.min(q1, q0 + last * spec.pool_rows), k0, k1}
        scope.scope(function()
            f(source:pool(part))
        end)
    end
end

-- Each cell becomes a square of pixels.
local function write(png, colors, rows, cols, cell)
    if cell == 1 then
        return errors.check(C.fasc_png_rows(png, rows, colors))
    end
    local row = ffi.new("uint8_t[?]", cols * cell)
    for r = 0, rows - 1 do
        for x = 0, cols * cell - 1 do
            row[x] = colors[r * cols + math.floor(x / cell)]
        end
        for _ = 1, cell do
            errors.check(C.fasc_png_rows(png, 1, row))
        end
    end
end

--- How heatmap.lua wants it drawn.
---@class fasc.RawDrawing
---@field path string
---@field cell integer    pixels of a cell and side
---@field palette ffi.cdata*
---@field percentile boolean
---@field span fun(cells: fasc.Tensor): number, number
---@field choose fun(low: number, high: number, lowest: number): number, number the colour range
---@field paint fun(cells: fasc.Tensor, low: number, high: number): ffi.cdata*
---@field text fun(low: number, high: number): table

-- What the whole map spans, and counts of its elements.
local function survey(source, spec, rows, band, how)
    local low, high = math.huge, -math.huge
    local totals = {nan_count = 0, masked_count = 0, lowest = math.huge}
    each_band(source, spec, rows, band, function(result)
        local least, most = how.span(result.cells)
        low, high = math.min(low, least), math.max(high, most)
        totals.nan_count = totals.nan_count + result.nan_count
        totals.masked_count = totals.masked_count + result.masked_count
        totals.lowest = math.min(totals.lowest, result.lowest)
        totals.plan = totals.plan or result.plan
    end)
    return low, high, totals
end

--- Draws one map's cells.
---@param source fasc.MapSource
---@param spec fasc.PoolSpec
---@param how fasc.RawDrawing
---@return fasc.HeatmapInfo
function M.draw(source, spec, how)
    local q0, q1, k0, k1 = unpack(spec.crop)
    local rows, cols = math.ceil((q1 - q0) / spec.pool_rows), math.ceil((k1 - k0) / spec.pool_cols)
    local band = math.max(1, math.min(rows, math.floor(M.KEPT_CELLS / cols)))
    local kept, low, high, totals
    if cols * how.cell > 2^31 - 1 or rows * how.cell > 2^31 - 1 then
        errors.usage("heatmap: cell: %d x %d cells of %d pixels are too many", cols, rows, how.cell)
    elseif band == rows then
        kept = source:pool(spec)
        low, high = how.span(kept.cells)
        totals = kept
    elseif how.percentile then
        errors.usage("heatmap: scale: percentile needs all %d x %d cells in memory; use linear "
            .. "with a range", rows, cols)
    else
        low, high, totals = survey(source, spec, rows, band, how)
    end
    low, high = how.choose(low, high, totals.lowest)
    local text, count = files.metadata_pairs("heatmap", how.text(low, high))
    local png = ffi.new "fasc_png *[1]"
    errors.check(C.fasc_png_open(how.path, cols * how.cell, rows * how.cell, how.palette, count,
        text, png))
    local handle = ffi.gc(png[0], C.fasc_png_close)
    if kept then
        write(handle, how.paint(kept.cells, low, high), rows, cols, how.cell)
    else
        each_band(source, spec, rows, band, function(result)
            write(handle, how.paint(result.cells, low, high), result.cells.shape[1], cols,
                how.cell)
        end)
    end
    errors.check(C.fasc_png_close(ffi.gc(handle, nil)))
    return {
        path = how.path, raw = true, width = cols * how.cell, height = rows * how.cell,
        pool_rows = spec.pool_rows, pool_cols = spec.pool_cols, nan_count = totals.nan_count,
        masked_count = totals.masked_count, low = low, high = high, plan = totals.plan,
    }
end

return M
