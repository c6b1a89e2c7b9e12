-- errors_spec.lua - every wrong input is one line that names the call, the argument and the rule.
local fasc = require "fasc"
local options = require "fasc.options"
local support = require "support"

local fails = support.fails

describe("attention refuses", function()
    local q, k, v = support.qkv({1, 4, 2, 6, 8, 16}, "f16")

    local function refuses(what, fn, ...)
        local texts = {...}
        it(what, function()
            fails("EINVAL", fn, "attention: ", unpack(texts))
        end)
    end

    local function half(shape)
        return support.zeros(shape, {dtype = "f16"})
    end

    refuses("a head_dim of k that differs from q's", function()
        fasc.attention(q, half({1, 2, 8, 24}), half({1, 2, 8, 24}))
    end, "k", "head_dim 24", "16")

    refuses("a head_dim of v that differs from k's", function()
        fasc.attention(q, k, half({1, 2, 8, 24}))
    end, "v", "24", "16")

    refuses("another batch in k", function()
        fasc.attention(q, half({2, 2, 8, 16}), v)
    end, "k", "batch 2", "1")

    refuses("another number of keys in v", function()
        fasc.attention(q, k, half({1, 2, 9, 16}))
    end, "v", "9", "8")

    refuses("another number of heads in v", function()
        fasc.attention(q, k, half({1, 4, 8, 16}))
    end, "v", "4", "2")

    refuses("query heads that are no multiple of key heads", function()
        fasc.attention(q, half({1, 3, 8, 16}), half({1, 3, 8, 16}))
    end, "4", "3", "multiple")

    refuses("mixed dtypes", function()
        fasc.attention(q, k:to("f32"), v)
    end, "k", "f32", "f16")

    refuses("dtypes that are no floating numbers", function()
        fasc.attention(q:to("i32"), k:to("i32"), v:to("i32"))
    end, "q", "i32")

    for i, name in ipairs {"batch", "heads", "queries", "channels"} do
        refuses("zero sizes: no " .. name, function()
            local shape = {1, 4, 6, 16}
            shape[i] = 0
            fasc.attention(half(shape), k, v)
        end, "q: tensor[", "has a zero size")
    end

    refuses("no keys", function()
        fasc.attention(q, half({1, 2, 0, 16}), half({1, 2, 0, 16}))
    end, "k: tensor[1,2,0,16]", "has a zero size")

    refuses("another rank than 4", function()
        fasc.attention(q:slice(0), k, v)
    end, "q", "rank 4")

    refuses("what is no tensor", function()
        fasc.attention(q, {1, 2}, v)
    end, "k: must be a tensor, got a table")

    refuses("nothing for q", function()
        fasc.attention(nil, k, v)
    end, "q: must be a tensor, got nil")

    refuses("a scale that is NaN", function()
        fasc.attention(q, k, v, {sm_scale = 0 / 0})
    end, "sm_scale", "nan")

    refuses("an infinite scale", function()
        fasc.attention(q, k, v, {sm_scale = math.huge})
    end, "sm_scale", "inf")

    refuses("a scale that is no number", function()
        fasc.attention(q, k, v, {sm_scale = "big"})
    end, "sm_scale: must be a number, got 'big'")

    refuses("an unknown option, naming the nearest", function()
        fasc.attention(q, k, v, {casual = true})
    end, "unknown option 'casual'; did you mean 'causal'?")

    refuses("an unknown way to be causal", function()
        fasc.attention(q, k, v, {causal = "top-left"})
    end, "causal", "'top-left'", "did you mean 'top_left'?")

    refuses("an unknown kernel, naming the nearest", function()
        fasc.attention(q, k, v, {kernel = "flahs"})
    end, "kernel", "'flahs'", "did you mean 'flash'?")

    refuses("an unknown kernel that is near to none, naming all", function()
        fasc.attention(q, k, v, {kernel = "zzz"})
    end, "'zzz'", "blas", "naive", "flash")

    refuses("an unknown field of a kernel's configuration", function()
        fasc.attention(q, k, v, {kernel = {name = "flash", blok_m = 64}})
    end, "kernel: unknown option 'blok_m'; did you mean 'block_m'?")

    refuses("a negative tile", function()
        fasc.attention(q, k, v, {kernel = {name = "flash", block_m = -64}})
    end, "block_m", "-64")

    refuses("an unknown output, naming the nearest", function()
        fasc.attention(q, k, v, {want = {"out", "logit"}})
    end, "want: no output 'logit'; did you mean 'logits'?")

    refuses("wanted outputs that are no list", function()
        fasc.attention(q, k, v, {want = {out = true}})
    end, "want")

    refuses("an output of another shape", function()
        fasc.attention(q, k, v, {outputs = {out = half({1, 4, 6, 8})}})
    end, "out", "8")

    refuses("an output of another dtype", function()
        fasc.attention(q, k, v, {outputs = {lse = half({1, 4, 6})}})
    end, "lse", "f16")

    refuses("an output that is no tensor", function()
        fasc.attention(q, k, v, {outputs = {out = 3}})
    end, "outputs.out: must be a tensor, got 3")

    refuses("a window with other than two limits", function()
        fasc.attention(q, k, v, {window = {1, 2, 3}})
    end, "window", "{left, right}")

    refuses("a window that ends before it begins", function()
        fasc.attention(q, k, v, {window = {-5, 2}})
    end, "window", "-5")

    refuses("an alignment that contradicts causal", function()
        fasc.attention(q, k, v, {causal = "top_left", align = "bottom_right"})
    end, "align", "contradicts")

    refuses("a mask that cannot be broadcast", function()
        fasc.attention(q, k, v, {attn_mask = support.ones({5, 8}, {dtype = "u8"})})
    end, "mask", "5")

    refuses("a mask of another dtype", function()
        fasc.attention(q, k, v, {attn_mask = support.ones({6, 8}, {dtype = "i64"})})
    end, "mask", "i64")

    refuses("an unknown dtype of scores, naming the nearest", function()
        fasc.attention(q, k, v, {want = {"probs"}, scores_dtype = "f33"})
    end, "scores_dtype", "'f33'", "did you mean 'f32'?")

    refuses("a dtype of scores when none are wanted", function()
        fasc.attention(q, k, v, {want = {"out", "lse"}, scores_dtype = "f32"})
    end, "scores_dtype: none of what is wanted looks at it, only logits, masked, probs")

    refuses("a dtype of an output that has one", function()
        fasc.attention(q, k, v, {outputs = {out = half({1, 4, 6, 16})}, out_dtype = "f32"})
    end, "out_dtype: none of what is wanted looks at it, only out")

    refuses("numbers past what an option holds, written out", function()
        fasc.attention(q, k, v, {splits = 2^31})
    end, "splits: must be 1 to 2147483647, got 2147483648")

    refuses("a freed tensor", function()
        local t = half({1, 2, 8, 16})
        t:free()
        fasc.attention(q, k, t)
    end, "v", "was freed")

    it("what the kernel asked for cannot do, with the reason", function()
        local wide = support.zeros({1, 1, 4, 16}, {dtype = "f64"})
        for _, kernel in ipairs(support.kernel_names()) do
            if kernel ~= "reference" then
                fails("EUNSUPPORTED", function()
                    fasc.attention(wide, wide, wide, {kernel = kernel})
                end, "attention", kernel, "f64")
            end
        end
    end)

    it("f64 outputs of smaller inputs, on all but the reference", function()
        local outputs = {
            out = support.zeros({1, 4, 6, 16}, {dtype = "f64"}),
            lse = support.zeros({1, 4, 6}, {dtype = "f64"}),
            entropy = support.zeros({1, 4, 6}, {dtype = "f64"}),
            probs = support.zeros({1, 4, 6, 8}, {dtype = "f64"}),
        }
        for _, kernel in ipairs(support.kernel_names()) do
            for name, t in pairs(kernel == "reference" and {} or outputs) do
                fails("EUNSUPPORTED", function()
                    fasc.attention(q, k, v, {kernel = kernel, outputs = {[name] = t}})
                end, "attention", kernel, "f64")
            end
        end
    end)

    it("scores that do not fit in memory: asked and free bytes are told", function()
        local long = support.empty({1, 64, 2^20, 16}, {dtype = "f16"})
        fails("ENOMEM", function()
            fasc.attention(long, long, long, {want = {"probs"}})
        end, "bytes")
    end)
end)

describe("an error", function()
    local function raise()
        fasc.zeros("x")
    end

    it("carries its status, its message and the place in the caller's script", function()
        local line = debug.getinfo(raise, "S").linedefined + 1
        local ok, err = pcall(raise)
        assert.is_false(ok)
        assert.is_true(fasc.is_error(err))
        assert.equal("EINVAL", err.status)
        assert.truthy(err.where:find("errors_spec.lua:" .. line, 1, true))
        assert.equal(err.where .. ": " .. err.message, tostring(err))
        assert.equal("> " .. tostring(err), "> " .. err)
        assert.equal(tostring(err) .. "!", err .. "!")
    end)

    it("is told from others", function()
        assert.is_false(fasc.is_error("text"))
        assert.is_false(fasc.is_error({status = "EINVAL"}))
        assert.is_false(fasc.is_error(nil))
    end)

    it("is raised for names that fasc does not have", function()
        fails("EINVAL", function() return fasc.atention end, "no function 'atention'",
            "did you mean 'attention'?")
    end)
end)

describe("cancellation", function()
    local C = require("fasc.ffi").C

    after_each(function()
        C.fasc_cancel_clear()
    end)

    it("is an error with the status ECANCELED, and goes away when cleared", function()
        local q, k, v = support.qkv({1, 4, 4, 256, 256, 64}, "f32")
        if support.is_cpu then
            C.fasc_cancel()
            for _, kernel in ipairs(support.kernel_names()) do
                fails("ECANCELED", function() fasc.attention(q, k, v, {kernel = kernel}) end)
            end
        end
        C.fasc_cancel_clear()
        fasc.attention(q, k, v)
    end)
end)

describe("options.nearest", function()
    it("forgives a slip, a swap, a missing end and capitals", function()
        local names = {"causal", "kernel", "sm_scale", "window", "want"}
        assert.equal("causal", options.nearest("casual", names))
        assert.equal("causal", options.nearest("Causal", names))
        assert.equal("kernel", options.nearest("kernels", names))
        assert.equal("sm_scale", options.nearest("scale", names))
        assert.equal("window", options.nearest("windw", names))
        assert.is_nil(options.nearest("zebra", names))
        assert.is_nil(options.nearest(1, names))
    end)
end)
