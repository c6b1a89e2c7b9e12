-- isolate.lua - measures a point in a process of its own (--isolate): this program again, with the
-- same script and --point, prints the point's record. A crash or a hang is then that point's row.
local child = require "fasc.child"
local clock = require "fasc.clock"
local errors = require "fasc.errors"
local host = require "fasc.host"
local json = require "fasc.json"
local record = require "fasc.record"

local M = {}

-- The command that measures the point: this process's own, as far as the script's arguments.
local function command(argv, values)
    if not arg or not arg[0] or arg[0] == "-" then
        errors.usage("--isolate needs a script in a file, to run it again")
    end
    local words, first = {host.executable}, 0
    while arg[first - 1] do
        first = first - 1
    end
    for i = first + 1, 0 do
        words[#words + 1] = arg[i]
    end
    for _, word in ipairs(argv) do
        words[#words + 1] = word
    end
    words[#words + 1] = "--point"
    words[#words + 1] = json.encode(values)
    return words
end

-- The last line that is a record; what else the script prints stands before it.
local function find_record(text)
    local found
    for line in text:gmatch "[^\n]+" do
        local ok, value = pcall(json.decode, line)
        if ok and type(value) == "table" and type(value.schema) == "number" then
            found = value
        end
    end
    return found
end

--- Measures one point; see measure.point for the row.
---@param point table
---@param values table the axes' values in it
---@param argv string[] the sweep's arguments
---@param timeout number? seconds after which the point is given up
---@return fasc.Row
function M.point(point, values, argv, timeout)
    local start = clock.now()
    local ended = child.run(command(argv, values), timeout)
    local row
    if ended.timed_out then
        row = {status = "timeout", reason = ("took longer than %g s"):format(timeout)}
    elseif ended.signal then
        row = {status = "crashed", reason = ended.signal}
    elseif ended.code == 130 then
        errors.raise("ECANCELED", "interrupted")
    else
        local found = find_record(ended.output)
        row = found and record.row(found) or {
            status = "crashed",
            reason = ("ended with status %d and without a result"):format(ended.code),
        }
    end
    row.point, row.wall = point, clock.now() - start
    return row
end

return M
