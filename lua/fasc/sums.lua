-- sums.lua - attention together with sums of its scores, under the names that programs know them by
-- from plain Triton kernels. Each is one call of fasc.attention with the `want` that it names. They
-- differ from such kernels in what follows from fasc's rules:
--   - causal is bottom-right aligned: query i sees the keys j <= i + (Nk - Nq);
--   - sums are over visible pairs alone: a masked entry adds nothing, where those kernels may add
--     their mask's large negative number, or the logit itself;
--   - dropout acts on out only, which is scaled by 1 / (1 - dropout_p); sums are those before it;
--   - sums are per query head unless per = "kv_head" asks for those of a key head together.
local attention = require "fasc.attention"
local calls = require "fasc.attention_call"
local errors = require "fasc.errors"
local options = require "fasc.options"

local M = {}

-- fasc.attention's options without those that the function itself sets.
local function rules_without(names)
    local rules = {}
    for name, rule in pairs(calls.OPTIONS) do
        rules[name] = rule
    end
    for _, name in ipairs(names) do
        rules[name] = nil
    end
    return rules
end

local ALWAYS = {"want", "outputs", "scores_dtype", "topk", "tile"}
local ROWS = rules_without {"query_range", "per", unpack(ALWAYS)}
local COLUMNS = rules_without(ALWAYS)
local CROSS = rules_without {"query_range", "key_range", unpack(ALWAYS)}

local function run(call, rules, q, k, v, opts, output, set)
    opts = options.check(call, opts, rules)
    opts.want = {"out", output}
    for name, value in pairs(set or {}) do
        opts[name] = value
    end
    local result = attention.run(call, q, k, v, opts)
    return result.out, result[output]
end

--- Output and the sum of each query's visible logits, want = row_sum. Takes key_range and
--- fasc.attention's other options.
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param v fasc.Tensor
---@param opts fasc.AttentionOptions?
---@return fasc.Tensor out     as q
---@return fasc.Tensor row_sum (B, Hq, Nq) f32
function M.attention_with_row_sum(q, k, v, opts)
    return run("attention_with_row_sum", ROWS, q, k, v, opts, "row_sum")
end

--- Output and the sum of each key's visible logits over the queries, want = col_sum_logits. Takes
--- query_range, key_range, per and fasc.attention's other options.
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param v fasc.Tensor
---@param opts fasc.AttentionOptions?
---@return fasc.Tensor out            as q
---@return fasc.Tensor col_sum_logits (B, Hq or Hk, keys) f32
function M.attention_with_col_sum(q, k, v, opts)
    return run("attention_with_col_sum", COLUMNS, q, k, v, opts, "col_sum_logits")
end

--- Output and the sum of each key's probabilities over the queries, want = col_sum_probs: the total
--- attention that a key gets. Options as for attention_with_col_sum.
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param v fasc.Tensor
---@param opts fasc.AttentionOptions?
---@return fasc.Tensor out           as q
---@return fasc.Tensor col_sum_probs (B, Hq or Hk, keys) f32
function M.attention_with_softmax_col_sum(q, k, v, opts)
    return run("attention_with_softmax_col_sum", COLUMNS, q, k, v, opts, "col_sum_probs")
end

local SPLIT = {is = "integer", min = 1}

local function cross(call, q, k, v, split, opts, output)
    options.argument(call, "split", split, SPLIT)
    local fits = options.typename(q) == "tensor" and options.typename(k) == "tensor"
        and q.rank == 4 and k.rank == 4
    if fits and (split >= q.shape[3] or split > k.shape[3]) then
        errors.usage("%s: split: must be below the %.0f queries and at most the %.0f keys, got "
            .. "%.0f", call, q.shape[3], k.shape[3], split)
    end
    return run(call, CROSS, q, k, v, opts, output,
        {query_range = {split}, key_range = {0, split}})
end

--- Output, and for each key before `split` the sum of its visible logits with the queries from
--- `split` on: what a later segment asks of an earlier one. Takes per and fasc.attention's other
--- options but no ranges.
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param v fasc.Tensor
---@param split integer 1 to Nq - 1
---@param opts fasc.AttentionOptions?
---@return fasc.Tensor out  as q
---@return fasc.Tensor sums (B, Hq or Hk, split) f32
function M.attention_cross_token_qk_sum(q, k, v, split, opts)
    return cross("attention_cross_token_qk_sum", q, k, v, split, opts, "col_sum_logits")
end

--- The same of probabilities, whose softmax is over all visible keys.
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param v fasc.Tensor
---@param split integer 1 to Nq - 1
---@param opts fasc.AttentionOptions?
---@return fasc.Tensor out  as q
---@return fasc.Tensor sums (B, Hq or Hk, split) f32
function M.attention_cross_token_softmax_sum(q, k, v, split, opts)
    return cross("attention_cross_token_softmax_sum", q, k, v, split, opts, "col_sum_probs")
end

return M
