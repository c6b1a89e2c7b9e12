-- report.lua - the rows of a sweep for people: which columns the table has, and how numbers read.
local tables = require "fasc.table"

local M = {}

--- "812.3 ns", "1.234 ms", "2.500 s": four digits and a unit.
---@param seconds number
---@return string
function M.time(seconds)
    for _, unit in ipairs {{"s", 1}, {"ms", 1e-3}, {"us", 1e-6}} do
        if seconds >= 0.99995 * unit[2] then
            return M.digits(seconds / unit[2]) .. " " .. unit[1]
        end
    end
    return M.digits(seconds * 1e9) .. " ns"
end

--- Four significant digits without an exponent: "0.1234", "12.34", "1234".
---@param x number
---@return string
function M.digits(x)
    local magnitude = x == 0 and 0 or math.floor(math.log10(math.abs(x)) + 1e-5)
    return ("%." .. math.min(math.max(3 - magnitude, 0), 6) .. "f"):format(x)
end

--- "512 B", "1.500 MiB", "64.00 GiB".
---@param bytes number
---@return string
function M.bytes(bytes)
    for _, unit in ipairs {{"TiB", 2^40}, {"GiB", 2^30}, {"MiB", 2^20}, {"KiB", 2^10}} do
        if bytes >= unit[2] then
            return M.digits(bytes / unit[2]) .. " " .. unit[1]
        end
    end
    return ("%.0f B"):format(bytes)
end

-- "1.2%", and ">999%" for what is only noise.
local function percent(share)
    return share > 9.99 and ">999%" or ("%.1f%%"):format(100 * share)
end

local function rate(amount, scale)
    return function(row)
        local t = row.timing
        return t and (row[amount] or 0) > 0 and M.digits(row[amount] / t.median / scale) or "-"
    end
end

-- What stands in a row without a speed.
local NOTE = {
    skipped = "skipped", unsupported = "unsupported", out_of_memory = "out of memory",
    wrong = "WRONG", error = "ERROR", checked = "checked", timeout = "TIMEOUT",
    crashed = "CRASHED",
}

--- What became of a row, in a few words: "" for one that went well.
---@param row fasc.Row
---@return string
function M.note(row)
    local parts = {}
    if NOTE[row.status] then
        parts[1] = NOTE[row.status] .. (row.reason and ": " .. row.reason or "")
    elseif not row.check then
        parts[1] = "unchecked"
    end
    local t = row.timing
    if t and t.n < 2 then
        parts[#parts + 1] = "one sample"
    end
    if t and (t.throttled or 0) > 0 then
        parts[#parts + 1] = ("%.0f%% throttled (%s)"):format(100 * t.throttled / t.n,
            table.concat(t.throttle, ", "))
    end
    if t and (t.discarded or 0) > 0 then
        parts[#parts + 1] = ("%d samples again after a rest"):format(t.discarded)
    end
    if row.versus then
        local v = row.versus.ratio
        parts[#parts + 1] = ("%s times %s (%s to %s)"):format(M.digits(v.ratio), row.versus.first,
            M.digits(v.low), M.digits(v.high))
    end
    return table.concat(parts, ", ")
end

-- The columns after the axes': {title, width, cell of a row}.
local function measured_columns(sweep, run)
    local on_cpu = run.device.name == "cpu"
    local scale, prefix = on_cpu and 1e9 or 1e12, on_cpu and "G" or "T"
    local columns = {
        {"median", 8, function(row) return row.timing and M.time(row.timing.median) or "-" end},
        {"spread", 6, function(row) return row.timing and percent(row.timing.spread) or "-" end},
        {"n", 3, function(row) return row.timing and tostring(row.timing.n) or "-" end},
        {prefix .. "FLOP/s", 7, rate("flops", scale)},
        {prefix .. "B/s", 6, rate("bytes", scale)},
        {"error", 5, function(row)
            return row.check and ("%.2f"):format(row.check.share) or "-"
        end},
    }
    if run.ceilings:known() then
        columns[#columns + 1] = {"of roof", 11, function(row)
            return row.roof and ("%.0f%% %s"):format(100 * row.roof.share, row.roof.bound) or "-"
        end}
    end
    if sweep.baseline then
        columns[#columns + 1] = {"vs " .. tostring(sweep.baseline[2]), 8, function(row)
            return row.speedup and M.digits(row.speedup) .. "x" or "-"
        end}
    end
    for _, own in ipairs(sweep.columns or {}) do
        columns[#columns + 1] = own
    end
    return columns
end

local function axis_column(axis)
    local width = 0
    for _, value in ipairs(axis.values) do
        width = math.max(width, #tostring(value))
    end
    local align = (axis.kind == "string" or axis.kind == "boolean") and "left" or "right"
    return {axis.name, width, function(row) return tostring(row.point[axis.name]) end, align}
end

--- A table for a sweep's rows: axes with several values are columns, those with one stand above.
---@class fasc.Report
local Report = {}
Report.__index = Report

---@param sweep fasc.Sweep
---@param list fasc.Axis[]
---@param run {device: fasc.Device, ceilings: fasc.Ceilings, o: table, write: fun(line: string)}
---@param format "text"|"markdown"|"csv"
---@return fasc.Report
function M.new(sweep, list, run, format)
    local columns, cells, fixed = {}, {}, {}
    local function add(title, width, cell, align)
        columns[#columns + 1] = {title = title, width = width, align = align or "right"}
        cells[#cells + 1] = cell
    end
    for _, axis in ipairs(list) do
        if #axis.values > 1 or format == "csv" then
            add(unpack(axis_column(axis)))
        else
            fixed[#fixed + 1] = axis.name .. " " .. tostring(axis.values[1])
        end
    end
    for _, spec in ipairs(sweep.options or {}) do
        local value = run.o[spec[1]]
        fixed[#fixed + 1] = value ~= "" and spec[1] .. " " .. tostring(value) or nil
    end
    for _, column in ipairs(measured_columns(sweep, run)) do
        add(unpack(column))
    end
    add("", 0, M.note, "left")
    return setmetatable({
        table = tables.new(columns, format, run.write),
        cells = cells,
        fixed = table.concat(fixed, ", "),
        sweep = sweep,
        device = run.device,
    }, Report)
end

--- What is measured, on what, and the titles.
function Report:open()
    local info = self.device:info()
    self.table:prose(("%s on %s: %s, %s, %d %s"):format(self.sweep.name, info.name, info.model,
        info.arch, info.units, info.name == "cpu" and "threads" or "multiprocessors"))
    if self.fixed ~= "" then
        self.table:prose(self.fixed)
    end
    self.table:prose ""
    self.table:titles()
end

---@param row fasc.Row
function Report:row(row)
    local texts = {}
    for i, cell in ipairs(self.cells) do
        texts[i] = cell(row)
    end
    self.table:row(texts)
end

--- "12 points: 10 measured, 1 skipped, 1 wrong".
---@param rows fasc.Row[]
---@return string
function M.tally(rows)
    local count, parts = {}, {}
    for _, row in ipairs(rows) do
        count[row.status] = (count[row.status] or 0) + 1
    end
    for _, pair in ipairs {
        {"ok", "measured"}, {"checked", "checked"}, {"wrong", "wrong"}, {"error", "with an error"},
        {"crashed", "crashed"}, {"timeout", "given up"},
        {"out_of_memory", "out of memory"}, {"unsupported", "unsupported"}, {"skipped", "skipped"},
    } do
        if count[pair[1]] then
            parts[#parts + 1] = ("%d %s"):format(count[pair[1]], pair[2])
        end
    end
    return ("%d point%s: %s"):format(#rows, #rows == 1 and "" or "s", table.concat(parts, ", "))
end

--- One line on a row for the progress on stderr.
---@param row fasc.Row
---@return string
function M.outcome(row)
    local note = M.note(row)
    if not row.timing then
        return note
    end
    local t = row.timing
    return ("%s, spread %s%s"):format(M.time(t.median), percent(t.spread),
        note ~= "" and ", " .. note or "")
end

return M
