-- compare.lua - what became faster or slower between two records of the same sweep?
--
--     fasc-bench compare before.jsonl after.jsonl
--     fasc-bench compare before.jsonl after.jsonl --threshold 0.05 --all
--
-- Points are paired by their axes. "ratio" is the second median over the first, with the interval
-- that holds it with 99 % confidence (bootstrap over the samples). The verdict: slower or faster
-- when the whole interval is on that side of 1 and the ratio is off by more than --threshold; same
-- when the whole interval is within it; else unclear. Differences of the environments stand above.
-- Exit status 1 when a point became slower or fails now. Two runs of one build on a busy machine
-- may differ by more than their samples show: `--interleave` in a sweep measures in turns.
local cli = require "fasc.cli"
local compare = require "fasc.compare"
local records = require "fasc.records"
local report = require "fasc.report"
local tables = require "fasc.table"

local parser = cli.parser("compare", "Compares two records of the same points.")
parser:argument("before", "a record (JSON lines)"):argname "A"
parser:argument("after", "another"):argname "B"
parser:option("--threshold", ("a change below this share is none (default: %g)")
    :format(compare.THRESHOLD)):argname "X":convert(cli.amount "--threshold")
parser:flag("--all", "also points that are the same")
parser:flag("--markdown", "print the table as Markdown")
local args = cli.read(parser)

cli.run(parser, function()
    local a, b = records.load(args.before), records.load(args.after)
    for _, set in ipairs {a, b} do
        for _, problem in ipairs(set.problems) do
            io.stderr:write("compare: ", problem, "; left out\n")
        end
    end
    local result = compare.sets(a, b, args.threshold)
    for _, difference in ipairs(result.environment) do
        print(("%s: %s -> %s"):format(unpack(difference)))
    end
    print(#result.environment > 0 and "" or "the environments are the same\n")

    local width = 5
    for _, c in ipairs(result.points) do
        width = math.max(width, #c.label)
    end
    local rows = tables.new({{title = "point", width = width, align = "left"},
        {title = "A", width = 8}, {title = "B", width = 8}, {title = "ratio", width = 6},
        {title = "99 % of", width = 15}, {title = "verdict", align = "left"}},
        args.markdown and "markdown" or "text", print)
    rows:titles()
    local function time(record)
        return record.timing and report.time(record.timing.median) or record.status
    end
    local regressions = 0
    for _, c in ipairs(result.points) do
        regressions = regressions + (compare.is_regression(c) and 1 or 0)
        if args.all or c.verdict ~= "same" then
            local r = c.ratio
            rows:row {c.label, time(c.a), time(c.b), r and ("%.3f"):format(r.ratio) or "-",
                r and ("%.3f to %.3f"):format(r.low, r.high) or "-", c.verdict}
        end
    end
    local counts = {}
    for _, verdict in ipairs(compare.VERDICTS) do
        counts[#counts + 1] = result.count[verdict] and result.count[verdict] .. " " .. verdict
    end
    print(("\n%d points: %s; only in A: %d, only in B: %d"):format(#result.points,
        table.concat(counts, ", "), #result.only_a, #result.only_b))
    return regressions > 0 and 1 or 0
end)
