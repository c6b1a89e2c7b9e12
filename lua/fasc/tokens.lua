-- tokens.lua - what stands at each place of a sequence, as labels of an axis: from a text file, a
-- JSON list, or the tokens that a file of tensors brings along.
local errors = require "fasc.errors"
local json = require "fasc.json"
local text = require "fasc.text"

local M = {}

local VISIBLE = {[" "] = "␣", ["\n"] = "⏎", ["\r"] = "␍", ["\t"] = "⇥", [""] = "∅"}

-- A token as it can be drawn: blanks are shown, other control characters as their code.
local function visible(token)
    return VISIBLE[token] or (text.utf8(token):gsub("[%z\1-\31\127]", function(c)
        return VISIBLE[c] or ("\\x%02x"):format(c:byte())
    end))
end

local function read(path)
    local file, reason = io.open(path, "rb")
    local content = file and file:read "*a"
    if file then
        file:close()
    end
    if not content then
        errors.raise("EIO", "tokens: %s", reason or path .. ": cannot be read")
    end
    return content
end

--- Labels from a file: a JSON list of strings, or one token a line.
---@param path string
---@return string[]
function M.load(path)
    local content, list = read(path), {}
    if content:find "^%s*%[" then
        local decoded = json.decode(content)
        for i, token in ipairs(decoded) do
            if type(token) ~= "string" then
                errors.raise("EFORMAT", "tokens: %s: entry %d is no string", text.printable(path),
                    i - 1)
            end
            list[i] = visible(token)
        end
    else
        for line in (content:gsub("\r?\n$", "") .. "\n"):gmatch "(.-)\r?\n" do
            list[#list + 1] = visible(line)
        end
    end
    if #list == 0 then
        errors.raise("EFORMAT", "tokens: %s holds none", text.printable(path))
    end
    return list
end

-- Bytes as characters: a character of several bytes stands at its first, dots at the others.
local function from_bytes(bytes)
    local list, i = {}, 1
    while i <= #bytes do
        local id = bytes[i]
        local length = id < 0xC2 and 1 or id < 0xE0 and 2 or id < 0xF0 and 3 or id < 0xF5 and 4 or 1
        local whole = length == 1 and id < 0x80
        if length > 1 and i + length - 1 <= #bytes then
            local parts = {}
            for j = 0, length - 1 do
                parts[j + 1] = string.char(math.min(255, bytes[i + j]))
            end
            local character = table.concat(parts)
            whole = text.utf8(character) == character
            if whole then
                list[i] = character
                for j = 1, length - 1 do
                    list[i + j] = "·"
                end
            end
        elseif whole then
            list[i] = visible(string.char(id))
        end
        if not whole then
            list[i] = id < 256 and ("\\x%02x"):format(id) or ("⟨%d⟩"):format(id)
        end
        i = i + (whole and length or 1)
    end
    return list
end

--- Labels from numbers: bytes as their characters where no number is past 256 (of which 256 is a
--- byte model's mark of the beginning), else the numbers themselves.
---@param ids number[]
---@return string[]
function M.from_ids(ids)
    local list, most = {}, 0
    for i, id in ipairs(ids) do
        most = math.max(most, id)
        list[i] = ("%d"):format(id)
    end
    return most <= 256 and from_bytes(ids) or list
end

--- The tokens that a file of tensors brings along, as numbers: its tensor `tokens`, of integers;
--- nil without.
---@param file fasc.File
---@return number[]?
function M.ids(file)
    if not file:has "tokens" then
        return nil
    end
    local dtype = file:info("tokens").dtype
    if dtype ~= "i32" and dtype ~= "i64" and dtype ~= "u8" then
        return nil
    end
    local t = file:read "tokens"
    while t.rank > 1 and t.shape[1] == 1 do
        t = t:slice(0)
    end
    if t.rank ~= 1 or t.shape[1] == 0 then
        return nil
    end
    local ids = t:tolist()
    for i, id in ipairs(ids) do
        ids[i] = tonumber(id)
    end
    return ids
end

--- The labels for the tokens that a file brings along; nil without.
---@param file fasc.File
---@return string[]?
function M.of_file(file)
    local ids = M.ids(file)
    return ids and M.from_ids(ids)
end

return M
