-- json.lua - JSON text to Lua values and back, without losing anything: numbers keep all their
-- digits, objects keep the order of their keys, a key given twice is an error. jansson reads.
local ffi = require "ffi"
local errors = require "fasc.errors"
local texts = require "fasc.text"

local M = {}

if not pcall(ffi.typeof, "fasc_json") then
    ffi.cdef [[
        typedef struct fasc_json { int type; volatile size_t references; } fasc_json;
        typedef struct fasc_json_error {
            int line, column, position;
            char source[80], text[160];
        } fasc_json_error;
    ]]
end
ffi.cdef [[
    fasc_json *json_loadb(const char *text, size_t length, size_t flags, fasc_json_error *error);
    void json_delete(fasc_json *value);
    size_t json_array_size(const fasc_json *array);
    fasc_json *json_array_get(const fasc_json *array, size_t index);
    void *json_object_iter(fasc_json *object);
    void *json_object_iter_next(fasc_json *object, void *iterator);
    const char *json_object_iter_key(void *iterator);
    fasc_json *json_object_iter_value(void *iterator);
    const char *json_string_value(const fasc_json *string);
    size_t json_string_length(const fasc_json *string);
    long long json_integer_value(const fasc_json *integer);
    double json_real_value(const fasc_json *real);
]]

-- libfasc links jansson, so its symbols are in the process.
local C = ffi.C

local REJECT_DUPLICATES, DECODE_ANY, ALLOW_NUL = 0x1, 0x4, 0x10

--- What stands for null, since a Lua table cannot hold nil.
M.null = setmetatable({}, {__name = "fasc.json.null", __tostring = function() return "null" end})

-- ---- arrays and objects -------------------------------------------------------------------

-- The keys of each object in order; weak, so that an object's end is the list's end.
local order_of = setmetatable({}, {__mode = "k"})
local Array = {}

--- Marks a list as an array: needed for an empty one, which would be written as {}.
---@param list table?
---@return table
function M.array(list)
    return setmetatable(list or {}, Array)
end

--- A table whose keys are written in the order given here:
--- json.object {{"name", "flash"}, {"median", 0.5}}. nil values are left out.
---@param pairs_in_order table
---@return table
function M.object(pairs_in_order)
    local object, order = {}, {}
    for i = 1, table.maxn(pairs_in_order) do
        local pair = pairs_in_order[i]
        if pair and pair[2] ~= nil then
            object[pair[1]] = pair[2]
            order[#order + 1] = pair[1]
        end
    end
    order_of[object] = order
    return object
end

--- An object's keys: in the order in which they were read or given to json.object, then those
--- set later, sorted.
---@param object table
---@return string[]
function M.keys(object)
    local keys, known, new = {}, {}, {}
    for _, key in ipairs(order_of[object] or {}) do
        if object[key] ~= nil and not known[key] then
            keys[#keys + 1] = key
            known[key] = true
        end
    end
    for key in pairs(object) do
        if not known[key] then
            if type(key) ~= "string" then
                errors.usage("json: an object's keys must be strings, got %s", tostring(key))
            end
            new[#new + 1] = key
        end
    end
    table.sort(new)
    for _, key in ipairs(new) do
        keys[#keys + 1] = key
    end
    return keys
end

-- ---- reading ------------------------------------------------------------------------------

local read

local function read_object(json)
    local object, order = {}, {}
    local iterator = C.json_object_iter(json)
    while iterator ~= nil do
        local key = ffi.string(C.json_object_iter_key(iterator))
        object[key] = read(C.json_object_iter_value(iterator))
        order[#order + 1] = key
        iterator = C.json_object_iter_next(json, iterator)
    end
    order_of[object] = order
    return object
end

local function read_array(json)
    local array = {}
    for i = 1, tonumber(C.json_array_size(json)) do
        array[i] = read(C.json_array_get(json, i - 1))
    end
    return M.array(array)
end

local function read_integer(json)
    local value = C.json_integer_value(json)
    local number = tonumber(value)
    return math.abs(number) < 2^53 and number or value
end

-- By the numbers of jansson's json_type.
local READER = {
    [0] = read_object,
    [1] = read_array,
    [2] = function(json)
        return ffi.string(C.json_string_value(json), C.json_string_length(json))
    end,
    [3] = read_integer,
    [4] = function(json) return C.json_real_value(json) end,
    [5] = function() return true end,
    [6] = function() return false end,
    [7] = function() return M.null end,
}

function read(json)
    return READER[tonumber(json.type)](json)
end

--- Reads one JSON value. Integers from 2^53 on come as int64_t. Raises EFORMAT with the byte.
---@param text string
---@return any
function M.decode(text)
    local failure = ffi.new "fasc_json_error"
    local root = C.json_loadb(text, #text, REJECT_DUPLICATES + DECODE_ANY + ALLOW_NUL, failure)
    if root == nil then
        errors.raise("EFORMAT", "json: byte %d: %s", failure.position, ffi.string(failure.text))
    end
    local ok, value = pcall(read, root)
    C.json_delete(root)
    if not ok then
        error(value, 0)
    end
    return value
end

-- ---- writing ------------------------------------------------------------------------------

local ESCAPE = {['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t"}

local function write_string(text)
    if text:find "[\128-\255]" then
        text = texts.utf8(text)
    end
    return '"' .. text:gsub('[%c"\\]', function(c)
        return ESCAPE[c] or c == "\127" and c or ("\\u%04x"):format(c:byte())
    end) .. '"'
end

-- The shortest of the three that reads back as the same number.
local function write_number(x)
    if x ~= x or x == math.huge or x == -math.huge then
        errors.usage("json: %s cannot be written; use json.null", tostring(x))
    end
    if x % 1 == 0 and math.abs(x) < 2^53 then
        return ("%.0f"):format(x)
    end
    for digits = 15, 16 do
        local text = ("%." .. digits .. "g"):format(x)
        if tonumber(text) == x then
            return text
        end
    end
    return ("%.17g"):format(x)
end

local function is_array(value)
    return getmetatable(value) == Array or (#value > 0 and order_of[value] == nil)
end

local write

local function write_table(value, depth)
    local parts = {}
    if depth > 200 then
        errors.usage("json: tables nest deeper than 200")
    end
    if is_array(value) then
        for i = 1, #value do
            parts[i] = write(value[i], depth + 1)
        end
        return "[" .. table.concat(parts, ",") .. "]"
    end
    for i, key in ipairs(M.keys(value)) do
        parts[i] = write_string(key) .. ":" .. write(value[key], depth + 1)
    end
    return "{" .. table.concat(parts, ",") .. "}"
end

function write(value, depth)
    local kind = type(value)
    if value == M.null then
        return "null"
    elseif kind == "table" then
        return write_table(value, depth)
    elseif kind == "string" then
        return write_string(value)
    elseif kind == "number" then
        return write_number(value)
    elseif kind == "boolean" then
        return tostring(value)
    elseif ffi.istype("int64_t", value) or ffi.istype("uint64_t", value) then
        return (tostring(value):gsub("U?LL$", ""))
    end
    errors.usage("json: a %s cannot be written", kind)
end

--- Writes a value as JSON on one line. Tables with [1] are arrays, others objects with their keys
--- in order (see json.keys). Bytes that are no UTF-8 become U+FFFD; NaN and infinities raise.
---@param value any
---@return string
function M.encode(value)
    return write(value, 0)
end

return M
