-- head_figure.lua - the numbers of many heads as a figure: for each number a small table of
-- colours, layers down and heads across, with the heads that stand out framed.
local fasc_ffi = require "fasc.ffi"
local create = require "fasc.create"
local errors = require "fasc.errors"
local figures = require "fasc.figure"
local stats = require "fasc.head_stats"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

local CELL_W, CELL_H, GAP, TITLES = 34, 18, 18, 36
local TICK = 9

-- Rows and columns by layer and head, in the order of their numbers.
local function axes_of(list)
    local axes = {layer = {}, head = {}}
    for name, values in pairs(axes) do
        local seen = {}
        for _, head in ipairs(list) do
            local value = head[name] or 0
            if not seen[value] then
                seen[value] = true
                values[#values + 1] = value
            end
        end
        table.sort(values)
        for i, value in ipairs(values) do
            values["at " .. value] = i
        end
    end
    return axes.layer, axes.head
end

-- The colours' numbers of one column, row-major, and the values in the same order.
local function paint(list, column, layers, heads)
    local cells = create.full({#layers, #heads}, -math.huge, {device = "cpu"})
    local data = ffi.cast("float *", cells:data())
    local values = {}
    for _, head in ipairs(list) do
        local at = (layers["at " .. (head.layer or 0)] - 1) * #heads
            + heads["at " .. (head.head or 0)] - 1
        values[at] = head[column.name]
        data[at] = head[column.name] or -math.huge
    end
    local low, high = ffi.new "double[1]", ffi.new "double[1]"
    errors.check(C.fasc_map_range(cells:handle(), 0, low, high))
    local least, most = low[0], high[0]
    if least > most then
        least, most = 0, 1
    end
    local colors = ffi.new("uint8_t[?]", #layers * #heads)
    errors.check(C.fasc_map_paint(cells:handle(), C.FASC_SCALE_LINEAR, least, most, colors))
    return colors, values
end

local function is_light(palette, color)
    local c = palette + 3 * color
    return 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2] > 140
end

local function draw_cells(fig, x, y, panel, palette, layers, heads)
    local w, h = #heads * CELL_W, #layers * CELL_H
    fig:image {x = x, y = y, w = w, h = h, cols = #heads, rows = #layers, cells = panel.colors,
        palette = palette}
    for r = 0, #layers - 1 do
        for c = 0, #heads - 1 do
            local at = r * #heads + c
            if panel.values[at] then
                fig:text {x = x + (c + 0.5) * CELL_W, y = y + (r + 0.5) * CELL_H, size = TICK,
                    text = panel.column.format:format(panel.values[at]), anchor = "middle",
                    baseline = "middle",
                    color = is_light(palette, panel.colors[at]) and "#1b1f24" or "#ffffff"}
            end
        end
    end
    fig:rect {x = x, y = y, w = w, h = h, stroke = fig.theme.frame, width = 0.5}
end

local function draw_panel(fig, x, y, panel, palette, layers, heads)
    local muted = fig.theme.muted
    fig:text {x = x, y = y - 18, text = panel.column.title, size = 11, bold = true}
    draw_cells(fig, x, y, panel, palette, layers, heads)
    for c, head in ipairs(heads) do
        fig:text {x = x + (c - 0.5) * CELL_W, y = y - 4, text = tostring(head), size = TICK,
            anchor = "middle", color = muted}
    end
    for r, layer in ipairs(layers) do
        fig:text {x = x - 4, y = y + (r - 0.5) * CELL_H, text = tostring(layer), size = TICK,
            anchor = "end", baseline = "middle", color = muted}
    end
    for _, head in ipairs(panel.notable) do
        fig:rect {x = x + (heads["at " .. (head.head or 0)] - 1) * CELL_W + 1,
            y = y + (layers["at " .. (head.layer or 0)] - 1) * CELL_H + 1, w = CELL_W - 2,
            h = CELL_H - 2, stroke = "#d55e00", width = 2}
    end
end

--- Writes the figure of heads' statistics: .png, .svg or .pdf.
---@param list fasc.HeadStatistics[]
---@param path string
---@param opts {title: string?, theme: string?, metadata: table?}?
function M.save(list, path, opts)
    opts = opts or {}
    local layers, heads = axes_of(list)
    local palette = ffi.new("uint8_t[?]", 3 * C.FASC_PALETTE)
    errors.check(C.fasc_colormap_palette(C.FASC_MAP_VIRIDIS, palette))
    local panels, words = {}, {}
    for _, entry in ipairs(stats.notable(list)) do
        local colors, values = paint(list, entry.column, layers, heads)
        panels[#panels + 1] = {column = entry.column, colors = colors, values = values,
            notable = entry.heads}
        words[#words + 1] = entry.column.title:gsub("^%l", string.upper) .. ": "
            .. entry.column.help .. "."
    end
    local w, h = #heads * CELL_W + GAP, #layers * CELL_H + TITLES + GAP
    local across = math.max(1, math.min(#panels, math.floor(1100 / w)))
    local down = math.ceil(#panels / across)
    local width = math.max(420, across * w + 40)
    local caption = "Layers down, heads across; framed are those that stand out. "
        .. table.concat(words, " ")
    local _, _, above, below = figures.margins {width = width, title = opts.title,
        caption = caption}
    local fig = figures.new {width = width, height = math.ceil(above + below + down * h),
        title = opts.title, caption = caption, theme = opts.theme}
    for i, panel in ipairs(panels) do
        draw_panel(fig, fig.area.x + 16 + (i - 1) % across * w,
            fig.area.y + TITLES + math.floor((i - 1) / across) * h, panel, palette, layers, heads)
    end
    fig:save(path, {metadata = opts.metadata})
end

return M
