-- tune.lua - fasc.tune: which configuration of which kernel is fastest on these very tensors. Every
-- configuration that the planner accepts is timed; the fastest ones again, longer and in turns with
-- the library's own choice; the winner must agree with the reference.
local attention = require "fasc.attention"
local calls = require "fasc.attention_call"
local clock = require "fasc.clock"
local configurations = require "fasc.configurations"
local errors = require "fasc.errors"
local host = require "fasc.host"
local kernels = require "fasc.kernels"
local options = require "fasc.options"
local ops = require "fasc.op"
local report = require "fasc.report"
local tables = require "fasc.table"
local timing = require "fasc.timing"
local tuned = require "fasc.tuned"

local M = {}

local FINALISTS, ROUNDS = 3, 5 -- timed again, in turns
local HOPELESS = 5 -- times the best so far
local BUSY = 1.3 -- between the rounds of one configuration: then nothing can be told apart
local MARGIN = 0.02 -- by which the library's choice must be beaten to be replaced
local SHOWN = 12

---@class fasc.TuneOptions : fasc.AttentionOptions
---@field kernels string[]?    the kernels to search; default: all but the reference
---@field max_seconds number?  how long each configuration is timed; default 0.2
---@field check boolean?       whether the winner is compared with the reference; default true
---@field save boolean?        keeps the winner for later calls; tuning:save() does so as well
local OWN = {
    kernels = {is = "table"},
    max_seconds = {is = "number", min = 0, default = 0.2},
    check = {is = "boolean", default = true},
    save = {is = "boolean", default = false},
}

-- ---- candidates ---------------------------------------------------------------------------

local function with_kernel(opts, kernel)
    local with = {}
    for name, value in pairs(opts) do
        with[name] = value
    end
    with.kernel = kernel
    return with
end

-- The plan of a configuration; nil where it cannot serve.
local function plan_of(inputs, opts, kernel)
    local ok, plan = pcall(attention.plan, inputs.q, inputs.k, inputs.v, with_kernel(opts, kernel))
    if not ok and not errors.is(plan) then
        error(plan, 0)
    end
    return ok and plan or nil
end

local function candidates(inputs, opts, wanted)
    local list, names = {}, {}
    local function plan(config)
        return plan_of(inputs, opts, config)
    end
    for _, kernel in ipairs(kernels.list(inputs.q.device)) do
        names[kernel.name] = true
        local asked = kernel.name ~= "reference"
        for i, name in ipairs(wanted or {}) do
            asked = name == kernel.name or i > 1 and asked
        end
        for _, row in ipairs(asked and configurations.of(kernel, plan) or {}) do
            list[#list + 1] = row
        end
    end
    for _, name in ipairs(wanted or {}) do
        if not names[name] then
            errors.usage("tune: kernels: no kernel %s%s", options.show(name),
                options.hint(name, names))
        end
    end
    return list
end

-- ---- timing -------------------------------------------------------------------------------

-- All run on the same outputs, so that they cost memory once.
local function op_of(inputs, opts, outputs, kernel)
    local with = with_kernel(opts, kernel)
    with.want, with.outputs, with.out_dtype, with.scores_dtype = nil, outputs, nil, nil
    return ops.attention(inputs.q, inputs.k, inputs.v, with)
end

local function say(format, ...)
    if host.isatty "stderr" then
        io.stderr:write("\r\27[K", format:format(...))
    end
end

-- Seconds of one run.
local function once(op)
    local start = clock.now()
    op:run()
    return clock.now() - start
end

-- Times one configuration for a short while; one that is hopeless beside the best so far only once.
-- The first run, which may compile, tells nothing of one that is slow.
local function time_one(op, best, seconds)
    if once(op) > HOPELESS * best then
        local took = once(op)
        if took > HOPELESS * best then
            return took
        end
    end
    return timing.time(op, {max_seconds = seconds, warmup_seconds = seconds / 10,
        min_samples = 3}).p5
end

-- Times all candidates. Ctrl-C ends it with an error, like all that computes.
local function time_all(list, make, seconds)
    local best = math.huge
    for i, row in ipairs(list) do
        say("tune: %d of %d: %s %s", i, #list, row.plan.kernel, row.plan.config)
        local ok, result = pcall(function()
            row.op = make(row.config)
            return time_one(row.op, best, seconds)
        end)
        if ok then
            row.time, best = result, math.min(best, result)
        elseif errors.is(result) and result.status ~= "ECANCELED" then
            row.failed = result.message -- it does not compile, or not fit
        else
            say ""
            error(result, 0)
        end
    end
    say ""
end

local function by_time(a, b)
    return (a.time or math.huge) < (b.time or math.huge)
end

-- The fastest again beside the library's choice, in turns, so that what disturbs one disturbs all.
-- Whatever else runs can only make a call slower: the best of the rounds' 5th percentiles is what
-- the configuration itself takes.
local function final(list, default, seconds)
    local runners = {default}
    for i = 1, math.min(FINALISTS, #list) do
        runners[#runners + 1] = list[i].time and list[i] or nil
    end
    for _ = 1, ROUNDS do
        for _, row in ipairs(runners) do
            local t = timing.time(row.op, {max_seconds = seconds, warmup_seconds = seconds / 20,
                min_samples = 3})
            row.time = math.min(row.time or math.huge, t.p5)
            row.slowest = math.max(row.slowest or 0, t.p5)
        end
    end
end

-- ---- the result ---------------------------------------------------------------------------

--- What fasc.tune found; tostring shows the table.
---@class fasc.Tuning
---@field rows table[]  {config, plan, time, share, failed}, the fastest first; seconds of a call
---@field best table    the row of the winner
---@field default table the row of the library's choice
---@field key string    the kind of problem that the winner is kept for
local Tuning = {}
Tuning.__index = Tuning
Tuning.__name = "fasc.tuning"

function Tuning:__tostring()
    local lines, width = {}, 0
    for _, row in ipairs(self.rows) do
        width = math.max(width, #row.plan.config)
    end
    local list = tables.new({
        {title = "kernel", align = "left", width = 9},
        {title = "configuration", align = "left", width = width}, {title = "time", width = 9},
        {title = "share", width = 6}, {title = "", align = "left"},
    }, "text", function(line) lines[#lines + 1] = line end)
    list:titles()
    for i, row in ipairs(self.rows) do
        if i <= SHOWN or row == self.default then
            list:row {row.plan.kernel, row.plan.config,
                row.time and report.time(row.time) or "-",
                row.share and ("%.2f"):format(row.share) or "-",
                row == self.default and "the library's choice" or row.failed or ""}
        end
    end
    if #self.rows > SHOWN then
        lines[#lines + 1] = ("%d configurations were timed"):format(#self.rows)
    end
    local d = self.default
    lines[#lines + 1] = d.slowest > BUSY * d.time
        and ("The machine is busy: the library's choice took %s in one round, %s in another.")
            :format(report.time(d.time), report.time(d.slowest)) or nil
    lines[#lines + 1] = self.best == self.default
        and ("Nothing beats the library's choice by %d%% for certain."):format(100 * MARGIN)
        or ("Best: %s %s, %.2f of the time of the library's choice%s."):format(
            self.best.plan.kernel, self.best.plan.config, self.best.share,
            self.checked and ", agrees with the reference" or "")
    lines[#lines + 1] = self.path and ("kept in " .. self.path)
        or self.best ~= self.default and "tuning:save() keeps it for later calls like this one"
        or nil
    return table.concat(lines, "\n")
end

--- Keeps the winner in the user's file: later calls of this kind that name no kernel use it, and
--- their plans say so. Returns the file's path.
---@return string path
function Tuning:save()
    self.path = tuned.keep(self.key, {kernel = self.best.config, share = self.best.share,
        time = self.best.time})
    return self.path
end

-- The first of the fastest that agrees with the reference, if it is worth a change; those that do
-- not agree say so.
local function find_best(rows, default, check)
    for _, row in ipairs(rows) do
        local unsettled = default.slowest > BUSY * default.time
            or row.slowest and row.slowest > BUSY * row.time
        if row == default or not row.time or unsettled or row.share > 1 - MARGIN then
            return default
        elseif check then
            row.op:run()
            local verdict = row.op:check()
            row.failed = verdict.failed > 0 and "WRONG: " .. (verdict.message or "") or nil
        end
        if not row.failed then
            return row
        end
    end
    return default
end

local RULES = {}
for name, rule in pairs(calls.OPTIONS) do
    RULES[name] = name ~= "kernel" and rule or nil
end
for name, rule in pairs(OWN) do
    RULES[name] = rule
end

-- The library's own choice among the rows, which tuned configurations do not change.
local function find_default(rows, inputs, opts, make)
    local choice
    for _, kernel in ipairs(kernels.list(inputs.q.device)) do
        choice = choice or plan_of(inputs, opts, {name = kernel.name})
    end
    for _, row in ipairs(rows) do
        if choice and row.plan.kernel == choice.kernel and row.plan.config == choice.config then
            return row
        end
    end
    local row = {config = {name = choice.kernel}, plan = choice}
    row.op = make(row.config)
    rows[#rows + 1] = row
    return row
end

--- Searches the configurations that can serve this call for the fastest, on these tensors. It
--- shows the table; saved, the winner serves later calls like this one.
---
---     local t = tune(q, k, v, {causal = true, want = {"out", "lse"}})
---     t:save()
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param v fasc.Tensor?
---@param opts fasc.TuneOptions?
---@return fasc.Tuning
function M.tune(q, k, v, opts)
    local own = options.check("tune", opts, RULES)
    local given, inputs = {}, {q = q, k = k, v = v}
    for name, value in pairs(opts or {}) do
        given[name] = not OWN[name] and value or nil
    end
    -- One call makes the outputs, and says what kind of problem this is.
    local first = attention.prepare(q, k, v, with_kernel(given, kernels.list(q.device)[1].name))
    local function make(config)
        return op_of(inputs, given, first.outputs, config)
    end
    local rows = candidates(inputs, given, own.kernels)
    if #rows == 0 then
        errors.raise("EUNSUPPORTED", "tune: no configuration can serve this call")
    end
    time_all(rows, make, own.max_seconds)
    local default = find_default(rows, inputs, given, make)
    table.sort(rows, by_time)
    final(rows, default, own.max_seconds)
    table.sort(rows, by_time)
    for _, row in ipairs(rows) do
        row.share = row.time and row.time / default.time
    end
    local result = setmetatable({rows = rows, default = default, checked = own.check,
        best = find_best(rows, default, own.check), key = tuned.key(first)}, Tuning)
    for _, row in ipairs(rows) do
        row.op = nil -- and with it the outputs
    end
    first:free()
    if own.save then
        result:save()
    end
    return result
end

return M
