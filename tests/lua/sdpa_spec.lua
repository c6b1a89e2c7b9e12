-- sdpa_spec.lua - scaled_dot_product_attention: PyTorch's names, rules and errors. And the other
-- ways to call attention.
local fasc = require "fasc"
local support = require "support"

local near, fails, same = support.near, support.fails, support.same
local sdpa = fasc.scaled_dot_product_attention

describe("scaled_dot_product_attention", function()
    local q, k, v = support.qkv({2, 2, 2, 4, 6, 16}, "f32")

    it("is softmax(q k^T / sqrt(D)) v", function()
        near(sdpa(q, k, v), support.oracle(q, k, v).out, 2e-5)
        near(sdpa(q, k, v, {scale = 0.7}), support.oracle(q, k, v, {sm_scale = 0.7}).out, 2e-5)
    end)

    it("aligns is_causal to the top left", function()
        near(sdpa(q, k, v, {is_causal = true}),
            support.oracle(q, k, v, {causal = "top_left"}).out, 2e-5)
        local long_q, short_k, short_v = support.qkv({1, 1, 1, 6, 4, 16}, "f32")
        near(sdpa(long_q, short_k, short_v, {is_causal = true}),
            support.oracle(long_q, short_k, short_v, {causal = "top_left"}).out, 2e-5)
    end)

    it("takes boolean masks as what takes part, and floating ones as what is added", function()
        local sees = {
            {true, false, true, true, false, true}, {true, true, true, true, true, true},
            {false, false, false, true, false, false}, {true, true, false, false, true, true},
        }
        near(sdpa(q, k, v, {attn_mask = support.from_table(sees)}),
            support.oracle(q, k, v, {sees = function(_, _, i, j)
                return sees[i + 1][j + 1]
            end}).out, 2e-5)
        local bias = support.randn({2, 1, 4, 6}, {seed = 20})
        near(sdpa(q, k, v, {attn_mask = bias}), support.oracle(q, k, v, {bias = function(b, _, i, j)
            return bias:get(b, 0, i, j)
        end}).out, 2e-5)
    end)

    it("wants enable_gqa for fewer key heads", function()
        local wide, narrow_k, narrow_v = support.qkv({1, 4, 2, 3, 5, 16}, "f32")
        fails("EINVAL", function() sdpa(wide, narrow_k, narrow_v) end, "k: 2 heads", "q's 4",
            "enable_gqa")
        near(sdpa(wide, narrow_k, narrow_v, {enable_gqa = true}),
            support.oracle(wide, narrow_k, narrow_v).out, 2e-5)
    end)

    it("refuses attn_mask together with is_causal", function()
        local mask = support.ones({4, 6}, {dtype = "u8"})
        fails("EINVAL", function() sdpa(q, k, v, {attn_mask = mask, is_causal = true}) end,
            "scaled_dot_product_attention: attn_mask", "is_causal")
    end)

    it("drops pairs, another time others", function()
        fails("EINVAL", function() sdpa(q, k, v, {dropout_p = -1}) end, "dropout_p",
            "at least 0 and below 1")
        local served = support.serves(nil, q, k, v, {dropout_p = 0.5})
        if not served then
            return
        end
        local whole, a, b = sdpa(q, k, v), sdpa(q, k, v, {dropout_p = 0.5}),
            sdpa(q, k, v, {dropout_p = 0.5})
        assert(a:compare(b).max_abs > 0.01 and a:compare(whole).max_abs > 0.01)
        assert.equal(0, sdpa(q, k, v, {dropout_p = 0}):compare(whole).max_abs)
    end)

    it("knows PyTorch's names, and says so of others", function()
        fails("EINVAL", function() sdpa(q, k, v, {causal = true}) end, "unknown option 'causal'",
            "did you mean 'is_causal'")
        fails("EINVAL", function() sdpa(q, k) end, "v: must be a tensor, got nil")
    end)
end)

describe("attention_with_scores", function()
    local q, k, v = support.qkv({1, 2, 1, 4, 6, 16}, "f32")
    local expected = support.oracle(q, k, v, {causal = true})

    it("gives the output and the logits, or another kind of scores", function()
        local out, scores = fasc.attention_with_scores(q, k, v, {causal = true})
        near(out, expected.out, 2e-5)
        near(scores, expected.logits, 2e-5)
        for _, kind in ipairs {"logits", "masked", "probs"} do
            out, scores = fasc.attention_with_scores(q, k, v, {causal = true, scores = kind})
            near(out, expected.out, 2e-5, kind)
            near(scores, expected[kind], 2e-5, kind)
        end
    end)

    it("pads the rows of scores to 16 bytes", function()
        for dtype, row in pairs {f16 = 8, bf16 = 8, f32 = 8} do
            local wide_q, wide_k, wide_v = support.qkv({1, 2, 1, 4, 6, 16}, dtype)
            local _, scores = fasc.attention_with_scores(wide_q, wide_k, wide_v)
            assert.same({2 * 4 * row, 4 * row, row, 1}, scores.stride)
            assert.same({1, 2, 4, 6}, scores.shape)
        end
    end)

    it("checks its options' names and values", function()
        fails("EINVAL", function() fasc.attention_with_scores(q, k, v, {casual = true}) end,
            "attention_with_scores: unknown option 'casual'; did you mean 'causal'?")
        fails("EINVAL", function() fasc.attention_with_scores(q, k, v, {scores = "prob"}) end,
            "scores", "did you mean 'probs'")
        fails("EINVAL", function() fasc.attention_with_scores(q, k, v, {want = {"out"}}) end,
            "unknown option 'want'")
    end)
end)

describe("compute_attention_scores", function()
    local q, k, v = support.qkv({1, 2, 1, 4, 6, 16}, "f32")

    it("gives the logits", function()
        near(fasc.compute_attention_scores(q, k), support.oracle(q, k, v).logits, 2e-5)
        near(fasc.compute_attention_scores(q, k, {sm_scale = 2}),
            support.oracle(q, k, v, {sm_scale = 2}).logits, 2e-4)
    end)

    it("honours causal: masked scores unless another kind is asked for", function()
        local expected = support.oracle(q, k, v, {causal = true})
        near(fasc.compute_attention_scores(q, k, {causal = true}), expected.masked, 2e-5)
        near(fasc.compute_attention_scores(q, k, {causal = true, kind = "logits"}),
            expected.logits, 2e-5)
        near(fasc.compute_attention_scores(q, k, {causal = true, kind = "probs"}),
            expected.probs, 2e-5)
        near(fasc.compute_attention_scores(q, k, {window = {1, 0}}),
            support.oracle(q, k, v, {window = {1, 0}}).masked, 2e-5)
    end)

    it("names itself in errors", function()
        fails("EINVAL", function() fasc.compute_attention_scores(q, k, {kind = "logit"}) end,
            "compute_attention_scores: kind", "did you mean 'logits'")
        fails("EINVAL", function() fasc.compute_attention_scores(q) end, "k: must be a tensor")
    end)
end)

describe("attention's result", function()
    local q, k, v = support.qkv({1, 2, 1, 4, 6, 16}, "f32")

    it("holds what was wanted, and nothing else", function()
        local r = fasc.attention(q, k, v, {want = {"lse", "probs"}})
        assert.is_nil(r.out)
        assert.same({1, 2, 4}, r.lse.shape)
        assert.same({1, 2, 4, 6}, r.probs.shape)
        assert.is_nil(fasc.attention(q, k, v).lse)
        assert.equal("f32", fasc.attention(q, k, v, {want = "out"}).out.dtype)
        fails("EINVAL", function() return r.prob end, "did you mean 'probs'")
    end)

    it("needs no v where out is not wanted", function()
        same(fasc.attention(q, k, nil, {want = {"lse"}}).lse,
            fasc.attention(q, k, v, {want = {"lse"}}).lse)
        fails("EINVAL", function() fasc.attention(q, k) end, "v")
    end)

    it("prints its tensors and its plan", function()
        local text = tostring(fasc.attention(q, k, v, {want = {"out", "lse"}}))
        assert.truthy(text:find("out%s+tensor%[1,2,4,16%] f32"))
        assert.truthy(text:find("lse%s+tensor%[1,2,4%] f32"))
        assert.truthy(text:find("\nplan ", 1, true))
    end)
end)

describe("matmul", function()
    local function product(A, B, alpha)
        local rows = {}
        for i = 1, #A do
            rows[i] = {}
            for j = 1, #B[1] do
                local sum = 0
                for c = 1, #B do
                    sum = sum + A[i][c] * B[c][j]
                end
                rows[i][j] = sum * (alpha or 1)
            end
        end
        return rows
    end

    it("multiplies matrices in every floating dtype", function()
        for dtype, tolerance in pairs {f16 = 8e-3, bf16 = 6e-2, f32 = 1e-5, f64 = 1e-13} do
            local a = support.randn({5, 7}, {dtype = dtype, seed = 1})
            local b = support.randn({7, 3}, {dtype = dtype, seed = 2})
            local c = fasc.matmul(a, b)
            assert.equal(dtype, c.dtype)
            near(c, product(a:tolist(), b:tolist()), tolerance, dtype)
        end
    end)

    it("scales by alpha, writes to out, widens to f32", function()
        local a = support.randn({4, 6}, {dtype = "f16", seed = 1})
        local b = support.randn({6, 5}, {dtype = "f16", seed = 2})
        local expected = product(a:tolist(), b:tolist(), -0.5)
        local out = support.zeros({4, 5}, {dtype = "f32"})
        assert.equal(out, fasc.matmul(a, b, {alpha = -0.5, out = out}))
        near(out, expected, 1e-5)
        near(fasc.matmul(a, b, {alpha = -0.5, out_dtype = "f32"}), expected, 1e-5)
        fails("EINVAL", function() fasc.matmul(a, b, {alpha = 0}) end, "alpha")
    end)

    it("runs over batches, with b's batch equal, 1 or absent, and any strides", function()
        local a = support.randn({2, 3, 4, 5}, {seed = 1})
        local full = support.randn({2, 3, 5, 6}, {seed = 2})
        local c = fasc.matmul(a, full)
        assert.same({2, 3, 4, 6}, c.shape)
        near(c:slice(1, 2), product(a:slice(1, 2):tolist(), full:slice(1, 2):tolist()), 1e-5)
        local one = support.randn({1, 1, 5, 6}, {seed = 3})
        near(fasc.matmul(a, one):slice(1, 1),
            product(a:slice(1, 1):tolist(), one:slice(0, 0):tolist()), 1e-5)
        local plain = support.randn({6, 5}, {seed = 4}):transpose(0, 1)
        near(fasc.matmul(a, plain):slice(0, 2), product(a:slice(0, 2):tolist(), plain:tolist()),
            1e-5)
    end)

    it("refuses shapes that do not fit", function()
        local a = support.zeros({4, 5})
        fails("EINVAL", function() fasc.matmul(a, support.zeros({4, 5})) end, "matmul", "5", "4")
        fails("EINVAL", function() fasc.matmul(a, support.zeros({5})) end, "b", "rank 2")
        fails("EINVAL", function() fasc.matmul(a, support.zeros({5, 2}, {dtype = "f16"})) end,
            "matmul", "f16")
        fails("EINVAL", function() fasc.matmul(a, 3) end, "b: must be a tensor")
        fails("EINVAL", function()
            fasc.matmul(a, support.zeros({5, 2}), {out = support.zeros({4, 3})})
        end, "out")
    end)
end)
