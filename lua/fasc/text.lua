-- text.lua - text from files, made safe to print.
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

return M
