-- docs.lua - what the doc comments in the sources of these modules say, read from the sources: so
-- help and completion know what the code's readers know, and nothing is written twice.
local host = require "fasc.host"

local M = {}

-- ---- sources ------------------------------------------------------------------------------

local files = {}

local function lines_of(text)
    local lines = {}
    for line in (text .. "\n"):gmatch "(.-)\r?\n" do
        lines[#lines + 1] = line
    end
    return lines
end

-- The lines of a file by its chunk name, "lua/fasc/op.lua"; of any other file by its path.
local function source(path)
    if files[path] == nil then
        local text = not host.lua_dir and host.source(path)
        local file = not text and io.open(path, "r")
        if file then
            text = file:read "*a"
            file:close()
        end
        files[path] = text and lines_of(text) or false
    end
    return files[path]
end

-- The paths of all modules, as chunk names have them.
local function module_paths()
    local paths = {}
    for _, name in ipairs(host.sources()) do
        if name:find "^lua/" then
            paths[#paths + 1] = host.lua_dir and host.lua_dir .. name:sub(4) or name
        end
    end
    return paths
end

-- ---- comments -----------------------------------------------------------------------------

--- A parameter, a field or a result.
---@class fasc.DocEntry
---@field name string
---@field type string
---@field text string

--- What stands above a function or a class.
---@class fasc.Doc
---@field name string?     of a class
---@field parent string?   the class whose fields it has as well
---@field signature string? a function's parameters: "(q, k, v, opts)"
---@field text string[]    the lines of prose
---@field params fasc.DocEntry[]
---@field returns fasc.DocEntry[]
---@field fields fasc.DocEntry[]
---@field path string
---@field line integer     where the function or the class begins

-- A type up to the space that ends it, and the rest: spaces inside brackets, after "|" and after
-- the colon of a function's result belong to it.
local function split_type(text)
    local depth, at = 0, 1
    while at <= #text do
        local c = text:sub(at, at)
        if c:find "[%(%[{<]" then
            depth = depth + 1
        elseif c:find "[%)%]}>]" then
            depth = depth - 1
        elseif c == " " and depth <= 0 and not text:sub(1, at - 1):find "[:|,]$" then
            break
        end
        at = at + 1
    end
    return text:sub(1, at - 1), (text:sub(at):gsub("^%s+", ""))
end

local LISTS = {param = "params", field = "fields", ["return"] = "returns"}

-- One "---@tag rest" with what its following lines say.
local function add_tag(doc, tag, rest)
    local list = LISTS[tag]
    local entry = {name = "", type = "", text = ""}
    if tag == "class" then
        doc.name, rest = rest:match "^([%w_%.]+)%s*(.*)$"
        doc.parent = rest:match "^:%s*([%w_%.]+)"
        if not doc.parent and rest ~= "" then
            table.insert(doc.text, rest)
        end
        return
    elseif not list then
        return
    end
    if tag ~= "return" then
        entry.name, rest = rest:match "^(%S+)%s*(.*)$"
    end
    entry.type, entry.text = split_type(rest)
    table.insert(doc[list], entry)
end

-- Reads a block of lines that begin with "---".
local function parse(lines, first, last)
    local doc = {text = {}, params = {}, returns = {}, fields = {}}
    local tag, rest
    local function flush()
        if tag then
            add_tag(doc, tag, rest)
        end
        tag = nil
    end
    for i = first, last do
        local body = lines[i]:match "^%s*%-%-%-?(.*)$"
        local new_tag, after = body:match "^%s?@(%l+)%s*(.*)$"
        if new_tag then
            flush()
            tag, rest = new_tag, after
        elseif tag and body:find "^%s%s" then
            rest = rest .. " " .. body:match "^%s*(.*)$"
        else
            flush()
            table.insert(doc.text, (body:gsub("^ ", "")))
        end
    end
    flush()
    return doc
end

-- The first line of the comment block that ends right above `line`; nil where there is none.
local function block_above(lines, line, mark)
    local first = line
    while first > 1 and lines[first - 1]:find("^%s*" .. mark) do
        first = first - 1
    end
    return first < line and first or nil
end

-- "(q, k, v, opts)" of the function that begins at a line.
local function signature(lines, line)
    local text = table.concat(lines, " ", line, math.min(line + 4, #lines))
    local list = text:match "function%s*[%w_%.:]*%s*(%b())"
    return list and list:gsub("%s+", " ") or "(...)"
end

--- The doc comment above a Lua function; nil for one without a source that can be read.
---@param f function
---@return fasc.Doc?
function M.of_function(f)
    local info = debug.getinfo(f, "S")
    local path = info.source:match "^@(.*)$"
    local lines = path and source(path)
    if not lines or not lines[info.linedefined] then
        return nil
    end
    local line = info.linedefined
    local first = block_above(lines, line, "%-%-%-") or block_above(lines, line, "%-%-")
    local doc = parse(lines, first or line, line - 1)
    doc.signature, doc.path, doc.line = signature(lines, line), path, line
    return doc
end

--- The comment that opens a module's file.
---@param name string "fasc.op"
---@return string[]? lines
---@return string? path
function M.of_module(name)
    local wanted = name == "fasc" and "/fasc/init.lua" or "/" .. name:gsub("%.", "/") .. ".lua"
    for _, path in ipairs(module_paths()) do
        if path:sub(-#wanted) == wanted then
            local text = {}
            for _, line in ipairs(source(path) or {}) do
                if not line:find "^%-%-" then
                    return text, path
                end
                text[#text + 1] = line:gsub("^%-%- ?", "")
            end
        end
    end
end

-- ---- classes ------------------------------------------------------------------------------

local classes

local function read_classes()
    classes = {}
    for _, path in ipairs(module_paths()) do
        local lines = source(path) or {}
        for i, line in ipairs(lines) do
            if line:find "^%-%-%-@class " then
                local last = i
                while lines[last + 1] and lines[last + 1]:find "^%-%-%-" do
                    last = last + 1
                end
                local doc = parse(lines, block_above(lines, i, "%-%-%-") or i, last)
                doc.path, doc.line = path, i
                classes[doc.name] = doc
            end
        end
    end
end

--- The class of a name, with or without "fasc." before it.
---@param name string
---@return fasc.Doc?
function M.class(name)
    if not classes then
        read_classes()
    end
    return classes[name] or classes["fasc." .. name]
end

-- A class's fields, and those of the class that it follows.
local function all_fields(class)
    local fields = {unpack(class.fields)}
    for _, field in ipairs(class.parent and all_fields(M.class(class.parent)) or {}) do
        fields[#fields + 1] = field
    end
    return fields
end

-- The fields of "{names: string[]?, dtype: string?}".
local function inline_fields(text)
    local fields = {}
    for name, rest in text:gmatch "([%a_][%w_]*)%s*:%s*([^,}]*)" do
        fields[#fields + 1] = {name = name, type = rest, text = ""}
    end
    return fields
end

--- What a table of this type may hold: the fields of its class, or those that the type lists.
---@param type_text string "fasc.HeatmapOptions?"
---@return fasc.DocEntry[]?
function M.fields(type_text)
    local inner = type_text:match "^%b{}"
    if inner then
        return inline_fields(inner)
    end
    for name in type_text:gmatch "[%w_%.]+" do
        local class = M.class(name)
        if class then
            return all_fields(class)
        end
    end
end

--- The words that a parameter's or option's comment quotes: the values it names.
---@param entry fasc.DocEntry
---@return string[]
function M.values(entry)
    local list, seen = {}, {}
    for word in (entry.type .. " " .. entry.text):gmatch '"([%w_:]+)"' do
        if not seen[word] then
            list[#list + 1], seen[word] = word, true
        end
    end
    return list
end

return M
