-- bench.lua - sweeps: a script says which axes there are, how a point's inputs are made and which
-- operation is measured; the harness does the rest. scripts/sweep_seqlen.lua is an example.
local axes = require "fasc.axes"
local cli = require "fasc.cli"
local devices = require "fasc.device"
local environment = require "fasc.environment"
local errors = require "fasc.errors"
local isolate = require "fasc.isolate"
local json = require "fasc.json"
local measure = require "fasc.measure"
local options = require "fasc.options"
local progress = require "fasc.progress"
local record = require "fasc.record"
local report = require "fasc.report"
local results = require "fasc.results"
local roofline = require "fasc.roofline"

local M = {pow2 = axes.pow2, range = axes.range}

--- A sweep. Functions get the point (a table: axis name to value) and the script's own options.
---@class fasc.Sweep
---@field name string
---@field summary string    one line for --help
---@field axes table[]      {name, values, help, choices=, min=} (see fasc.axes); innermost last
---@field options table[]?  own command line options: {name, default, help, choices=, min=}
---@field derive (fun(point, options))?             adds values to the point
---@field skip (fun(point, options): string?)?      a reason to leave the point out
---@field setup (fun(point, options): any)?         makes the inputs
---@field op fun(point, inputs, options): fasc.Op   the operation to check and time
---@field check (fun(point, inputs, op, options): fasc.Verdict)? the operation's own otherwise
---@field flops (fun(point, options): number)?      of one call; the operation's own otherwise
---@field bytes (fun(point, options): number)?      that one call must move; likewise
---@field weight (fun(point, options): number)?     what a point costs, for the time left
---@field timing table?     fasc.TimingOptions of its own; the command line's come before them
---@field baseline table?   {"kernel", "naive"}: speed-ups are over this value of this axis
---@field columns table[]?  more columns: {title, width, function(row) return text end}
---@field calibrates boolean? its results are the device's ceilings: see fasc.roofline
---@field finish (fun(rows, write, options): table?, boolean?)? concludes from all rows: prints with
---                         write(line), returns a summary to record and whether it is a failure
local FIELDS = {
    name = {is = "string", required = true}, summary = {is = "string", required = true},
    axes = {is = "table", required = true}, options = {is = "table"},
    derive = {is = "function"}, skip = {is = "function"}, setup = {is = "function"},
    op = {is = "function", required = true}, check = {is = "function"},
    flops = {is = "function"}, bytes = {is = "function"}, weight = {is = "function"},
    timing = {is = "table"}, baseline = {is = "table"}, columns = {is = "table"},
    calibrates = {is = "boolean"}, finish = {is = "function"},
}

-- Every sweep has this axis.
local CACHE = {"cache", {"hot"}, "hot: calls back to back; cold: caches emptied before each call",
    choices = {"hot", "cold"}}

local function checked(sweep)
    local s = options.check("sweep", sweep, FIELDS)
    s.axes = {CACHE, unpack(s.axes)}
    return s
end

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

local THRESHOLDS = {"min_samples", "max_samples", "max_seconds", "warmup_seconds", "target_rse"}

local function timing_options(own, o)
    return function(point)
        local t = {max_seconds = cli.MAX_SECONDS}
        for name, value in pairs(own or {}) do
            t[name] = value
        end
        for _, name in ipairs(THRESHOLDS) do
            t[name] = o[name] or t[name]
        end
        t.cold = point.cache == "cold"
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

-- Splits the points into those to measure and those that are done.
function Run:plan_points(points)
    for _, point in ipairs(points) do
        local old = self.done[record.key(self.sweep, self.list, point, self.o, self.where)]
        if old then
            self:note_baseline(point, old.timing and old.timing.median)
        else
            self.points[#self.points + 1] = point
            if self.sweep.derive then
                self.sweep.derive(point, self.o)
            end
        end
    end
    self.resumed = #points - #self.points
end

function Run:weights()
    local weights = {}
    local weight = self.sweep.weight or self.sweep.flops
    for i, point in ipairs(self.points) do
        weights[i] = weight and weight(point, self.o) or 1
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
    }
    local bar = self.bar
    for _, point in ipairs(self.points) do
        local label = axes.label(self.list, point)
        bar:start(label)
        local row
        if self.o.isolate then
            row = isolate.point(point, self:axes_of(point), self.argv, self.o.timeout)
        else
            row = measure.point(self.sweep, point, settings)
        end
        self:compare_with_baseline(row)
        self:compare_with_roof(row)
        bar:clear()
        self:keep(row)
        bar:finish(label, row.wall, report.outcome(row))
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
        where = environment.collect(device), rows = {}, points = {}, done = {}, baselines = {},
        resumed = 0,
    }, Run)
end

-- Runs a sweep whose command line is parsed: rows are printed and recorded as they come.
local function run(sweep, list, o, argv, write)
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

--- Runs a sweep with the arguments of its command line; raises EINVAL when they are wrong. Ctrl-C
--- ends it with what was measured.
---@param sweep fasc.Sweep
---@param argv string[]
---@param write (fun(line: string))? instead of stdout
---@return fasc.Row[] rows
---@return integer status for the process to exit with: 0, 1 on a failed row, 130 when canceled
function M.run(sweep, argv, write)
    local whole = checked(sweep)
    local o, list = cli.parse(whole, argv)
    return run(whole, list, o, argv, write)
end

-- Errors of the library are one line for the user; others are mistakes and keep their traceback.
local function with_traceback(e)
    return errors.is(e) and e or debug.traceback(tostring(e), 2)
end

--- What a sweep script ends with: runs it with the script's arguments and exits with its status
--- (2 when the command line is wrong).
---@param sweep fasc.Sweep
function M.main(sweep)
    local ok, result, status = xpcall(function() return M.run(sweep, arg) end, with_traceback)
    if not ok then
        if not errors.is(result) then
            error(result, 0)
        end
        status = result.status == "EINVAL" and 2 or result.status == "ECANCELED" and 130 or 1
        io.stderr:write(sweep.name, ": ", result.message, status == 2 and " (see --help)" or "",
            "\n")
    end
    if status ~= 0 then
        os.exit(status)
    end
end

return M
