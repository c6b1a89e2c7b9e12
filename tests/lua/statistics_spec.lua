-- statistics_spec.lua - statistics of scores on every kernel of the device: against the float64
-- reference, against what must hold between them, and on a real layer's tensors.
local fasc = require "fasc"
local support = require "support"

local agrees, fails, near = support.agrees, support.fails, support.near

local STATISTICS = {
    "entropy", "mean_distance", "row_sum", "row_argmax", "topk_values", "topk_indices",
    "col_sum_probs", "col_sum_logits", "col_max_probs", "diag_sum_probs", "diag_sum_logits",
    "pooled_max", "pooled_mass", "max_logit",
}

-- The options that a set of outputs needs.
local function options_for(want, more)
    local opts = {want = want}
    for _, name in ipairs(want) do
        opts.topk = name:find "^topk" and 5 or opts.topk
        opts.tile = name:find "^pooled" and 16 or opts.tile
    end
    for name, value in pairs(more or {}) do
        opts[name] = value
    end
    return opts
end

local function uses(want, ...)
    for _, pattern in ipairs {...} do
        for _, name in ipairs(want) do
            if name:find(pattern) then
                return true
            end
        end
    end
end

-- Problems {b, hq, hk, nq, nk, d} and options of attention.
local CASES = {
    {{1, 2, 2, 64, 64, 64}, {}},
    {{2, 4, 2, 33, 70, 32}, {causal = true}},
    {{1, 4, 1, 70, 33, 40}, {causal = true}}, -- the first rows see nothing
    {{1, 2, 1, 80, 80, 16}, {window = {9, 3}}},
    {{1, 8, 2, 3, 200, 64}, {causal = true}},
    {{1, 2, 2, 1, 130, 128}, {}},
}

for _, kernel in ipairs(support.kernels()) do
    describe("statistics by " .. kernel, function()
        for _, name in ipairs(STATISTICS) do
            local q, k = support.qkv({1, 1, 1, 16, 16, 16}, support.dtypes(kernel)[1])
            if support.serves(kernel, q, k, nil, options_for {name}) then
                it("agree with the reference: " .. name, function()
                    for _, dtype in ipairs(support.dtypes(kernel)) do
                        for n, case in ipairs(CASES) do
                            local x, y, z = support.qkv(case[1], dtype, n)
                            local want = n % 2 == 0 and {"out", name} or {name}
                            agrees(fasc.check(x, y, z,
                                options_for(want, {kernel = kernel, causal = case[2].causal,
                                    window = case[2].window})), kernel .. " " .. dtype)
                        end
                    end
                end)
            end
        end

        it("agree with the reference in ranges, and per key head", function()
            for _, dtype in ipairs(support.dtypes(kernel)) do
                local q, k, v = support.qkv({2, 4, 2, 50, 90, 32}, dtype)
                for n, name in ipairs(STATISTICS) do
                    local want = {name}
                    local opts = options_for(want, {
                        kernel = kernel, causal = n % 2 == 0,
                        query_range = uses(want, "^col", "^diag") and {-20, -3} or nil,
                        key_range = uses(want, "^col", "^diag", "^row_sum") and {10, 71} or nil,
                        per = uses(want, "^col") and n % 2 == 0 and "kv_head" or nil,
                    })
                    if support.serves(kernel, q, k, v, opts) then
                        agrees(fasc.check(q, k, v, opts), kernel .. " " .. dtype .. " " .. name)
                    end
                end
            end
        end)

        it("agree with the reference under dropout, which they do not feel", function()
            local q, k, v = support.qkv({1, 4, 2, 40, 60, 32}, support.dtypes(kernel)[1])
            local opts = {kernel = kernel, causal = true, dropout_p = 0.25, seed = 11, offset = 3,
                want = {"out", "lse"}}
            if not support.serves(kernel, q, k, v, opts) then
                return
            end
            local r = fasc.attention(q, k, v, opts)
            assert.equal(11, r.seed)
            assert.equal(3, r.offset)
            agrees(fasc.check(q, k, v, r), kernel)
            -- another variant of the kernel may round otherwise
            local without = {kernel = kernel, causal = true, want = {"lse"}}
            assert(fasc.attention(q, k, v, without).lse:compare(r.lse).max_abs < 1e-5)
            opts.offset = 4
            assert(fasc.attention(q, k, v, opts).out:compare(r.out).max_abs > 0.01)
        end)
    end)
end

describe("every statistic", function()
    it("is served by a kernel of the device", function()
        local q, k, v = support.qkv({1, 2, 2, 40, 40, 64}, "f16")
        for _, name in ipairs(STATISTICS) do
            assert(support.serves(nil, q, k, v, options_for {"out", name}), name)
        end
        assert(support.serves(nil, q, k, v, {dropout_p = 0.1}))
    end)

    it("gives the same bits twice", function()
        local q, k = support.qkv({1, 4, 2, 200, 300, 64}, "f16")
        for _, name in ipairs(STATISTICS) do
            local opts = options_for({name}, {causal = true})
            support.same(fasc.attention(q, k, nil, opts)[name],
                fasc.attention(q, k, nil, opts)[name], name)
        end
    end)

    it("obeys what must hold between them", function()
        local q, k = support.qkv({1, 2, 2, 90, 50, 64}, "f32")
        local opts = options_for({unpack(STATISTICS)}, {causal = true, kernel = "naive"})
        local r = fasc.attention(q, k, nil, opts)
        local rows = 50 -- the first 40 see no key
        for h = 0, 1 do
            local columns, diagonals = r.col_sum_probs:slice(0, h), r.diag_sum_probs:slice(0, h)
            assert.near(rows, columns:sum(), 1e-3)
            assert.near(rows, diagonals:sum(), 1e-3)
            assert.near(r.row_sum:slice(0, h):sum(), r.col_sum_logits:slice(0, h):sum(), 1e-2)
            assert.near(r.row_sum:slice(0, h):sum(), r.diag_sum_logits:slice(0, h):sum(), 1e-2)
            assert.near(r.topk_values:slice(0, h):max(), r.max_logit:get(h), 1e-6)
            assert(r.col_max_probs:slice(0, h):max() <= 1 + 1e-5)
            assert.near(r.col_max_probs:slice(0, h):max(), r.pooled_max:slice(0, h):max(), 1e-5)
            for i = 0, 89 do
                local visible = math.max(0, i - 39)
                local entropy = r.entropy:get(0, h, i)
                assert(entropy >= 0 and entropy <= math.log(math.max(visible, 1)) + 1e-5)
                assert.equal(r.row_argmax:get(0, h, i), r.topk_indices:get(0, h, i, 0))
            end
            assert.equal(-1, r.row_argmax:get(0, h, 0))
        end
    end)
end)

describe("sums under their known names", function()
    local q, k, v = support.qkv({1, 4, 2, 30, 30, 16}, "f32")
    local P = support.oracle(q, k, v, {causal = true})
    local kernel = {causal = true}

    local function sums(of, first, last)
        local result = {{}}
        for h = 1, 4 do
            result[1][h] = {}
            for j = 1, last or 30 do
                local sum = 0
                for i = first or 1, 30 do
                    local x = of[1][h][i][j]
                    sum = sum + (x > -math.huge and x or 0)
                end
                result[1][h][j] = sum
            end
        end
        return result
    end

    it("are those of plain loops", function()
        local out, s = fasc.attention_with_softmax_col_sum(q, k, v, kernel)
        near(out, P.out, 2e-5)
        near(s, sums(P.probs), 1e-4)
        near(select(2, fasc.attention_with_col_sum(q, k, v, kernel)), sums(P.masked), 1e-3)
        near(select(2, fasc.attention_cross_token_softmax_sum(q, k, v, 12, kernel)),
            sums(P.probs, 13, 12), 1e-4)
        near(select(2, fasc.attention_cross_token_qk_sum(q, k, v, 12, kernel)),
            sums(P.masked, 13, 12), 1e-3)
        local rows = select(2, fasc.attention_with_row_sum(q, k, v, kernel))
        assert.same({1, 4, 30}, rows.shape)
        assert.near(P.masked[1][1][1][1], rows:get(0, 0, 0), 1e-4)
        assert.same({1, 2, 30}, select(2, fasc.attention_with_col_sum(q, k, v,
            {per = "kv_head"})).shape)
    end)

    it("take fasc.attention's options but those that they set", function()
        fasc.attention_with_row_sum(q, k, v, {sm_scale = 0.3, dropout_p = 0.1})
        fails("EINVAL", function() fasc.attention_with_row_sum(q, k, v, {want = "lse"}) end,
            "attention_with_row_sum: unknown option 'want'")
        fails("EINVAL", function() fasc.attention_cross_token_qk_sum(q, k, v, 30) end,
            "attention_cross_token_qk_sum: split: must be below the 30 queries")
    end)
end)

describe("options of statistics", function()
    local q, k, v = support.qkv({1, 2, 2, 8, 8, 16}, "f32")

    local function refused(opts, ...)
        fails("EINVAL", function() fasc.attention(q, k, v, opts) end, ...)
    end

    it("must have an output that looks at them", function()
        refused({tile = 4}, "attention: tile: none of what is wanted looks at it, only pooled_max")
        refused({topk = 4}, "attention: topk: none of what is wanted looks at it")
        refused({per = "kv_head"}, "attention: per: none of what is wanted looks at it")
        refused({want = "row_sum", query_range = {1}}, "attention: query_range: none of what")
        refused({want = "lse", key_range = {1}}, "attention: key_range: none of what")
        refused({want = "lse", dropout_p = 0.5}, "attention: dropout_p: out, all that it affects")
        refused({seed = 3}, "attention: seed: is of dropout, but dropout_p is not given")
    end)

    it("must be given where an output needs them, and within bounds", function()
        refused({want = "topk_values"}, "attention: topk: must be given, 1 to 64, for topk_values")
        refused({want = "pooled_mass"}, "attention: tile: must be given")
        refused({want = "topk_values", topk = 65}, "topk: must be 1 to 64, got 65")
        refused({want = "col_sum_probs", query_range = {5, 3}},
            "query_range: [5, 3) is not a range")
        refused({want = "col_sum_probs", key_range = {0, 9}}, "key_range: [0, 9) is not a range")
        refused({want = "col_sum_probs", key_range = {first = 1}}, "key_range: must be {first")
        refused({dropout_p = 1}, "dropout_p: must be at least 0 and below 1, got 1")
        refused({splits = 2, kernel = {splits = 3}}, "splits: 2 contradicts kernel.splits, 3")
    end)

    it("are ranges as t:slice takes them", function()
        local want = {want = "col_sum_probs", query_range = {-3}, key_range = {2, -1}}
        local r = fasc.attention(q, k, nil, want)
        assert.same({1, 2, 5}, r.col_sum_probs.shape)
        agrees(fasc.check(q, k, nil, r))
    end)

    it("draw a mask of their own where no seed is given", function()
        fasc.manual_seed(9)
        local a = fasc.attention(q, k, v, {dropout_p = 0.5})
        local b = fasc.attention(q, k, v, {dropout_p = 0.5})
        fasc.manual_seed(9)
        local again = fasc.attention(q, k, v, {dropout_p = 0.5})
        fasc.manual_seed(0)
        assert.equal(9, a.seed)
        assert(a.offset ~= b.offset)
        support.same(a.out, again.out)
        support.same(b.out, fasc.attention(q, k, v,
            {dropout_p = 0.5, seed = b.seed, offset = b.offset}).out)
    end)
end)
