-- heatmap_one.lua - one map as a figure: axes in tokens, column sums above, entropy at the right.
local chart = require "fasc.chart"
local figures = require "fasc.figure"
local parts = require "fasc.heatmap_parts"
local ticks = require "fasc.ticks"

local M = {}

local MAP_PIXELS = 1100   -- of the longer side
local STRIP, GAP = 40, 6  -- of the sums along the sides
local TICK, TOKEN = 10, 8.5

-- ---- sides ----------------------------------------------------------------------------------

-- A side of the map: where its numbers begin, and how tokens lie on it.
local function make_side(first, past, pool, count, pixels, tokens)
    local side = {first = first, past = past, pool = pool, length = count * pixels / parts.SCALE,
        cell = pixels / parts.SCALE}
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
    fig:path {points = points, closed = true, fill = fig.theme.accent, opacity = 0.75}
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

-- ---- the figure -----------------------------------------------------------------------------

--- Lays one panel out.
---@param panel fasc.Panel
---@param how table
---@param said {title: string, caption: string}
---@return fasc.Figure
function M.draw(panel, how, said)
    local shape, crop = panel.result.cells.shape, panel.spec.crop
    local across_pixels, down_pixels = parts.cell_pixels(shape[1], shape[2], MAP_PIXELS)
    local down = make_side(crop[1], crop[2], panel.spec.pool_rows, shape[1], down_pixels,
        how.tokens)
    local across = make_side(crop[3], crop[4], panel.spec.pool_cols, shape[2], across_pixels,
        how.tokens)
    local bar = parts.color_bar({panel}, how)
    local left = math.ceil(22 + math.max(widest(down), how.sides and 26 or 0))
    local top = how.sides and 14 + STRIP + GAP or 4
    local below = math.ceil((across.tokens and widest(across) + 4 or 5 + TICK) + 18)
    local right = (how.sides and GAP + STRIP or 0) + 18
    local bar_height = math.max(down.length, 130)
    local width = math.ceil(left + across.length + right + chart.color_bar_width(bar)) + 24
    local content = math.max(top + down.length + below, bar_height + 10)
    local fig = parts.new_figure(how, said, math.max(width, 380), content)
    local box = {x = math.floor(fig.area.x + left), y = math.floor(fig.area.y + top),
        w = across.length, h = down.length}
    parts.draw_map(fig, box, panel, how.palette)
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

return M
