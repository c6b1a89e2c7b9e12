-- record_chart.lua - line charts of records: a metric against an axis, a line for each value of
-- another, a panel for each combination of the rest. The spread (5th to 95th percentile) is a band,
-- a point without a result a cross at the foot; lines are named where they end. Against an axis of
-- names there are markers and bars instead of lines and bands.
local axes = require "fasc.axes"
local chart = require "fasc.chart"
local errors = require "fasc.errors"
local figures = require "fasc.figure"
local options = require "fasc.options"
local records = require "fasc.records"

local M = {}

local PANEL_WIDTH, PANEL_HEIGHT, GAP, TITLE = 420, 270, 18, 18
local LABEL_SIZE, LABEL_STEP = 10, 12
local MARKERS = {"circle", "square", "triangle", "diamond"}
local DASHES = {false, {6, 3}, {2, 2}}
local MOST_PANELS = 12

--- The series' colours: figure.COLORS, brighter on dark.
M.COLORS = {
    light = figures.COLORS,
    dark = {"#56b4e9", "#f08a4b", "#2fc598", "#e09cc4", "#f0bf4c", "#9cd8f7", "#b3b3b3"},
}

-- ---- what is drawn ------------------------------------------------------------------------

local function is_numeric(values)
    for _, value in ipairs(values) do
        if type(value) ~= "number" then
            return false
        end
    end
    return true
end

-- The numeric axis with the most values; the first varying one where none is numeric.
local function default_x(varying, all)
    local best, most
    for _, name in ipairs(varying) do
        local values = records.values(all, name)
        if is_numeric(values) and (not best or #values > most) then
            best, most = name, #values
        end
    end
    return best or varying[1]
end

local function without(list, ...)
    local rest = {}
    for _, name in ipairs(list) do
        local drop = false
        for i = 1, select("#", ...) do
            drop = drop or name == select(i, ...)
        end
        rest[#rest + 1] = not drop and name or nil
    end
    return rest
end

-- Kernels where there are several, else the innermost axis.
local function default_by(rest)
    for _, name in ipairs(rest) do
        if name == "kernel" then
            return name
        end
    end
    return rest[#rest]
end

local function find_axis(call, name, varying, all)
    if name and #records.values(all, name) == 0 then
        errors.usage("%s: there is no axis '%s'%s", call, name, options.hint(name, varying))
    end
    return name
end

-- All records with where they come from: {record, set number}.
local function gather(sets, filter)
    local list, all, varying = {}, {}, {}
    for number, set in ipairs(sets) do
        for _, record in ipairs(set.records) do
            if not filter or filter(record.values) then
                list[#list + 1] = {record = record, set = number}
                all[#all + 1] = record
            end
        end
        for _, name in ipairs(set.axes) do
            varying[#varying + 1] = name
        end
    end
    if #all == 0 then
        errors.usage("plot: --filter leaves no point")
    end
    local kept, known = {}, {}
    for _, name in ipairs(varying) do
        if not known[name] and #records.values(all, name) > 1 then
            kept[#kept + 1] = name
        end
        known[name] = true
    end
    return list, all, kept
end

-- Lists by the key of each item, in the order of the keys' first appearance.
local function grouped(list, key_of)
    local groups, index = {}, {}
    for _, item in ipairs(list) do
        local key = key_of(item)
        if not index[key] then
            index[key] = {key = key}
            groups[#groups + 1] = index[key]
        end
        table.insert(index[key], item)
    end
    return groups
end

-- ---- ranges -------------------------------------------------------------------------------

local function x_axis(all, name)
    local values = records.values(all, name)
    local place, ticks = {}, {}
    if not is_numeric(values) or #values < 2 then -- names have no between
        for i, value in ipairs(values) do
            place[value], ticks[i] = i, {i, tostring(value)}
        end
        return {label = name, range = {0.5, #values + 0.5}, ticks = ticks}, place, true
    end
    for _, value in ipairs(values) do
        place[value] = value
    end
    local low, high = values[1], values[#values]
    local scale = low > 0 and high / low >= 8 and "log2" or "linear"
    if #values <= 8 then
        for i, value in ipairs(values) do
            ticks[i] = value
        end
    end
    return {label = name, range = {low, high}, scale = scale, ticks = #ticks > 0 and ticks or nil},
        place
end

local function percentiles(record, metric)
    local t = record.timing
    if type(t) ~= "table" or not records.METRICS[metric].per_time or not (t.p5 and t.p95) then
        return
    end
    return records.metric(record, metric, t.p95), records.metric(record, metric, t.p5)
end

local function y_axis(list, name)
    local metric = records.METRICS[name]
    local low, high = math.huge, 0
    for _, item in ipairs(list) do
        local value = records.metric(item.record, name)
        if value then
            low, high = math.min(low, value), math.max(high, value)
        end
    end
    if high == 0 then
        errors.usage("plot: no point has the metric '%s'", name)
    end
    local label = metric.unit ~= "" and ("%s (%s)"):format(metric.label, metric.unit)
        or metric.label
    if name == "time" and low > 0 and high / low > 8 then
        return {label = label, scale = "log", range = {low / 1.3, high * 1.3}}
    end
    return {label = label, range = {0, high * 1.06}}
end

-- ---- a panel ------------------------------------------------------------------------------

local function draw_cross(fig, x, y, color)
    for _, side in ipairs {1, -1} do
        fig:line(x - 4, y - 4 * side, x + 4, y + 4 * side, {stroke = color, width = 1.8})
    end
end

-- Names at the right of the frame, near the height where their lines end, but never on each other.
local function draw_labels(fig, box, labels)
    table.sort(labels, function(a, b) return a.y < b.y end)
    local last = -math.huge
    for i, label in ipairs(labels) do
        local room = box.y + box.h - (#labels - i) * LABEL_STEP
        label.y = math.max(math.min(label.y, room), last + LABEL_STEP, box.y + 4)
        last = label.y
    end
    for _, label in ipairs(labels) do
        fig:text {x = box.x + box.w + 7, y = label.y, text = label.text, size = LABEL_SIZE,
            color = label.color, baseline = "middle", bold = true}
    end
end

local FAILED = {wrong = true, error = true, crashed = true, timeout = true, out_of_memory = true,
    unsupported = true}

-- Bands come before all lines.
local function draw_band(plot, series, style, s)
    local band = {}
    for _, item in ipairs(series) do
        local low, high = percentiles(item.record, s.y)
        local x = s.place[item.record.values[s.x]]
        band[#band + 1] = low and {x, math.min(low, high), math.max(low, high)} or nil
    end
    for _, p in ipairs(s.categories and band or {}) do
        local x = plot:x_at(p[1])
        plot.fig:line(x, plot:y_at(p[2]), x, plot:y_at(p[3]), {stroke = style.color, width = 5,
            opacity = 0.3})
    end
    if not s.categories and #band > 1 and #band == #series then
        plot:band(band, {color = style.color, opacity = 0.16})
    end
end

local function draw_series(fig, plot, series, style, s)
    local points = {}
    for _, item in ipairs(series) do
        local x, y = s.place[item.record.values[s.x]], records.metric(item.record, s.y)
        points[#points + 1] = {x, y}
        if not y and FAILED[item.record.status] then
            draw_cross(fig, plot:x_at(x) + style.shift, plot.box.y + plot.box.h - 7, style.color)
        end
    end
    plot:line(points, style)
    for i = #points, 1, -1 do
        if points[i][2] then
            return {y = plot:y_at(points[i][2]), text = style.name, color = style.color}
        end
    end
end

local function draw_panel(fig, area, panel, s, styles)
    if panel.key ~= "" then
        fig:text {x = area.x + area.w / 2, y = area.y + 10, text = panel.key, anchor = "middle",
            size = 11, color = fig.theme.muted}
    end
    local plot = chart.new(fig, {x = area.x, y = area.y + TITLE, w = area.w - s.label_width,
        h = area.h - TITLE}, {x = s.x_axis, y = s.y_axis})
    local labels, lines = {}, grouped(panel, s.series_of)
    for _, series in ipairs(lines) do
        table.sort(series, function(a, b)
            return s.place[a.record.values[s.x]] < s.place[b.record.values[s.x]]
        end)
        draw_band(plot, series, styles[series.key], s)
    end
    for _, series in ipairs(lines) do
        labels[#labels + 1] = draw_series(fig, plot, series, styles[series.key], s)
    end
    draw_labels(fig, plot.box, labels)
end

-- ---- the chart ----------------------------------------------------------------------------

--- What to draw of which records.
---@class fasc.RecordChart
---@field x string?      the axis across; the numeric one with the most values
---@field y string       a key of records.METRICS
---@field by string?     the axis whose values are lines; kernel, or the innermost of the others
---@field filter string? a Lua expression over the axes
---@field theme "light"|"dark"|nil
---@field title string?
---@field caption string?
---@field names string[]? what the sets are called, where there are several

-- A style for each line, the same in all panels: a colour for each value, a dash for each set.
local function styles_of(list, s, theme)
    local styles, colors = {}, M.COLORS[theme or "light"]
    local count, number = 0, {}
    for i, series in ipairs(grouped(list, s.series_of)) do
        local first = series[1]
        local value = tostring(s.by and first.record.values[s.by])
        if not number[value] then
            count = count + 1
            number[value] = count
        end
        styles[series.key] = {
            name = series.key, color = colors[(number[value] - 1) % #colors + 1],
            marker = MARKERS[(number[value] - 1) % #MARKERS + 1], shift = (i - 1) * 3,
            dash = DASHES[(first.set - 1) % #DASHES + 1] or nil,
            width = s.categories and 0 or nil,
        }
    end
    return styles
end

--- Draws records as a figure. Raises EINVAL for an axis or a metric that they do not have.
---@param sets fasc.RecordSet[]
---@param o fasc.RecordChart
---@return fasc.Figure
---@return string? note what could not be shown
function M.draw(sets, o)
    if not records.METRICS[o.y] then
        errors.usage("plot: y: '%s' is no metric%s", o.y, options.hint(o.y, records.METRICS))
    end
    local names = {}
    for _, set in ipairs(sets) do
        for i, name in ipairs(set.axes) do
            names[i] = {name = name}
        end
    end
    local list, all, varying = gather(sets, o.filter and axes.filter(names, o.filter))
    local s = {y = o.y, x = find_axis("plot", o.x, varying, all) or default_x(varying, all)
        or sets[1].axes[#sets[1].axes]}
    local rest = without(varying, s.x)
    s.by = find_axis("plot", o.by, varying, all) or default_by(rest)
    rest = without(rest, s.by)
    local set_names = o.names or {}
    s.series_of = function(item)
        local name = s.by and tostring(item.record.values[s.by]) or ""
        local set = #sets > 1 and (set_names[item.set] or sets[item.set].path) or ""
        return name ~= "" and set ~= "" and name .. ", " .. set or name .. set
    end
    s.x_axis, s.place, s.categories = x_axis(all, s.x)
    s.y_axis = y_axis(list, o.y)
    local styles = styles_of(list, s, o.theme)
    s.label_width = 12
    for key in pairs(styles) do
        s.label_width = math.max(s.label_width, 12 + figures.text_width(key, LABEL_SIZE, true))
    end
    local panels = grouped(list, function(item)
        local parts = {}
        for i, name in ipairs(rest) do
            parts[i] = name .. " " .. tostring(item.record.values[name])
        end
        return table.concat(parts, ", ")
    end)
    local note = #panels > MOST_PANELS and ("%d of %d panels are shown; a filter chooses others")
        :format(MOST_PANELS, #panels) or nil
    local shown = math.min(#panels, MOST_PANELS)
    local columns = shown > 1 and 2 or 1
    local rows = math.ceil(shown / columns)
    local width = math.ceil((columns == 1 and 1.5 or 2) * (PANEL_WIDTH + s.label_width)
        + (columns - 1) * GAP)
    local page = {width = width, theme = o.theme, title = o.title, caption = o.caption}
    local _, _, above, below = figures.margins(page)
    page.height = math.ceil(above + below + rows * (PANEL_HEIGHT + (columns == 1 and 60 or 0))
        + (rows - 1) * GAP)
    local fig = figures.new(page)
    local w = (fig.area.w - (columns - 1) * GAP) / columns
    local h = (fig.area.h - (rows - 1) * GAP) / rows
    for i = 1, shown do
        local column, row = (i - 1) % columns, math.floor((i - 1) / columns)
        draw_panel(fig, {x = fig.area.x + column * (w + GAP), y = fig.area.y + row * (h + GAP),
            w = w, h = h}, panels[i], s, styles)
    end
    return fig, note
end

return M
