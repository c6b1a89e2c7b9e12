-- plot.lua - a line chart of records as PNG, SVG or PDF.
--
--     fasc-bench plot sweep.jsonl -o sweep.svg
--     fasc-bench plot sweep.jsonl -o rate.png -y tflops --filter 'head_dim == 128' --dark
--     fasc-bench plot before.jsonl after.jsonl -o both.pdf -x seqlen --by kernel
--
-- A line for each value of one axis, a panel for each combination of the others. The band goes from
-- the 5th to the 95th percentile, a cross marks a point without a result.
local charts = require "fasc.record_chart"
local cli = require "fasc.cli"
local records = require "fasc.records"

local metrics = {}
for name in pairs(records.METRICS) do
    metrics[#metrics + 1] = name
end
table.sort(metrics)

local parser = cli.parser("plot", "Draws records as a line chart.")
parser:argument("records", "files of records (JSON lines)"):args "+"
parser:option("-o --output", "FILE.png, FILE.svg or FILE.pdf"):argname "FILE":count(1)
parser:option("-x", "the axis across (default: the numeric one with the most values)")
    :argname "AXIS"
parser:option("-y", "what is shown (default: time)"):choices(metrics):default "time"
parser:option("--by", "the axis whose values are lines (default: kernel)"):argname "AXIS"
parser:option("--filter", "keep the points for which a Lua expression over the axes holds")
    :argname "EXPR"
parser:option("--title", "above the chart (default: the sweep and its device)"):argname "TEXT"
parser:flag("--dark", "light on dark")
local args = cli.read(parser)

cli.run(parser, function()
    local sets = {}
    for i, path in ipairs(args.records) do
        sets[i] = records.load(path)
    end
    local first = sets[1].records[1]
    local device = first.environment and first.environment.device or {}
    local _, fixed = records.varying(sets[1])
    local figure, note = charts.draw(sets, {
        x = args.x, y = args.y, by = args.by, filter = args.filter,
        theme = args.dark and "dark" or "light", caption = fixed,
        title = args.title or ("%s on %s"):format(first.sweep, device.model or "?"),
    })
    figure:save(args.output)
    if note then
        io.stderr:write("plot: ", note, "\n")
    end
    print(args.output)
end)
