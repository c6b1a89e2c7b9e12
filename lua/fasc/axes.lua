-- axes.lua - the named axes of a sweep as data: their values, how the command line changes them,
-- and the points that they span.
local errors = require "fasc.errors"
local options = require "fasc.options"

local M = {}

--- One axis. Scripts write {"seqlen", axes.pow2(512, 16384), "queries and keys", min = 1}.
---@class fasc.Axis
---@field name string
---@field values any[]     numbers, strings or booleans, all of one kind
---@field help string?
---@field kind string      "integer", "number", "string" or "boolean": from the values
---@field choices string[]? strings that the axis may take; "all" on the command line is all of them
---@field min number?       the least number that the axis may take
---@field gpu any[]?        its values on a GPU, where they are others

--- first, 2 first, 4 first, ... up to last.
---@param first number
---@param last number
---@return number[]
function M.pow2(first, last)
    if not (type(first) == "number" and type(last) == "number" and first > 0 and first <= last) then
        errors.usage("pow2(%s, %s): needs two numbers, 0 < first <= last",
            tostring(first), tostring(last))
    end
    local values = {}
    while first <= last do
        values[#values + 1] = first
        first = 2 * first
    end
    return values
end

--- first, first + step, ... up to last; the step is 1 unless given.
---@param first number
---@param last number
---@param step number?
---@return number[]
function M.range(first, last, step)
    step = step or 1
    if not (type(first) == "number" and type(last) == "number" and type(step) == "number"
        and step > 0 and first <= last) then
        errors.usage("range(%s, %s, %s): needs first <= last and a step > 0",
            tostring(first), tostring(last), tostring(step))
    end
    local values = {}
    for i = 0, math.floor((last - first) / step * (1 + 1e-12)) do
        values[#values + 1] = first + i * step
    end
    return values
end

local GENERATORS = {pow2 = M.pow2, range = M.range}

-- ---- checking -----------------------------------------------------------------------------

local function kind_of(values)
    local kind
    for _, value in ipairs(values) do
        local this = options.is_integer(value) and "integer" or type(value)
        if kind == nil or kind == this then
            kind = this
        elseif (kind == "integer" or kind == "number") and (this == "integer" or this == "number")
        then
            kind = "number"
        else
            return "mixed"
        end
    end
    return kind
end

local function check_value(axis, value)
    local fits = type(value) == axis.kind
        or axis.kind == "integer" and options.is_integer(value)
    if not fits then
        errors.usage("axis %s: %s is no %s", axis.name, tostring(value), axis.kind)
    end
    if axis.min and value < axis.min then
        errors.usage("axis %s: %s is less than %s", axis.name, tostring(value), tostring(axis.min))
    end
    if axis.choices then
        for _, choice in ipairs(axis.choices) do
            if choice == value then
                return
            end
        end
        local near = options.nearest(value, axis.choices)
        errors.usage("axis %s: '%s' is none of %s%s", axis.name, tostring(value),
            table.concat(axis.choices, ", "), near and ("; did you mean '%s'?"):format(near) or "")
    end
end

--- Gives an axis other values; raises EINVAL where they are not of its kind.
---@param axis fasc.Axis
---@param values any[]
function M.set(axis, values)
    local seen = {}
    if #values == 0 then
        errors.usage("axis %s: has no values", axis.name)
    end
    for _, value in ipairs(values) do
        check_value(axis, value)
        if seen[value] then
            errors.usage("axis %s: %s is given twice", axis.name, tostring(value))
        end
        seen[value] = true
    end
    axis.values = values
end

local KINDS = {integer = true, number = true, string = true, boolean = true}

--- Checks a script's list of axes and returns it as a list of fasc.Axis.
---@param specs table[]
---@return fasc.Axis[]
function M.new(specs)
    local list, seen = {}, {}
    for i, spec in ipairs(specs) do
        local axis = {name = spec[1], help = spec[3], choices = spec.choices, min = spec.min,
            gpu = spec.gpu}
        if type(axis.name) ~= "string" or not axis.name:find "^[%a_][%w_]*$" then
            errors.usage("axes[%d]: its name must be a word, got %s", i, options.show(axis.name))
        elseif seen[axis.name] then
            errors.usage("axes[%d]: there is an axis %s already", i, axis.name)
        elseif type(spec[2]) ~= "table" then
            errors.usage("axis %s: values must be a list, got %s", axis.name, options.show(spec[2]))
        end
        axis.kind = kind_of(spec[2])
        if axis.kind and not KINDS[axis.kind] then
            errors.usage("axis %s: values must be all numbers, all strings or all booleans",
                axis.name)
        end
        for _, values in ipairs {spec.gpu or spec[2], spec[2]} do
            M.set(axis, values)
        end
        seen[axis.name] = axis
        list[i] = axis
    end
    return list
end

-- ---- the command line's --axis ------------------------------------------------------------

-- Splits at the commas outside of parentheses.
local function split(text)
    local items, depth, start = {}, 0, 1
    for i = 1, #text do
        local c = text:sub(i, i)
        depth = depth + (c == "(" and 1 or c == ")" and -1 or 0)
        if c == "," and depth == 0 then
            items[#items + 1] = text:sub(start, i - 1)
            start = i + 1
        end
    end
    items[#items + 1] = text:sub(start)
    for i, item in ipairs(items) do
        items[i] = item:match "^%s*(.-)%s*$"
    end
    return items
end

local function generate(axis, name, arguments)
    local generator = GENERATORS[name]
    if not generator then
        errors.usage("axis %s: there is no %s()%s", axis.name, name,
            options.hint(name, GENERATORS))
    end
    local numbers = {}
    for i, text in ipairs(split(arguments)) do
        numbers[i] = tonumber(text)
        if not numbers[i] then
            errors.usage("axis %s: %s(%s): '%s' is no number", axis.name, name, arguments, text)
        end
    end
    return generator(numbers[1], numbers[2], numbers[3])
end

local BOOLEANS = {["true"] = true, ["false"] = false}

local function parse_value(axis, text)
    local value
    if axis.kind == "boolean" then
        value = BOOLEANS[text]
    elseif axis.kind == "string" then
        value = text
    else
        value = tonumber(text)
    end
    if value == nil then
        errors.usage("axis %s: '%s' is no %s", axis.name, text, axis.kind)
    end
    return value
end

--- The axis of a name; raises EINVAL where there is none.
---@param list fasc.Axis[]
---@param name string
---@return fasc.Axis
function M.find(list, name)
    local names = {}
    for i, axis in ipairs(list) do
        if axis.name == name then
            return axis
        end
        names[i] = axis.name
    end
    errors.usage("unknown axis '%s'%s", name, options.hint(name, names))
end

--- Replaces an axis's values as --axis says: "seqlen=512,1024", "seqlen=pow2(512,16384)",
--- "seqlen=range(512,2048,256)", "causal=true", "kernel=all". Raises EINVAL.
---@param list fasc.Axis[]
---@param text string
function M.override(list, text)
    local name, right = text:match "^%s*([%w_]+)%s*=%s*(.-)%s*$"
    if not name then
        errors.usage("'%s' is not of the form NAME=VALUE,...", text)
    end
    local axis = M.find(list, name)
    local values = {}
    for _, item in ipairs(split(right)) do
        local generator, arguments = item:match "^([%a_][%w_]*)%((.*)%)$"
        local some = {nil}
        if generator and axis.kind ~= "string" then
            some = generate(axis, generator, arguments)
        elseif item == "all" and (axis.choices or axis.kind == "boolean") then
            some = axis.choices or {false, true}
        else
            some[1] = parse_value(axis, item)
        end
        for _, value in ipairs(some) do
            values[#values + 1] = value
        end
    end
    M.set(axis, values)
end

-- ---- points -------------------------------------------------------------------------------

--- Every combination of the axes' values as a table by name; the last axis turns fastest.
---@param list fasc.Axis[]
---@return table[]
function M.points(list)
    local points = {{}}
    for _, axis in ipairs(list) do
        local longer = {}
        for _, point in ipairs(points) do
            for _, value in ipairs(axis.values) do
                local copy = {}
                for name, v in pairs(point) do
                    copy[name] = v
                end
                copy[axis.name] = value
                longer[#longer + 1] = copy
            end
        end
        points = longer
    end
    return points
end

--- A point on one line: "seqlen=512 causal=true".
---@param list fasc.Axis[]
---@param point table
---@return string
function M.format(list, point)
    local parts = {}
    for i, axis in ipairs(list) do
        parts[i] = axis.name .. "=" .. tostring(point[axis.name])
    end
    return table.concat(parts, " ")
end

--- The same for the axes that have several values; all of them where none has.
---@param list fasc.Axis[]
---@param point table
---@return string
function M.label(list, point)
    local varying = {}
    for _, axis in ipairs(list) do
        varying[#varying + 1] = #axis.values > 1 and axis or nil
    end
    return M.format(#varying > 0 and varying or list, point)
end

local function list_of(values)
    local texts = {}
    for i, value in ipairs(values) do
        texts[i] = tostring(value)
    end
    return table.concat(texts, ", ")
end

--- An axis and its values on one line: "seqlen = 512, 1024, 2048; on a GPU: 4096, 8192".
---@param axis fasc.Axis
---@return string
function M.describe(axis)
    local text = axis.name .. " = " .. list_of(axis.values)
    return axis.gpu and text .. "; on a GPU: " .. list_of(axis.gpu) or text
end

--- A predicate from a Lua expression over the axes' names: "seqlen <= 1024 and not causal".
--- Raises EINVAL for a text that does not parse; for an unknown name when it is called.
---@param list fasc.Axis[]
---@param text string
---@return fun(point: table): boolean
function M.filter(list, text)
    local chunk, message = loadstring("return " .. text, "=filter")
    if not chunk then
        errors.usage("'%s' is no Lua expression: %s", text, message:gsub("^filter:%d+: ", ""))
    end
    local names = {}
    for i, axis in ipairs(list) do
        names[i] = axis.name
    end
    return function(point)
        local environment = setmetatable({math = math}, {__index = function(_, name)
            if point[name] == nil then
                errors.usage("unknown axis '%s'%s", name, options.hint(name, names))
            end
            return point[name]
        end})
        local ok, result = pcall(setfenv(chunk, environment))
        if not ok then
            if errors.is(result) then
                error(result, 0)
            end
            errors.usage("'%s': %s", text, tostring(result):gsub("^filter:%d+: ", ""))
        end
        return not not result
    end
end

return M
