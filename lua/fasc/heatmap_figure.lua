-- heatmap_figure.lua - painted cells laid out as a figure: one map with axes in tokens, column sums
-- above and entropy at the right; or a grid of maps; either with one colour bar and a caption that
-- says what was done.
local fasc_ffi = require "fasc.ffi"
local chart = require "fasc.chart"
local figures = require "fasc.figure"
local ticks = require "fasc.ticks"
local words = require "fasc.heatmap_words"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

local SCALE = 2            -- pixels of a unit in a PNG
local MAP_PIXELS = 1100    -- of one map's longer side
local GRID_PIXELS = 1600   -- of a grid's width
local LEAST_PIXELS = 56    -- of a map's shorter side
local STRIP, GAP = 40, 6   -- of the sums along the sides
local TICK, TOKEN = 10, 8.5

-- ---- the colour bar --------------------------------------------------------------------------

local BAR_LABEL = {probs = "probability", masked = "score", logits = "score"}

-- How many of a colour are among the cells?
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

local function color_bar(panels, how)
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

-- ---- one map ---------------------------------------------------------------------------------

-- Pixels of a cell and side, so that the longer side is about as long as it should be and the
-- shorter one can be seen.
local function cell_pixels(rows, cols, longer)
    local both = math.max(1, math.floor(longer / math.max(rows, cols)))
    local least = math.min(LEAST_PIXELS, longer)
    return math.max(both, math.floor(least / cols)), math.max(both, math.floor(least / rows))
end

-- A side of the map: where its numbers begin, and how tokens lie on it.
local function make_side(first, past, pool, count, pixels, tokens)
    local side = {first = first, past = past, pool = pool, length = count * pixels / SCALE,
        cell = pixels / SCALE}
    side.tokens = tokens and pool == 1 and side.cell >= TOKEN - 0.5 and tokens or nil
    side.ticks = {}
    if not side.tokens then
        for _, x in ipairs(ticks.choose(first, past - 1, "linear",
            math.max(2, math.floor(side.length / 60)))) do
            if x % 1 == 0 then
                side.ticks[#side.ticks + 1] = x
            end
        end
    end
    return side
end

-- The middle of a token's cell, or of its part of one, from the side's beginning.
local function place(side, index)
    return (index - side.first + 0.5) / side.pool * side.cell
end

local function label_of(side, index)
    local token = side.tokens[index + 1]
    return token and figures.shorten(token, TOKEN, 80) or ""
end

local function widest(side)
    local width = 0
    if side.tokens then
        for i = side.first, side.past - 1 do
            width = math.max(width, figures.text_width(label_of(side, i), TOKEN))
        end
        return width
    end
    for _, x in ipairs(side.ticks) do
        width = math.max(width, figures.text_width(("%d"):format(x), TICK))
    end
    return width
end

-- Cuts every element's number down to one for each cell.
local function by_cell(values, pool, count, is_mean)
    local list, plain = {}, values:tolist()
    for c = 0, count - 1 do
        local most, sum, n = -math.huge, 0, 0
        for i = c * pool + 1, math.min(#plain, (c + 1) * pool) do
            local v = plain[i]
            if v == v then
                most, sum, n = math.max(most, v), sum + v, n + 1
            end
        end
        list[c + 1] = n > 0 and (is_mean and sum / n or most) or 0
    end
    return list
end

local DECADES = 3 -- that a strip with a log scale shows

-- A stepped outline of values along a side, filled; `upright` runs down instead of across.
local function strip(fig, box, values, cell, upright, name, scale)
    local most = 0
    for _, v in ipairs(values) do
        most = math.max(most, v)
    end
    most = most > 0 and most < math.huge and most or 1
    local least = scale == "log" and most / 10 ^ DECADES or 0
    local function label(x)
        return ticks.label(tonumber((x == least and "%.1g" or "%.3g"):format(x)))
    end
    local points = {}
    local function add(along, height)
        points[#points + 1] = upright and box.x + height or box.x + along
        points[#points + 1] = upright and box.y + along or box.y + box.h - height
    end
    local high = upright and box.w or box.h
    add(0, 0)
    for i, v in ipairs(values) do
        local height = v <= least and 0 or ticks.position(math.min(v, most), least, most, scale)
        height = height * high
        add((i - 1) * cell, height)
        add(i * cell, height)
    end
    add(#values * cell, 0)
    fig:path {points = points, closed = true, fill = figures.COLORS[1], opacity = 0.75}
    local muted = fig.theme.muted
    if upright then
        fig:line(box.x, box.y, box.x, box.y + box.h, {stroke = fig.theme.frame})
        fig:text {x = box.x, y = box.y - 4, text = name, size = 8.5, color = muted}
        fig:text {x = box.x + box.w, y = box.y + box.h + 4, text = label(most), size = 8.5,
            anchor = "end", baseline = "top", color = muted}
        fig:text {x = box.x, y = box.y + box.h + 4, text = label(least), size = 8.5,
            baseline = "top", color = muted}
        return
    end
    fig:line(box.x, box.y + box.h, box.x + box.w, box.y + box.h, {stroke = fig.theme.frame})
    fig:text {x = box.x - 5, y = box.y + box.h, text = label(least), size = 8.5, anchor = "end",
        color = muted}
    fig:text {x = box.x - 5, y = box.y, text = label(most), size = 8.5, anchor = "end",
        baseline = "top", color = muted}
    fig:text {x = box.x, y = box.y - 3, text = name, size = 8.5, color = muted}
end

local function draw_sides(fig, box, panel, down, across, how)
    local result, spec = panel.result, panel.spec
    local pooled = spec.pool_rows > 1 or spec.pool_cols > 1
    strip(fig, {x = box.x, y = box.y - GAP - STRIP, w = box.w, h = STRIP},
        by_cell(result.col_sum, spec.pool_cols, result.cells.shape[2]), across.cell, false,
        pooled and "column sum (largest of a cell)" or "column sum",
        how.scale == "log" and "log" or "linear")
    strip(fig, {x = box.x + box.w + GAP, y = box.y, w = STRIP, h = box.h},
        by_cell(result.entropy, spec.pool_rows, result.cells.shape[1], true), down.cell, true,
        "entropy", "linear")
end

local function draw_axes(fig, box, down, across)
    local muted, frame = fig.theme.muted, fig.theme.frame
    if across.tokens then
        for j = across.first, across.past - 1 do
            local label, x = label_of(across, j), box.x + place(across, j)
            local fits = figures.text_width(label, TOKEN) <= across.cell
            fig:text {x = x, y = box.y + box.h + 4, text = label, size = TOKEN,
                rotate = not fits and -90 or nil, anchor = fits and "middle" or "end",
                baseline = fits and "top" or "middle"}
        end
    end
    for _, j in ipairs(across.ticks) do
        local x = box.x + place(across, j)
        fig:line(x, box.y + box.h, x, box.y + box.h + 3, {stroke = frame})
        fig:text {x = x, y = box.y + box.h + 5, text = ("%d"):format(j), size = TICK,
            anchor = "middle", baseline = "top", color = muted}
    end
    if down.tokens then
        for i = down.first, down.past - 1 do
            fig:text {x = box.x - 4, y = box.y + place(down, i), text = label_of(down, i),
                size = TOKEN, anchor = "end", baseline = "middle"}
        end
    end
    for _, i in ipairs(down.ticks) do
        local y = box.y + place(down, i)
        fig:line(box.x - 3, y, box.x, y, {stroke = frame})
        fig:text {x = box.x - 5, y = y, text = ("%d"):format(i), size = TICK, anchor = "end",
            baseline = "middle", color = muted}
    end
end

local function draw_map(fig, box, panel, palette)
    local cells = panel.result.cells
    fig:image {x = box.x, y = box.y, w = box.w, h = box.h, cols = cells.shape[2],
        rows = cells.shape[1], cells = panel.colors, palette = palette}
    fig:rect {x = box.x, y = box.y, w = box.w, h = box.h, stroke = fig.theme.frame, width = 0.5}
end

-- A figure whose title and caption leave just this much room.
local function new_figure(how, said, width, height)
    local _, _, above, below = figures.margins {width = width, title = said.title,
        caption = said.caption}
    return figures.new {width = width, height = math.ceil(height + above + below),
        theme = how.theme, title = said.title, caption = said.caption}
end

local function draw_one(panel, how, said)
    local shape, crop = panel.result.cells.shape, panel.spec.crop
    local across_pixels, down_pixels = cell_pixels(shape[1], shape[2], MAP_PIXELS)
    local down = make_side(crop[1], crop[2], panel.spec.pool_rows, shape[1], down_pixels,
        how.tokens)
    local across = make_side(crop[3], crop[4], panel.spec.pool_cols, shape[2], across_pixels,
        how.tokens)
    local bar = color_bar({panel}, how)
    local left = math.ceil(22 + math.max(widest(down), how.sides and 26 or 0))
    local top = how.sides and 14 + STRIP + GAP or 4
    local below = math.ceil((across.tokens and widest(across) + 4 or 5 + TICK) + 18)
    local right = (how.sides and GAP + STRIP or 0) + 18
    local bar_height = math.max(down.length, 130)
    local width = math.ceil(left + across.length + right + chart.color_bar_width(bar)) + 24
    local content = math.max(top + down.length + below, bar_height + 10)
    local fig = new_figure(how, said, math.max(width, 380), content)
    local box = {x = math.floor(fig.area.x + left), y = math.floor(fig.area.y + top),
        w = across.length, h = down.length}
    draw_map(fig, box, panel, how.palette)
    draw_axes(fig, box, down, across)
    if how.sides then
        draw_sides(fig, box, panel, down, across, how)
    end
    fig:text {x = box.x + box.w / 2, y = box.y + box.h + below - 4, text = "key", size = 11,
        anchor = "middle", baseline = "bottom"}
    fig:text {x = box.x - left + 10, y = box.y + box.h / 2, text = "query", size = 11,
        anchor = "middle", rotate = -90}
    local rise = bar_height > down.length and top - 4 or 0 -- a bar beside a low map begins above it
    chart.color_bar(fig, {x = box.x + box.w + right, y = box.y - rise, w = 0, h = bar_height}, bar)
    return fig
end

-- ---- a grid ----------------------------------------------------------------------------------

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
    return math.max(48, math.floor((GRID_PIXELS - (cols - 1) * 8 * SCALE) / math.max(2, cols)))
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
    local source, parts = panel.source, {}
    if #words.distinct(panels, "layer") > 1 then
        parts[1] = "layer " .. source.layer
    end
    if #words.distinct(panels, "head") > 1 then
        parts[#parts + 1] = "head " .. source.head
    end
    return #parts > 0 and table.concat(parts, ", ") or source:name()
end

-- Sizes of the grid's panels and of the room for their names.
local function lay_grid(panels)
    local rows, cols, layers, heads = arrange(panels)
    local grid = {rows = rows, cols = cols, layers = layers, heads = heads, w = 0, h = 0}
    for _, panel in ipairs(panels) do
        local shape = panel.result.cells.shape
        local across, down = cell_pixels(shape[1], shape[2], panel_pixels(cols))
        panel.w, panel.h = shape[2] * across / SCALE, shape[1] * down / SCALE
        grid.w, grid.h = math.max(grid.w, panel.w), math.max(grid.h, panel.h)
    end
    grid.gap = cols > 8 and 4 or 8
    grid.name = layers and 0 or 15
    grid.left, grid.top = layers and 20 or 0, layers and 18 or 2
    return grid
end

local function draw_grid(panels, how, said)
    local grid, bar = lay_grid(panels), color_bar(panels, how)
    local step_x, step_y = grid.w + grid.gap, grid.h + grid.gap + grid.name
    local width = grid.left + grid.cols * step_x + 10 + chart.color_bar_width(bar) + 24
    local height = grid.top + grid.rows * step_y
    local bar_height = math.max(130, math.min(height - grid.top - grid.gap, 420))
    height = math.max(height, grid.top + bar_height + 4)
    local fig = new_figure(how, said, math.max(380, math.ceil(width)), height)
    local x0, y0 = fig.area.x + grid.left, math.floor(fig.area.y + grid.top)
    for i, panel in ipairs(panels) do
        local row, col = math.floor((i - 1) / grid.cols), (i - 1) % grid.cols
        local box = {x = x0 + col * step_x, y = y0 + row * step_y + grid.name, w = panel.w,
            h = panel.h}
        draw_map(fig, box, panel, how.palette)
        if not grid.layers then
            local name = panel_name(panels, panel)
            fig:text {x = box.x, y = box.y - 4, text = figures.shorten(name, TICK, grid.w),
                size = TICK, color = fig.theme.muted}
        end
    end
    for i, head in ipairs(grid.heads or {}) do
        fig:text {x = x0 + (i - 1) * step_x + grid.w / 2, y = y0 - 5, size = TICK,
            text = (i == 1 and "head " or "") .. head, anchor = "middle", color = fig.theme.muted}
    end
    for i, layer in ipairs(grid.layers or {}) do
        fig:text {x = x0 - 6, y = y0 + (i - 1) * step_y + grid.h / 2, size = TICK, rotate = -90,
            text = (i == 1 and "layer " or "") .. layer, anchor = "middle",
            color = fig.theme.muted}
    end
    chart.color_bar(fig, {x = x0 + grid.cols * step_x + 10, y = y0 + grid.name, w = 0,
        h = bar_height}, bar)
    return fig
end

-- ---- both ------------------------------------------------------------------------------------

--- A map that was pooled and painted.
---@class fasc.Panel
---@field source fasc.MapSource
---@field spec fasc.PoolSpec
---@field result fasc.Cells
---@field colors ffi.cdata* uint8_t *: the cells' colours

--- Lays panels out and writes the figure; `how` is what heatmap.lua knows of it.
---@param panels fasc.Panel[]
---@param how table
---@return number width  pixels of a .png, else units
---@return number height
---@return string title
function M.draw(panels, how)
    local said = {
        title = how.title or words.title(panels), caption = words.caption(panels, how),
    }
    local fig = (#panels == 1 and draw_one or draw_grid)(#panels == 1 and panels[1] or panels, how,
        said)
    fig:save(how.path, {scale = SCALE, metadata = how.metadata})
    local unit = figures.format("heatmap", how.path) == "png" and SCALE or 1
    return math.ceil(fig.width * unit), math.ceil(fig.height * unit), said.title
end

return M
