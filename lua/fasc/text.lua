-- text.lua - text from files, made safe to print and to draw.
local M = {}

-- Characters that control a terminal, turn the reading direction or hide: C0, DEL and C1, U+200B to
-- U+200F, U+2028 to U+202E, U+2060 to U+2069, U+FEFF.
local HIDDEN = {
    "%c", "\194[\128-\159]", "\226\128[\139-\143\168-\174]", "\226\129[\160-\169]", "\239\187\191",
}

local function escape(piece)
    return (piece:gsub(".", function(byte)
        return ("\\x%02x"):format(byte:byte())
    end))
end

--- The text with every character that a terminal would not show as such written \x1b.
---@param text string
---@return string
function M.printable(text)
    text = text:gsub("\\", "\\\\")
    for _, pattern in ipairs(HIDDEN) do
        text = text:gsub(pattern, escape)
    end
    return text
end

-- Well-formed UTF-8 sequences by their first byte: how many bytes follow, and the range of the
-- second one (the others are 80..BF).
local function sequence(byte)
    if byte >= 0xC2 and byte <= 0xDF then
        return 1, 0x80, 0xBF
    elseif byte >= 0xE0 and byte <= 0xEF then
        return 2, byte == 0xE0 and 0xA0 or 0x80, byte == 0xED and 0x9F or 0xBF
    elseif byte >= 0xF0 and byte <= 0xF4 then
        return 3, byte == 0xF0 and 0x90 or 0x80, byte == 0xF4 and 0x8F or 0xBF
    end
end

--- The text with every byte that is no part of UTF-8 replaced by U+FFFD.
---@param text string
---@return string
function M.utf8(text)
    local out, i = {}, 1
    while i <= #text do
        local byte = text:byte(i)
        local more, low, high = sequence(byte)
        local good = byte < 0x80
        if more then
            local second = text:byte(i + 1) or 0
            good = second >= low and second <= high
                and text:sub(i + 2, i + more):find("^[\128-\191]*$") ~= nil
                and #text >= i + more
        end
        out[#out + 1] = good and text:sub(i, i + (more or 0)) or "\239\191\189"
        i = i + (good and (more or 0) or 0) + 1
    end
    return table.concat(out)
end

--- The number of a character given in well-formed UTF-8.
---@param character string
---@return integer
function M.code_point(character)
    local first = character:byte()
    local code = first % (first < 0x80 and 128 or first < 0xE0 and 32 or first < 0xF0 and 16 or 8)
    for i = 2, #character do
        code = code * 64 + character:byte(i) % 64
    end
    return code
end

--- The characters of a text in UTF-8, one string each.
---@param text string
---@return string[]
function M.characters(text)
    local list = {}
    for character in text:gmatch "[%z\1-\127\194-\244][\128-\191]*" do
        list[#list + 1] = character
    end
    return list
end

return M
