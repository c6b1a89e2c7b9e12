-- help.lua - ?name at the prompt: what a function, a tensor's method, a module or a class is, from
-- the doc comments (see docs.lua).
local docs = require "fasc.docs"
local options = require "fasc.options"
local pretty = require "fasc.pretty"

local M = {}

-- ---- laying out ---------------------------------------------------------------------------

-- Words over lines of at most `width`, the later ones indented.
local function wrap(text, width, indent)
    local lines, line = {}, ""
    for word in text:gmatch "%S+" do
        if line ~= "" and #line + 1 + #word > width then
            lines[#lines + 1], line = line, indent .. word
        else
            line = line == "" and word or line .. " " .. word
        end
    end
    lines[#lines + 1] = line
    return lines
end

-- "  name  type  text" rows, the text wrapped beside the others.
local function add_entries(out, entries, indent, width)
    local longest = 0
    for _, entry in ipairs(entries) do
        longest = math.max(longest, #entry.name)
    end
    for _, entry in ipairs(entries) do
        local head = indent .. ("%-" .. longest .. "s  "):format(entry.name)
        local text = entry.type .. (entry.text ~= "" and "  " .. entry.text or "")
        local hang = (" "):rep(#head)
        for i, line in ipairs(wrap(text, width - #head, "")) do
            out[#out + 1] = (i == 1 and head or hang .. "  ") .. line
        end
    end
end

-- The first sentence of a comment.
local function summary(doc)
    local text = doc and table.concat(doc.text, " ") or ""
    return text:match "^(.-%.)%s%u" or text:match "^(.-[%.;])%s" or text
end

-- ---- what there is to tell ----------------------------------------------------------------

local function function_help(name, f, width)
    local doc = docs.of_function(f)
    if not doc then
        return name .. ": a function of Lua or C; fasc has no comment on it"
    end
    local out = {name .. doc.signature, ""}
    for _, line in ipairs(doc.text) do
        out[#out + 1] = line
    end
    if #doc.params + #doc.returns > 0 then
        out[#out + 1] = ""
    end
    for _, param in ipairs(doc.params) do
        add_entries(out, {param}, "", width)
        local is_options = param.name:find "^opts" or param.name == "given"
        local fields = is_options and docs.fields(param.type)
        if fields then
            add_entries(out, fields, "    ", width)
        end
    end
    for _, result in ipairs(doc.returns) do
        add_entries(out, {{name = "->", type = result.type, text = result.text}}, "", width)
    end
    out[#out + 1] = ("\n%s:%d"):format(doc.path, doc.line)
    return table.concat(out, "\n")
end

-- Functions in order, each with its first sentence.
local function add_functions(out, owner, names, prefix, width)
    local list = {}
    for _, name in ipairs(names) do
        local f = owner[name]
        if type(f) == "function" then
            local text = summary(docs.of_function(f))
            list[#list + 1] = {name = prefix .. name, type = text, text = ""}
        end
    end
    add_entries(out, list, "  ", width)
end

local function sorted_names(set)
    local names = {}
    for name in pairs(set) do
        names[#names + 1] = type(name) == "string" and name:sub(1, 1) ~= "_" and name or nil
    end
    table.sort(names)
    return names
end

-- The name under which require knows a table.
local function module_name(value)
    for name, module in pairs(package.loaded) do
        if module == value and name:find "^fasc" then
            return name
        end
    end
end

local function module_help(name, value, width)
    local text = docs.of_module(name) or {}
    local out = {unpack(text)}
    out[#out + 1] = ""
    add_functions(out, value, sorted_names(value), name .. ".", width)
    return table.concat(out, "\n")
end

-- A class, or an object of it.
local function class_help(class, width, methods)
    local out = {class.name, "", unpack(class.text)}
    add_entries(out, docs.fields(class.name), "  ", width)
    if methods then
        out[#out + 1] = ""
        add_functions(out, methods, sorted_names(methods), ":", width)
    end
    return table.concat(out, "\n")
end

-- The class of an object by its metatable's name: "fasc.tensor" is a fasc.Tensor.
local function class_of(value)
    local mt = debug.getmetatable(value)
    local name = type(mt) == "table" and rawget(mt, "__name")
    local short = type(name) == "string" and name:match "^fasc%.(.*)$"
    return short and docs.class("fasc." .. short:sub(1, 1):upper() .. short:sub(2))
end

-- What an object's methods are: those that its metatable declares and that it answers to.
local function methods_of(value)
    local mt = debug.getmetatable(value)
    local declared = type(mt) == "table" and rawget(mt, "__names")
    local set = type(declared) == "function" and declared() or declared or {}
    local methods = {}
    for name in pairs(set) do
        local ok, member = pcall(function() return value[name] end)
        methods[name] = ok and type(member) == "function" and member or nil
    end
    return methods
end

-- ---- finding ------------------------------------------------------------------------------

local function resolve(path, globals)
    local value = globals
    for name in path:gmatch "[%w_]+" do
        local ok, next_value = pcall(function() return value[name] end)
        if not ok or next_value == nil then
            return nil
        end
        value = next_value
    end
    return value
end

-- Functions whose name or comment has the word.
local function search(word, globals, width)
    local fasc, found = rawget(globals, "fasc") or require "fasc", {}
    word = word:lower()
    for _, name in ipairs(sorted_names(fasc)) do
        local doc = type(fasc[name]) == "function" and docs.of_function(fasc[name])
        local text = doc and (name .. " " .. table.concat(doc.text, " ")):lower() or ""
        if text:find(word, 1, true) then
            found[#found + 1] = name
        end
    end
    local near = options.nearest(word, sorted_names(fasc))
    local out = {("nothing is named '%s'%s"):format(word,
        near and ("; did you mean '%s'?"):format(near) or "")}
    if #found > 0 then
        out[#out + 1] = "these speak of it:"
        add_functions(out, fasc, found, "fasc.", width)
    end
    return table.concat(out, "\n")
end

--- What ?name prints.
---@param path string "attention", "fasc.op.attention", "t:slice", "fasc.ReadOptions", or a word
---@param globals table
---@param width integer? columns; default 80
---@return string
function M.describe(path, globals, width)
    width = math.max(width or 80, 40)
    local value = resolve(path, globals)
    local class = docs.class(path)
    if value == nil and class then
        return class_help(class, width)
    elseif value == nil then
        return search(path, globals, width)
    elseif type(value) == "function" then
        local shown = path:find "[%.:]" and path
            or rawget(require "fasc", path) == value and "fasc." .. path or path
        return function_help(shown, value, width)
    end
    local object = class_of(value)
    if object then
        return class_help(object, width, methods_of(value))
    end
    local module = type(value) == "table" and module_name(value)
    return module and module_help(module, value, width)
        or ("%s: a %s: %s"):format(path, type(value), pretty.format(value, width))
end

return M
