-- sweep_reducers.lua - what statistics of the scores cost beside attention's output.
--
--     fasc-bench sweep_reducers
--     fasc-bench sweep_reducers --axis want=all --axis seqlen=4096 --axis causal=true
--     fasc-bench sweep_reducers --axis want=out,columns --axis head_dim=64,128 --heads 32
--
-- "vs out" is the speed beside the output alone: 0.5 means twice the time. No statistic holds an
-- N x N matrix. Each point is compared with the float64 reference before it is timed: statistics of
-- rows, and the sums over all of them, in full where that is small, else with another kernel.
local fasc = require "fasc"
local bench = fasc.bench

-- What the axis `want` means, and the options that it needs.
local WANT = {
    out = {{"out"}},
    rows = {{"out", "lse", "row_max", "entropy", "row_sum"}},
    distance = {{"out", "mean_distance"}},
    argmax = {{"out", "row_argmax"}},
    topk = {{"out", "topk_values", "topk_indices"}, topk = 8},
    columns = {{"out", "lse", "col_sum_probs"}},
    column_max = {{"out", "col_max_probs"}},
    logit_sums = {{"out", "row_sum", "col_sum_logits"}},
    window = {{"out", "col_sum_probs"}, query_range = {-64}},
    diagonals = {{"out", "diag_sum_probs"}},
    pooled = {{"out", "pooled_max", "pooled_mass"}, tile = 64},
    max_logit = {{"out", "max_logit"}},
}
local KINDS = {
    "out", "rows", "distance", "argmax", "topk", "columns", "column_max", "logit_sums", "window",
    "diagonals", "pooled", "max_logit",
}

bench.main {
    name = "sweep_reducers",
    summary = "Times statistics of attention's scores beside the output alone; checks every point.",
    axes = {
        {"seqlen", {1024}, "queries and keys", min = 64, gpu = {8192}},
        {"head_dim", {64}, "channels of a head", min = 1, gpu = {64, 128}},
        {"causal", {false, true}, "whether a query sees no later key"},
        {"dtype", {"f32"}, "of q, k, v and out", choices = {"f16", "bf16", "f32"}, gpu = {"f16"}},
        bench.inputs.AXIS,
        {"kernel", {"flash"}, "which kernel computes it",
            choices = {"reference", "naive", "blas", "flash"}},
        {"want", {"out", "rows", "topk", "columns", "diagonals", "pooled"},
            "the output, and which statistics", choices = KINDS},
    },
    options = {
        {"batch", 1, "batch size", min = 1},
        {"heads", 8, "query heads", min = 1, gpu = 32},
        {"heads_kv", 0, "key/value heads; 0: as many as query heads", min = 0},
        bench.inputs.OPTION,
    },
    baseline = {"want", "out"},
    weight = function(point)
        return point.seqlen ^ 2
    end,

    setup = function(point, options)
        local heads_kv = options.heads_kv > 0 and options.heads_kv or options.heads
        local function make(name, heads, seed)
            return bench.inputs.make(point.inputs, name,
                {options.batch, heads, point.seqlen, point.head_dim},
                {dtype = point.dtype, seed = seed}, options)
        end
        return {q = make("q", options.heads, 1), k = make("k", heads_kv, 2),
            v = make("v", heads_kv, 3)}
    end,

    op = function(point, x)
        local want = WANT[point.want]
        return fasc.op.attention(x.q, x.k, x.v, {
            causal = point.causal, kernel = point.kernel, want = want[1], topk = want.topk,
            tile = want.tile, query_range = want.query_range,
        })
    end,
}
