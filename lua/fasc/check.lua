-- check.lua - is a result correct? Compares attention's outputs with the float64 reference, element
-- by element, against the error bounds that fasc.h states above fasc_check_entry.
local fasc_ffi = require "fasc.ffi"
local attention = require "fasc.attention"
local errors = require "fasc.errors"
local memory = require "fasc.memory"
local options = require "fasc.options"
local tensors = require "fasc.tensor"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

--- One output's agreement with the reference.
---@class fasc.CheckEntry
---@field name string      "out", "lse", ...
---@field count number     elements compared
---@field failed number    elements outside of the bound
---@field max_abs number   the largest |x - ref| over finite pairs
---@field max_share number the largest |x - ref| / bound; at most 1 means correct
---@field worst number[]   indices (batch, head, query, key or channel) of max_share
---@field worst_value number
---@field worst_reference number

--- All outputs' agreement; also by name: check.out.max_share. tostring gives a table.
---@class fasc.Check
---@field ok boolean             no element of any output is outside of its bound
---@field rows number            (batch, head, query) rows compared
---@field entries fasc.CheckEntry[]
---@field result fasc.AttentionResult? what was compared

local Check = {}

function Check.__tostring(check)
    local lines = {
        ("%s over %.0f rows"):format(check.ok and "agrees" or "DIFFERS", check.rows),
        ("%-15s %12s %10s %12s %12s  %s"):format("output", "elements", "outside", "max |x-ref|",
            "max share", "worst at"),
    }
    for _, e in ipairs(check.entries) do
        lines[#lines + 1] = e.count == 0
            and ("%-15s %12s not compared: it sums over all rows"):format(e.name, "-")
            or ("%-15s %12.0f %10.0f %12.3g %12.3g  [%s] %.9g, reference %.9g")
            :format(e.name, e.count, e.failed, e.max_abs, e.max_share, table.concat(e.worst, ","),
                e.worst_value, e.worst_reference)
    end
    return table.concat(lines, "\n")
end

local function entry_from(struct)
    local worst = {}
    for i = 0, 3 do
        local index = tonumber(struct.worst[i])
        if index >= 0 then
            worst[#worst + 1] = index
        end
    end
    return {
        name = fasc_ffi.string(struct.name),
        count = tonumber(struct.count),
        failed = tonumber(struct.failed),
        max_abs = struct.max_abs,
        max_share = struct.max_share,
        worst = worst,
        worst_value = struct.worst_value,
        worst_reference = struct.worst_reference,
    }
end

-- ---- which rows ---------------------------------------------------------------------------

local RANDOM_ROWS = 64
local DEFAULT_TILE = 128 -- of kernels that have none

-- The first and last query of every tile, and 64 others, always the same for a length.
local function edge_rows(seqlen, tile)
    local set = {}
    for first = 0, seqlen - 1, tile do
        set[first] = true
        set[math.min(first + tile, seqlen) - 1] = true
    end
    local state = seqlen
    for _ = 1, RANDOM_ROWS do
        state = (state * 1103515245 + 12345) % 2^31
        set[math.floor(state / 2^31 * seqlen)] = true
    end
    local rows = {}
    for row in pairs(set) do
        rows[#rows + 1] = row
    end
    table.sort(rows)
    return rows
end

-- NULL and 0 for all rows, else a C array and its length.
local function row_array(rows, q, plan)
    if rows == nil then
        return nil, 0
    elseif rows == "edges" then
        local tile = plan.block_m > 0 and plan.block_m or DEFAULT_TILE
        rows = edge_rows(q.shape[3], tile)
    end
    local array = ffi.new("int64_t[?]", #rows)
    for i, row in ipairs(rows) do
        if not options.is_integer(row) or row < 0 or row >= q.shape[3] then
            errors.usage("check: rows: query %s is outside of 0 to %.0f", options.show(row),
                q.shape[3] - 1)
        end
        array[i - 1] = row
    end
    if #rows == 0 then
        errors.usage("check: rows: must name at least one query")
    end
    return array, #rows
end

-- ---- the check ----------------------------------------------------------------------------

local RULES = {rows = {is = "table|string", values = {"edges"}}}

--- Compares attention with the float64 reference on the same inputs.
---
---     print(fasc.check(q, k, v, {causal = true, kernel = "flash", want = {"out", "probs"}}))
---     print(fasc.check(q, k, v, result, {rows = "edges"}))
---
--- `what` is an option table as for fasc.attention, which is then run, or a result of it, whose
--- tensors are compared as they are now. rows restricts the comparison to a list of query indices,
--- or to "edges": the first and last query of every tile and 64 others, for lengths where a full
--- reference takes too long; what sums over queries is not compared then (count = 0).
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param v fasc.Tensor?
---@param what fasc.AttentionOptions|fasc.AttentionResult|nil
---@param opts {rows: integer[]|string|nil}?
---@return fasc.Check
function M.check(q, k, v, what, opts)
    opts = options.check("check", opts, RULES)
    local result = attention.origin(what) and what or attention.attention(q, k, v, what)
    local origin = attention.origin(result)
    local args = ffi.new("fasc_attention_args", origin.args)
    args.q = tensors.argument("check", "q", q)
    args.k = tensors.argument("check", "k", k)
    args.v = v and tensors.argument("check", "v", v) or nil
    for name, t in pairs(origin.outputs) do
        args[name] = tensors.argument("check", name, t)
    end
    local struct = fasc_ffi.new "fasc_check_result"
    local rows, row_count = row_array(opts.rows, q, result.plan)
    memory.call(C.fasc_attention_check, args, rows, row_count, struct)
    local check = {ok = true, rows = tonumber(struct.rows), entries = {}, result = result}
    for i = 0, struct.entry_count - 1 do
        local entry = entry_from(struct.entry[i])
        check.entries[i + 1], check[entry.name] = entry, entry
        check.ok = check.ok and entry.failed == 0
    end
    return setmetatable(check, Check)
end

return M
