-- complete.lua - completion at the prompt: of globals and fasc's functions, of fields, and of what
-- values with a metatable (tensors, devices) offer.
local M = {}

local INDENT = "    "
local KEYWORDS = {}
for word in ("and break do else elseif end false for function if in local nil not or repeat return "
    .. "then true until while"):gmatch "%l+" do
    KEYWORDS[word] = true
end

-- owner[name]; nil where indexing raises.
local function field(owner, name)
    local ok, value = pcall(function() return owner[name] end)
    return ok and value or nil
end

-- The value of "a.b.c", nil if there is none.
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

--- The names that may end the text, in order; what is typed of them; and whose they are.
---@param text string the line up to the cursor
---@param globals table
---@return string[] names
---@return string word
---@return any owner
function M.candidates(text, globals)
    local owner, sign, word = parse(text, globals)
    local names, found = {}, {}
    if owner ~= nil then
        collect(names, owner, 5)
        add_keys(names, sign == "" and KEYWORDS or {})
    end
    for name in pairs(names) do
        if type(name) == "string" and name:find "^[%a_][%w_]*$" and name:sub(1, #word) == word
            and (word ~= "" or name:sub(1, 1) ~= "_")
            and (sign ~= ":" or type(field(owner, name)) == "function") then
            found[#found + 1] = name
        end
    end
    table.sort(found)
    return found, word, owner
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
---@return string insert
---@return string? list
function M.complete(text, width, globals)
    if not text:find "%S" then
        return INDENT
    end
    local names, word, owner = M.candidates(text, globals or _G)
    if #names == 0 then
        return ""
    end
    local insert = common_prefix(names):sub(#word + 1)
    if #names == 1 and type(field(owner, names[1])) == "function" then
        return insert .. "("
    elseif insert == "" and #names > 1 then
        return "", in_columns(names, width or 80)
    end
    return insert
end

return M
