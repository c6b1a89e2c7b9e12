-- support.lua - what the specs share: the device under test, the kernels it has, attention in plain
-- Lua as an oracle that owes nothing to the library, and assertions that print the measured error.
-- FASC_TEST_DEVICE names the device; default cpu.
local fasc = require "fasc"

local M = {}

M.device = fasc.device(os.getenv("FASC_TEST_DEVICE") or "cpu")
M.is_cpu = M.device.name == "cpu"

--- Names of the device's kernels, best first.
function M.kernel_names()
    local names, seen = {}, {}
    for _, kernel in ipairs(fasc.kernels(M.device)) do
        if not seen[kernel.name] then
            names[#names + 1], seen[kernel.name] = kernel.name, true
        end
    end
    return names
end

-- How {name, arch} prints: "flash sm_80".
local printed = {
    __tostring = function(kernel) return kernel.name .. " " .. kernel.arch end,
    __concat = function(a, b) return tostring(a) .. tostring(b) end,
}

--- What a kernel option may be, so that every kernel has its turn: the names, best first, then the
--- kernels that stand behind another of their name, as {name, arch}, which print as "flash sm_80".
--- On the CPU an instruction set is chosen by FASC_CPU instead, for the whole run.
function M.kernels()
    local list, seen = M.kernel_names(), {}
    for _, kernel in ipairs(M.is_cpu and {} or fasc.kernels(M.device)) do
        if seen[kernel.name] then
            list[#list + 1] = setmetatable({name = kernel.name, arch = kernel.arch}, printed)
        end
        seen[kernel.name] = true
    end
    return list
end

-- ---- tensors on the device under test ------------------------------------------------------

--- fasc.NAME with the device under test as default: support.randn({2, 3}, {seed = 1}).
for _, name in ipairs {"empty", "zeros", "ones", "rand", "randn", "from_table"} do
    M[name] = function(what, opts)
        local with = {device = M.device}
        for key, value in pairs(opts or {}) do
            with[key] = value
        end
        return fasc[name](what, with)
    end
end

--- Random q, k, v of a problem {b, hq, hk, nq, nk, d}.
function M.qkv(p, dtype, seed)
    local b, hq, hk, nq, nk, d = unpack(p)
    seed = seed or 1
    return M.randn({b, hq, nq, d}, {dtype = dtype, seed = seed}),
        M.randn({b, hk, nk, d}, {dtype = dtype, seed = seed + 1}),
        M.randn({b, hk, nk, d}, {dtype = dtype, seed = seed + 2})
end

--- Does this kernel serve this problem? Asked of the planner.
function M.serves(kernel, q, k, v, opts)
    local with = {kernel = kernel}
    for key, value in pairs(opts or {}) do
        with[key] = value
    end
    local ok, err = pcall(fasc.plan, q, k, v, with)
    if not ok and err.status ~= "EUNSUPPORTED" then
        error(err, 0)
    end
    return ok, err
end

--- The floating dtypes among `candidates` that a kernel serves.
function M.dtypes(kernel, candidates)
    local list = {}
    for _, dtype in ipairs(candidates or {"f16", "bf16", "f32"}) do
        if M.serves(kernel, M.qkv({1, 1, 1, 2, 2, 16}, dtype)) then
            list[#list + 1] = dtype
        end
    end
    return list
end

-- ---- files ---------------------------------------------------------------------------------

--- A new folder for the files of a spec: M.folder(setup, teardown) or M.folder(before_each,
--- after_each), busted's functions that make it and remove it. Returns at(name), a file's path in
--- it; at() is the folder's own.
function M.folder(before, after)
    local folder
    before(function()
        folder = os.tmpname()
        assert(os.remove(folder) and os.execute("mkdir " .. folder) == 0)
    end)
    after(function()
        os.execute("rm -r " .. folder)
    end)
    return function(name)
        return name and folder .. "/" .. name or folder
    end
end

--- Writes a file and returns its path.
function M.write(path, bytes)
    local file = assert(io.open(path, "wb"))
    file:write(bytes)
    file:close()
    return path
end

--- All that a file holds.
function M.read(path)
    local file = assert(io.open(path, "rb"))
    local bytes = file:read "*a"
    file:close()
    return bytes
end

-- ---- the oracle ----------------------------------------------------------------------------

-- Does query i see key j? opts as for fasc.attention; mask is a function(b, h, i, j).
local function visible(opts, i, j, nq, nk)
    local top_left = opts.causal == "top_left" or opts.align == "top_left"
    local at = i + (top_left and 0 or nk - nq)
    if opts.causal and j > at then
        return false
    end
    local left, right = (opts.window or {})[1] or -1, (opts.window or {})[2] or -1
    return (left < 0 or j >= at - left) and (right < 0 or j <= at + right)
end

local function attend_row(q, keys, values, sees, bias, scale)
    local logits, masked, probs, out = {}, {}, {}, {}
    local max = -math.huge
    for j, key in ipairs(keys) do
        local s = 0
        for d = 1, #q do
            s = s + q[d] * key[d]
        end
        logits[j] = s * scale
        masked[j] = sees(j - 1) and logits[j] + bias(j - 1) or -math.huge
        max = math.max(max, masked[j])
    end
    local sum = 0
    for j = 1, #keys do
        probs[j] = max == -math.huge and 0 or math.exp(masked[j] - max)
        sum = sum + probs[j]
    end
    for d = 1, #values[1] do
        out[d] = 0
    end
    for j = 1, #keys do
        probs[j] = sum > 0 and probs[j] / sum or 0
        for d = 1, #out do
            out[d] = out[d] + probs[j] * values[j][d]
        end
    end
    local lse = sum > 0 and max + math.log(sum) or -math.huge
    return {logits = logits, masked = masked, probs = probs, out = out, lse = lse, row_max = max}
end

local NAMES = {"out", "lse", "row_max", "logits", "masked", "probs"}

--- Attention by plain loops: nested tables out, lse, row_max, logits, masked, probs.
--- opts: causal, align, window, sm_scale as for fasc.attention; sees(b, h, i, j) -> boolean and
--- bias(b, h, i, j) -> number for masks.
function M.oracle(q, k, v, opts)
    opts = opts or {}
    local Q, K, V = q:tolist(), k:tolist(), v:tolist()
    local nq, nk, group = q.shape[3], k.shape[3], q.shape[2] / k.shape[2]
    local scale = opts.sm_scale or 1 / math.sqrt(q.shape[4])
    local result = {}
    for _, name in ipairs(NAMES) do
        result[name] = {}
    end
    for b = 1, q.shape[1] do
        for _, name in ipairs(NAMES) do
            result[name][b] = {}
        end
        for h = 1, q.shape[2] do
            local hk = math.floor((h - 1) / group) + 1
            for _, name in ipairs(NAMES) do
                result[name][b][h] = {}
            end
            for i = 1, nq do
                local row = attend_row(Q[b][h][i], K[b][hk], V[b][hk], function(j)
                    return visible(opts, i - 1, j, nq, nk)
                        and not (opts.sees and not opts.sees(b - 1, h - 1, i - 1, j))
                end, function(j)
                    return opts.bias and opts.bias(b - 1, h - 1, i - 1, j) or 0
                end, scale)
                for _, name in ipairs(NAMES) do
                    result[name][b][h][i] = row[name]
                end
            end
        end
    end
    return result
end

--- How many keys query i sees under causal or window options.
function M.visible_count(opts, i, nq, nk)
    local n = 0
    for j = 0, nk - 1 do
        n = n + (visible(opts, i, j, nq, nk) and 1 or 0)
    end
    return n
end

-- ---- assertions ----------------------------------------------------------------------------

local function fail(text, ...)
    error(text:format(...), 3)
end

-- The largest |a - b| of nested tables and where; infinite where infinities or NaN differ.
local function deviation(a, b, path)
    if type(b) ~= "table" then
        if a == b or a ~= a and b ~= b then
            return 0, path
        end
        local d = math.abs(a - b)
        return d == d and d or math.huge, path
    end
    local worst, where = 0, path
    if type(a) ~= "table" or #a ~= #b then
        return math.huge, path .. ": another length"
    end
    for i = 1, #b do
        local d, at = deviation(a[i], b[i], path .. "[" .. i - 1 .. "]")
        if d > worst then
            worst, where = d, at
        end
    end
    return worst, where
end

--- Asserts that a tensor (or nested tables) equals nested tables within `tolerance`.
function M.near(actual, expected, tolerance, label)
    if fasc.is_tensor(actual) then
        actual = actual:tolist()
    end
    local worst, where = deviation(actual, expected, "")
    if worst > tolerance then
        fail("%s: off by %.3g at %s, more than %.3g", label or "values", worst, where, tolerance)
    end
end

--- Asserts that two tensors have the same elements, bit for bit up to the sign of zero and NaN.
function M.same(a, b, label)
    M.near(a:tolist(), b:tolist(), 0, label)
end

--- Asserts that a check (see fasc.check) found nothing outside of its bounds.
function M.agrees(check, label)
    if not check.ok then
        fail("%s: %s", label or "check", tostring(check))
    end
end

--- Asserts that fn raises a fasc error with this status whose message contains every text.
function M.fails(status, fn, ...)
    local ok, err = pcall(fn)
    if ok then
        fail("no error; expected %s", status)
    elseif not fasc.is_error(err) then
        fail("not fasc's error: %s", tostring(err))
    elseif err.status ~= status then
        fail("status %s, expected %s: %s", err.status, status, err.message)
    end
    for _, text in ipairs {...} do
        if not err.message:find(text, 1, true) then
            fail("message '%s' lacks '%s'", err.message, text)
        end
    end
    if err.message:find("\n", 1, true) then
        fail("message '%s' has more than one line", err.message)
    end
    return err
end

--- The same for one text and a function with arguments: raises(status, text, fn, ...).
function M.raises(status, text, fn, ...)
    local arguments = {...}
    return M.fails(status, function()
        return fn(unpack(arguments))
    end, text)
end

return M
