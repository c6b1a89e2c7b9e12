-- analyze.lua - what each head of a model does: sink rate, entropy, mean distance, largest logit,
-- and how much attention goes to a token itself, to the one before, and to what followed the same
-- tokens earlier (induction). Ends with the heads worth looking at.
--
--     fasc-bench analyze qkv.safetensors
--     fasc-bench analyze qkv.safetensors -o heads
--     fasc-bench analyze qkv.safetensors --layer 3-5 --json
--
-- The file holds layers.L.q and layers.L.k, or saved probabilities. -o writes into a folder: the
-- numbers (heads.json), a figure of them (heads.svg) and a heatmap of each head that stands out.
local fasc = require "fasc"
local cli = require "fasc.cli"
local reports = require "fasc.head_report"
local json = require "fasc.json"
local stats = require "fasc.head_stats"
local tables = require "fasc.table"
local tokens = require "fasc.tokens"

local parser = cli.parser("analyze", "Tells what each head does, and which are worth a look.")
parser:argument("file", "a .safetensors or .npz file")
parser:option("-o --output", "write numbers, figure and heatmaps here"):argname "FOLDER"
parser:flag("--json", "print one JSON object instead of the table")
parser:option("--tensor", "saved probabilities, by name or pattern"):argname "GLOB"
parser:option("--layer", "4, 0-3,5 or all (the default)"):argname "LIST":convert(cli.list "--layer")
parser:option("--head", "0-3,7 or all (the default)"):argname "LIST":convert(cli.list "--head")
parser:option("--batch", "which batch entry (default: 0)"):argname "B":convert(cli.whole "--batch")
parser:option("--match", "tokens that must repeat for induction (default: 1; for bytes 4)")
    :argname "N":convert(cli.whole "--match")
parser:flag("--full", "queries see every key (default: what the file's metadata say)")
parser:flag("--causal", "queries see no later key")
parser:option("--layout", "how q and k lie in the file (default: bhnd)"):choices {"bhnd", "bnhd"}
parser:option("--device", "where scores are computed"):argname "NAME"
local args = cli.read(parser)

local file = fasc.open(args.file)
local layers = type(args.layer) == "table" and args.layer or fasc.layers(file)
local causal = nil
if args.causal or args.full then
    causal = args.causal or false
end
local maps = fasc.head_maps(file, {
    tensor = args.tensor, layer = #layers > 0 and not args.tensor and layers or nil,
    causal = causal, head = args.head or "all",
    batch = args.batch, layout = args.layout, device = args.device,
})
local list = stats.statistics(maps, {tokens = tokens.ids(file), match = args.match})
local report = reports.report(list, {file = args.file, folder = args.output,
    tokens = tokens.of_file(file)})

if args.json then
    print(json.encode(report.json))
else
    local columns = {{title = "layer"}, {title = "head"}}
    for i, column in ipairs(stats.COLUMNS) do
        columns[i + 2] = {title = column.title, width = 9}
    end
    local out = tables.new(columns, "text", print)
    out:titles()
    for _, head in ipairs(list) do
        local cells = {tostring(head.layer or "-"), tostring(head.head or "-")}
        for i, column in ipairs(stats.COLUMNS) do
            cells[i + 2] = head[column.name] and column.format:format(head[column.name]) or "-"
        end
        out:row(cells)
    end
    out:prose "\nWorth a look:"
    for _, line in ipairs(report.lines) do
        print("  " .. line)
    end
end
for _, path in ipairs(report.files) do
    io.stderr:write("wrote ", path, "\n")
end
