-- options.lua - option tables: their names (with the nearest known one when one is wrong), their
-- types, their allowed values and their defaults, each given as one row of a table.
local errors = require "fasc.errors"

local M = {}

-- ---- nearest names ------------------------------------------------------------------------

-- Edits (insert, delete, replace, swap of neighbours) that make a into b.
local function distance(a, b)
    local before, last
    local row = {}
    for j = 0, #b do
        row[j] = j
    end
    for i = 1, #a do
        before, last, row = last, row, {[0] = i}
        for j = 1, #b do
            local same = a:byte(i) == b:byte(j)
            row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
            if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
                row[j] = math.min(row[j], before[j - 2] + 1)
            end
        end
    end
    return row[#b]
end

--- The known name that looks most like `name`; nil when none is near. `names` is a list, or a
--- table with names as keys.
---@param name any
---@param names table
---@return string?
function M.nearest(name, names)
    name = tostring(name):lower()
    local best, best_distance
    for key, value in pairs(names) do
        local candidate = type(key) == "number" and value or key
        local plain = candidate:lower()
        local d = distance(name, plain)
        if #name >= 3 and (plain:find(name, 1, true) or name:find(plain, 1, true)) then
            d = math.min(d, 1.5)
        end
        if not best or d < best_distance or d == best_distance and candidate < best then
            best, best_distance = candidate, d
        end
    end
    if best and best_distance <= math.max(1, #name / 3) then
        return best
    end
end

local LISTED = 16 -- a longer list of known names helps nobody

--- "; did you mean 'causal'?" when a known name is near, else "; known: a, b, c" when they are few.
---@param name any
---@param names table as for nearest
---@return string
function M.hint(name, names)
    local near = M.nearest(name, names)
    if near then
        return ("; did you mean '%s'?"):format(near)
    end
    local known = {}
    for key, value in pairs(names) do
        known[#known + 1] = type(key) == "number" and value or key
    end
    table.sort(known)
    return #known <= LISTED and "; known: " .. table.concat(known, ", ") or ""
end

-- ---- types --------------------------------------------------------------------------------

-- What is worked out once and kept as long as its key, a table that does not change: attention's
-- options are checked at every call.
local function remembered(make)
    local made = setmetatable({}, {__mode = "k"})
    return function(key)
        local value = made[key]
        if value == nil then
            value = make(key)
            made[key] = value
        end
        return value
    end
end

local typename_of = remembered(function(metatable)
    local name = rawget(metatable, "__name")
    return type(name) == "string" and name:match("^fasc%.(%l+)$") or "table"
end)

--- "tensor" or "device" for fasc's own values, else Lua's type.
---@param value any
---@return string
function M.typename(value)
    local kind = type(value)
    local metatable = kind == "table" and getmetatable(value)
    return type(metatable) == "table" and typename_of(metatable) or kind
end

--- Is this a number without a fraction that float64 holds exactly?
---@param value any
---@return boolean
function M.is_integer(value)
    return type(value) == "number" and value % 1 == 0 and value > -2^53 and value < 2^53
end

local ARTICLE = {
    integer = "an integer",
    op = "an operation (see fasc.op)",
    path = "a string without NULs",
}

--- The value as an error message shows it: 'text', 3.5, a table, a tensor.
---@param value any
---@return string
function M.show(value)
    local kind = M.typename(value)
    if kind == "string" then
        return "'" .. value:gsub("%z", "\\0") .. "'"
    elseif kind == "number" or kind == "boolean" or kind == "nil" then
        return tostring(value)
    end
    return "a " .. kind
end

local function is_a(value, kind)
    if kind == "integer" then
        return M.is_integer(value)
    elseif kind == "path" then -- C would take a NUL for its end, and open another file
        return type(value) == "string" and not value:find "%z"
    end
    return M.typename(value) == kind
end

local function expected(rule)
    local words = {}
    for kind in rule.is:gmatch("%a+") do
        if not (kind == "string" and rule.values) then
            words[#words + 1] = ARTICLE[kind] or "a " .. kind
        end
    end
    for _, value in ipairs(rule.values or {}) do
        words[#words + 1] = '"' .. value .. '"'
    end
    return #words == 1 and words[1]
        or table.concat(words, ", ", 1, #words - 1) .. " or " .. words[#words]
end

local function contains(list, value)
    for _, item in ipairs(list) do
        if item == value then
            return true
        end
    end
    return false
end

local kinds_of = remembered(function(rule)
    local kinds = {}
    for kind in rule.is:gmatch("%a+") do
        kinds[#kinds + 1] = kind
    end
    return kinds
end)

-- The rules that have a say about options that are not given: {{name, rule}}.
local absent_of = remembered(function(rules)
    local list = {}
    for name, rule in pairs(rules) do
        if rule.required or rule.default ~= nil then
            list[#list + 1] = {name = name, rule = rule}
        end
    end
    return list
end)

local function check_value(call, name, value, rule)
    local fits = false
    for _, kind in ipairs(kinds_of(rule)) do
        fits = fits or is_a(value, kind)
    end
    if not fits then
        errors.usage("%s: %s: must be %s, got %s", call, name, expected(rule), M.show(value))
    end
    if type(value) == "string" and rule.values and not contains(rule.values, value) then
        local near = M.nearest(value, rule.values)
        errors.usage("%s: %s: must be %s, got '%s'%s", call, name, expected(rule), value,
            near and ("; did you mean '%s'?"):format(near) or "")
    end
    if type(value) == "number"
        and (rule.min and value < rule.min or rule.max and value > rule.max) then
        errors.usage("%s: %s: must be %s, got %s", call, name,
            rule.min and rule.max and ("%.15g to %.15g"):format(rule.min, rule.max)
            or rule.min and ("at least %.15g"):format(rule.min)
            or ("at most %.15g"):format(rule.max), M.show(value))
    end
end

--- One option: what it may be and what it is when it is not given.
---@class fasc.OptionRule
---@field is string       its types: "boolean|string", of Lua's type names, integer, path, tensor,
---       device
---@field values string[]? which strings are allowed
---@field default any?
---@field min number?
---@field max number?
---@field required boolean?

--- Checks a call's option table against its rules and returns a new table with the defaults in.
--- nil stands for an empty table; the caller's table is left as it is. Raises EINVAL:
--- "attention: unknown option 'casual'; did you mean 'causal'?".
---@param call string the public function's name, for messages
---@param given table?
---@param rules table<string, fasc.OptionRule>
---@return table
function M.check(call, given, rules)
    local result = {}
    if given ~= nil and M.typename(given) ~= "table" then
        errors.usage("%s: options: must be a table, got %s", call, M.show(given))
    end
    for name, value in pairs(given or {}) do
        local rule = rules[name]
        if not rule then
            errors.usage("%s: unknown option %s%s", call, M.show(name), M.hint(name, rules))
        end
        check_value(call, name, value, rule)
        result[name] = value
    end
    for _, absent in ipairs(absent_of(rules)) do
        if result[absent.name] == nil then
            if absent.rule.required then
                errors.usage("%s: %s: must be given: %s", call, absent.name,
                    expected(absent.rule))
            end
            result[absent.name] = absent.rule.default
        end
    end
    return result
end

--- Checks one positional argument as if it were an option and returns it.
---@param call string
---@param name string
---@param value any
---@param rule fasc.OptionRule
---@return any
function M.argument(call, name, value, rule)
    check_value(call, name, value, rule)
    return value
end

return M
