-- complete_context.lua - where the cursor stands in what was typed: in a string or not, in which
-- call, at which argument, in the value of which option.
local M = {}

--- An open bracket.
---@class fasc.OpenBracket
---@field open string     "(", "{" or "["
---@field callee string?  what stands before it: "fasc.load", "file:read"
---@field key string?     the option that it is the value of: "want" in {want = {
---@field argument integer which of its parts the cursor is in, from 1
---@field start integer   where that part begins
---@field first integer   where its first part begins

--- Where the cursor stands.
---@class fasc.CursorContext
---@field quote string?   the quote that opened the string it is in
---@field word string     what is typed of the string, or of the name
---@field before string   all before that
---@field stack fasc.OpenBracket[] the brackets that are open, the innermost last

local CLOSES = {[")"] = "(", ["}"] = "{", ["]"] = "["}
local WORDS = {["return"] = true, ["and"] = true, ["or"] = true, ["not"] = true, ["in"] = true,
    ["if"] = true, ["while"] = true, ["until"] = true, ["elseif"] = true}

-- The path that ends a text and is called, or indexed, by what follows: "a.b:c".
local function callee_of(text)
    local path = text:match "([%a_][%w_%.:]*)%s*$"
    return path and not WORDS[path] and path or nil
end

local function key_of(text)
    return text:match "([%a_][%w_]*)%s*=%s*$"
end

-- Steps over the string that begins at `at`; nil when it does not end.
local function string_end(text, at, quote)
    local i = at + 1
    while i <= #text do
        local c = text:sub(i, i)
        if c == "\\" then
            i = i + 1
        elseif c == quote then
            return i
        elseif c == "\n" then
            return i
        end
        i = i + 1
    end
end

local function open_bracket(text, at, stack)
    local top = stack[#stack]
    local before = text:sub(top and top.start or 1, at - 1)
    local key = key_of(before)
    stack[#stack + 1] = {open = text:sub(at, at), callee = not key and callee_of(before) or nil,
        key = key, argument = 1, start = at + 1, first = at + 1}
end

--- Reads what was typed.
---@param text string up to the cursor
---@return fasc.CursorContext
function M.of(text)
    local stack, at = {}, 1
    while at <= #text do
        local c = text:sub(at, at)
        local top = stack[#stack]
        if c == '"' or c == "'" then
            local stop = string_end(text, at, c)
            if not stop then
                return {quote = c, word = text:sub(at + 1), before = text:sub(1, at - 1),
                    stack = stack}
            end
            at = stop
        elseif c == "-" and text:sub(at, at + 1) == "--" then
            at = text:find("\n", at, true) or #text
        elseif c == "(" or c == "{" or c == "[" then
            open_bracket(text, at, stack)
        elseif CLOSES[c] and top and top.open == CLOSES[c] then
            stack[#stack] = nil
        elseif (c == "," or c == ";") and top then
            top.argument, top.start = top.argument + 1, at + 1
        end
        at = at + 1
    end
    local before, word = text:match "^(.-)([%a_]?[%w_]*)$"
    return {word = word, before = before, stack = stack}
end

--- What stands before the cursor in the innermost bracket's part.
---@param context fasc.CursorContext
---@return string
function M.part(context)
    local top = context.stack[#context.stack]
    return context.before:sub(top and top.start or 1)
end

--- The call whose table of options the cursor is in: its bracket, which argument the table is, and
--- the options inside options that lead to the cursor ({"kernel"} in {kernel = {).
---@param context fasc.CursorContext
---@return string? callee
---@return integer? argument
---@return string[]? keys
function M.options_call(context)
    local keys = {}
    for i = #context.stack, 1, -1 do
        local bracket = context.stack[i]
        local outer = context.stack[i - 1]
        if bracket.open ~= "{" then
            return nil
        elseif bracket.callee then
            return bracket.callee, 1, keys
        elseif bracket.key then
            table.insert(keys, 1, bracket.key)
        elseif outer and outer.open == "(" and outer.callee then
            return outer.callee, outer.argument, keys
        else
            return nil
        end
    end
end

M.key_of, M.callee_of = key_of, callee_of

return M
