-- pretty.lua - values as a person reads them: tables laid out by width and depth, what has a
-- __tostring (tensors, devices) as that says.
local M = {}

local DEPTH = 4 -- tables inside tables that are opened
local ITEMS = 40 -- entries shown of one table
local LINES = 100 -- lines shown of one value
local INDENT = "    "

local RESERVED = {}
for word in ("and break do else elseif end false for function goto if in local nil not or repeat "
    .. "return then true until while"):gmatch "%l+" do
    RESERVED[word] = true
end

--- Can this be written as t.name?
---@param name any
---@return boolean
function M.is_name(name)
    return type(name) == "string" and name:find "^[%a_][%w_]*$" ~= nil and not RESERVED[name]
end

local function has_tostring(value)
    local mt = getmetatable(value)
    return type(mt) == "table" and rawget(mt, "__tostring") ~= nil
end

local function quoted(text)
    return '"' .. text:gsub('[%c"\\]', function(c)
        local known = {["\n"] = "\\n", ["\t"] = "\\t", ['"'] = '\\"', ["\\"] = "\\\\"}
        return known[c] or ("\\%d"):format(c:byte())
    end) .. '"'
end

-- Names in order, numbers in order, the rest as it comes.
local function key_less(a, b)
    local ta, tb = type(a), type(b)
    if ta ~= tb then
        return ta < tb
    end
    return (ta == "number" or ta == "string") and a < b
end

local function other_keys(t, length)
    local keys = {}
    for key in next, t do
        if not (type(key) == "number" and key >= 1 and key <= length and key % 1 == 0) then
            keys[#keys + 1] = key
        end
    end
    table.sort(keys, key_less)
    return keys
end

local format

local function format_key(key, state)
    return M.is_name(key) and key or "[" .. format(key, state) .. "]"
end

-- The entries of a table as text, at most ITEMS of them.
local function entries(t, state)
    local length = #t
    local keys, list = other_keys(t, length), {}
    for i = 1, math.min(length, ITEMS) do
        list[i] = format(rawget(t, i), state)
    end
    for i = 1, math.min(#keys, ITEMS - #list) do
        local key = keys[i]
        list[#list + 1] = format_key(key, state) .. " = " .. format(rawget(t, key), state)
    end
    local hidden = length + #keys - #list
    if hidden > 0 then
        list[#list + 1] = ("... (%d more)"):format(hidden)
    end
    return list
end

local function format_table(t, state)
    if next(t) == nil then
        return "{}"
    elseif state.open[t] then
        return "{...itself}"
    elseif state.depth == DEPTH then
        return "{...}"
    end
    state.open[t], state.depth = true, state.depth + 1
    local list = entries(t, state)
    state.open[t], state.depth = nil, state.depth - 1
    local line = "{" .. table.concat(list, ", ") .. "}"
    if #line + #INDENT * state.depth <= state.width and not line:find("\n", 1, true) then
        return line
    end
    for i, entry in ipairs(list) do
        list[i] = INDENT .. entry:gsub("\n", "\n" .. INDENT) .. ","
    end
    return "{\n" .. table.concat(list, "\n") .. "\n}"
end

function format(value, state)
    if type(value) == "string" then
        return quoted(value)
    elseif type(value) == "table" and not has_tostring(value) then
        return format_table(value, state)
    end
    return tostring(value)
end

-- The first lines of a text, and how many there are more.
local function cut(text)
    local _, lines = text:gsub("\n", "\n")
    if lines < LINES then
        return text
    end
    local at = 0
    for _ = 1, LINES do
        at = text:find("\n", at + 1, true)
    end
    return ("%s\n... (%d more lines; print the parts to see all)"):format(text:sub(1, at - 1),
        lines + 1 - LINES)
end

--- The value as text, at most 100 lines of a table; strings alone stay as they are, inside tables
--- they are quoted.
---@param value any
---@param width number? columns to keep to; default 80
---@return string
function M.format(value, width)
    if type(value) == "string" then
        return value
    end
    local text = format(value, {open = {}, depth = 0, width = width or 80})
    return type(value) == "table" and not has_tostring(value) and cut(text) or text
end

return M
