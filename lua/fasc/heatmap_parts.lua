-- heatmap_parts.lua - what pictures of one map and of many share: a painted map in a box, the
-- colour bar, the size of cells, and a figure with just enough room.
local fasc_ffi = require "fasc.ffi"
local figures = require "fasc.figure"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

--- Pixels of a unit in a PNG.
M.SCALE = 2

local LEAST_PIXELS = 56 -- of a map's shorter side

local BAR_LABEL = {probs = "probability", masked = "score", logits = "score"}

-- Is a colour among the cells?
local function has_color(panels, color)
    for _, panel in ipairs(panels) do
        for i = 0, panel.result.cells:numel() - 1 do
            if panel.colors[i] == color then
                return true
            end
        end
    end
    return false
end

--- The colour bar of panels, for fasc.chart.
---@param panels fasc.Panel[]
---@param how table
---@return fasc.ColorBar
function M.color_bar(panels, how)
    local cells, extra = ffi.new("uint8_t[?]", C.FASC_COLORS), {}
    for i = 0, C.FASC_COLORS - 1 do
        cells[i] = C.FASC_COLORS - 1 - i
    end
    for _, row in ipairs {{C.FASC_COLOR_MASKED, "masked"}, {C.FASC_COLOR_NAN, "NaN"}} do
        if has_color(panels, row[1]) then
            local rgb = how.palette + 3 * row[1]
            extra[#extra + 1] = {("#%02x%02x%02x"):format(rgb[0], rgb[1], rgb[2]), row[2]}
        end
    end
    local minus = panels[1].spec.minus
    return {
        range = {how.low, how.high}, scale = how.scale == "log" and "log" or "linear",
        cells = cells, count = C.FASC_COLORS, palette = how.palette, extra = extra,
        label = minus and "difference" or BAR_LABEL[panels[1].source.kind]
            or how.is_probs and "probability" or nil,
    }
end

--- Pixels of a cell, across and down, so that the longer side is about as long as it should be and
--- the shorter one can be seen.
function M.cell_pixels(rows, cols, longer)
    local both = math.max(1, math.floor(longer / math.max(rows, cols)))
    local least = math.min(LEAST_PIXELS, longer)
    return math.max(both, math.floor(least / cols)), math.max(both, math.floor(least / rows))
end

--- A panel's cells in a box of the figure.
function M.draw_map(fig, box, panel, palette)
    local cells = panel.result.cells
    fig:image {x = box.x, y = box.y, w = box.w, h = box.h, cols = cells.shape[2],
        rows = cells.shape[1], cells = panel.colors, palette = palette}
    fig:rect {x = box.x, y = box.y, w = box.w, h = box.h, stroke = fig.theme.frame, width = 0.5}
end

--- A figure whose title and caption leave just this much room.
function M.new_figure(how, said, width, height)
    local _, _, above, below = figures.margins {width = width, title = said.title,
        caption = said.caption}
    return figures.new {width = width, height = math.ceil(height + above + below),
        theme = how.theme, title = said.title, caption = said.caption}
end

return M
