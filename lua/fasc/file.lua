-- file.lua - an open file of tensors: what it holds, and its tensors one by one. Headers are
-- checked whole when the file is opened; data is read when it is asked for.
local fasc_ffi = require "fasc.ffi"
local devices = require "fasc.device"
local dtypes = require "fasc.dtype"
local errors = require "fasc.errors"
local glob = require "fasc.glob"
local options = require "fasc.options"
local shapes = require "fasc.shape"
local tensors = require "fasc.tensor"
local text = require "fasc.text"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

--- An open file; the collector or file:close() ends it. tostring(file) says what it holds.
---@class fasc.File
---@field path string
---@field format "safetensors"|"npy"|"npz"
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

--- Opens a .safetensors, .npy or .npz file, told apart by content, and checks its headers whole.
--- Errors: EIO the system refuses; EFORMAT the file is not what it claims, and where; EUNSUPPORTED.
---
---     local file = fasc.open("model.safetensors")
---     local q = file:read("layers.3.q", {device = "cuda:0"})
---@param path string
---@return fasc.File
function M.open(path)
    options.argument("open", "path", path, {is = "path"})
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

--- The names that a list of names and patterns picks, each once, in the file's order. What picks
--- nothing is an error.
---@param call string
---@param file fasc.File
---@param patterns string[]
---@return string[]
function M.pick(call, file, patterns)
    local picked, list = {}, {}
    for _, pattern in ipairs(patterns) do
        local is_name = type(pattern) ~= "string" or file._indices[pattern]
            or not glob.is_pattern(pattern)
        local found = is_name and {file._names[index_of(call, file, pattern) + 1]}
            or glob.select(file._names, pattern)
        if #found == 0 then
            errors.usage("%s: %s has no tensor that fits '%s' among its %d", call,
                text.printable(file.path), text.printable(pattern), #file._names)
        end
        for _, name in ipairs(found) do
            picked[name] = true
        end
    end
    for _, name in ipairs(file._names) do
        list[#list + 1] = picked[name] and name or nil
    end
    return list
end

--- The tensors' names in the order of their data, or those that a pattern fits: * stands for any
--- characters, ? for one, [a-z] for one of a set. An npy's only tensor has the name "".
---@param pattern string?
---@return string[]
function File:names(pattern)
    handle_of("names", self)
    if pattern == nil then
        return {unpack(self._names)}
    end
    options.argument("names", "pattern", pattern, {is = "string"})
    return glob.select(self._names, pattern)
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

local LAYOUTS = {"bhnd", "bnhd"}

--- How tensors are read: the options of file:read and fasc.load.
---@class fasc.ReadOptions
---@field dtype string?  converts floating tensors to this dtype; integer ones keep theirs
---@field device string|fasc.Device|nil default: the CPU
---@field layout string? "bhnd" (the default): tensors of rank 4 are (batch, heads, seqlen, dim);
---                      "bnhd": they lie as (batch, seqlen, heads, dim) and are turned, as views
---@field as string?     takes the elements' bits for this dtype of their size: "bf16" in an npy
---@field map boolean?   the tensor looks into the file's pages instead of holding a copy: for parts
---                      of tensors larger than memory. The file must not become shorter meanwhile
M.READ = {
    dtype = {is = "string"},
    device = {is = "string|device", default = "cpu"},
    layout = {is = "string", values = LAYOUTS, default = "bhnd"},
    as = {is = "string"},
    map = {is = "boolean", default = false},
}

local function take(file, call, index, opts)
    local handle = handle_of(call, file)
    if opts.as and opts.map then
        errors.usage("%s: as: cannot be combined with map", call)
    elseif opts.as then
        return tensors.make(C.fasc_file_read_as, handle, index, dtypes.code(opts.as))
    end
    return tensors.make(opts.map and C.fasc_file_map or C.fasc_file_read, handle, index)
end

-- The tensor that `change` gives, instead of t.
local function instead(t, changed)
    if changed ~= t then
        t:free()
    end
    return changed
end

--- Reads tensor number `index` with checked options.
---@return fasc.Tensor
function M.read(call, file, index, opts)
    local t = take(file, call, index, opts)
    if opts.layout == "bnhd" and t.rank == 4 then
        t = instead(t, t:transpose(1, 2))
    end
    local dtype = dtypes.is_float(t.dtype) and opts.dtype or t.dtype
    local device = devices.open(opts.device)
    if dtype == t.dtype and device == t.device then
        return t
    end
    return instead(t, t:to {dtype = dtype, device = device})
end

--- Checks the options of a call that reads.
---@return table
function M.read_options(call, opts, rules)
    opts = options.check(call, opts, rules)
    opts.dtype = opts.dtype and dtypes.parse(call, "dtype", opts.dtype)
    opts.as = opts.as and dtypes.parse(call, "as", opts.as)
    return opts
end

--- The number of a tensor, for M.read; raises EINVAL with the nearest name.
M.index_of = index_of

--- Reads one tensor, by default on the CPU as it is. The name may be left out where there is only
--- one.
---
---     local q = file:read("layers.3.q", {dtype = "f32", layout = "bnhd", device = "cuda:0"})
---     local row = file:read("huge", {map = true}):slice(0, 3):clone()
---@param name string?
---@param opts fasc.ReadOptions?
---@return fasc.Tensor
function File:read(name, opts)
    opts = M.read_options("read", opts, M.READ)
    handle_of("read", self)
    return M.read("read", self, index_of("read", self, name), opts)
end

--- Goes through the tensors that a pattern fits (default: all), in the file's order, with one in
--- memory at a time: each is freed when the loop goes on. Clone what is to stay.
---
---     for name, q in file:each("layers.*.q", {dtype = "f32"}) do print(name, q:summary()) end
---@param pattern string?
---@param opts fasc.ReadOptions?
---@return fun(): string?, fasc.Tensor?
function File:each(pattern, opts)
    opts = M.read_options("each", opts, M.READ)
    handle_of("each", self)
    local names = M.pick("each", self, {pattern or "*"})
    local at, last = 0, nil
    return function()
        if last then
            last:free()
        end
        at = at + 1
        last = names[at] and M.read("each", self, self._indices[names[at]], opts)
        return names[at], last
    end
end

--- The file's metadata: strings by their keys; empty for an npy or npz.
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

return M
