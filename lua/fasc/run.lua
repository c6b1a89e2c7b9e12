-- run.lua - one run of a sweep: which points are to be measured, in what groups; each row compared,
-- recorded and printed; what stands below the table. bench.lua is what scripts see of it.
local axes = require "fasc.axes"
local cli = require "fasc.cli"
local devices = require "fasc.device"
local environment = require "fasc.environment"
local errors = require "fasc.errors"
local isolate = require "fasc.isolate"
local json = require "fasc.json"
local measure = require "fasc.measure"
local progress = require "fasc.progress"
local record = require "fasc.record"
local report = require "fasc.report"
local results = require "fasc.results"
local roofline = require "fasc.roofline"

local M = {}

-- ---- points -------------------------------------------------------------------------------

-- The baseline is measured before what is compared with it.
local function baseline_first(sweep, list)
    for _, axis in ipairs(sweep.baseline and list or {}) do
        if axis.name == sweep.baseline[1] then
            local values = {}
            for _, value in ipairs(axis.values) do
                table.insert(values, value == sweep.baseline[2] and 1 or #values + 1, value)
            end
            axis.values = values
        end
    end
end

local function points_of(sweep, list, o)
    local keep = o.filter and axes.filter(list, o.filter) or function() return true end
    local kept = {}
    baseline_first(sweep, list)
    for _, point in ipairs(axes.points(list)) do
        if keep(point) then
            kept[#kept + 1] = point
        end
    end
    if #kept == 0 then
        errors.usage("--filter '%s' leaves no point", o.filter)
    end
    return kept
end

-- What a point is compared with: its values but for the baseline's axis.
local function baseline_key(sweep, list, point)
    local parts = {}
    for _, axis in ipairs(list) do
        if axis.name ~= sweep.baseline[1] then
            parts[#parts + 1] = tostring(point[axis.name])
        end
    end
    return table.concat(parts, "|")
end

-- ---- a run --------------------------------------------------------------------------------

--- A run's parts: sweep, list (of axes), o (options), device, where (environment), writer, ...
local Run = {}
Run.__index = Run

-- Points as they are measured: one by one, or together those that differ in one axis alone.
local function groups_of(list, points, axis)
    local groups, found = {}, {}
    for _, point in ipairs(points) do
        local parts = {}
        for i, a in ipairs(list) do
            parts[i] = a.name == axis and "" or tostring(point[a.name])
        end
        local key = axis and table.concat(parts, "|") or #groups + 1
        if not found[key] then
            found[key] = {}
            groups[#groups + 1] = found[key]
        end
        table.insert(found[key], point)
    end
    return groups
end

local THRESHOLDS = {"min_samples", "max_samples", "max_seconds", "warmup_seconds", "target_rse",
    "rest_seconds"}

local function timing_options(own, o)
    return function(point)
        local t = {max_seconds = cli.MAX_SECONDS, rest_seconds = cli.REST_SECONDS}
        for name, value in pairs(own or {}) do
            t[name] = value
        end
        for _, name in ipairs(THRESHOLDS) do
            t[name] = o[name] or t[name]
        end
        t.cold, t.graph = point.cache == "cold", point.launch == "graph"
        return t
    end
end

-- Points that the record has already; their medians still serve as baselines.
function Run:find_done()
    local found, problems = results.read(self.o.output)
    for _, problem in ipairs(problems) do
        io.stderr:write(self.sweep.name, ": ", problem, "; left out\n")
    end
    for _, old in ipairs(found) do
        local key = record.key_of(old)
        if key and old.status ~= "error" and old.status ~= "checked" then
            self.done[key] = old
        end
    end
end

function Run:note_baseline(point, median)
    local b = self.sweep.baseline
    if b and point[b[1]] == b[2] then
        self.baselines[baseline_key(self.sweep, self.list, point)] = median
    end
end

function Run:compare_with_baseline(row)
    if row.timing and self.sweep.baseline then
        self:note_baseline(row.point, row.timing.median)
        local base = self.baselines[baseline_key(self.sweep, self.list, row.point)]
        row.speedup = base and base / row.timing.median
    end
end

-- Ceilings come from calibrating sweeps. Others may raise them, but not by a script's formulas.
function Run:compare_with_roof(row)
    if not row.timing then
        return
    end
    local own_formula = self.sweep.flops or self.sweep.bytes
    if row.check and (self.sweep.calibrates or self.ceilings:known() and not own_formula) then
        self.ceilings:learn(row)
    end
    row.roof = row.roof or self.ceilings:share(row)
end

-- Splits the points into groups to measure and points that are done.
function Run:plan_points(points)
    for _, group in ipairs(groups_of(self.list, points, self.o.interleave)) do
        local missing = {}
        for _, point in ipairs(group) do
            local old = self.done[record.key(self.sweep, self.list, point, self.o, self.where)]
            if old then
                self:note_baseline(point, old.timing and old.timing.median)
            else
                missing[#missing + 1] = point
            end
        end
        if #missing > 0 then
            -- What is measured in turns is measured together.
            self.groups[#self.groups + 1] = group
            self.count = self.count + #group
            for _, point in ipairs(self.sweep.derive and group or {}) do
                self.sweep.derive(point, self.o)
            end
        end
    end
    self.resumed = #points - self.count
end

function Run:weights()
    local weights = {}
    local weight = self.sweep.weight or self.sweep.flops
    for _, group in ipairs(self.groups) do
        for _, point in ipairs(group) do
            weights[#weights + 1] = weight and weight(point, self.o) or 1
        end
    end
    return weights
end

-- What happens to each row that was measured.
local KEEPING = {
    function(run, _, kept)
        if run.writer then
            run.writer:append(kept)
        end
    end,
    function(run, row, kept)
        if run.o.json then
            run.write(json.encode(kept))
        else
            run.report:row(row)
        end
    end,
    function(run, row)
        run.rows[#run.rows + 1] = row
    end,
}

-- SIGINT raises its error between any two instructions, but only once: a row that is measured is
-- kept all the same, by going on with the step that the error came into.
function Run:keep(row)
    local step = 1
    local function go_on()
        local kept = record.of(row, self.sweep, self.list, self.o, self.where)
        while step <= #KEEPING do
            KEEPING[step](self, row, kept)
            step = step + 1
        end
    end
    local ok, e = pcall(go_on)
    if not ok then
        if measure.is_canceled(e) then
            go_on()
        end
        error(e, 0)
    end
end

-- A point's values on the axes alone, in their order.
function Run:axes_of(point)
    local values = {}
    for i, axis in ipairs(self.list) do
        values[i] = {axis.name, point[axis.name]}
    end
    return json.object(values)
end

function Run:measure_all()
    local settings = {
        device = self.device, own = self.o, check = not self.o.no_check,
        dry_run = self.o.dry_run, timing = timing_options(self.sweep.timing, self.o),
        label = function(point) return axes.label(self.list, point) end,
    }
    local bar = self.bar
    for _, group in ipairs(self.groups) do
        bar:start(settings.label(group[1]))
        local rows
        if self.o.isolate then
            rows = {isolate.point(group[1], self:axes_of(group[1]), self.argv, self.o.timeout)}
        else
            rows = measure.points(self.sweep, group, settings)
        end
        bar:clear()
        for _, row in ipairs(rows) do
            self:compare_with_baseline(row)
            self:compare_with_roof(row)
            self:keep(row)
            bar:finish(settings.label(row.point), row.wall, report.outcome(row))
        end
    end
end

-- What stands below the table.
function Run:conclude()
    local failed = false
    for _, row in ipairs(self.rows) do
        failed = failed or measure.STATUS[row.status].failure
    end
    self.prose ""
    self.prose(report.tally(self.rows)
        .. (self.resumed > 0 and (" (%d more were in the record)"):format(self.resumed) or ""))
    if self.sweep.finish and not (self.canceled or self.o.point) and #self.rows > 0 then
        local summary, bad = self.sweep.finish(self.rows, self.prose, self.o)
        if summary and self.writer then
            self.writer:append(record.summary(self.sweep, self.o, summary, self.where))
        end
        failed = failed or bad or false
    end
    if self.writer then
        self.prose("records: " .. self.writer.path)
    end
    return failed
end

local function print_line(line)
    io.stdout:write(line, "\n")
    io.stdout:flush()
end

local function new_run(sweep, list, o, argv, write)
    local device = devices.open(o.device)
    devices.set_default(device.name)
    return setmetatable({
        sweep = sweep, list = list, o = o, argv = argv, device = device,
        write = write or print_line, ceilings = roofline.of(device),
        where = environment.collect(device), rows = {}, groups = {}, count = 0, done = {},
        baselines = {}, resumed = 0,
    }, Run)
end

--- Runs a sweep whose command line is parsed: rows are printed and recorded as they come.
---@return fasc.Row[] rows
---@return integer status
function M.run(sweep, list, o, argv, write)
    local points = points_of(sweep, list, o)
    local r = new_run(sweep, list, o, argv, write)
    if o.list then
        for _, point in ipairs(points) do
            r.write(axes.format(list, point))
        end
        return r.rows, 0
    end
    if not (o.no_output or o.dry_run) then
        r.writer = results.open(o.output or results.default_path(sweep.name))
    end
    if o.resume then
        r:find_done()
    end
    r:plan_points(points)
    local format = o.csv and "csv" or o.markdown and "markdown" or "text"
    r.report = report.new(sweep, list, r, format)
    r.prose = function(text)
        return not o.json and r.report.table:prose(text)
    end
    if not o.json then
        r.report:open()
    end
    r.bar = progress.new(r:weights(), o.quiet)
    local ok, e = pcall(r.measure_all, r)
    r.bar:clear()
    r.canceled = not ok and measure.is_canceled(e)
    if not ok and not r.canceled then
        error(e, 0)
    end
    local failed = r:conclude()
    if r.writer then
        r.writer:close()
    end
    return r.rows, r.canceled and 130 or failed and 1 or 0
end

return M
