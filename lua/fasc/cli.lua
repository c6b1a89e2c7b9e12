-- cli.lua - the command line that every sweep script has: its axes and own options, and the options
-- for measuring and for output. lua-argparse parses; what it does not know is told in one line.
local axes = require "fasc.axes"
local devices = require "fasc.device"
local errors = require "fasc.errors"
local json = require "fasc.json"
local libraries = require "fasc.library"
local options = require "fasc.options"

local M = {}

-- Converters of an option's text; argparse shows the message of one that fails.
local function number(least, whole)
    return function(name)
        return function(text)
            local value = tonumber(text)
            if not value or value ~= value or value < least or whole and value % 1 ~= 0 then
                return nil, ("%s: '%s' is not %s%s"):format(name, text,
                    whole and "an integer" or "a number",
                    least > -math.huge and (" of at least %g"):format(least) or "")
            end
            return value
        end
    end
end

--- How long a point is sampled unless the sweep or the command line says otherwise: half of
--- fasc.time's default, so that sweeps of many points end.
M.MAX_SECONDS = 1

--- How long a GPU rests between bursts of samples: past what its power limit remembers. Under the
--- limit, times follow the temperature; rested, they repeat (results/timing_log.md).
M.REST_SECONDS = 0.1

local count = number(1, true)
local amount = number(0)

--- M.whole "--layer" converts what that option is given to an integer of at least 0.
M.whole = number(0, true)

--- M.amount "--threshold": to a number of at least 0.
M.amount = amount

--- M.list "--head" converts "0-3,7" to {0, 1, 2, 3, 7}; "all" stays.
function M.list(name)
    return function(given)
        local list = {}
        if given == "all" then
            return given
        end
        for part in (given .. ","):gmatch "([^,]*)," do
            local first, last = part:match "^(%d+)%-(%d+)$"
            first, last = tonumber(first or part:match "^%d+$"), tonumber(last or part)
            if not first or not last or last < first or last - first > 65535 then
                return nil, ("%s: '%s' is not a list of integers such as 0-3,7, nor all"):format(
                    name, given)
            end
            for i = first, last do
                list[#list + 1] = i
            end
        end
        return list
    end
end

--- M.crop "--crop" converts "0:64,128:256" to {0, 64, 128, 256}.
function M.crop(name)
    return function(given)
        local numbers = {given:match "^(%d+):(%d+),(%d+):(%d+)$"}
        for i = 1, #numbers do
            numbers[i] = tonumber(numbers[i])
        end
        if #numbers == 0 or numbers[1] >= numbers[2] or numbers[3] >= numbers[4] then
            return nil, ("%s: '%s' is not Q0:Q1,K0:K1 with rising numbers"):format(name, given)
        end
        return numbers
    end
end

-- Options of every sweep: {name, help, argname or nil for a flag, converter}.
local STANDARD = {
    {"Points", {
        {"--axis", "replace an axis's values: a list (seqlen=512,1024), pow2(512,16384), "
            .. "range(512,2048,256), or all; may be given several times", "NAME=VALUES",
            count = "*"},
        {"--filter", "keep the points for which a Lua expression over the axes holds: "
            .. "'seqlen <= 1024 and not causal'", "EXPR"},
        {"--list", "print the points and stop"},
        {"--dry-run", "run and check each point once, without timing it"},
    }},
    {"Measuring", {
        {"--device", "the device to measure (default: that of fasc-bench, else the best present)",
            "NAME"},
        {"--max-seconds", "sample a point for at most this long (default: MAX_SECONDS)", "S",
            amount},
        {"--warmup-seconds", "warm up for at least this long (default: 0.05)", "S", amount},
        {"--rest-seconds", "let a GPU rest this long before each 20 ms of samples, and when it "
            .. "holds its clock down (power, heat), take them again (default: 0.1; 0: no rests, "
            .. "keep them, marked)", "S", amount},
        {"--min-samples", "samples before the stopping rule is asked (default: 5)", "N", count},
        {"--max-samples", "samples at most (default: 200)", "N", count},
        {"--target-rse", "stop once the median's relative standard error is below this "
            .. "(default: 0.005)", "X", amount},
        {"--interleave", "measure in turns, for differences of a percent: the points that differ "
            .. "in this axis alone, or, given the path of another libfasc.so, that build and this",
            "AXIS|PATH"},
        {"--isolate", "measure each point in a process of its own, so that a crash is its row"},
        {"--timeout", "give a point up after this long, checks and all; implies --isolate", "S",
            amount},
        {"--no-check", "do not compare results with the reference; the rows say so"},
    }},
    {"Output", {
        {"--output", "append the records to this file "
            .. "(default: results/NAME-DATE.jsonl)", "FILE"},
        {"--resume", "leave out the points that --output's file already has, measured by this "
            .. "build on this machine"},
        {"--no-output", "write no records"},
        {"--quiet", "no progress on stderr"},
        {"--json", "print the records instead of a table"},
        {"--csv", "print the table as CSV"},
        {"--markdown", "print the table as Markdown"},
    }},
}

local function target(name)
    return (name:gsub("^%-%-", ""):gsub("-", "_"))
end

local function add_own_option(parser, own)
    local name, default, help = own[1], own[2], own[3]
    local flag = "--" .. name:gsub("_", "-")
    if type(default) == "boolean" then
        return parser:flag(flag):description(help):target(name):default(default)
    end
    local option = parser:option(flag):target(name):argname(own.argname or name:upper())
    option:description(("%s (default: %s%s)"):format(help, tostring(default),
        own.gpu and (", on a GPU %s"):format(own.gpu) or ""))
    if type(default) == "number" then
        option:convert(number(own.min or -math.huge, options.is_integer(default))(flag))
    elseif own.choices then
        option:choices(own.choices)
    end
    return option
end

local function axes_help(list)
    local lines = {"Axes:"}
    for _, axis in ipairs(list) do
        local text = "   " .. axes.describe(axis)
        if axis.choices then
            text = text .. " (of " .. table.concat(axis.choices, ", ") .. ")"
        end
        lines[#lines + 1] = text .. (axis.help and "\n      " .. axis.help or "")
    end
    return table.concat(lines, "\n")
end

-- The parser of a sweep. Its help ends with the axes, which argparse would wrap.
local function make_parser(sweep, list)
    local parser = M.parser(sweep.name, sweep.summary)
    local own = {}
    for i, spec in ipairs(sweep.options or {}) do
        own[i] = add_own_option(parser, spec)
    end
    if #own > 0 then
        parser:group("Of this sweep", unpack(own))
    end
    for _, group in ipairs(STANDARD) do
        local members = {}
        for i, row in ipairs(group[2]) do
            local name, help, argname, convert = unpack(row, 1, 4)
            help = help:gsub("MAX_SECONDS", (sweep.timing or {}).max_seconds or M.MAX_SECONDS)
            local option = argname and parser:option(name):argname(argname) or parser:flag(name)
            option:description(help):target(target(name))
            option = convert and option:convert(convert(name)) or option
            members[i] = row.count and option:count(row.count) or option
        end
        parser:group(group[1], unpack(members))
    end
    parser:option("--point"):hidden(true)
    local get_help = parser.get_help
    function parser:get_help()
        return get_help(self) .. "\n\n" .. axes_help(list)
    end
    return parser
end

-- The hidden option --point, which --isolate gives to its processes: measures one point, given as
-- JSON, and prints its record and nothing else.
local function only_point(list, o, text)
    local point = json.decode(text)
    for _, axis in ipairs(list) do
        axes.set(axis, {point[axis.name]})
    end
    o.json, o.no_output, o.quiet = true, true, true
    o.filter, o.output, o.resume, o.isolate, o.timeout = nil, nil, nil, nil, nil
    o.csv, o.markdown = nil, nil
end

--- An argparse parser for a script; M.read reads the script's arguments with it.
---@param name string
---@param summary string
function M.parser(name, summary)
    return require "argparse"("fasc-bench " .. name, summary):help_max_width(96)
end

--- The script's arguments by name. What is wrong with them is one line, with exit status 2.
---@return table
function M.read(parser)
    local ok, result = parser:pparse(arg)
    if not ok then
        io.stderr:write(parser._name:gsub("^fasc%-bench ", ""), ": ", result:gsub("\n", "; "),
            " (see --help)\n")
        os.exit(2)
    end
    return result
end

--- Runs a script's work and exits with the status that it returns; what the library refuses is one
--- line, with status 2 for wrong arguments.
---@param fn fun(): integer?
function M.run(parser, fn)
    local ok, result = xpcall(fn, function(e)
        return errors.is(e) and e or debug.traceback(tostring(e), 2)
    end)
    if not ok then
        if not errors.is(result) then
            error(result, 0)
        end
        io.stderr:write(parser._name:gsub("^fasc%-bench ", ""), ": ", result.message, "\n")
        os.exit(result.status == "EINVAL" and 2 or 1)
    end
    if result and result ~= 0 then
        os.exit(result)
    end
end

-- What an option or an axis is when it is not given: that depends on the device.
local function fill_defaults(sweep, list, o)
    local on_gpu = devices.open(o.device).name ~= "cpu"
    for _, spec in ipairs(sweep.options or {}) do
        if o[spec[1]] == nil then
            o[spec[1]] = on_gpu and spec.gpu or spec[2]
        end
    end
    for _, axis in ipairs(list) do
        if on_gpu and axis.gpu then
            axes.set(axis, axis.gpu)
        end
    end
end

-- --interleave: an axis, or another build of the library, which becomes the axis `build`.
local function set_interleave(list, o)
    local given = o.interleave
    if not given then
        return
    elseif o.isolate or o.timeout then
        errors.usage("--interleave and --isolate exclude each other")
    elseif given:find("/", 1, true) then
        libraries.open(given)
        list[#list + 1] = axes.new({{"build", {"this", given}, "which build of libfasc"}})[1]
        o.interleave = "build"
    else
        axes.find(list, given)
    end
end

--- Reads a sweep's command line. Returns its options by name (with "_" for "-"), and its axes as
--- the command line left them. Raises EINVAL for what is wrong. `--help` prints and exits.
---@param sweep fasc.Sweep
---@param argv string[]
---@return table options
---@return fasc.Axis[] axes
function M.parse(sweep, argv)
    local list = axes.new(sweep.axes)
    local ok, result = make_parser(sweep, list):pparse(argv)
    if not ok then
        errors.usage("%s", (result:gsub("\n", "; ")))
    end
    fill_defaults(sweep, list, result)
    set_interleave(list, result)
    if result.point then
        only_point(list, result, result.point)
        return result, list
    end
    for _, text in ipairs(result.axis) do
        axes.override(list, text)
    end
    result.isolate = result.isolate or result.timeout ~= nil
    if (result.json and 1 or 0) + (result.csv and 1 or 0) + (result.markdown and 1 or 0) > 1 then
        errors.usage("--json, --csv and --markdown exclude each other")
    elseif result.resume and not result.output then
        errors.usage("--resume needs --output FILE, the record to continue")
    end
    return result, list
end

return M
