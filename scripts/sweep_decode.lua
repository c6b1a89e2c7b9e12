-- sweep_decode.lua - attention of few new queries over many keys, as while decoding.
--
--     fasc-bench sweep_decode
--     fasc-bench sweep_decode --axis 'seqlen=pow2(1024,65536)' --axis queries=1,4,16
--     fasc-bench sweep_decode --axis splits=1,2,8 --axis kernel=flash --batch 1
--
-- B/s counts keys and values read once: it is what decoding is about. splits is into how many parts
-- the keys go that are worked on side by side (0: the library's choice, which `parts` shows); the
-- queries are the last ones of a causal sequence.
local fasc = require "fasc"
local bench = fasc.bench

local WANT = {
    out = {"out"}, rows = {"out", "lse", "entropy"}, columns = {"out", "col_sum_probs"},
}

bench.main {
    name = "sweep_decode",
    summary = "Times attention of few queries over many keys; checks every point.",
    axes = {
        {"seqlen", {1024, 4096}, "keys", min = 1, gpu = bench.pow2(8192, 65536)},
        {"queries", {1}, "queries", min = 1, gpu = {1, 16}},
        {"head_dim", {64}, "channels of a head", min = 1, gpu = {128}},
        {"dtype", {"f32"}, "of q, k, v and out", choices = {"f16", "bf16", "f32"}, gpu = {"f16"}},
        {"want", {"out", "rows"}, "the output, and which statistics",
            choices = {"out", "rows", "columns"}},
        {"splits", {0}, "parts of the keys; 0: the library's choice", min = 0},
        {"kernel", {"naive", "flash"}, "which kernel computes it",
            choices = {"reference", "naive", "blas", "flash"}, gpu = {"flash"}},
    },
    options = {
        {"batch", 1, "batch size", min = 1, gpu = 8},
        {"heads", 32, "query heads", min = 1},
        {"heads_kv", 8, "key/value heads; 0: as many as query heads", min = 0},
    },
    columns = {
        {"parts", 5, function(row) return row.plan and tostring(row.plan.splits) or "-" end},
    },
    weight = function(point)
        return point.seqlen
    end,

    setup = function(point, options)
        local heads_kv = options.heads_kv > 0 and options.heads_kv or options.heads
        local function make(heads, length, seed)
            return fasc.randn({options.batch, heads, length, point.head_dim},
                {dtype = point.dtype, seed = seed})
        end
        return {q = make(options.heads, point.queries, 1), k = make(heads_kv, point.seqlen, 2),
            v = make(heads_kv, point.seqlen, 3)}
    end,

    op = function(point, x)
        return fasc.op.attention(x.q, x.k, x.v, {
            causal = true, kernel = point.kernel, want = WANT[point.want],
            splits = point.splits > 0 and point.splits or nil,
        })
    end,
}
