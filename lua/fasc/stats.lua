-- stats.lua - what published methods read off attention, each from one or two calls of
-- fasc.attention and without an N x N matrix unless it says so. p_ij are the probabilities,
-- i' = i + Nk - Nq a query's place among the keys. Attention is causal unless causal = false; every
-- function takes causal, window, sm_scale, kernel and splits as fasc.attention does. What comes
-- back in float32 is on the inputs' device; picked keys are i32 on the CPU.
local attention = require "fasc.attention"
local calls = require "fasc.attention_call"
local create = require "fasc.create"
local errors = require "fasc.errors"
local largest = require "fasc.largest"
local options = require "fasc.options"

local M = {}

local PASSED = {"causal", "window", "sm_scale", "kernel", "splits"}

local function rules_with(own)
    for _, name in ipairs(PASSED) do
        own[name] = calls.OPTIONS[name]
    end
    own.causal = {is = "boolean|string", values = calls.OPTIONS.causal.values, default = true}
    return own
end

-- One call with the method's want and options beside what the caller passed on.
local function attend(call, q, k, opts, own)
    for _, name in ipairs(PASSED) do
        own[name] = opts[name]
    end
    return attention.run(call, q, k, nil, own)
end

local function check_inputs(call, q, k)
    for name, t in pairs {q = q, k = k} do
        if options.typename(t) ~= "tensor" or t.rank ~= 4 then
            errors.usage("%s: %s: must be a tensor (batch, heads, seqlen, head_dim), got %s", call,
                name, options.show(t))
        end
    end
    return q.shape[3], k.shape[3]
end

local COUNT = {is = "integer", min = 0}
local function count(default)
    return {is = "integer", min = 0, default = default}
end

-- ---- H2O ----------------------------------------------------------------------------------

local H2O = rules_with {
    heavy = {is = "integer", min = 0, required = true}, recent = {is = "integer", min = 0},
    per = calls.OPTIONS.per,
}

--- Heavy hitters: the keys that H2O keeps in a cache of heavy + recent.
---
---     A_j = sum_i p_ij;  keep = the `heavy` largest A_j of j < Nk - recent, and the last `recent`
---
--- Source: Zhang et al., "H2O: Heavy-Hitter Oracle", arXiv:2306.14048. recent: default `heavy`, as
--- there. Ties go to the lower key. per = "kv_head" adds up the query heads of a key head.
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param opts {heavy: integer, recent: integer?, per: string?, causal: boolean|string|nil}
---@return {scores: fasc.Tensor, keep: fasc.Tensor} scores (B, H, Nk); keep (B, H, heavy + recent),
---        ascending
function M.h2o(q, k, opts)
    local call = "stats.h2o"
    opts = options.check(call, opts, H2O)
    local _, keys = check_inputs(call, q, k)
    local heavy, recent = opts.heavy, opts.recent or opts.heavy
    if heavy + recent > keys or heavy + recent == 0 then
        errors.usage("%s: heavy, recent: %.0f + %.0f must be 1 to the %.0f keys", call, heavy,
            recent, keys)
    end
    local scores = attend(call, q, k, opts, {want = "col_sum_probs", per = opts.per}).col_sum_probs
    local keep = largest.rows(scores, function(data, first)
        local list = largest.of(data, first, 0, keys - recent, heavy)
        for j = keys - recent, keys - 1 do
            list[#list + 1] = j
        end
        return list
    end)
    return {scores = scores, keep = keep}
end

-- ---- SnapKV -------------------------------------------------------------------------------

local SNAPKV = rules_with {
    capacity = {is = "integer", min = 1, required = true}, observe = count(64),
    kernel_size = {is = "integer", min = 1, default = 5},
    pool = {is = "string", values = {"avg", "max"}, default = "avg"},
    per = calls.OPTIONS.per,
}

-- A window of `size` (odd) around each of n values, sums divided by `size` even at the ends, where
-- the padding counts as 0, and maxima of what is there: PyTorch's avg_pool1d and max_pool1d with
-- stride 1 and padding size / 2.
local function pool_row(data, first, n, size, average)
    local pooled, half = {}, math.floor(size / 2)
    for j = 0, n - 1 do
        local value = average and 0 or -math.huge
        for i = math.max(0, j - half), math.min(n - 1, j + half) do
            local x = data[first + i]
            value = average and value + x / size or math.max(value, x)
        end
        pooled[j] = value
    end
    return pooled
end

--- The keys that SnapKV keeps of a prompt, judged by its last `observe` (w) queries.
---
---     a_j = sum over the last w queries i of p_ij, j < Nk - w;  b = pool(a), kernel_size, stride 1
---     keep = the capacity - w largest b_j, and the last w keys
---
--- Source: Li et al., "SnapKV: LLM Knows What You are Looking for Before Generation",
--- arXiv:2404.14469, with its code's w = 64 and average pooling of 5 (whose ends divide by 5 too).
--- Ties go to the lower key.
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param opts {capacity: integer, observe: integer?, kernel_size: integer?, pool: string?}
---@return {scores: fasc.Tensor, keep: fasc.Tensor} scores (B, H, Nk - w) before pooling; keep
---        (B, H, capacity), ascending
function M.snapkv(q, k, opts)
    local call = "stats.snapkv"
    opts = options.check(call, opts, SNAPKV)
    local queries, keys = check_inputs(call, q, k)
    local w, prefix = opts.observe, keys - opts.observe
    if w < 1 or w > queries or prefix < 1 then
        errors.usage("%s: observe: must be 1 to the %.0f queries and below the %.0f keys, got %.0f",
            call, queries, keys, w)
    elseif opts.capacity < w or opts.capacity > keys then
        errors.usage("%s: capacity: must be %.0f (observe) to %.0f (keys), got %.0f", call, w, keys,
            opts.capacity)
    elseif opts.kernel_size % 2 == 0 then
        errors.usage("%s: kernel_size: must be odd, got %.0f", call, opts.kernel_size)
    end
    local scores = attend(call, q, k, opts, {
        want = "col_sum_probs", per = opts.per, query_range = {-w}, key_range = {0, prefix},
    }).col_sum_probs
    local keep = largest.rows(scores, function(data, first)
        local pooled = pool_row(data, first, prefix, opts.kernel_size, opts.pool == "avg")
        local list = largest.of(pooled, 0, 0, prefix, opts.capacity - w)
        for j = prefix, keys - 1 do
            list[#list + 1] = j
        end
        return list
    end)
    return {scores = scores, keep = keep}
end

-- ---- MInference ---------------------------------------------------------------------------

local MINFERENCE = rules_with {
    observe = count(64), vertical = count(1000), slash = count(6096),
    first = count(30), near = count(100),
}

-- A copy whose entries [begin, stop) come before all others.
local function forced(data, first, n, begin, stop)
    local values = {}
    for i = 0, n - 1 do
        values[i] = i >= begin and i < stop and math.huge or data[first + i]
    end
    return values
end

--- The vertical and slash lines of MInference's vertical-slash heads, judged by the last
--- `observe` (w) queries.
---
---     v_j = sum over the last w queries i of p_ij;  s_delta = the same over i' - j = delta >= 0
---     vertical = the largest v_j, the first `first` keys among them; slash = the largest s_delta,
---     delta < `near` among them
---
--- Source: Jiang et al., "MInference 1.0", arXiv:2407.02490; first = 30 and near = 100 are its
--- code's. Counts that exceed Nk become Nk.
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param opts {observe: integer?, vertical: integer?, slash: integer?, first: integer?}?
---@return table<string, fasc.Tensor> column (B, Hq, Nk) and diagonal (B, Hq, Nk: by delta) sums;
---        vertical keys and slash deltas (B, Hq, count), ascending
function M.minference(q, k, opts)
    local call = "stats.minference"
    opts = options.check(call, opts, MINFERENCE)
    local queries, keys = check_inputs(call, q, k)
    local w = math.min(opts.observe, queries)
    local vertical, slash = math.min(opts.vertical, keys), math.min(opts.slash, keys)
    if w < 1 or vertical < 1 or slash < 1 then
        errors.usage("%s: observe, vertical, slash: must be at least 1, got %.0f, %.0f, %.0f", call,
            opts.observe, opts.vertical, opts.slash)
    end
    local r = attend(call, q, k, opts, {
        want = {"col_sum_probs", "diag_sum_probs"}, query_range = {-w},
    })
    local diagonal = r.diag_sum_probs:slice(nil, nil, {queries - 1})
    return {
        column = r.col_sum_probs, diagonal = diagonal,
        vertical = largest.rows(r.col_sum_probs, function(data, at)
            return largest.of(forced(data, at, keys, 0, opts.first), 0, 0, keys, vertical)
        end),
        slash = largest.rows(diagonal, function(data, at)
            return largest.of(forced(data, at, keys, 0, opts.near), 0, 0, keys, slash)
        end),
    }
end

-- ---- attention sinks ----------------------------------------------------------------------

local SINK = rules_with {
    key = COUNT, threshold = {is = "number", min = 0, default = 0.3},
}

--- How many heads put much of their attention on one key (the first, unless `key` says another).
---
---     a = the mean of p_i,key over the queries with i' >= key;  rate = the share of heads (over
---     the batch) with a > threshold
---
--- Source: Gu et al., "When Attention Sink Emerges in Language Models", arXiv:2410.10781, with its
--- threshold of 0.3.
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param opts {key: integer?, threshold: number?}?
---@return {rate: number, scores: fasc.Tensor} scores (B, Hq)
function M.sink_rate(q, k, opts)
    local call = "stats.sink_rate"
    opts = options.check(call, opts, SINK)
    local queries, keys = check_inputs(call, q, k)
    local key = opts.key or 0
    local first = math.max(0, key - (keys - queries))
    if key >= keys or first >= queries then
        errors.usage("%s: key: must be below the %.0f keys and seen, got %.0f", call, keys, key)
    end
    local sums = attend(call, q, k, opts, {
        want = "col_sum_probs", key_range = {key, key + 1}, query_range = {first},
    }).col_sum_probs
    local scores, data = largest.doubles(sums)
    local over = 0
    for i = 0, scores:numel() - 1 do
        data[i] = data[i] / (queries - first)
        over = over + (data[i] > opts.threshold and 1 or 0)
    end
    return {
        rate = over / scores:numel(),
        scores = scores:slice(nil, nil, 0):to {dtype = "f32", device = q.device},
    }
end

-- ---- kinds of heads -----------------------------------------------------------------------

local CLASSES = rules_with {tokens = {is = "table|tensor"}}

-- detects(i', j) for the token detectors, over 0-based places.
local DETECTORS = {
    duplicate_token = function(tokens, i, j)
        return j < i and tokens[j] == tokens[i]
    end,
    induction = function(tokens, i, j)
        return j <= i and j > 0 and tokens[j - 1] == tokens[i]
    end,
}

-- The tokens by place, from 0.
local function token_list(call, tokens, keys)
    local list = options.typename(tokens) == "tensor" and tokens:tolist() or tokens
    local by_place = {}
    for j, token in ipairs(list) do
        by_place[j - 1] = token
    end
    if #list ~= keys or type(list[1]) == "table" then
        errors.usage("%s: tokens: must be one for each of the %.0f keys, got %d", call, keys, #list)
    end
    return by_place
end

-- A u8 mask (Nq, Nk) of the pairs that a detector finds.
local function detector_mask(detects, tokens, queries, keys, device)
    local mask = create.zeros({queries, keys}, {dtype = "u8", device = "cpu"})
    local data = mask:data()
    for i = 0, queries - 1 do
        for j = 0, keys - 1 do
            if detects(tokens, i + keys - queries, j) then
                data[i * keys + j] = 1
            end
        end
    end
    return mask:to(device)
end

-- sum over i of exp(b_i - a_i) for two tensors of LSE (B, H, N), divided by `rows` (B, H).
local function ratio(part, whole, rows)
    local a, x = largest.doubles(part)
    local b, y = largest.doubles(whole)
    local queries = part.shape[3]
    local result = create.empty({part.shape[1], part.shape[2]}, {dtype = "f64", device = "cpu"})
    local values = result:data()
    for head = 0, result:numel() - 1 do
        local sum = 0
        for i = head * queries, (head + 1) * queries - 1 do
            sum = sum + (x[i] > -math.huge and math.exp(x[i] - y[i]) or 0)
        end
        values[head] = rows[head] > 0 and sum / rows[head] or 0
    end
    a:free()
    b:free()
    return result
end

--- What each head looks for: the share of its attention that a detector D of pairs finds.
---
---     score = sum_ij p_ij D_ij / sum_ij p_ij, in [0, 1]
---     previous_token: i' - j = 1;  current_token: i' = j
---     with `tokens` (one for each key; a list or a tensor):
---     duplicate_token: j < i' and tokens[j] = tokens[i']
---     induction:       0 < j <= i' and tokens[j - 1] = tokens[i']
---
--- Source: TransformerLens, head_detector.py (multiplication of pattern and detector); the classes
--- are Elhage et al.'s and Olsson et al.'s (arXiv:2209.11895). The first two are diagonal sums. The
--- other two are exp(LSE over the detector's pairs - LSE), which takes a mask of Nq x Nk bytes for
--- all heads together.
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param opts {tokens: integer[]|fasc.Tensor|nil}?
---@return table<string, fasc.Tensor> (B, Hq) f32 by detector
function M.head_classes(q, k, opts)
    local call = "stats.head_classes"
    opts = options.check(call, opts, CLASSES)
    local queries, keys = check_inputs(call, q, k)
    local tokens = opts.tokens and token_list(call, opts.tokens, keys)
    local r = attend(call, q, k, opts, {want = {"lse", "diag_sum_probs"}})
    local lse, log_sums = largest.doubles(r.lse)
    local rows = {}
    for head = 0, lse:numel() / queries - 1 do
        rows[head] = 0
        for i = head * queries, (head + 1) * queries - 1 do
            rows[head] = rows[head] + (log_sums[i] > -math.huge and 1 or 0)
        end
    end
    local result = {}
    local function keep(name, t)
        result[name] = t:to {dtype = "f32", device = q.device}
    end
    for name, delta in pairs {current_token = 0, previous_token = 1} do
        local sums = create.zeros({q.shape[1], q.shape[2]}, {dtype = "f64", device = "cpu"})
        local diagonal = r.diag_sum_probs:slice(nil, nil, {queries - 1})
        if delta < diagonal.shape[3] then
            sums:copy_from(diagonal:slice(nil, nil, delta))
        end
        local data = sums:data()
        for head = 0, sums:numel() - 1 do
            data[head] = rows[head] > 0 and data[head] / rows[head] or 0
        end
        keep(name, sums)
    end
    for name, detects in pairs(tokens and DETECTORS or {}) do
        local part = attend(call, q, k, opts, {
            want = "lse", attn_mask = detector_mask(detects, tokens, queries, keys, q.device),
        })
        keep(name, ratio(part.lse, r.lse, rows))
    end
    return result
end

return M
