-- attention.lua - attention as users call it. Every function takes q (B, Hq, Nq, D), k and v
-- (B, Hk, Nk, D) with Hq a multiple of Hk, any strides, and an option table whose names are
-- checked. What runs, and why, is in the result's plan.
local calls = require "fasc.attention_call"
local errors = require "fasc.errors"
local options = require "fasc.options"
local tensors = require "fasc.tensor"

local M = {}

-- ---- the result ---------------------------------------------------------------------------

--- What was wanted, by name, and the plan. A known output that was not wanted is nil.
---@class fasc.AttentionResult
---@field plan fasc.Plan
---@field out fasc.Tensor?     (B, Hq, Nq, D)
---@field lse fasc.Tensor?     (B, Hq, Nq), natural logarithm
---@field row_max fasc.Tensor? (B, Hq, Nq)
---@field logits fasc.Tensor?  (B, Hq, Nq, Nk): scale * Q K^T, the whole matrix
---@field masked fasc.Tensor?  the same with -inf where a key is not visible
---@field probs fasc.Tensor?   softmax over the visible keys, 0 elsewhere
---@field entropy fasc.Tensor?         (B, Hq, Nq), nats
---@field mean_distance fasc.Tensor?   (B, Hq, Nq): sum_j p (i + Nk - Nq - j)
---@field row_sum fasc.Tensor?         (B, Hq, Nq), of the visible logits of key_range
---@field row_argmax fasc.Tensor?      (B, Hq, Nq) i32, the lowest key among ties, -1 without any
---@field topk_values fasc.Tensor?     (B, Hq, Nq, k), largest first, -inf where there are no more
---@field topk_indices fasc.Tensor?    (B, Hq, Nq, k) i32, ties by the lower key, else -1
---@field col_sum_probs fasc.Tensor?   (B, Hq or Hk, keys of key_range), over query_range
---@field col_sum_logits fasc.Tensor?  the same of the visible logits
---@field col_max_probs fasc.Tensor?   the largest instead
---@field diag_sum_probs fasc.Tensor?  (B, Hq, Nq + Nk - 1): entry delta + Nq - 1 sums the pairs
---       with (i + Nk - Nq) - j = delta
---@field diag_sum_logits fasc.Tensor? the same of the visible logits
---@field pooled_max fasc.Tensor?      (B, Hq, ceil(Nq/tile), ceil(Nk/tile)): of probs
---@field pooled_mass fasc.Tensor?     summed over a tile's keys, averaged over its queries
---@field max_logit fasc.Tensor?       (Hq), over batch and visible pairs
---@field seed number?   of dropout, as given or drawn
---@field offset number? likewise

local fields = {plan = true, seed = true, offset = true}
for _, name in ipairs(calls.OUTPUT_NAMES) do
    fields[name] = true
end

local function result_text(result)
    local lines = {}
    for _, name in ipairs(calls.OUTPUT_NAMES) do
        if result[name] then
            lines[#lines + 1] = ("%-15s %s"):format(name, tensors.describe(result[name]))
        end
    end
    if result.seed then
        lines[#lines + 1] = ("%-15s seed %.0f, offset %.0f"):format("dropout", result.seed,
            result.offset)
    end
    lines[#lines + 1] = ("%-15s %s"):format("plan", tostring(result.plan))
    return table.concat(lines, "\n")
end

local function result_index(_, name)
    if not fields[name] then
        errors.usage("attention result: no field %s%s", options.show(name),
            options.hint(name, fields))
    end
end

-- The metatable carries how the result was made, for fasc.check and fasc.op.of; the inputs only
-- weakly, or they would live as long as the result.
local function new_result(call, plan)
    local result = {plan = plan, seed = call.seed, offset = call.offset}
    for name, t in pairs(call.outputs) do
        result[name] = t
    end
    return setmetatable(result, {
        __name = "fasc.result",
        __index = result_index,
        __tostring = result_text,
        origin = {
            args = call.args, kernel = call.kernel, outputs = call.outputs, mask = call.inputs.mask,
            tuned = call.tuned,
            inputs = setmetatable({q = call.inputs.q, k = call.inputs.k, v = call.inputs.v},
                {__mode = "v"}),
        },
    })
end

--- How a result was made: its args, whose q, k and v may be gone, and what else they point to;
--- nil for any other value.
---@return {args: ffi.cdata*, outputs: table<string, fasc.Tensor>}?
function M.origin(value)
    local mt = type(value) == "table" and getmetatable(value)
    return mt and mt.__name == "fasc.result" and mt.origin or nil
end

-- ---- attention ----------------------------------------------------------------------------

local function run(name, q, k, v, opts)
    local call = calls.prepare(name, q, k, v, opts)
    return new_result(call, call:run())
end

--- One call with options that have been checked, under the name of the function that it serves.
---@return fasc.AttentionResult
M.run = run

--- Attention: softmax(sm_scale * Q K^T + mask) V, and in the same pass whatever else is wanted.
---
---     local r = fasc.attention(q, k, v, {causal = true, want = {"out", "lse", "probs"}})
---     print(r.out, r.plan)
---
--- Wanted may be: out (q's shape and dtype, or out_dtype); lse and row_max (B, Hq, Nq), f32;
--- logits, masked, probs (B, Hq, Nq, Nk), q's dtype or scores_dtype; and the statistics of
--- fasc.AttentionResult, which need no N x N memory. A row that sees no key has out 0, lse and
--- row_max -inf, probabilities 0, entropy and sums 0. Errors: EINVAL a rule is broken; EUNSUPPORTED
--- the kernel asked for cannot serve; ENOMEM; ECANCELED.
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param v fasc.Tensor? may be nil when out is not wanted
---@param opts fasc.AttentionOptions?
---@return fasc.AttentionResult
function M.attention(q, k, v, opts)
    return run("attention", q, k, v, options.check("attention", opts, calls.OPTIONS))
end

--- An attention call that can run again and again on the same tensors: call:run(), call.outputs,
--- call.args (the C struct, for timing), call:free().
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param v fasc.Tensor?
---@param opts fasc.AttentionOptions?
---@return fasc.AttentionCall
function M.prepare(q, k, v, opts)
    return calls.prepare("attention", q, k, v, options.check("attention", opts, calls.OPTIONS))
end

--- What the outputs of a prepared call hold now, as a result for fasc.check.
---@param call fasc.AttentionCall
---@param plan fasc.Plan
---@return fasc.AttentionResult
M.result_of = new_result

--- What fasc.attention would run, and why, without running it and without memory for its outputs.
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param v fasc.Tensor?
---@param opts fasc.AttentionOptions?
---@return fasc.Plan
function M.plan(q, k, v, opts)
    return calls.plan("attention", q, k, v, options.check("attention", opts, calls.OPTIONS))
end

--- What the compiler says of the kernels that fasc.attention would run: registers, spills, shared
--- memory, occupancy. Nothing runs. EUNSUPPORTED on a device whose kernels are not compiled at run
--- time.
---
---     print(fasc.inspect(q, k, v, {causal = true, want = {"out", "lse"}}))
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param v fasc.Tensor?
---@param opts fasc.AttentionOptions?
---@return fasc.CompileReport[]
function M.inspect(q, k, v, opts)
    return calls.inspect("inspect", q, k, v, options.check("inspect", opts, calls.OPTIONS))
end

-- The options without want and outputs, and with those given.
local function option_rules(more)
    local rules = {}
    for name, rule in pairs(calls.OPTIONS) do
        rules[name] = rule
    end
    for _, name in ipairs {"want", "outputs", "query_range", "key_range", "per", "topk", "tile"} do
        rules[name] = nil
    end
    for name, rule in pairs(more) do
        rules[name] = rule
    end
    return rules
end

local KINDS = {"logits", "masked", "probs"}
local WITH_SCORES = option_rules {scores = {is = "string", values = KINDS, default = "logits"}}

--- Output and scores in one pass.
---
---     local out, scores = fasc.attention_with_scores(q, k, v, {causal = true})
---
--- Takes fasc.attention's options except want and outputs, and scores = "logits" (the default:
--- scale * Q K^T, the whole matrix), "masked" (the same, -inf where not visible) or "probs".
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param v fasc.Tensor
---@param opts fasc.AttentionOptions?
---@return fasc.Tensor out    as q
---@return fasc.Tensor scores (B, Hq, Nq, Nk)
function M.attention_with_scores(q, k, v, opts)
    opts = options.check("attention_with_scores", opts, WITH_SCORES)
    local kind = opts.scores
    opts.want = {"out", kind}
    local result = run("attention_with_scores", q, k, v, opts)
    return result.out, result[kind]
end

local SCORES = option_rules {kind = {is = "string", values = KINDS}}
for _, name in ipairs {"out_dtype", "dropout_p", "seed", "offset"} do
    SCORES[name] = nil
end

--- The scores alone. kind = "logits", "masked" or "probs"; without it, "masked" when causal, window
--- or attn_mask hides keys, else "logits". Takes fasc.attention's other options too, except want,
--- outputs, out_dtype and those of dropout, which does not touch scores.
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param opts fasc.AttentionOptions?
---@return fasc.Tensor (B, Hq, Nq, Nk)
function M.compute_attention_scores(q, k, opts)
    opts = options.check("compute_attention_scores", opts, SCORES)
    local hides = opts.causal or opts.window or opts.attn_mask
    local kind = opts.kind or hides and "masked" or "logits"
    opts.want = {kind}
    return run("compute_attention_scores", q, k, nil, opts)[kind]
end

return M
