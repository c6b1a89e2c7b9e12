-- head_stats.lua - what a head does, in a few numbers: sink rate, entropy, distance, the largest
-- logit, how much goes to itself, to the token before and to what followed the same tokens earlier.
-- From q and k by the kernels' statistics, from saved probabilities by their rows.
local attention = require "fasc.attention"
local errors = require "fasc.errors"
local fasc_ffi = require "fasc.ffi"
local options = require "fasc.options"
local scope = require "fasc.scope"

local ffi = fasc_ffi.ffi

local M = {}

--- A number that is told of each head, and how a table and a figure show it.
---@class fasc.HeadColumn
---@field name string
---@field title string
---@field help string
---@field format string
---@field best "most"|"least"  which heads are worth a look
---@field sign string          what such a head is called
M.COLUMNS = {
    {name = "sink", title = "sink rate", format = "%.3f", best = "most", sign = "sink",
        help = "mean probability of key 0, over the queries that see it"},
    {name = "entropy", title = "entropy", format = "%.2f", best = "least", sign = "sharpest",
        help = "mean over the queries, in nats"},
    {name = "distance", title = "mean distance", format = "%.1f", best = "most",
        sign = "farthest", help = "in tokens, mean over the queries"},
    {name = "max_logit", title = "max logit", format = "%.1f", best = "most",
        sign = "largest logit", help = "the largest visible scaled score"},
    {name = "own", title = "own token", format = "%.3f", best = "most", sign = "own token",
        help = "mean probability of the query's own place"},
    {name = "previous", title = "previous token", format = "%.3f", best = "most",
        sign = "previous token", help = "mean probability of the place before"},
    {name = "induction", title = "induction", format = "%.3f", best = "most", sign = "induction",
        help = "where the last tokens occurred before: probability of what followed them"},
}

-- ---- induction ----------------------------------------------------------------------------

-- For each query (1-based) the keys that follow an earlier occurrence of the `match` tokens that
-- end at it: the first `count` of the 0-based places that follow these tokens anywhere.
local function followers(tokens, match)
    local after, list = {}, {}
    for i = 1, #tokens do
        local gram = i >= match and table.concat(tokens, " ", i - match + 1, i) or nil
        local places = gram and (after[gram] or {})
        list[i] = {places = places, count = places and #places or 0}
        if gram then
            after[gram] = places
            places[#places + 1] = i
        end
    end
    return list
end

-- ---- rows -----------------------------------------------------------------------------------

local BLOCK = 2^22

-- Calls f(i, row, cols) for each query's probabilities: float * of `cols` numbers, past which every
-- key is masked.
local function each_row(source, f)
    local per_block = math.max(1, math.floor(BLOCK / source.cols))
    for first = 0, source.rows - 1, per_block do
        scope.scope(function()
            local block = source:block(first, math.min(source.rows, first + per_block))
            if not block then
                return
            end
            local rows, cols = block.shape[1], block.shape[2]
            local plain = block:to {dtype = "f32", device = "cpu"}:contiguous()
            local data = ffi.cast("float *", plain:data())
            for r = 0, rows - 1 do
                f(first + r, data + r * cols, cols)
            end
        end)
    end
end

-- The mean over the queries that have followers of the probability that goes there.
local function induction_of(source, lists)
    local sum, count = 0, 0
    each_row(source, function(i, row, cols)
        local earlier = lists[i + 1]
        count = count + (earlier.count > 0 and 1 or 0)
        for n = 1, earlier.count do
            local j = earlier.places[n]
            sum = sum + (j < cols and row[j] or 0)
        end
    end)
    return count > 0 and sum / count or nil
end

-- ---- from q and k ---------------------------------------------------------------------------

local WANT = {"entropy", "mean_distance", "max_logit", "diag_sum_probs", "col_sum_probs"}

-- Queries that have a key `back` places before their own.
local function pairs_at(source, back)
    local shift = source.cols - source.rows - back
    return math.max(0, math.min(source.rows, source.cols - shift) - math.max(0, -shift))
end

-- Queries that see key 0.
local function seers(source)
    local line = source.causal == "bottom_right" and source.cols - source.rows or 0
    return math.max(0, source.rows - math.max(0, -line))
end

local function ratio(sum, count)
    return count > 0 and sum / count or nil
end

local function from_qk(source)
    return scope.scope(function()
        local r = attention.attention(source.q, source.k, nil,
            {want = WANT, causal = source.causal})
        local function diagonal(back)
            return ratio(r.diag_sum_probs:get(0, 0, back + source.rows - 1),
                pairs_at(source, back))
        end
        local most = r.max_logit:get(0)
        return {
            sink = ratio(r.col_sum_probs:get(0, 0, 0), seers(source)),
            entropy = r.entropy:mean(), distance = r.mean_distance:mean(),
            max_logit = most > -math.huge and most or nil,
            own = diagonal(0), previous = source.cols > 1 and diagonal(1) or nil,
        }
    end)
end

-- ---- from saved probabilities -------------------------------------------------------------------

local function row_numbers(row, cols, place)
    local entropy, distance = 0, 0
    for j = 0, cols - 1 do
        local p = row[j]
        if p > 0 then
            entropy = entropy - p * math.log(p)
            distance = distance + p * (place - j)
        end
    end
    return entropy, distance
end

local function from_rows(source)
    local sums = {sink = 0, entropy = 0, distance = 0, own = 0, previous = 0}
    local shift = source.cols - source.rows
    local function at(row, cols, j)
        return j >= 0 and j < cols and row[j] or 0
    end
    each_row(source, function(i, row, cols)
        local entropy, distance = row_numbers(row, cols, i + shift)
        sums.sink = sums.sink + row[0]
        sums.entropy, sums.distance = sums.entropy + entropy, sums.distance + distance
        sums.own = sums.own + at(row, cols, i + shift)
        sums.previous = sums.previous + at(row, cols, i + shift - 1)
    end)
    return {
        sink = ratio(sums.sink, seers(source)), entropy = sums.entropy / source.rows,
        distance = sums.distance / source.rows, own = ratio(sums.own, pairs_at(source, 0)),
        previous = ratio(sums.previous, pairs_at(source, 1)),
    }
end

-- ---- heads ---------------------------------------------------------------------------------

---@class fasc.HeadStatistics
---@field layer integer?
---@field head integer?
---@field source fasc.MapSource
---@field sink number?      mean probability of key 0
---@field entropy number    nats
---@field distance number   tokens
---@field max_logit number? not of saved probabilities
---@field own number?       mean probability of the query's own place
---@field previous number?  of the place before
---@field induction number? nil without tokens, or where none repeat

local RULES = {
    tokens = {is = "table"},
    match = {is = "integer", min = 1, max = 64},
}

--- The numbers of each head, averaged over its queries. tokens are the sequence's, as numbers or
--- strings, for the induction score: the share of attention that goes to what followed an earlier
--- occurrence of the last `match` tokens, where there is one. match is 1 unless given, or 4 where
--- tokens are bytes, which repeat by chance.
---
---     local file = fasc.open "qkv.safetensors"
---     local list = fasc.head_statistics(fasc.head_maps(file, {layer = 4, head = "all"}))
---@param sources fasc.MapSource[] of probabilities, as fasc.head_maps gives them
---@param opts {tokens: any[]?, match: integer?}?
---@return fasc.HeadStatistics[]
function M.statistics(sources, opts)
    opts = options.check("head_statistics", opts, RULES)
    local list, lists = {}, nil
    if opts.tokens then
        lists = followers(opts.tokens, opts.match or M.default_match(opts.tokens))
    end
    for i, source in ipairs(sources) do
        if source.kind ~= "probs" then
            errors.usage("head_statistics: %s: must be probabilities, is %s", source:name(),
                source.kind or "a map of another kind")
        end
        local numbers = source.computed and from_qk(source) or from_rows(source)
        if lists and #opts.tokens == source.rows and source.rows == source.cols then
            numbers.induction = induction_of(source, lists)
        end
        numbers.layer, numbers.head, numbers.source = source.layer, source.head, source
        list[i] = numbers
    end
    return list
end

--- How many tokens must repeat unless the caller says.
---@param tokens any[]
---@return integer
function M.default_match(tokens)
    for _, token in ipairs(tokens) do
        if type(token) ~= "number" or token > 256 then
            return 1
        end
    end
    return 4
end

--- The heads worth looking at: for each number the `count` heads that stand out by it.
---@param list fasc.HeadStatistics[]
---@param count integer?  default 2
---@return {column: fasc.HeadColumn, heads: fasc.HeadStatistics[]}[]
function M.notable(list, count)
    local result = {}
    for _, column in ipairs(M.COLUMNS) do
        local ranked = {}
        for _, head in ipairs(list) do
            if head[column.name] and head[column.name] == head[column.name] then
                ranked[#ranked + 1] = {head = head, order = #ranked}
            end
        end
        local sign = column.best == "most" and -1 or 1
        table.sort(ranked, function(a, b)
            local x, y = sign * a.head[column.name], sign * b.head[column.name]
            return x < y or x == y and a.order < b.order
        end)
        local heads = {}
        for i = 1, math.min(count or 2, #ranked) do
            heads[i] = ranked[i].head
        end
        if #heads > 0 then
            result[#result + 1] = {column = column, heads = heads}
        end
    end
    return result
end

return M
