-- chart.lua - axes on a figure: a frame with ticks, labels and a grid, lines, bands and markers in
-- the units of the data, a legend, a colour bar.
local figures = require "fasc.figure"
local options = require "fasc.options"
local ticks = require "fasc.ticks"

local M = {}

local TICK, LABEL = 10, 11 -- text sizes
local GAP = 5              -- between a tick's text and the frame

--- One axis.
---@class fasc.ChartAxis
---@field range number[]   {low, high}
---@field scale "linear"|"log"|"log2"|nil default linear
---@field label string?
---@field ticks {[1]: number, [2]: string}[]|number[]|nil instead of round numbers
---@field grid boolean?    lines across at its ticks; default true
local AXIS = {
    range = {is = "table", required = true},
    scale = {is = "string", values = {"linear", "log", "log2"}, default = "linear"},
    label = {is = "string"},
    ticks = {is = "table"},
    grid = {is = "boolean", default = true},
}

---@class fasc.Chart
---@field box {x: number, y: number, w: number, h: number} the inside of the frame
local Chart = {}
Chart.__index = Chart

-- The axis with its ticks as {value, text}.
local function prepare(given, length)
    local axis = options.check("chart", given, AXIS)
    axis.low, axis.high = axis.range[1], axis.range[2]
    local chosen = axis.ticks
        or ticks.choose(axis.low, axis.high, axis.scale, math.max(2, math.floor(length / 55)))
    local list = {}
    for i, tick in ipairs(chosen) do
        list[i] = type(tick) == "table" and tick or {tick, ticks.label(tick)}
    end
    axis.ticks = list
    return axis
end

local function widest(axis)
    local width = 0
    for _, tick in ipairs(axis.ticks) do
        width = math.max(width, figures.text_width(tick[2], TICK))
    end
    return width
end

--- A value's place on the page.
---@param x number
---@return number
function Chart:x_at(x)
    return self.box.x + self.box.w * ticks.position(x, self.x.low, self.x.high, self.x.scale)
end

---@param y number
---@return number
function Chart:y_at(y)
    return self.box.y + self.box.h * (1 - ticks.position(y, self.y.low, self.y.high, self.y.scale))
end

local function draw_frame(chart)
    local fig, box = chart.fig, chart.box
    local theme = fig.theme
    for _, tick in ipairs(chart.x.ticks) do
        local x = chart:x_at(tick[1])
        if chart.x.grid then
            fig:line(x, box.y, x, box.y + box.h, {stroke = theme.grid})
        end
        fig:text {x = x, y = box.y + box.h + GAP, text = tick[2], size = TICK, anchor = "middle",
            baseline = "top", color = theme.muted}
    end
    for _, tick in ipairs(chart.y.ticks) do
        local y = chart:y_at(tick[1])
        if chart.y.grid then
            fig:line(box.x, y, box.x + box.w, y, {stroke = theme.grid})
        end
        fig:text {x = box.x - GAP, y = y, text = tick[2], size = TICK, anchor = "end",
            baseline = "middle", color = theme.muted}
    end
    fig:rect {x = box.x, y = box.y, w = box.w, h = box.h, stroke = theme.frame}
    if chart.x.label then
        fig:text {x = box.x + box.w / 2, y = box.y + box.h + GAP + TICK + GAP, size = LABEL,
            text = chart.x.label, anchor = "middle", baseline = "top"}
    end
    if chart.y.label then
        fig:text {x = box.x - GAP - widest(chart.y) - 7, y = box.y + box.h / 2, size = LABEL,
            text = chart.y.label, anchor = "middle", rotate = -90}
    end
end

--- Axes that fill an area of the figure, with room for their texts taken from it. Drawn at once;
--- what the chart draws later lies above the grid.
---
---     local plot = chart.new(fig, fig.area, {
---         x = {label = "seqlen", scale = "log2", range = {512, 8192}},
---         y = {label = "GFLOP/s", range = {0, 200}}})
---@param fig fasc.Figure
---@param area {x: number, y: number, w: number, h: number}
---@param axes {x: fasc.ChartAxis, y: fasc.ChartAxis}
---@return fasc.Chart
function M.new(fig, area, axes)
    local chart = setmetatable({fig = fig, series = {}}, Chart)
    chart.y = prepare(axes.y, area.h * 1.3)
    local left = GAP + widest(chart.y) + (chart.y.label and LABEL + 10 or 0)
    local below = GAP + TICK + (axes.x.label and LABEL + 2 * GAP or GAP)
    local last = prepare(axes.x, area.w - left).ticks
    local right = #last > 0 and figures.text_width(last[#last][2], TICK) / 2 or 0
    chart.box = {x = area.x + left, y = area.y + TICK / 2, w = area.w - left - right,
        h = area.h - below - TICK / 2}
    chart.x = prepare(axes.x, chart.box.w)
    draw_frame(chart)
    return chart
end

-- ---- data -----------------------------------------------------------------------------------

local MARKERS = {}

function MARKERS.circle(fig, x, y, r, color)
    fig:circle {x = x, y = y, r = r, fill = color}
end

function MARKERS.square(fig, x, y, r, color)
    fig:rect {x = x - r * 0.9, y = y - r * 0.9, w = r * 1.8, h = r * 1.8, fill = color}
end

function MARKERS.triangle(fig, x, y, r, color)
    fig:path {points = {x, y - 1.2 * r, x + 1.1 * r, y + 0.8 * r, x - 1.1 * r, y + 0.8 * r},
        closed = true, fill = color}
end

function MARKERS.diamond(fig, x, y, r, color)
    fig:path {points = {x, y - 1.3 * r, x + 1.3 * r, y, x, y + 1.3 * r, x - 1.3 * r, y},
        closed = true, fill = color}
end

--- How a series looks.
---@class fasc.ChartStyle
---@field color string
---@field width number?  default 1.8; 0 draws markers only
---@field dash number[]? lengths of strokes and gaps
---@field marker "circle"|"square"|"triangle"|"diamond"|nil
---@field label string?  what the legend calls it

local function draw_marker(fig, style, x, y)
    if style.marker then
        MARKERS[style.marker](fig, x, y, 3.2, style.color)
    end
end

--- A line through {x, y} pairs; a pair without y (nil or NaN) interrupts it. What lies outside of
--- the axes is cut off.
---@param points {[1]: number, [2]: number?}[]
---@param style fasc.ChartStyle
function Chart:line(points, style)
    local runs, run = {}, nil
    for _, p in ipairs(points) do
        if p[2] and p[2] == p[2] then
            if not run then
                run = {}
                runs[#runs + 1] = run
            end
            run[#run + 1] = self:x_at(p[1])
            run[#run + 1] = self:y_at(p[2])
        else
            run = nil
        end
    end
    local box = self.box
    self.fig:clip({x = box.x - 1, y = box.y - 1, w = box.w + 2, h = box.h + 2}, function()
        for _, list in ipairs(runs) do
            if style.width ~= 0 and #list > 2 then
                self.fig:path {points = list, stroke = style.color, width = style.width or 1.8,
                    dash = style.dash}
            end
        end
    end)
    for _, list in ipairs(runs) do
        for i = 1, #list, 2 do
            local x, y = list[i], list[i + 1]
            if x >= box.x - 1 and x <= box.x + box.w + 1 and y >= box.y - 1
                and y <= box.y + box.h + 1 then
                draw_marker(self.fig, style, x, y)
            end
        end
    end
    if style.label then
        self.series[#self.series + 1] = style
    end
end

--- A shade between two curves: points {x, low, high}.
---@param points {[1]: number, [2]: number, [3]: number}[]
---@param style {color: string, opacity: number?}
function Chart:band(points, style)
    local outline = {}
    for _, p in ipairs(points) do
        outline[#outline + 1] = self:x_at(p[1])
        outline[#outline + 1] = self:y_at(p[2])
    end
    for i = #points, 1, -1 do
        outline[#outline + 1] = self:x_at(points[i][1])
        outline[#outline + 1] = self:y_at(points[i][3])
    end
    self.fig:clip(self.box, function()
        self.fig:path {points = outline, closed = true, fill = style.color,
            opacity = style.opacity or 0.2}
    end)
end

--- Names the series that have a label, in a corner of the frame.
---@param corner "top_left"|"top_right"|"bottom_left"|"bottom_right"|nil default top_left
function Chart:legend(corner)
    corner = corner or "top_left"
    local fig, box, width = self.fig, self.box, 0
    for _, style in ipairs(self.series) do
        width = math.max(width, figures.text_width(style.label, TICK))
    end
    local w, h = width + 44, #self.series * 15 + 6
    local x = corner:find "left" and box.x + 8 or box.x + box.w - w - 8
    local y = corner:find "top" and box.y + 8 or box.y + box.h - h - 8
    fig:rect {x = x, y = y, w = w, h = h, fill = fig.theme.background, opacity = 0.85}
    for i, style in ipairs(self.series) do
        local middle = y + 15 * i - 4.5
        if style.width ~= 0 then
            fig:line(x + 7, middle, x + 29, middle, {stroke = style.color,
                width = style.width or 1.8, dash = style.dash})
        end
        draw_marker(fig, style, x + 18, middle)
        fig:text {x = x + 36, y = middle, text = style.label, size = TICK, baseline = "middle"}
    end
end

-- ---- the colour bar ---------------------------------------------------------------------------

---@class fasc.ColorBar
---@field range number[]
---@field scale "linear"|"log"|nil
---@field label string?
---@field cells ffi.cdata* uint8_t *: numbers of the colours from the highest value to the lowest
---@field count integer     how many
---@field palette ffi.cdata* uint8_t *: r, g, b of each colour
---@field ends {[1]: string?, [2]: string?}|nil signs before the lowest and highest tick: "≤", "≥"
---@field extra {[1]: string, [2]: string}[]|nil boxes below: {"#b4b4b4", "masked"}

--- How wide a colour bar with its texts will be.
---@param bar fasc.ColorBar
---@return number
function M.color_bar_width(bar)
    local width = 0
    for _, entry in ipairs(bar.extra or {}) do
        width = math.max(width, figures.text_width(entry[2], TICK))
    end
    local axis = prepare({range = bar.range, scale = bar.scale}, 300)
    width = math.max(width, widest(axis))
    return 14 + GAP + width + (bar.label and LABEL + 8 or 0) + 4
end

--- An upright colour bar in an area, its ticks to the right.
---@param fig fasc.Figure
---@param area {x: number, y: number, w: number, h: number}
---@param bar fasc.ColorBar
function M.color_bar(fig, area, bar)
    local extra = bar.extra or {}
    local h, w, x = area.h - #extra * 18, 14, area.x
    local axis = prepare({range = bar.range, scale = bar.scale}, h)
    fig:image {x = x, y = area.y, w = w, h = h, cols = 1, rows = bar.count, cells = bar.cells,
        palette = bar.palette}
    fig:rect {x = x, y = area.y, w = w, h = h, stroke = fig.theme.frame}
    for _, tick in ipairs(axis.ticks) do
        local y = area.y + h * (1 - ticks.position(tick[1], axis.low, axis.high, axis.scale))
        fig:line(x + w, y, x + w + 3, y, {stroke = fig.theme.frame})
        fig:text {x = x + w + GAP, y = y, text = tick[2], size = TICK, baseline = "middle",
            color = fig.theme.muted}
    end
    for i, entry in ipairs(extra) do
        local y = area.y + h + 18 * i - 10
        fig:rect {x = x, y = y, w = w, h = 10, fill = entry[1], stroke = fig.theme.frame}
        fig:text {x = x + w + GAP, y = y + 5, text = entry[2], size = TICK, baseline = "middle",
            color = fig.theme.muted}
    end
    if bar.label then
        fig:text {x = x + w + GAP + widest(axis) + 5 + LABEL, y = area.y + h / 2, size = LABEL,
            text = bar.label, anchor = "middle", rotate = -90}
    end
end

return M
