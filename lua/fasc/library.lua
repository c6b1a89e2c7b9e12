-- library.lua - another build of libfasc in this process, so that two builds can be measured in
-- turns: their clocks, their memory and their neighbours are then the same. Its tensors are views
-- of this build's memory.
local fasc_ffi = require "fasc.ffi"
local errors = require "fasc.errors"
local json = require "fasc.json"
local plans = require "fasc.plan"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

if not pcall(function() return ffi.C.dlopen end) then
    ffi.cdef [[
        void *dlopen(const char *path, int flags);
        char *dlerror(void);
    ]]
end

-- Linux. DEEPBIND: its functions call one another, not those of the same name in this build.
local NOW, DEEPBIND = 2, 8

local loaded = {}

local function check_interface(path, library)
    local theirs, ours = library.fasc_abi_version(), C.fasc_abi_version()
    if theirs ~= ours then
        errors.raise("EUNSUPPORTED", "library: %s has interface version %d, this build %d: they "
            .. "cannot be measured in one process; compare their records", path, theirs, ours)
    end
    for _, name in ipairs(fasc_ffi.structs) do
        local there, here = library.fasc_struct_size(name), C.fasc_struct_size(name)
        if there ~= here then
            errors.raise("EUNSUPPORTED", "library: %s: its struct %s has %d bytes, this build's %d",
                path, name, tonumber(there), tonumber(here))
        end
    end
end

--- Opens another libfasc.so. Raises EIO when it cannot be opened, EUNSUPPORTED when its interface
--- is another one.
---@param path string with a "/"
---@return ffi.cdata* its functions, as those of fasc.ffi's C
function M.open(path)
    if not loaded[path] then
        local dlerror = ffi.C.dlerror -- looking it up would forget the error
        if ffi.C.dlopen(path, NOW + DEEPBIND) == nil then
            errors.raise("EIO", "library: %s", fasc_ffi.string(dlerror()) or path)
        end
        local library = ffi.load(path)
        local has, _ = pcall(function() return library.fasc_abi_version end)
        if not has then
            errors.raise("EFORMAT", "library: %s is no libfasc", path)
        end
        check_interface(path, library)
        loaded[path] = library
    end
    return loaded[path]
end

--- How that build was made: see fasc.build_info.
---@return table
function M.build_info(path)
    return json.decode(ffi.string(M.open(path).fasc_build_info()))
end

local function check(library, status)
    if status ~= 0 then
        local name = ffi.string(library.fasc_status_name(status)):gsub("^FASC_", "")
        errors.raise(name, "%s", ffi.string(library.fasc_last_error()))
    end
end
M.check = check

-- A tensor handle of the other build on the memory of one of ours.
local function view(library, handle)
    local device, tensor = ffi.new "fasc_device *[1]", ffi.new "fasc_tensor *[1]"
    local name = C.fasc_device_name(C.fasc_tensor_device(handle))
    check(library, library.fasc_device_open(name, device))
    check(library, library.fasc_tensor_wrap(device[0], C.fasc_tensor_dtype(handle),
        C.fasc_tensor_rank(handle), C.fasc_tensor_shape(handle), C.fasc_tensor_stride(handle),
        C.fasc_tensor_data(handle), tensor))
    return ffi.gc(tensor[0], library.fasc_tensor_free)
end

local INPUTS = {"q", "k", "v", "mask", "a", "b", "out", "src", "dst"}

--- The same operation done by the other build: on the same tensors, with the same options.
---@param op fasc.Op
---@param path string
---@return fasc.Op
function M.port(op, path)
    local library = M.open(path)
    local names = {unpack(INPUTS)}
    for name in pairs(op.outputs) do
        names[#names + 1] = name
    end
    local args, views = ffi.new(ffi.typeof(op.args), op.args), {}
    for _, name in ipairs(names) do
        local has, handle = pcall(function() return op.args[name] end)
        if has and handle ~= nil then
            views[name] = views[name] or view(library, handle)
            args[name] = views[name]
        end
    end
    local plan
    if op.plan then
        local struct = plans.struct()
        check(library, library.fasc_attention_query(args, struct))
        plan = plans.from(struct)
    end
    local ported = {}
    for name, value in pairs(op) do
        ported[name] = value
    end
    ported.args, ported.plan, ported.library = args, plan, library
    ported.views, ported.origin = views, op -- which the arguments point into
    return setmetatable(ported, getmetatable(op))
end

return M
