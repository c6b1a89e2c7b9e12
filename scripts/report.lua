-- report.lua - records as one HTML page that needs no network: summary, charts, tables that sort,
-- environment; with several records also what differs between the first and the others.
--
--     fasc-bench report results/sweep.jsonl
--     fasc-bench report before.jsonl after.jsonl -o change.html
local cli = require "fasc.cli"
local page = require "fasc.page"
local records = require "fasc.records"

local parser = cli.parser("report", "Writes records as one HTML page.")
parser:argument("records", "files of records (JSON lines)"):args "+"
parser:option("-o --output", "the page (default: the first record's name with .html)")
    :argname "FILE"
parser:option("--title", "its title (default: the sweep and its device)"):argname "TEXT"
local args = cli.read(parser)

cli.run(parser, function()
    local sets = {}
    for i, path in ipairs(args.records) do
        sets[i] = records.load(path)
    end
    local path = args.output or args.records[1]:gsub("%.jsonl$", "") .. ".html"
    page.write(sets, path, args.title)
    print(path)
end)
