-- bench.lua - sweeps: a script says which axes there are, how a point's inputs are made and which
-- operation is measured; the harness does the rest. scripts/sweep_seqlen.lua is an example.
local axes = require "fasc.axes"
local cli = require "fasc.cli"
local errors = require "fasc.errors"
local options = require "fasc.options"
local runs = require "fasc.run"

local M = {pow2 = axes.pow2, range = axes.range, inputs = require "fasc.inputs"}

--- A sweep. Functions get the point (a table: axis name to value) and the script's own options.
---@class fasc.Sweep
---@field name string
---@field summary string    one line for --help
---@field axes table[]      {name, values, help, choices=, min=, gpu=} (see fasc.axes); innermost
---                         last; gpu: the values on a GPU, where they are others
---@field options table[]?  own command line options: {name, default, help, choices=, min=, gpu=}
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

-- Every sweep has these axes.
local COMMON = {
    {"cache", {"hot"}, "hot: calls back to back; cold: caches emptied before each call, by "
        .. "reading; rotate: calls take turns on copies of the inputs that exceed the caches",
        choices = {"hot", "cold", "rotate"}},
    {"launch", {"queued"}, "on a GPU: calls queued one by one, or replayed as a CUDA graph",
        choices = {"queued", "graph"}},
}

local function checked(sweep)
    local s = options.check("sweep", sweep, FIELDS)
    s.axes = {COMMON[1], COMMON[2], unpack(s.axes)}
    return s
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
    return runs.run(whole, list, o, argv, write)
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
