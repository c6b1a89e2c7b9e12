-- complete.lua - what the completion key does at the prompt: it completes names (of globals, fasc's
-- functions, fields, methods), the names and values of options in a call's table, tensors in open
-- files, keys of tables, and paths. Options and their values come from the doc comments.
local contexts = require "fasc.complete_context"
local docs = require "fasc.docs"
local host = require "fasc.host"
local options = require "fasc.options"

local M = {}

local INDENT = "    "
local KEYWORDS = {}
for word in ("and break do else elseif end false for function if in local nil not or repeat return "
    .. "then true until while"):gmatch "%l+" do
    KEYWORDS[word] = true
end

--- What may end the text: names with what follows each when it is the only one.
---@class fasc.Completion
---@field names string[]
---@field word string what is typed of them
---@field ends fun(name: string): string

local function nothing()
    return ""
end

local function new(names, word, ends)
    local fitting, seen = {}, {}
    for _, name in ipairs(names) do
        if name:sub(1, #word) == word and not seen[name] then
            fitting[#fitting + 1], seen[name] = name, true
        end
    end
    table.sort(fitting)
    return {names = fitting, word = word, ends = ends or nothing}
end

-- ---- names --------------------------------------------------------------------------------

-- owner[name]; nil where indexing raises.
local function field(owner, name)
    local ok, value = pcall(function() return owner[name] end)
    return ok and value or nil
end

-- The value of "a.b:c", nil if there is none.
local function resolve(path, globals)
    local value = globals
    for name in path:gmatch "[%w_]+" do
        value = field(value, name)
        if value == nil then
            return nil
        end
    end
    return value
end

local function add_keys(names, set)
    for key in next, set do
        names[key] = true
    end
end

-- Adds what value.NAME may be: its keys, those that its metatable declares in __names (a set, or a
-- function that gives one), and those of an __index table.
local function collect(names, value, depth)
    if type(value) == "table" then
        add_keys(names, value)
    end
    local mt = debug.getmetatable(value)
    if type(mt) ~= "table" or depth == 0 then
        return
    end
    local declared, index = rawget(mt, "__names"), rawget(mt, "__index")
    if type(declared) == "function" then
        declared = declared()
    end
    add_keys(names, declared or {})
    if type(index) == "table" then
        collect(names, index, depth - 1)
    end
end

-- What stands before the cursor: the value whose names are wanted, the sign after it ("" for a
-- global), and the word typed so far.
local function parse(text, globals)
    local path, sign, word = text:match "([%a_][%w_%.]*)([%.:])([%w_]*)$"
    if path then
        return resolve(path, globals), sign, word
    end
    local before
    before, word = text:match "^(.-)([%a_]?[%w_]*)$"
    if before:find "[%.:]$" or word:find "^%d" then
        return nil, "", word -- a number, or a field of an expression that is not evaluated here
    end
    return globals, "", word
end

local function complete_name(text, globals)
    local owner, sign, word = parse(text, globals)
    local names, found = {}, {}
    if owner ~= nil then
        collect(names, owner, 5)
        add_keys(names, sign == "" and KEYWORDS or {})
    end
    for name in pairs(names) do
        if type(name) == "string" and name:find "^[%a_][%w_]*$"
            and (word ~= "" or name:sub(1, 1) ~= "_")
            and (sign ~= ":" or type(field(owner, name)) == "function") then
            found[#found + 1] = name
        end
    end
    return new(found, word, function(name)
        return type(field(owner, name)) == "function" and "(" or ""
    end)
end

-- ---- options ------------------------------------------------------------------------------

-- The fields that a call's table of options may have, and the path of options inside options.
local function option_fields(context, globals)
    local callee, argument, keys = contexts.options_call(context)
    local f = callee and resolve(callee, globals)
    local doc = type(f) == "function" and docs.of_function(f)
    local param = doc and (doc.params[argument] or doc.params[#doc.params])
    local fields = param and docs.fields(param.type)
    for i, key in ipairs(keys or {}) do
        local inner
        for _, entry in ipairs(fields or {}) do
            inner = entry.name == key and entry or inner
        end
        local deeper = inner and docs.fields(inner.type)
        if not deeper then
            return i == #keys and inner and {inner} or nil, i == #keys and key
        end
        fields = deeper
    end
    return fields, nil, keys and keys[#keys]
end

local function complete_option(context, globals)
    local part = contexts.part(context)
    local fields, list = option_fields(context, globals)
    if not fields or list or part:find "%S" then
        return nil
    end
    local top, names = context.stack[#context.stack], {}
    local given = context.before:sub(top.first)
    for _, entry in ipairs(fields) do
        if not (" " .. given):find("[%s,;{]" .. entry.name .. "%s*=") then
            names[#names + 1] = entry.name
        end
    end
    local completion = new(names, context.word, function() return " = " end)
    return #completion.names > 0 and completion or nil
end

-- What is known of an option's values beside its comment.
local function kernel_names()
    local names = {}
    for _, kernel in ipairs(require("fasc.kernels").list()) do
        names[#names + 1] = kernel.name
    end
    return names
end

local function device_names()
    local names = {}
    for _, device in ipairs((require("fasc.device").list())) do
        names[#names + 1] = device.name
    end
    return names
end

local function dtype_names()
    return {"f16", "bf16", "f32", "f64", "i32", "i64", "u8"}
end

local KNOWN = {
    kernel = kernel_names, device = device_names, dtype = dtype_names, as = dtype_names,
    out_dtype = dtype_names, scores_dtype = dtype_names,
    want = function() return require("fasc.attention_call").OUTPUT_NAMES end,
}

-- The values that an option's string may have; nil where they are not known.
local function option_values(context, globals)
    local fields, list, outer = option_fields(context, globals)
    local key = list or contexts.key_of(contexts.part(context))
    if not fields or not key then
        return nil
    end
    if KNOWN[key] or outer == "kernel" and key == "name" then
        return (KNOWN[key] or kernel_names)()
    end
    for _, entry in ipairs(fields) do
        if entry.name == key then
            local values = docs.values(entry)
            return #values > 0 and values or nil
        end
    end
end

-- ---- strings ------------------------------------------------------------------------------

local TAKES_TENSOR = {read = true, has = true, info = true, each = true, names = true}

-- The tensors' names that a string may be one of: file:read("..., t["..., load(path, {names = {"...
local function tensor_names(context, globals)
    local top = context.stack[#context.stack]
    local callee = contexts.callee_of(contexts.part(context))
        or top and not contexts.part(context):find "%S" and top.callee
    if callee then
        local owner, method = callee:match "^(.*):([%w_]+)$"
        local value = resolve(owner or callee, globals)
        if owner and TAKES_TENSOR[method] and options.typename(value) == "file" then
            return value:names()
        elseif top and top.open == "[" and type(value) == "table" then
            local keys = {}
            for key in next, value do
                keys[#keys + 1] = type(key) == "string" and key or nil
            end
            return keys
        end
    end
    local _, argument, keys = contexts.options_call(context)
    if argument == 2 and (keys[1] or contexts.key_of(contexts.part(context))) == "names" then
        local call = context.stack[#context.stack - 1 - #keys]
        local path = context.before:sub(call and call.first or 1):match "^%s*[\"']([^\"']+)[\"']"
        local ok, file = pcall(require("fasc.file").open, path)
        return ok and file:names() or nil
    end
end

local function complete_path(word, close)
    local folder, start = word:match "^(.*/)([^/]*)$"
    if not folder then
        folder, start = "", word
    end
    local where = folder:gsub("^~/", (os.getenv "HOME" or "~") .. "/")
    local names = {}
    for _, name in ipairs(host.list(where == "" and "." or where) or {}) do
        if name ~= "./" and name ~= "../" and (start ~= "" or name:sub(1, 1) ~= ".") then
            names[#names + 1] = name
        end
    end
    return new(names, start, function(name)
        return name:sub(-1) == "/" and "" or close
    end)
end

local function complete_string(context, globals)
    local names = tensor_names(context, globals) or option_values(context, globals)
    if names then
        return new(names, context.word, function() return context.quote end)
    end
    return complete_path(context.word, context.quote)
end

-- ---- commands -----------------------------------------------------------------------------

local function complete_command(text, globals)
    local commands = require "fasc.commands"
    local command = text:match "^%s*%%(%a*)$"
    if command then
        return new(commands.NAMES, command, function() return " " end)
    end
    local script = text:match "^%s*%%run%s+(%S*)$"
    if script and not script:find "/" then
        local both = complete_path(script, " ").names
        for _, name in ipairs(commands.scripts()) do
            both[#both + 1] = name
        end
        return new(both, script, function(name) return name:sub(-1) == "/" and "" or " " end)
    elseif text:find "^%s*%%run" then
        return complete_path(text:match "(%S*)$", " ")
    end
    local asked = text:match "^%s*%?%s*(.*)$"
    if asked then
        local completion = complete_name(asked, globals)
        completion.ends = nothing
        return completion
    end
end

-- ---- the key ------------------------------------------------------------------------------

--- What may end the text.
---@param text string all that was typed up to the cursor, earlier lines of the chunk too
---@param globals table
---@return fasc.Completion
function M.candidates(text, globals)
    local completion = complete_command(text, globals)
    if completion then
        return completion
    end
    local context = contexts.of((text:gsub("^%s*%%%a+%s", "")))
    if context.quote then
        return complete_string(context, globals)
    end
    return complete_option(context, globals) or complete_name(text, globals)
end

local function common_prefix(names)
    local prefix = names[1]
    for _, name in ipairs(names) do
        while name:sub(1, #prefix) ~= prefix do
            prefix = prefix:sub(1, -2)
        end
    end
    return prefix
end

local function in_columns(names, width)
    local longest = 0
    for _, name in ipairs(names) do
        longest = math.max(longest, #name)
    end
    local columns = math.max(1, math.floor((width + 2) / (longest + 2)))
    local rows = math.ceil(#names / columns)
    local lines = {}
    for row = 1, rows do
        local cells = {}
        for i = row, #names, rows do
            cells[#cells + 1] = ("%-" .. longest .. "s"):format(names[i])
        end
        lines[row] = table.concat(cells, "  "):gsub("%s+$", "")
    end
    return table.concat(lines, "\n")
end

--- What the completion key does: text to insert, or names to list when several fit and they
--- differ from here on.
---@param text string the line up to the cursor
---@param width number? columns for the list; default 80
---@param globals table? default _G
---@param earlier string? the lines of the chunk before this one
---@return string insert
---@return string? list
function M.complete(text, width, globals, earlier)
    if not text:find "%S" then
        return INDENT
    end
    local completion = M.candidates(earlier and earlier .. "\n" .. text or text, globals or _G)
    local names = completion.names
    if #names == 0 then
        return ""
    end
    local insert = common_prefix(names):sub(#completion.word + 1)
    if #names == 1 then
        return insert .. completion.ends(names[1])
    elseif insert == "" then
        return "", in_columns(names, width or 80)
    end
    return insert
end

return M
