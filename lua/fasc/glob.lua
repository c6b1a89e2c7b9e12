-- glob.lua - names by patterns, as shells have them: * is any characters, ? one, [a-z] one of a set
-- and [!a-z] one outside of it. Dots and slashes are characters like others.
local M = {}

--- Does this text mean more than itself?
---@param text string
---@return boolean
function M.is_pattern(text)
    return text:find "[%*%?%[]" ~= nil
end

local function class(body)
    local negated, rest = body:match "^([!^]?)(.*)$"
    return "[" .. (negated ~= "" and "^" or "") .. rest:gsub("[%%%]%^]", "%%%0") .. "]"
end

--- The Lua pattern for a whole name.
---@param pattern string
---@return string
function M.compile(pattern)
    local out, at = {"^"}, 1
    while at <= #pattern do
        local c = pattern:sub(at, at)
        local body = c == "[" and pattern:match("^%[([!^]?%]?[^%]]*)%]", at)
        if c == "*" then
            out[#out + 1] = ".*"
        elseif c == "?" then
            out[#out + 1] = "[%z\1-\127\194-\244][\128-\191]*" -- a character of UTF-8
        elseif body then
            out[#out + 1] = class(body)
            at = at + #body + 1
        else
            out[#out + 1] = c:gsub("[^%w\128-\255]", "%%%0")
        end
        at = at + 1
    end
    out[#out + 1] = "$"
    return table.concat(out)
end

--- The names that a pattern fits, in their order. One that is a name itself fits that alone.
---@param names string[]
---@param pattern string
---@return string[]
function M.select(names, pattern)
    local found, compiled = {}, M.compile(pattern)
    for _, name in ipairs(names) do
        if name == pattern then
            return {name}
        elseif name:find(compiled) then
            found[#found + 1] = name
        end
    end
    return found
end

return M
