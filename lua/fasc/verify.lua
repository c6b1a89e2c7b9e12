-- verify.lua - is what an operation left in its outputs correct? Small attention problems are
-- compared with the float64 reference in full; larger ones on the rows at every tile's edge and
-- on 64 random ones, and in full with another kernel, so that no element goes unseen.
local attention = require "fasc.attention"
local check = require "fasc.check"
local create = require "fasc.create"
local errors = require "fasc.errors"
local kernels = require "fasc.kernels"
local matmul = require "fasc.matmul"
local scope = require "fasc.scope"

local M = {}

--- The outcome of a check.
---@class fasc.Verdict
---@field share number    the largest error as a share of its bound: at most 1 when correct
---@field failed number   elements outside of their bounds
---@field message string? one line on the worst, when any failed
---@field rows number?    (batch, head, query) rows compared with the reference
---@field method string   how it was compared
---@field outputs table[] per output: name, count, failed, max_abs, share

-- Multiply-adds up to which every row is compared with the reference.
M.FULL_WORK = 2^30

local UNIT = {f16 = 2^-11, bf16 = 2^-8, f32 = 2^-24, f64 = 2^-53} -- half an ulp of 1
local SLACK = 2^-19                                               -- see fasc.h's bounds

-- ---- with the reference -------------------------------------------------------------------

local function worst_of(entries)
    local worst = entries[1]
    for _, entry in ipairs(entries) do
        if entry.max_share > worst.max_share then
            worst = entry
        end
    end
    return worst
end

local function describe_failure(entry)
    return ("%s: %.0f of %.0f elements are outside of the bound, the worst [%s] by %.3g times: "
        .. "%.9g, reference %.9g"):format(entry.name, entry.failed, entry.count,
        table.concat(entry.worst, ","), entry.max_share, entry.worst_value, entry.worst_reference)
end

local function verdict_of(result, method)
    local verdict = {share = 0, failed = 0, rows = result.rows, method = method, outputs = {}}
    local failing = {}
    for i, entry in ipairs(result.entries) do
        verdict.share = math.max(verdict.share, entry.max_share)
        verdict.failed = verdict.failed + entry.failed
        verdict.outputs[i] = {
            name = entry.name, count = entry.count, failed = entry.failed,
            max_abs = entry.max_abs, share = entry.max_share,
        }
        failing[#failing + 1] = entry.failed > 0 and entry or nil
    end
    if verdict.failed > 0 then
        verdict.message = describe_failure(worst_of(failing))
    end
    return verdict
end

-- ---- with another kernel ------------------------------------------------------------------

local function largest(t)
    local s = t:summary()
    return math.max(math.abs(s.min), math.abs(s.max))
end

-- What two kernels that are both correct may differ by anywhere, twice the bounds of fasc.h with
-- a replaced by what it can be at most: |scale| D max|q| max|k|. Of sums of probabilities it is a
-- share of the largest that ours holds. Keys are not numbers to compare.
local function tolerances(op)
    local q, k, v = op.q, op.k, op.v
    local u = UNIT[q.dtype]
    local head_dim, queries, keys = q.shape[4], q.shape[3], k.shape[3]
    local a = math.abs(op.opts.sm_scale or head_dim ^ -0.5) * head_dim * largest(q) * largest(k)
    local values = v and largest(v) / (1 - (op.opts.dropout_p or 0)) or 0
    local underflow = q.dtype == "f16" and 2^-24 * keys * values or 0
    local softmax = SLACK * (1 + a)
    local grouped = op.opts.per == "kv_head" and q.shape[2] / k.shape[2] or 1
    local function share_of(name)
        local ours = op.outputs[name]
        return ours and 2 * (2^-24 + softmax) * largest(ours)
    end
    return {
        logits = 2 * (u + SLACK) * a, masked = 2 * (u + SLACK) * a,
        lse = 2 * softmax, row_max = 2 * softmax, max_logit = 2 * softmax,
        topk_values = 2 * softmax,
        probs = 2 * (u + softmax),
        out = 2 * ((2 * u + softmax) * values + underflow),
        entropy = 2 * softmax * (1 + math.log(keys)),
        mean_distance = 2 * softmax * (queries + keys),
        row_sum = 2 * SLACK * a * keys,
        col_sum_logits = 2 * SLACK * a * queries * grouped,
        diag_sum_logits = 2 * SLACK * a * math.min(queries, keys),
        col_sum_probs = share_of "col_sum_probs", col_max_probs = share_of "col_max_probs",
        diag_sum_probs = share_of "diag_sum_probs",
        pooled_max = share_of "pooled_max", pooled_mass = share_of "pooled_mass",
    }
end

-- The best other kernel that serves the problem, and its plan.
local function other_kernel(op)
    for _, kernel in ipairs(kernels.list(op.device)) do
        if kernel.name ~= op.plan.kernel and kernel.name ~= "reference" then
            local opts = {}
            for name, value in pairs(op.opts) do
                opts[name] = value
            end
            opts.kernel, opts.splits = kernel.name, nil
            opts.seed, opts.offset = op.call.seed, op.call.offset
            if pcall(attention.plan, op.q, op.k, op.v, opts) then
                return kernel.name, opts
            end
        end
    end
end

local function output_bytes(op)
    local bytes = 0
    for _, t in pairs(op.outputs) do
        bytes = bytes + 8 * t:numel()
    end
    return bytes
end

-- Adds to the verdict what a full comparison with another kernel says.
local function compare_with(op, name, opts, verdict)
    local tolerance = tolerances(op)
    local theirs = attention.attention(op.q, op.k, op.v, opts)
    for output, ours in pairs(op.outputs) do
        local d = tolerance[output] and ours:compare(theirs[output]) or {mismatch = 0, max_abs = 0}
        if tolerance[output] and (d.mismatch > 0 or d.max_abs > tolerance[output]) then
            verdict.failed = verdict.failed + math.max(1, d.mismatch)
            verdict.share = math.max(verdict.share, d.max_abs / tolerance[output])
            verdict.message = ("%s: differs from kernel %s by up to %.3g at [%s], where %.3g "
                .. "is allowed, and in %.0f NaN or infinite elements"):format(output, name,
                d.max_abs, table.concat(d.worst or {}, ","), tolerance[output], d.mismatch)
        end
    end
    verdict.method = verdict.method .. ", and all of it with kernel " .. name
end

local function compare_whole(op, verdict)
    local name, opts = other_kernel(op)
    if not name then
        verdict.method = verdict.method .. "; no other kernel to compare all of it with"
    elseif output_bytes(op) > op.device:memory().free / 2 then
        verdict.method = verdict.method .. "; no memory to compare all of it with another kernel"
    else
        opts.outputs = nil
        opts.want = {}
        for output in pairs(op.outputs) do
            table.insert(opts.want, output)
        end
        local places = op.outputs.topk_values or op.outputs.topk_indices
        opts.topk = places and places.shape[4]
        scope.scope(compare_with, op, name, opts, verdict)
    end
end

-- ---- with stored values -------------------------------------------------------------------

-- Bits of the significand, the hidden one included; the exponent of the smallest step; and what the
-- values may be off by besides the rounding to the dtype, as a share: two float64 computations
-- differ by some 1e-13, and 16-bit values are often rounded to f32 on their way.
local PRECISION = {
    f16 = {11, -24, 2^-24 + 2^-36}, bf16 = {8, -133, 2^-24 + 2^-36}, f32 = {24, -149, 2^-36},
    f64 = {53, -1074, 2^-36},
}

--- Compares a float64 result with values that were computed elsewhere in float64 and stored in a
--- narrower dtype: |stored - ref| <= half a step of the dtype at ref + 2^-36 |ref| + 2^-50, for
--- f16 and bf16 2^-24 |ref| more.
---@param reference fasc.Tensor f64
---@param stored fasc.Tensor
---@return {count: number, failed: number, share: number, max_abs: number}
function M.stored(reference, stored)
    local bits, least, besides = unpack(PRECISION[stored.dtype])
    local n = reference:numel()
    if table.concat(reference.shape, ",") ~= table.concat(stored.shape, ",") then
        errors.usage("check: expected values have shape %s, the result has %s",
            table.concat(stored.shape, "x"), table.concat(reference.shape, "x"))
    end
    local a, b = reference:to("cpu"):clone(), stored:to {dtype = "f64", device = "cpu"}
    local x, y = a:data(), b:data()
    local result = {count = n, failed = 0, share = 0, max_abs = 0}
    for i = 0, n - 1 do
        local ref, value = x[i], y[i]
        if ref ~= value and not (ref ~= ref and value ~= value) then
            local _, exponent = math.frexp(ref)
            local half_step = 0.5 * 2 ^ math.max(exponent - bits, least)
            local off = math.abs(value - ref)
            local share = off / (half_step + besides * math.abs(ref) + 2^-50)
            share = share == share and share or math.huge
            result.share = math.max(result.share, share)
            result.max_abs = math.max(result.max_abs, off)
            result.failed = result.failed + (share > 1 and 1 or 0)
        end
    end
    return result
end

-- ---- operations ---------------------------------------------------------------------------

--- Attention.
---@param op fasc.Op
---@return fasc.Verdict
function M.attention(op)
    local q, k = op.q, op.k
    local work = q:numel() * k.shape[3]
    local result = attention.result_of(op.call, op.plan)
    if work <= M.FULL_WORK or op.opts.attn_mask then
        return verdict_of(check.check(q, k, op.v, result), "every row with the reference")
    end
    local compared = check.check(q, k, op.v, result, {rows = "edges"})
    local verdict = verdict_of(compared, ("%.0f of %.0f rows with the reference"):format(
        compared.rows, q:numel() / q.shape[4]))
    if verdict.failed == 0 then
        compare_whole(op, verdict)
    end
    return verdict
end

--- The matrix product: against the same in float64, |x - ref| <= (u + 2^-19) K max|a| max|b|.
---@param op fasc.Op
---@return fasc.Verdict
function M.matmul(op)
    local a, b, out = op.call.a, op.call.b, op.outputs.out
    local bound = (UNIT[out.dtype] + SLACK) * a.shape[a.rank] * largest(a) * largest(b)
        * math.abs(op.call.args.alpha)
    local alpha = op.call.args.alpha
    local d = out:compare(matmul.matmul(a:to "f64", b:to "f64", {alpha = alpha}))
    local failed = math.max(d.mismatch, d.max_abs > bound and 1 or 0)
    local share = d.max_abs > 0 and d.max_abs / bound or 0
    return {
        share = share, failed = failed, method = "all of it with float64",
        message = failed > 0 and ("out: max |x - ref| %.3g, where %.3g is allowed, and %.0f NaN or "
            .. "infinite elements"):format(d.max_abs, bound, d.mismatch) or nil,
        outputs = {{name = "out", count = d.count, failed = failed, max_abs = d.max_abs,
            share = share}},
    }
end

-- dst must hold the source's values, rounded once to its dtype.
local function held(op, source)
    local d = op.outputs.dst:compare(source)
    local failed = d.mismatch + (d.max_abs > 0 and 1 or 0)
    return {
        share = failed, failed = failed, method = "all of it with the source",
        message = failed > 0 and ("dst: max |x - ref| %.3g"):format(d.max_abs) or nil,
        outputs = {{name = "dst", count = d.count, failed = failed, max_abs = d.max_abs,
            share = failed}},
    }
end

--- Copies.
---@param op fasc.Op
---@return fasc.Verdict
function M.copy(op)
    return held(op, op.src:to {dtype = op.outputs.dst.dtype, device = op.outputs.dst.device})
end

--- Fills.
---@param op fasc.Op
---@return fasc.Verdict
function M.fill(op)
    return held(op, create.full_like(op.outputs.dst, op.args.value))
end

return M
