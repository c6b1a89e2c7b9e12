-- page.lua - records as one HTML file that needs no network: a summary, the charts as inline SVG,
-- tables that sort, the environment, and the differences between records.
local assets = require "fasc.page_assets"
local cairo = require "fasc.cairo"
local charts = require "fasc.record_chart"
local compare = require "fasc.compare"
local errors = require "fasc.errors"
local figures = require "fasc.figure"
local json = require "fasc.json"
local measure = require "fasc.measure"
local records = require "fasc.records"
local report = require "fasc.report"
local svg = require "fasc.svg"
local texts = require "fasc.text"

local M = {}

local ESCAPE = {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;"}

local function escape(value)
    return (texts.utf8(tostring(value)):gsub("[%z\1-\8\11\12\14-\31]", "\239\191\189")
        :gsub('[&<>"]', ESCAPE))
end

-- ---- tables -------------------------------------------------------------------------------

-- A cell: its text, the number that sorts it (nil: the text does), its classes.
local function cell(text, value, class)
    return ("<td%s%s>%s</td>"):format(class and (' class="%s"'):format(class) or "",
        value and (' data-v="%.17g"'):format(value) or "", escape(text))
end

-- columns: {title, left-aligned}; rows: lists of cells, with `label` for the search.
local function sortable(id, columns, rows)
    local out = {('<div class="scroll"><table class="sortable" id="%s"><thead><tr>'):format(id)}
    for _, column in ipairs(columns) do
        out[#out + 1] = ('<th scope="col"%s><button type="button">%s</button></th>'):format(
            column[2] and ' class="l"' or "", escape(column[1]))
    end
    out[#out + 1] = "</tr></thead><tbody>\n"
    for _, row in ipairs(rows) do
        out[#out + 1] = ('<tr data-label="%s">%s</tr>\n'):format(escape((row.label or ""):lower()),
            table.concat(row))
    end
    out[#out + 1] = "</tbody></table></div>"
    return table.concat(out)
end

local function search(id)
    return ('<input type="search" data-table="%s" placeholder="show rows with these words" '
        .. 'aria-label="show rows with these words">\n'):format(id)
end

-- ---- points -------------------------------------------------------------------------------

local function amount(record, name)
    local t = type(record.timing) == "table" and record.timing
    return t and type(t[name]) == "number" and t[name] or nil
end

local function metric_cell(name, format)
    return function(record)
        local value = records.metric(record, name)
        return cell(value and format(value) or "-", value)
    end
end

local function time_cell(name)
    return function(record)
        local seconds = amount(record, name)
        seconds = seconds ~= 0 and seconds or nil
        return cell(seconds and report.time(seconds) or "-", seconds)
    end
end

local function percent(x)
    return ("%.1f%%"):format(x)
end

-- What stands in a point's row after its axes: {title, cell of a record}.
local function columns_for(on_cpu)
    return {
        {"median", time_cell "median"}, {"p5", time_cell "p5"}, {"p95", time_cell "p95"},
        {"spread", function(r)
            local spread = amount(r, "spread")
            return cell(spread and percent(100 * spread) or "-", spread)
        end},
        {"n", function(r) return cell(amount(r, "n") or "-", amount(r, "n")) end},
        {on_cpu and "GFLOP/s" or "TFLOP/s",
            metric_cell(on_cpu and "gflops" or "tflops", report.digits)},
        {"GB/s", metric_cell("bandwidth", report.digits)},
        {"of roof", metric_cell("roof", percent)},
        {"bound by", function(r) return cell(r.roof and r.roof.bound or "-", nil, "l") end, true},
        {"speed-up", metric_cell("speedup", report.digits)},
        {"error", metric_cell("error", function(x) return ("%.3f"):format(x) end)},
        {"host", time_cell "host_overhead"},
        {"peak memory", function(r)
            return cell(r.peak_memory and report.bytes(r.peak_memory) or "-", r.peak_memory)
        end},
        {"MHz", metric_cell("clock", function(x) return ("%.0f"):format(x) end)},
        {"W", metric_cell("power", function(x) return ("%.0f"):format(x) end)},
    }
end

-- The columns in which some record has something to tell.
local function telling(columns, list)
    local kept = {}
    for _, column in ipairs(columns) do
        for _, record in ipairs(list) do
            if not column[2](record):find(">-</td>", 1, true) then
                kept[#kept + 1] = column
                break
            end
        end
    end
    return kept
end

local function status_cell(record)
    local status = measure.STATUS[record.status] or {failure = true}
    local note = record.status ~= "ok" and record.status
        .. (record.reason and ": " .. record.reason or "") or ""
    local t = record.timing
    if t and (t.throttled or 0) > 0 then
        note = note .. ("%.0f%% throttled (%s)"):format(100 * t.throttled / t.n,
            table.concat(t.throttle or {}, ", "))
    end
    return cell(note, nil, "l note" .. (status.failure and " bad" or ""))
end

local function on_cpu(set)
    local env = set.records[1].environment
    return not (env and env.device and env.device.name ~= "cpu")
end

local function points_table(set, id)
    local varying = records.varying(set)
    local columns = telling(columns_for(on_cpu(set)), set.records)
    local titles, rows = {}, {}
    for _, name in ipairs(varying) do
        titles[#titles + 1] = {name, type(set.records[1].values[name]) ~= "number"}
    end
    for _, column in ipairs(columns) do
        titles[#titles + 1] = {column[1], column[3]}
    end
    titles[#titles + 1] = {"status", true}
    for i, record in ipairs(set.records) do
        local row = {label = records.label(record, varying)}
        for _, name in ipairs(varying) do
            local value = record.values[name]
            local number = type(value) == "number" and value or nil
            row[#row + 1] = cell(value == nil and "-" or value, number, not number and "l" or nil)
        end
        for _, column in ipairs(columns) do
            row[#row + 1] = column[2](record)
        end
        row[#row + 1] = status_cell(record)
        rows[i] = row
    end
    return search(id) .. sortable(id, titles, rows)
end

-- ---- charts -------------------------------------------------------------------------------

-- The chart in the page's own colours, which follow its theme.
local function inline(figure, number, label)
    local text = svg.encode {width = figure.width, height = figure.height, shapes = figure.shapes,
        title = label}
    local color = {}
    for name, variable in pairs {background = "bg", text = "fg", muted = "muted", frame = "frame",
        grid = "grid"} do
        color[figures.THEMES.light[name]] = variable
    end
    for i, series in ipairs(charts.COLORS.light) do
        color[series] = "s" .. i
    end
    text = text:gsub('"(#%x%x%x%x%x%x)"', function(hex)
        return color[hex] and ('"var(--%s)"'):format(color[hex]) or nil
    end)
    text = text:gsub('id="clip', ('id="c%d_'):format(number))
        :gsub('url%(#clip', ("url(#c%d_"):format(number))
    return (text:gsub("^<svg ", ('<svg role="img" style="max-width:%dpx" '):format(
        1.25 * figure.width)))
end

local function has_metric(sets, name)
    for _, set in ipairs(sets) do
        for _, record in ipairs(set.records) do
            if records.metric(record, name) then
                return true
            end
        end
    end
    return false
end

local function charts_of(sets, names)
    local drawable, reason = cairo.available()
    if not drawable then
        return ('<p class="muted">No charts: %s</p>'):format(escape(reason))
    end
    local out = {}
    local rate = on_cpu(sets[1]) and "gflops" or "tflops"
    for _, metric in ipairs {"time", rate, "bandwidth", "roof"} do
        if has_metric(sets, metric) then
            local m = records.METRICS[metric]
            local figure, note = charts.draw(sets, {y = metric, names = names})
            out[#out + 1] = ("<figure>%s</figure>%s"):format(
                inline(figure, #out + 1, m.label .. " of each point"),
                note and ('<p class="muted">%s</p>'):format(escape(note)) or "")
        end
    end
    return table.concat(out, "\n")
end

-- ---- sections -----------------------------------------------------------------------------

local function card(number, text)
    return ('<div class="card"><b>%s</b><span>%s</span></div>'):format(escape(number), escape(text))
end

local function cards(set)
    local count, out, share = {}, {}, 0
    for _, record in ipairs(set.records) do
        count[record.status] = (count[record.status] or 0) + 1
        share = math.max(share, record.check and tonumber(record.check.share) or 0)
    end
    out[1] = card(#set.records, "points")
    local statuses = {}
    for status in pairs(count) do
        statuses[#statuses + 1] = status
    end
    table.sort(statuses, function(a, b)
        return count[a] > count[b] or count[a] == count[b] and a < b
    end)
    for _, status in ipairs(statuses) do
        out[#out + 1] = card(count[status], (status:gsub("_", " ")))
    end
    if share > 0 then
        out[#out + 1] = card(("%.2f"):format(share), "largest error over its bound")
    end
    return '<div class="cards">' .. table.concat(out) .. "</div>"
end

local function dates(set)
    local first, last
    for _, record in ipairs(set.records) do
        local date = record.date
        first = date and (not first or date < first) and date or first
        last = date and (not last or date > last) and date or last
    end
    return first and (first == last and first or first .. " to " .. last) or ""
end

local function environment_table(set, id)
    local rows = {}
    for i, env in ipairs(records.environments(set)) do
        for _, pair in ipairs(records.environment(env)) do
            rows[#rows + 1] = {cell((i > 1 and i .. ": " or "") .. pair[1], nil, "l"),
                cell(pair[2], nil, "l")}
        end
        local command = env.command and table.concat(env.command, " ")
        rows[#rows + 1] = command and {cell("command", nil, "l"), cell(command, nil, "l note")}
    end
    return sortable(id, {{"what", true}, {"is", true}}, rows)
end

local CLASS = {slower = "bad", broken = "bad", faster = "good", mended = "good"}

local function difference_section(a, b, names, id)
    local ok, result = pcall(compare.sets, a, b)
    if not ok then
        if not errors.is(result) then
            error(result, 0)
        end
        return ('<p class="muted">%s</p>'):format(escape(result.message))
    end
    local out, rows = {'<div class="cards">'}, {}
    for _, verdict in ipairs(compare.VERDICTS) do
        out[#out + 1] = result.count[verdict] and card(result.count[verdict], verdict) or nil
    end
    out[#out + 1] = "</div>"
    for i, c in ipairs(result.points) do
        local r = c.ratio
        rows[i] = {label = c.label, cell(c.label, nil, "l"),
            cell(c.a.timing and report.time(c.a.timing.median) or c.a.status,
                c.a.timing and c.a.timing.median),
            cell(c.b.timing and report.time(c.b.timing.median) or c.b.status,
                c.b.timing and c.b.timing.median),
            cell(r and ("%.3f"):format(r.ratio) or "-", r and r.ratio),
            cell(r and ("%.3f to %.3f"):format(r.low, r.high) or "-"),
            cell(c.verdict, nil, "l " .. (CLASS[c.verdict] or ""))}
    end
    out[#out + 1] = search(id) .. sortable(id, {{"point", true}, {names[1]}, {names[2]}, {"ratio"},
        {"99 % of it"}, {"verdict", true}}, rows)
    if #result.environment > 0 then
        local differences = {}
        for i, d in ipairs(result.environment) do
            differences[i] = {cell(d[1], nil, "l"), cell(d[2], nil, "l"), cell(d[3], nil, "l")}
        end
        out[#out + 1] = "<p>Their environments differ:</p>" .. sortable(id .. "-environment",
            {{"what", true}, {names[1], true}, {names[2], true}}, differences)
    else
        out[#out + 1] = '<p class="muted">Their environments are the same.</p>'
    end
    for which, list in pairs {[names[1]] = result.only_a, [names[2]] = result.only_b} do
        if #list > 0 then
            out[#out + 1] = ('<p class="muted">%d points are in %s alone.</p>'):format(#list,
                escape(which))
        end
    end
    return table.concat(out, "\n")
end

-- What a sweep concluded from its rows: targets as a table (see targets.lua), else as it stands.
local function conclusion(summary, id)
    if type(summary.targets) ~= "table" then
        return "<p>Concluded: <code>" .. escape(json.encode(summary)) .. "</code></p>"
    end
    local rows = {}
    for i, t in ipairs(summary.targets) do
        rows[i] = {cell(t.name, nil, "l"), cell(report.digits(t.value), t.value),
            cell(t.least and ("at least %g"):format(t.least) or ("at most %g"):format(t.most)),
            cell(t.met and "met" or "missed", nil, t.met and "l good" or "l bad")}
    end
    return sortable(id, {{"target", true}, {"value"}, {"wanted"}, {"", true}}, rows)
end

local function notes(set, id)
    local out = {}
    for _, problem in ipairs(set.problems) do
        out[#out + 1] = ('<p class="bad">left out: %s</p>'):format(escape(problem))
    end
    if set.repeated > 0 then
        out[#out + 1] = ('<p class="muted">%d records were replaced by newer ones of the same '
            .. "point.</p>"):format(set.repeated)
    end
    for i, summary in ipairs(set.summaries) do
        out[#out + 1] = conclusion(summary.summary or {}, id .. "-conclusion" .. i)
    end
    return table.concat(out, "\n")
end

-- ---- the page -----------------------------------------------------------------------------

-- Names of the files, as short as they can be told apart.
local function names_of(sets)
    local names, seen = {}, {}
    for i, set in ipairs(sets) do
        local name = set.path:match "([^/]+)$":gsub("%.jsonl$", "")
        names[i] = seen[name] and set.path or name
        seen[name] = true
    end
    return names
end

--- The page on one or more records as text. Differences are between the first and each other.
---@param sets fasc.RecordSet[]
---@param title string?
---@return string
function M.encode(sets, title)
    local names, first = names_of(sets), sets[1].records[1]
    local device = first.environment and first.environment.device or {}
    title = title or ("%s on %s"):format(first.sweep, device.model or "?")
    local out = {
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        '<link rel="icon" href="data:,">',
        ("<title>%s</title>"):format(escape(title)),
        "<style>", assets.STYLE, "</style></head><body>",
        ('<header><h1>%s</h1><button type="button" class="theme">light / dark</button></header>')
            :format(escape(title)),
    }
    for i, set in ipairs(sets) do
        local _, fixed = records.varying(set)
        out[#out + 1] = ('<p>%s<span class="muted">%s</span></p><p class="muted">%s</p>%s'):format(
            #sets > 1 and ("<b>%s</b> "):format(escape(names[i])) or "", escape(dates(set)),
            escape(fixed), cards(set))
        out[#out + 1] = notes(set, "set" .. i)
    end
    for i = 2, #sets do
        out[#out + 1] = ("<h2>%s beside %s</h2>"):format(escape(names[i]), escape(names[1]))
        out[#out + 1] = difference_section(sets[1], sets[i], {names[1], names[i]},
            "differences" .. (i > 2 and i or ""))
    end
    out[#out + 1] = "<h2>Charts</h2>" .. charts_of(sets, names)
    for i, set in ipairs(sets) do
        local suffix = i > 1 and tostring(i) or ""
        local of = #sets > 1 and " of " .. escape(names[i]) or ""
        out[#out + 1] = ("<h2>Points%s</h2>"):format(of) .. points_table(set, "points" .. suffix)
        out[#out + 1] = ("<h2>Environment%s</h2>"):format(of)
            .. environment_table(set, "environment" .. suffix)
    end
    out[#out + 1] = "<script>" .. assets.SCRIPT .. "</script></body></html>\n"
    return table.concat(out, "\n")
end

--- Writes the page. The file appears whole or not at all.
---@param sets fasc.RecordSet[]
---@param path string
---@param title string?
function M.write(sets, path, title)
    local text, beside = M.encode(sets, title), path .. ".part"
    local file, reason = io.open(beside, "wb")
    if file then
        local written = file:write(text)
        local ok = file:close() and written
        ok, reason = ok and os.rename(beside, path) or nil, path .. ": the disk is full"
        if ok then
            return
        end
        os.remove(beside)
    end
    errors.raise("EIO", "report: %s", reason)
end

return M
