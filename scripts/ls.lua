-- ls.lua - what a file of tensors holds: names, dtypes, shapes, sizes and metadata. Only headers
-- are read, so the size of the file does not matter.
--
--     fasc-bench ls model.safetensors
--     fasc-bench ls model.safetensors 'layers.3.*' '*.q'
--     fasc-bench ls run.npz --json
--
-- "read as" is what fasc makes of a tensor: its own dtype, or one that holds every value of a dtype
-- that fasc lacks; a dash says that it cannot be read.
local fasc = require "fasc"
local cli = require "fasc.cli"
local files = require "fasc.file"
local json = require "fasc.json"
local tables = require "fasc.table"
local text = require "fasc.text"

local parser = cli.parser("ls", "Lists the tensors and the metadata of a file.")
parser:argument("file", "a .safetensors, .npz or .npy file")
parser:argument("pattern", "list what one of these fits: * ? [a-z]"):args "*"
parser:flag("--json", "one JSON object")
local args = cli.read(parser)

local file = fasc.open(args.file)
local tensors, total = {}, 0
for _, name in ipairs(#args.pattern > 0 and files.pick("ls", file, args.pattern)
    or file:names()) do
    tensors[#tensors + 1] = file:info(name)
    total = total + tensors[#tensors].bytes
end

-- The metadata's pairs by rising key.
local metadata = {}
for key, value in pairs(file:metadata()) do
    metadata[#metadata + 1] = {key, value}
end
table.sort(metadata, function(a, b) return a[1] < b[1] end)

if args.json then
    local list = {}
    for i, t in ipairs(tensors) do
        list[i] = json.object {
            {"name", t.name}, {"dtype", t.file_dtype}, {"read_as", t.dtype or json.null},
            {"shape", json.array(t.shape)}, {"bytes", t.bytes}, {"offset", t.offset},
        }
    end
    print(json.encode(json.object {
        {"path", args.file}, {"format", file.format}, {"tensors", json.array(list)},
        {"metadata", json.object(metadata)},
    }))
    return
end

local rows, width = {}, 0
for i, t in ipairs(tensors) do
    local name = t.name == "" and "(the array)" or text.printable(t.name)
    rows[i] = {name, t.file_dtype, t.dtype or "-", table.concat(t.shape, " x "),
        ("%.0f"):format(t.bytes)}
    width = math.max(width, #name)
end
local list = tables.new({
    {title = "name", align = "left", width = width}, {title = "dtype", align = "left", width = 7},
    {title = "read as", align = "left"}, {title = "shape", align = "left", width = 20},
    {title = "bytes", width = 12},
}, "text", print)
list:titles()
for _, row in ipairs(rows) do
    list:row(row)
end
list:prose(("%d tensors, %.0f bytes; %s"):format(#tensors, total, file.format))
for _, pair in ipairs(metadata) do
    list:prose(("metadata: %s = %s"):format(text.printable(pair[1]), text.printable(pair[2])))
end
