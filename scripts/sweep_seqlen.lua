-- sweep_seqlen.lua - time attention with its scores against the sequence length, kernel by kernel.
--
--     fasc-bench sweep_seqlen
--     fasc-bench sweep_seqlen --axis 'seqlen=pow2(512,8192)' --axis causal=true --heads 16
--     fasc-bench sweep_seqlen --axis want=out,probs --axis kernel=flash --output flash.jsonl
--
-- Every point is compared with the float64 reference before it is timed; a wrong one gets no
-- speed. "error" is the largest error as a share of what is allowed (at most 1), "spread" the
-- distance from the 5th to the 95th percentile over the median, "vs naive" the speed-up. FLOPs
-- count what the outputs need (causal points need half). Each point is also a line of JSON in
-- ./results. This file is an example of a sweep: axes, a setup and an operation; copy it.
local fasc = require "fasc"
local bench = fasc.bench

-- What the axis `want` means. The scores come out of the same pass as the output.
local WANT = {
    out = {"out"},
    logits = {"out", "logits"},
    masked = {"out", "masked"},
    probs = {"out", "probs"},
}

bench.main {
    name = "sweep_seqlen",
    summary = "Times attention with scores against the sequence length; checks every point.",

    -- An axis takes any values from the command line: --axis NAME=VALUE,VALUE. The last one is
    -- the innermost.
    axes = {
        {"seqlen", bench.pow2(256, 2048), "queries and keys", min = 1,
            gpu = bench.pow2(512, 16384)},
        {"head_dim", {64}, "channels of a head", min = 1, gpu = {64, 128}},
        {"causal", {false, true}, "whether a query sees no later key"},
        {"dtype", {"f32"}, "of q, k, v and the outputs", choices = {"f16", "bf16", "f32"},
            gpu = {"f16"}},
        bench.inputs.AXIS,
        {"want", {"logits"}, "the output alone, or with which scores",
            choices = {"out", "logits", "masked", "probs"}},
        {"kernel", {"naive", "blas", "flash"}, "which kernel computes it",
            choices = {"reference", "naive", "blas", "flash"}},
    },

    options = {
        {"batch", 1, "batch size", min = 1},
        {"heads", 8, "query heads", min = 1, gpu = 32},
        {"heads_kv", 0, "key/value heads; 0: as many as query heads", min = 0},
        bench.inputs.OPTION,
    },

    -- Speed-ups are over this value of this axis.
    baseline = {"kernel", "naive"},

    -- What a point costs beside the others; the time left is estimated from it.
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
        return fasc.op.attention(x.q, x.k, x.v,
            {causal = point.causal, kernel = point.kernel, want = WANT[point.want]})
    end,
}
