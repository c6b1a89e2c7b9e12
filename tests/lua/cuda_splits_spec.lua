-- cuda_splits_spec.lua - keys split among blocks (flash_split.cu): against the float64 reference,
-- with splits that see nothing, NaN that nobody sees, and the same bits in every run.
local fasc = require "fasc"
local gpu = require "gpu"
local support = require "support"

local on_gpu = gpu.tests(it, pending)

local WANT = {"out", "lse", "row_max"}
local ROWS = {"out", "lse", "row_max", "entropy", "mean_distance", "row_sum", "row_argmax"}
local SCORES = {"out", "logits", "masked", "probs"}

-- {B, Hq, Hk, Nq, Nk, D}, options
local PROBLEMS = {
    {{2, 4, 1, 1, 700, 64}, {}},
    {{1, 8, 2, 3, 513, 128}, {causal = true}},
    {{1, 2, 2, 33, 260, 40}, {window = {50, 10}}},
    {{1, 4, 2, 70, 65, 104}, {causal = true}}, -- the first queries see no key
    {{1, 2, 1, 5, 129, 128}, {sm_scale = -0.3}},
    {{1, 4, 1, 2, 400, 256}, {}},
    {{1, 2, 2, 17, 330, 192}, {window = {20, 0}}}, -- most splits see nothing
    {{2, 2, 1, 3, 200, 64}, {sm_scale = 0}}, -- all scores are the same
    {{1, 6, 1, 7, 190, 256}, {causal = true}},
    {{1, 8, 1, 6, 333, 96}, {}},
}

local function inputs(sizes, dtype)
    local b, hq, hk, nq, nk, d = unpack(sizes)
    return support.randn({b, hq, nq, d}, {dtype = dtype, seed = 1}),
        support.randn({b, hk, nk, d}, {dtype = dtype, seed = 2}),
        support.randn({b, hk, nk, d}, {dtype = dtype, seed = 3})
end

local function options(given, splits, want)
    local opts = {want = want or WANT, kernel = {name = "flash", arch = "sm_80", splits = splits}}
    for name, value in pairs(given) do
        opts[name] = value
    end
    return opts
end

describe("split keys", function()
    on_gpu("agree with the reference", function()
        for _, problem in ipairs(PROBLEMS) do
            for _, dtype in ipairs {"f16", "bf16"} do
                local q, k, v = inputs(problem[1], dtype)
                for _, splits in ipairs {2, 3, 7} do
                    local check = fasc.check(q, k, v, options(problem[2], splits))
                    assert(check.ok, ("%s %s, %d splits\n%s"):format(
                        table.concat(problem[1], "x"), dtype, splits, tostring(check)))
                end
            end
        end
    end)

    local function agree(want, more)
        for n, problem in ipairs(PROBLEMS) do
            local q, k, v = inputs(problem[1], n % 2 == 0 and "f16" or "bf16")
            local opts = options(problem[2], 2 + n % 4, want)
            for name, value in pairs(more or {}) do
                opts[name] = value
            end
            local check = fasc.check(q, k, v, opts)
            assert(check.ok, ("%s, %s\n%s"):format(
                table.concat(problem[1], "x"), table.concat(want, " "), tostring(check)))
        end
    end

    on_gpu("give statistics of rows", function()
        agree(ROWS)
        agree({"entropy"})
        agree({"row_sum", "row_argmax"}, {key_range = {7, 60}})
    end)

    on_gpu("give scores of every kind, alone and together", function()
        agree(SCORES)
        agree({"logits"})
        agree({"masked"})
        agree({"probs"}, {scores_dtype = "f32"})
        agree({"masked", "probs", "entropy", "out"}, {scores_dtype = "f32"})
    end)

    on_gpu("drop weights", function()
        agree({"out", "lse", "entropy", "probs"}, {dropout_p = 0.3, seed = 5})
    end)

    on_gpu("lend their LSE to the passes after them", function()
        agree({"out", "col_sum_probs", "diag_sum_probs", "max_logit"})
        agree({"topk_values", "topk_indices", "lse"}, {topk = 4})
    end)

    on_gpu("take a mask tensor, with every output", function()
        local q, k, v = inputs({2, 4, 2, 3, 300, 64}, "f16")
        local hidden = support.rand({3, 300}, {seed = 4, low = 0, high = 3}):to("u8")
        local added = support.randn({3, 300}, {seed = 5})
        for _, mask in ipairs {hidden, added} do
            for _, want in ipairs {ROWS, SCORES} do
                local check = fasc.check(q, k, v, options({attn_mask = mask}, 4, want))
                assert(check.ok, tostring(check))
            end
        end
    end)

    on_gpu("are the planner's choice for one query over many keys", function()
        local q, k, v = inputs({1, 4, 1, 1, 8192, 64}, "f16")
        local r = fasc.attention(q, k, v, {want = {"out", "lse"}})
        assert.is_true(r.plan.splits > 1)
        assert(fasc.check(q, k, v, r).ok)
        local whole = fasc.attention(q, k, v, {kernel = {name = "flash", splits = 1}})
        assert.equal(1, whole.plan.splits)
        -- as many queries as blocks have rows for, also where blocks are many
        q, k, v = inputs({4, 64, 16, 16, 2048, 64}, "f16")
        assert.is_true(fasc.plan(q, k, v, {}).splits > 1)
        q, k, v = inputs({4, 64, 64, 512, 512, 64}, "f16")
        assert.equal(1, fasc.plan(q, k, v, {}).splits)
    end)

    on_gpu("give the same bits in every run", function()
        local q, k, v = inputs({2, 4, 2, 2, 1500, 128}, "f16")
        local first = fasc.attention(q, k, v, options({}, 5))
        for _ = 1, 5 do
            local again = fasc.attention(q, k, v, options({}, 5))
            for _, name in ipairs(WANT) do
                local d = first[name]:compare(again[name])
                assert.equal(0, d.max_abs + d.mismatch)
            end
        end
    end)

    on_gpu("keep a key's NaN from queries that do not see it", function()
        local q, k, v = inputs({1, 2, 1, 6, 300, 64}, "f16")
        v:slice(nil, nil, {298, 300}):fill(0 / 0)
        local check = fasc.check(q, k, v, options({causal = true}, 4))
        assert(check.ok, tostring(check))
    end)

    on_gpu("honour the settings that are asked for, or say which there are", function()
        local q, k, v = inputs({1, 1, 1, 1, 300, 128}, "f16")
        local kernel = {name = "flash", arch = "sm_80", splits = 2, stages = 2}
        local r = fasc.attention(q, k, v, {kernel = kernel})
        assert.equal(2, r.plan.splits)
        assert.equal(2, r.plan.stages)
        assert.equal(16, r.plan.block_m)
        kernel.block_m = 64
        r = fasc.attention(q, k, v, {kernel = kernel})
        assert.equal(64, r.plan.block_m)
        assert(fasc.check(q, k, v, r).ok)
        kernel.stages = 9
        local ok, err = pcall(fasc.attention, q, k, v, {kernel = kernel})
        assert.is_false(ok)
        assert.matches("has these block_m x block_n, stages, warps when keys are split: "
            .. "16|32|64x64,3,4", err.message, 1, true)
    end)
end)
