-- heatmap_grid.lua - many maps as a figure: small multiples with one colour bar.
local chart = require "fasc.chart"
local figures = require "fasc.figure"
local parts = require "fasc.heatmap_parts"
local words = require "fasc.heatmap_words"

local M = {}

local PIXELS = 1600 -- of a grid's width
local TICK = 10
local WORDS = 46    -- a panel of this size has room for "layer 0" at its side

-- Rows and columns: layers by heads where every pair is there, else near a square.
local function arrange(list)
    local layers, heads = words.distinct(list, "layer"), words.distinct(list, "head")
    if #layers > 1 and #heads > 1 and #layers * #heads == #list then
        return #layers, #heads, layers, heads
    end
    local least = math.ceil(math.sqrt(#list))
    for cols = least, 2 * least do
        if #list % cols == 0 then
            return #list / cols, cols
        end
    end
    return math.ceil(#list / least), least
end

local function panel_pixels(cols)
    return math.max(48, math.floor((PIXELS - (cols - 1) * 8 * parts.SCALE) / math.max(2, cols)))
end

--- How many cells the longer side of each of these maps may have.
---@param list fasc.MapSource[]
---@param whole integer of a map that is alone
---@return integer
function M.panel_cells(list, whole)
    if #list == 1 then
        return whole
    end
    local items = {}
    for i, source in ipairs(list) do
        items[i] = {source = source}
    end
    local _, cols = arrange(items)
    return math.min(whole, panel_pixels(cols))
end

local function panel_name(panels, panel)
    local source, names = panel.source, {}
    if #words.distinct(panels, "layer") > 1 then
        names[1] = "layer " .. source.layer
    end
    if #words.distinct(panels, "head") > 1 then
        names[#names + 1] = "head " .. source.head
    end
    return #names > 0 and table.concat(names, ", ") or source:name()
end

-- Sizes of the grid's panels and of the room for their names.
local function lay_grid(panels)
    local rows, cols, layers, heads = arrange(panels)
    local grid = {rows = rows, cols = cols, layers = layers, heads = heads, w = 0, h = 0}
    for _, panel in ipairs(panels) do
        local shape = panel.result.cells.shape
        local across, down = parts.cell_pixels(shape[1], shape[2], panel_pixels(cols))
        panel.w, panel.h = shape[2] * across / parts.SCALE, shape[1] * down / parts.SCALE
        grid.w, grid.h = math.max(grid.w, panel.w), math.max(grid.h, panel.h)
    end
    grid.gap = cols > 8 and 4 or 8
    grid.name = layers and 0 or 15
    grid.left, grid.top = layers and 20 or 0, layers and 18 or 2
    return grid
end

--- Lays panels out.
---@param panels fasc.Panel[]
---@param how table
---@param said {title: string, caption: string}
---@return fasc.Figure
function M.draw(panels, how, said)
    local grid, bar = lay_grid(panels), parts.color_bar(panels, how)
    local step_x, step_y = grid.w + grid.gap, grid.h + grid.gap + grid.name
    local width = grid.left + grid.cols * step_x + 10 + chart.color_bar_width(bar) + 24
    local height = grid.top + grid.rows * step_y
    local bar_height = math.max(130, math.min(height - grid.top - grid.gap, 420))
    height = math.max(height, grid.top + bar_height + 4)
    local fig = parts.new_figure(how, said, math.max(380, math.ceil(width)), height)
    local x0, y0 = fig.area.x + grid.left, math.floor(fig.area.y + grid.top)
    for i, panel in ipairs(panels) do
        local row, col = math.floor((i - 1) / grid.cols), (i - 1) % grid.cols
        local box = {x = x0 + col * step_x, y = y0 + row * step_y + grid.name, w = panel.w,
            h = panel.h}
        parts.draw_map(fig, box, panel, how.palette)
        if not grid.layers then
            local name = panel_name(panels, panel)
            fig:text {x = box.x, y = box.y - 4, text = figures.shorten(name, TICK, grid.w),
                size = TICK, color = fig.theme.muted}
        end
    end
    for i, head in ipairs(grid.heads or {}) do
        fig:text {x = x0 + (i - 1) * step_x + grid.w / 2, y = y0 - 5, size = TICK,
            text = (i == 1 and grid.w >= WORDS and "head " or "") .. head, anchor = "middle",
            color = fig.theme.muted}
    end
    for i, layer in ipairs(grid.layers or {}) do
        fig:text {x = x0 - 6, y = y0 + (i - 1) * step_y + grid.h / 2, size = TICK, rotate = -90,
            text = (i == 1 and grid.h >= WORDS and "layer " or "") .. layer, anchor = "middle",
            color = fig.theme.muted}
    end
    chart.color_bar(fig, {x = x0 + grid.cols * step_x + 10, y = y0 + grid.name, w = 0,
        h = bar_height}, bar)
    return fig
end

return M
