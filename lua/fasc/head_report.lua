-- head_report.lua - the statistics of heads as lines for people, JSON for machines, and a folder
-- with a figure and the heatmaps of the heads that stand out.
local errors = require "fasc.errors"
local figure = require "fasc.head_figure"
local heatmap = require "fasc.heatmap"
local host = require "fasc.host"
local json = require "fasc.json"
local stats = require "fasc.head_stats"

local M = {}

local function base_name(path)
    return path:match "[^/]*$"
end

local function finite(x)
    return x and x == x and math.abs(x) < math.huge and x or nil
end

-- "layer 4 head 5"
local function name_of(head)
    return (head.layer and "layer " .. head.layer .. " " or "") .. (head.head
        and "head " .. head.head or "")
end

local function picture_name(head)
    return ("layer%s-head%s.png"):format(head.layer or "", head.head or "")
end

local function head_json(head)
    local fields = {{"layer", head.layer}, {"head", head.head}, {"tensor", head.source.tensor}}
    for _, column in ipairs(stats.COLUMNS) do
        fields[#fields + 1] = {column.name, finite(head[column.name])}
    end
    return json.object(fields)
end

local function report_json(list, notable, file)
    local heads, stands_out = json.array(), json.array()
    for i, head in ipairs(list) do
        heads[i] = head_json(head)
    end
    for i, entry in ipairs(notable) do
        local named = json.array()
        for j, head in ipairs(entry.heads) do
            named[j] = json.object {{"layer", head.layer}, {"head", head.head},
                {"value", finite(head[entry.column.name])}}
        end
        stands_out[i] = json.object {{"statistic", entry.column.name}, {"sign", entry.column.sign},
            {"heads", named}}
    end
    local first = list[1] and list[1].source
    return json.object {
        {"file", base_name(file)}, {"queries", first and first.rows},
        {"keys", first and first.cols}, {"causal", first and first.causal}, {"heads", heads},
        {"notable", stands_out},
    }
end

-- How to draw a head by hand.
local function command(head, file)
    local source = head.source
    local which = source.computed and (head.layer and " --layer " .. head.layer or "")
        or " --tensor " .. source.tensor
    return ("fasc-bench heatmap %s%s%s -o %s"):format(file, which,
        head.head and " --head " .. head.head or "", picture_name(head))
end

-- Heads that stand out, each once, with all that they stand out by.
local function by_head(notable)
    local order, seen = {}, {}
    for _, entry in ipairs(notable) do
        for _, head in ipairs(entry.heads) do
            if not seen[head] then
                seen[head] = {head = head, signs = {}}
                order[#order + 1] = seen[head]
            end
            local signs, column = seen[head].signs, entry.column
            signs[#signs + 1] = column.sign .. " " .. column.format:format(head[column.name])
        end
    end
    return order
end

local function write_text(path, text)
    local file, reason = io.open(path, "w")
    local ok = file and file:write(text, "\n")
    ok = file and file:close() and ok
    if not ok then
        errors.raise("EIO", "analyze: %s", reason or path .. ": cannot be written")
    end
end

---@class fasc.HeadReport
---@field lines string[] the heads worth a look, with what each stands out by and how to see it
---@field json table      ready for json.encode
---@field files string[]  what was written

--- Names the heads that stand out and, when a folder is given, writes heads.json, heads.svg and a
--- heatmap of each of these heads into it.
---@param list fasc.HeadStatistics[]
---@param opts {file: string, folder: string?, tokens: string[]?}
---@return fasc.HeadReport
function M.report(list, opts)
    local notable = stats.notable(list)
    local result = {lines = {}, files = {}, json = report_json(list, notable, opts.file)}
    local heads = by_head(notable)
    for i, entry in ipairs(heads) do
        local way = opts.folder and opts.folder .. "/" .. picture_name(entry.head)
            or command(entry.head, opts.file)
        result.lines[i] = ("%s: %s\n    %s"):format(name_of(entry.head),
            table.concat(entry.signs, ", "), way)
    end
    if not opts.folder then
        return result
    end
    local made, reason = host.mkdir(opts.folder)
    if not made then
        errors.raise("EIO", "analyze: %s: %s", opts.folder, reason)
    end
    local function at(name)
        local path = opts.folder .. "/" .. name
        result.files[#result.files + 1] = path
        return path
    end
    write_text(at "heads.json", json.encode(result.json))
    figure.save(list, at "heads.svg", {title = "Heads of " .. base_name(opts.file),
        metadata = {file = base_name(opts.file)}})
    for _, entry in ipairs(heads) do
        heatmap.heatmap(entry.head.source, {path = at(picture_name(entry.head)),
            note = base_name(opts.file) .. ": " .. table.concat(entry.signs, ", "),
            tokens = opts.tokens, metadata = {file = base_name(opts.file)}})
    end
    return result
end

return M
