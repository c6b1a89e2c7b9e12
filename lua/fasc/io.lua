-- io.lua - tensors in files: .safetensors (named tensors and metadata), .npz (named tensors) and
-- .npy (one array), loaded and saved whole. An open file is file.lua's.
local fasc_ffi = require "fasc.ffi"
local errors = require "fasc.errors"
local files = require "fasc.file"
local memory = require "fasc.memory"
local options = require "fasc.options"
local tensors = require "fasc.tensor"
local text = require "fasc.text"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {open = files.open}

-- ---- loading ----------------------------------------------------------------------------------

---@class fasc.LoadOptions : fasc.ReadOptions
---@field names string[]|string|nil the tensors to load, by name or by pattern; default: all
local LOAD = {names = {is = "table|string"}}
for name, rule in pairs(files.READ) do
    LOAD[name] = rule
end

local function load_named(file, opts)
    local loaded = {}
    local patterns = type(opts.names) == "string" and {opts.names} or opts.names
    for _, name in ipairs(patterns and files.pick("load", file, patterns) or file:names()) do
        loaded[name] = files.read("load", file, files.index_of("load", file, name), opts)
    end
    return loaded
end

--- Reads a file: a table of tensors by name from a .safetensors or .npz, the tensor from a .npy;
--- and the file's metadata. Tensors come on the CPU as they are unless the options say otherwise
--- (see file:read); names picks some, by name or by pattern.
---
---     local t, metadata = fasc.load("qkv.safetensors", {names = {"layers.0.*"}, dtype = "f32"})
---     local map = fasc.load("map.npy")
---@param path string
---@param opts fasc.LoadOptions?
---@return table<string, fasc.Tensor>|fasc.Tensor
---@return table<string, string> metadata
function M.load(path, opts)
    opts = files.read_options("load", opts, LOAD)
    local file = M.open(path)
    if file.format == "npy" and opts.names then
        errors.usage("load: names: an npy holds one array without a name")
    end
    local loaded = file.format == "npy" and files.read("load", file, 0, opts)
        or load_named(file, opts)
    local metadata = file:metadata()
    file:close()
    return loaded, metadata
end

-- ---- saving -----------------------------------------------------------------------------------

-- Keys of a table that must all be strings, in order, so that the same input gives the same file.
local function sorted_keys(call, argument, given)
    local keys = {}
    for key in pairs(given) do
        if type(key) ~= "string" then
            errors.usage("%s: %s: names must be strings, got %s", call, argument,
                options.show(key))
        end
        if key:find("%z") then
            errors.usage("%s: %s: '%s' holds a NUL", call, argument, text.printable(key))
        end
        keys[#keys + 1] = key
    end
    table.sort(keys)
    return keys
end

--- A C array of key, value, key, ... by rising key, and the number of pairs, from a table of
--- strings, numbers and booleans.
---@param call string
---@param given table<string, string|number|boolean>?
---@return ffi.cdata* array
---@return integer count
function M.metadata_pairs(call, given)
    local list = {}
    for _, key in ipairs(sorted_keys(call, "metadata", given or {})) do
        local value = given[key]
        local kind = type(value)
        if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
            errors.usage("%s: metadata: '%s' must be a string, number or boolean, got %s", call,
                text.printable(key), options.show(value))
        end
        value = tostring(value)
        if value:find("%z") then
            errors.usage("%s: metadata: the value of '%s' holds a NUL", call, text.printable(key))
        end
        list[#list + 1] = key
        list[#list + 1] = value
    end
    return fasc_ffi.strings(list), #list / 2
end

-- The tensors of a table by rising name: C arrays of names and handles, and how many there are.
local function named_tensors(value, format)
    if options.typename(value) ~= "table" then
        errors.usage("save: tensors: a .%s takes tensors by name, {q = q}, got %s", format,
            options.show(value))
    end
    local names = sorted_keys("save", "tensors", value)
    local handles = fasc_ffi.anchor(ffi.new("const fasc_tensor *[?]", #names + 1), value)
    for i, name in ipairs(names) do
        handles[i - 1] = tensors.argument("save", text.printable(name), value[name])
    end
    return #names, fasc_ffi.strings(names), handles
end

local function refuse(opts, option, why, instead)
    if opts[option] then
        errors.usage("save: %s: %s; use %s", option, why, instead)
    end
end

local function save_safetensors(path, value, opts)
    refuse(opts, "compress", "a .safetensors is not compressed", ".npz")
    local count, names, handles = named_tensors(value, "safetensors")
    local array, pairs_count = M.metadata_pairs("save", opts.metadata)
    memory.call(C.fasc_save_safetensors, path, count, names, handles, pairs_count, array)
end

local function save_npz(path, value, opts)
    refuse(opts, "metadata", "an npz holds none", ".safetensors")
    local count, names, handles = named_tensors(value, "npz")
    memory.call(C.fasc_save_npz, path, count, names, handles, opts.compress and 1 or 0)
end

local function save_npy(path, value, opts)
    refuse(opts, "metadata", "an npy holds none", ".safetensors")
    refuse(opts, "compress", "an npy is not compressed", ".npz")
    if options.typename(value) == "table" then
        errors.usage("save: tensors: an npy holds one tensor, got a table; use .safetensors "
            .. "or .npz")
    end
    memory.call(C.fasc_save_npy, path, tensors.argument("save", "tensor", value))
end

local WRITERS = {safetensors = save_safetensors, npy = save_npy, npz = save_npz}

local SAVE = {metadata = {is = "table"}, compress = {is = "boolean"}}

--- Writes tensors, on any device and with any strides: a table of them by name to a .safetensors,
--- with metadata (strings, numbers, booleans by name), or to a .npz; one to a .npy. These two know
--- no bf16. compress deflates an npz. A file appears whole or not at all. Errors: EIO and the
--- reason; EUNSUPPORTED; EINVAL.
---
---     fasc.save("run.safetensors", {q = q, probs = probs}, {metadata = {layer = 3}})
---     fasc.save("run.npz", {q = q, probs = probs}, {compress = true})
---     fasc.save("map.npy", probs:slice(0, 3))
---@param path string ends in .safetensors, .npz or .npy
---@param value fasc.Tensor|table<string, fasc.Tensor>
---@param opts {metadata: table<string, string|number|boolean>?, compress: boolean?}?
function M.save(path, value, opts)
    options.argument("save", "path", path, {is = "path"})
    local write = WRITERS[(path:match("%.(%w+)$") or ""):lower()]
    if not write then
        errors.usage("save: path: '%s' must end in .safetensors, .npz or .npy",
            text.printable(path))
    end
    write(path, value, options.check("save", opts, SAVE))
end

return M
