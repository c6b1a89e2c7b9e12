-- tuned.lua - configurations that fasc.tune found best and the user kept: in
-- $XDG_CONFIG_HOME/fasc/tuned.json (or ~/.config). A call that names no kernel, of the same kind of
-- problem on the same device, uses them, and its plan says so.
local fasc_ffi = require "fasc.ffi"
local devices = require "fasc.device"
local errors = require "fasc.errors"
local host = require "fasc.host"
local json = require "fasc.json"
local kernels = require "fasc.kernels"
local text = require "fasc.text"

local C = fasc_ffi.C

local M = {}

local FORMAT = 1 -- of the file

-- ---- the file -----------------------------------------------------------------------------

--- Where the file is, or would be; nil where there is no home.
---@return string?
function M.path()
    local config, home = os.getenv "XDG_CONFIG_HOME", os.getenv "HOME"
    if config and config:sub(1, 1) == "/" then
        return config .. "/fasc/tuned.json"
    end
    return home and home:sub(1, 1) == "/" and home .. "/.config/fasc/tuned.json" or nil
end

local entries -- by key; false where the file was looked for and there is none

local function read(path)
    local file = path and io.open(path, "r")
    if not file then
        return nil
    end
    local content = file:read "*a"
    file:close()
    local ok, stored = pcall(json.decode, content)
    if not ok or type(stored) ~= "table" or stored.format ~= FORMAT
        or type(stored.entries) ~= "table" then
        io.stderr:write(("fasc: %s is no list of tuned configurations (format %d) and is left "
            .. "out\n"):format(text.printable(path), FORMAT))
        return nil
    end
    return stored.entries
end

local function load_entries()
    if entries == nil then
        entries = read(M.path()) or false
    end
    return entries
end

--- Leaves the user's file out, as programs that must not depend on it do.
function M.ignore()
    entries = false
end

--- Reads the file again when it is next asked for.
function M.reload()
    entries = nil
end

-- ---- which problem ------------------------------------------------------------------------

-- The nearest power of two, as its exponent: problems of about the same size are alike.
local function size_class(n)
    return math.floor(math.log(n) / math.log(2) + 0.5)
end

local function device_key(device)
    local info = device:info()
    local threads = device.name == "cpu" and ("*%d"):format(devices.num_threads()) or ""
    return ("%s %s%s"):format(info.model, info.arch, threads)
end

local function mask_key(args)
    local parts = {}
    if args.causal ~= 0 then
        parts[#parts + 1] = args.align == C.FASC_ALIGN_TOP_LEFT and "causal top_left" or "causal"
    end
    if args.has_window ~= 0 then
        parts[#parts + 1] = "window"
    end
    if args.mask ~= nil then
        parts[#parts + 1] = "mask"
    end
    return #parts > 0 and table.concat(parts, "+") or "full"
end

--- What decides which configuration is best: the device, the dtype, head_dim, the query heads of a
--- key head, the kind of mask, the outputs, and sizes to the nearest power of two.
---@param call fasc.AttentionCall
---@return string
function M.key(call)
    local q, k, outputs = call.inputs.q, call.inputs.k, {}
    for name, t in pairs(call.outputs) do
        outputs[#outputs + 1] = name .. " " .. t.dtype
    end
    table.sort(outputs)
    return table.concat({
        device_key(q.device), q.dtype, "D" .. q.shape[4], "group " .. q.shape[2] / k.shape[2],
        mask_key(call.args), table.concat(outputs, ", "),
        ("heads 2^%d"):format(size_class(q.shape[1] * q.shape[2])),
        ("queries 2^%d"):format(size_class(q.shape[3])),
        ("keys 2^%d"):format(size_class(k.shape[3])),
    }, "; ")
end

-- ---- using and keeping --------------------------------------------------------------------

--- Gives a call that names no kernel the configuration that was kept for its kind of problem. Sets
--- call.tuned: what its plan is to say, and the strings that args points to.
---@param call fasc.AttentionCall
function M.apply(call)
    if not load_entries() then
        return
    end
    local entry = entries[M.key(call)]
    if not entry then
        return
    end
    local args, plan = call.args, fasc_ffi.new "fasc_attention_plan"
    local ok, config = pcall(kernels.configure, "tuned", call.inputs.q.device, entry.kernel,
        args.kernel)
    local path = text.printable(M.path())
    if ok and C.fasc_attention_query(args, plan) == 0 then
        call.tuned = {config = config, reason = ("tuned: %.2f of the library's choice's time (%s)")
            :format(entry.share, path)}
    else
        args.kernel = fasc_ffi.ffi.new "fasc_kernel_config"
        call.tuned = {note = ("; what %s has for such a problem cannot serve this one")
            :format(path)}
    end
end

--- The reason of a plan for a call that M.apply has seen.
---@param call fasc.AttentionCall
---@param plan fasc.Plan
---@return fasc.Plan
function M.explain(call, plan)
    if call.tuned then
        plan.reason = call.tuned.reason or plan.reason .. call.tuned.note
    end
    return plan
end

local function write(path, all)
    local ordered, keys = {}, {}
    for key in pairs(all) do
        keys[#keys + 1] = key
    end
    table.sort(keys)
    for i, key in ipairs(keys) do
        local e = all[key]
        ordered[i] = {key, json.object {{"kernel", e.kernel}, {"share", e.share},
            {"time", e.time}, {"date", e.date}, {"version", e.version}}}
    end
    local fresh = path .. ".new"
    local file, message = io.open(fresh, "w")
    if file then
        file:write(json.encode(json.object {{"format", FORMAT}, {"entries", json.object(ordered)}}),
            "\n")
        file:close()
        file, message = os.rename(fresh, path)
    end
    if not file then
        errors.raise("EIO", "tune: %s", text.printable(message))
    end
end

--- Keeps a configuration for the kind of problem that a key names, in place of an older one.
---@param key string
---@param entry {kernel: fasc.KernelConfig, share: number, time: number}
---@return string path
function M.keep(key, entry)
    local path = M.path()
    if not path then
        errors.raise("EIO", "tune: neither XDG_CONFIG_HOME nor HOME says where to keep it")
    end
    local made, message = host.mkdir((path:match "^(.*)/"))
    if not made then
        errors.raise("EIO", "tune: %s", text.printable(message))
    end
    local all = read(path) or {} -- another process may have added to it
    entry.date, entry.version = os.date "!%Y-%m-%d", host.version
    all[key] = entry
    write(path, all)
    entries = all
    return path
end

return M
