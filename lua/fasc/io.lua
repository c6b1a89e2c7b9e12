-- io.lua - tensors in files: .safetensors (named tensors and metadata) and .npy (one array). Files
-- are checked whole when they are opened; tensors are read when they are asked for.
local fasc_ffi = require "fasc.ffi"
local devices = require "fasc.device"
local dtypes = require "fasc.dtype"
local errors = require "fasc.errors"
local memory = require "fasc.memory"
local options = require "fasc.options"
local shapes = require "fasc.shape"
local tensors = require "fasc.tensor"
local text = require "fasc.text"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

-- ---- an open file ---------------------------------------------------------------------------

--- An open file; the collector or file:close() ends it. tostring(file) says what it holds.
---@class fasc.File
---@field path string
---@field format "safetensors"|"npy"
local File = {}

local FIELDS = {path = true, format = true}

local function known_names()
    local all = {}
    for _, set in ipairs {FIELDS, File} do
        for name in pairs(set) do
            all[name] = true
        end
    end
    return all
end

local metatable = {
    __name = "fasc.file",
    __names = known_names,
    __index = function(_, name)
        if File[name] then
            return File[name]
        end
        errors.usage("file: no field %s%s", options.show(name), options.hint(name, known_names()))
    end,
    __tostring = function(file)
        return ("%s file %s, %d tensor%s"):format(file.format, text.printable(file.path),
            #file._names, #file._names == 1 and "" or "s")
    end,
}

local function handle_of(call, file)
    if options.typename(file) ~= "file" then
        errors.usage("%s: file: must be a file, got %s", call, options.show(file))
    end
    if not file._handle then
        errors.usage("%s: %s was closed", call, text.printable(file.path))
    end
    return file._handle
end

local function raw_info(handle, index)
    local info = fasc_ffi.new "fasc_file_tensor"
    errors.check(C.fasc_file_tensor_info(handle, index, info))
    return info
end

--- Opens a .safetensors or .npy file, told apart by content, and checks its header whole.
--- Errors: EIO the system refuses; EFORMAT the file is not what it claims, and where; EUNSUPPORTED.
---
---     local file = fasc.open("model.safetensors")
---     local q = file:read("layers.3.q", {device = "cuda:0"})
---@param path string
---@return fasc.File
function M.open(path)
    options.argument("open", "path", path, {is = "string"})
    local result = ffi.new("fasc_file *[1]")
    errors.check(C.fasc_file_open(path, result))
    local handle = ffi.gc(result[0], C.fasc_file_close)
    local names, indices = {}, {}
    for i = 0, C.fasc_file_tensor_count(handle) - 1 do
        local name = fasc_ffi.string(raw_info(handle, i).name)
        names[i + 1], indices[name] = name, i
    end
    return setmetatable({
        path = path,
        format = fasc_ffi.string(C.fasc_file_format(handle)),
        _handle = handle,
        _names = names,
        _indices = indices,
    }, metatable)
end

-- The number of a tensor in the file. An npy has one, without a name.
local function index_of(call, file, name)
    if name == nil and #file._names == 1 then
        return 0
    end
    if type(name) ~= "string" then
        errors.usage("%s: name: must be a string, got %s", call, options.show(name))
    end
    local index = file._indices[name]
    if not index then
        local near = options.nearest(name, file._names)
        errors.usage("%s: %s has no tensor '%s'%s", call, text.printable(file.path),
            text.printable(name), near and ("; did you mean '%s'?"):format(text.printable(near))
            or (" among its %d"):format(#file._names))
    end
    return index
end

--- The tensors' names in the order of their data. An npy's only tensor has the name "".
---@return string[]
function File:names()
    handle_of("names", self)
    return {unpack(self._names)}
end

--- Does the file hold a tensor of this name?
---@param name string
---@return boolean
function File:has(name)
    handle_of("has", self)
    return self._indices[name] ~= nil
end

---@class fasc.FileTensor
---@field name string
---@field dtype string?     fasc's name; nil for one that fasc cannot read
---@field file_dtype string as the file spells it: "BF16", "<f4"
---@field shape number[]
---@field offset number     bytes from the start of the file
---@field bytes number

--- What the header says of a tensor. The name may be left out where there is only one.
---@param name string?
---@return fasc.FileTensor
function File:info(name)
    local handle = handle_of("info", self)
    local index = index_of("info", self, name)
    local info = raw_info(handle, index)
    return {
        name = self._names[index + 1],
        dtype = info.dtype ~= 0 and dtypes.name(info.dtype) or nil,
        file_dtype = ffi.string(info.dtype_name),
        shape = shapes.list(info.shape, info.rank),
        offset = tonumber(info.offset),
        bytes = tonumber(info.bytes),
    }
end

local READ = {dtype = {is = "string"}, device = {is = "string|device", default = "cpu"}}

local function read(call, file, index, opts)
    local t = tensors.make(C.fasc_file_read, handle_of(call, file), index)
    local dtype = dtypes.is_float(t.dtype) and opts.dtype or t.dtype
    local device = devices.open(opts.device)
    if dtype == t.dtype and device == t.device then
        return t
    end
    local converted = t:to {dtype = dtype, device = device}
    t:free()
    return converted
end

local function read_options(call, opts, rules)
    opts = options.check(call, opts, rules)
    opts.dtype = opts.dtype and dtypes.parse(call, "dtype", opts.dtype)
    return opts
end

--- Reads one tensor, by default on the CPU as it is; dtype converts floating tensors (integer ones
--- keep theirs). The name may be left out where there is only one.
---@param name string?
---@param opts {dtype: string?, device: string|fasc.Device|nil}?
---@return fasc.Tensor
function File:read(name, opts)
    opts = read_options("read", opts, READ)
    handle_of("read", self)
    return read("read", self, index_of("read", self, name), opts)
end

--- The file's metadata: strings by their keys; empty for an npy.
---@return table<string, string>
function File:metadata()
    local handle = handle_of("metadata", self)
    local all = {}
    local key, value = ffi.new("const char *[1]"), ffi.new("const char *[1]")
    local index = 0
    while C.fasc_file_metadata(handle, index, key, value) == 0 do
        all[ffi.string(key[0])] = ffi.string(value[0])
        index = index + 1
    end
    return all
end

--- Ends the file now. Tensors that were read stay. Calling it again does nothing.
function File:close()
    if self._handle then
        C.fasc_file_close(ffi.gc(self._handle, nil))
        self._handle = false
    end
end

-- ---- whole files ------------------------------------------------------------------------------

local LOAD = {dtype = READ.dtype, device = READ.device, names = {is = "table"}}

local function load_named(file, opts)
    local loaded = {}
    for _, name in ipairs(opts.names or file._names) do
        loaded[name] = read("load", file, index_of("load", file, name), opts)
    end
    return loaded
end

--- Reads a file: a table of tensors by name from a .safetensors, the tensor from a .npy; and the
--- file's metadata. Tensors come on the CPU as they are unless dtype (for the floating ones) or
--- device says otherwise; names picks some.
---
---     local t, metadata = fasc.load("qkv.safetensors", {names = {"layers.0.q"}, dtype = "f32"})
---     local map = fasc.load("map.npy")
---@param path string
---@param opts {names: string[]?, dtype: string?, device: string|fasc.Device|nil}?
---@return table<string, fasc.Tensor>|fasc.Tensor
---@return table<string, string> metadata
function M.load(path, opts)
    opts = read_options("load", opts, LOAD)
    local file = M.open(path)
    if file.format == "npy" and opts.names then
        errors.usage("load: names: an npy holds one array without a name")
    end
    local loaded = file.format == "npy" and read("load", file, 0, opts) or load_named(file, opts)
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

local function save_safetensors(path, value, metadata)
    if options.typename(value) ~= "table" then
        errors.usage("save: tensors: a .safetensors takes tensors by name, {q = q}, got %s",
            options.show(value))
    end
    local names = sorted_keys("save", "tensors", value)
    local handles = fasc_ffi.anchor(ffi.new("const fasc_tensor *[?]", #names + 1), value)
    for i, name in ipairs(names) do
        handles[i - 1] = tensors.argument("save", text.printable(name), value[name])
    end
    local array, count = M.metadata_pairs("save", metadata)
    memory.call(C.fasc_save_safetensors, path, #names, fasc_ffi.strings(names), handles, count,
        array)
end

local function save_npy(path, value, metadata)
    if metadata then
        errors.usage("save: metadata: an npy holds none; use .safetensors")
    end
    if options.typename(value) == "table" then
        errors.usage("save: tensors: an npy holds one tensor, got a table; use .safetensors")
    end
    memory.call(C.fasc_save_npy, path, tensors.argument("save", "tensor", value))
end

local WRITERS = {safetensors = save_safetensors, npy = save_npy}

local SAVE = {metadata = {is = "table"}}

--- Writes tensors, on any device and with any strides: a table of them by name to a .safetensors,
--- with metadata (strings, numbers, booleans by name); one to a .npy, which knows no bf16. A file
--- appears whole or not at all. Errors: EIO and the reason; EUNSUPPORTED; EINVAL.
---
---     fasc.save("run.safetensors", {q = q, probs = probs}, {metadata = {layer = 3}})
---     fasc.save("map.npy", probs:slice(0, 3))
---@param path string ends in .safetensors or .npy
---@param value fasc.Tensor|table<string, fasc.Tensor>
---@param opts {metadata: table<string, string|number|boolean>?}?
function M.save(path, value, opts)
    options.argument("save", "path", path, {is = "string"})
    local write = WRITERS[(path:match("%.(%w+)$") or ""):lower()]
    if not write then
        errors.usage("save: path: '%s' must end in .safetensors or .npy", text.printable(path))
    end
    write(path, value, options.check("save", opts, SAVE).metadata)
end

return M
