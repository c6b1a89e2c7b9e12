-- cuda_flash_spec.lua - the flash kernels of a GPU, every configuration of each in f16 and bf16:
-- outputs that hold poison before and have guards around, the same bits in every run, NaN and
-- infinities that stay where they belong in tiles of full size. And every output of the other
-- kernels between guards.
local fasc = require "fasc"
local gpu = require "gpu"
local guarded = require "guarded"
local support = require "support"
local tensors = require "fasc.tensor"

local on_gpu = gpu.tests(it, pending)

local GUARD = guarded.GUARD
local HEAD_DIMS = {8, 64, 80, 128, 136, 256}
local WANTS = {
    {"out", "lse", "row_max"}, {"out", "lse", "logits"}, {"out", "masked"}, {"out", "probs"},
    {"logits"}, {"probs"},
}
local B, HQ, HK, NQ, NK = 1, 4, 2, 141, 203 -- no multiple of anything

local function flash_kernels()
    local list = {}
    for _, kernel in ipairs(fasc.kernels(support.device)) do
        if kernel.name == "flash" then
            list[#list + 1] = kernel
        end
    end
    return list
end

local function outputs_of(want, dtype, head_dim, padded)
    local made, outputs = {}, {}
    for _, name in ipairs(want) do
        local shape, kind = {B, HQ, NQ, NK}, dtype
        if name == "out" then
            shape[4] = head_dim
        elseif name == "lse" or name == "row_max" then
            shape, kind = {B, HQ, NQ}, "f32"
        end
        -- padded rows start at multiples of 16 bytes
        made[name] = guarded.tensor(shape, kind,
            {pitch = padded and math.ceil(shape[#shape] / 8) * 8 or nil})
        outputs[name] = made[name].view
    end
    return made, outputs
end

local MASKS = {full = {}, causal = {causal = true}, window = {window = {70, 9}}}

-- A configuration that has no way for rows at any address gets padded ones.
local function try(config, dtype, head_dim, want, padded, mask)
    local what = ("%s %s D=%d %s%s"):format(config.plan.arch, config.plan.config, head_dim, dtype,
        padded and " padded" or "")
    local q, k, v = support.qkv({B, HQ, HK, NQ, NK, head_dim}, dtype, 5)
    local made, outputs = outputs_of(want, dtype, head_dim, padded)
    local opts = {kernel = config.config, outputs = outputs, causal = MASKS[mask].causal,
        window = MASKS[mask].window}
    if not padded and not pcall(fasc.plan, q, k, v, opts) then
        return try(config, dtype, head_dim, want, true, mask)
    end
    local r = fasc.attention(q, k, v, opts)
    assert.equal(config.plan.arch, r.plan.arch, what)
    support.agrees(fasc.check(q, k, v, r), what)
    local first = {}
    for name, t in pairs(outputs) do
        first[name] = t:clone()
        t:fill(0 / 0)
    end
    for run = 2, 3 do
        fasc.attention(q, k, v, opts)
        for name, t in pairs(outputs) do
            local d = t:compare(first[name])
            assert(d.mismatch == 0 and d.max_abs == 0,
                ("%s: %s differs in run %d by %g"):format(what, name, run, d.max_abs))
        end
    end
    for name, g in pairs(made) do
        guarded.check(g, what .. ": " .. name)
    end
end

describe("the configurations of flash", function()
    for _, kernel in ipairs(support.is_cpu and {{arch = "of a GPU"}} or flash_kernels()) do
        for _, dtype in ipairs {"f16", "bf16"} do
            on_gpu(("%s write their outputs whole, and nothing else, alike in every run: %s")
                :format(kernel.arch, dtype), function()
                local count = 0
                for _, head_dim in ipairs(HEAD_DIMS) do
                    for n, want in ipairs(WANTS) do
                        local mask = ({"full", "causal", "window"})[(n + head_dim / 8) % 3 + 1]
                        for _, config in ipairs(kernel:configurations {dtype = dtype,
                            head_dim = head_dim, want = want, causal = MASKS[mask].causal,
                            window = MASKS[mask].window}) do
                            try(config, dtype, head_dim, want, count % 2 == 1, mask)
                            count = count + 1
                        end
                    end
                end
                assert(count >= #HEAD_DIMS * #WANTS)
            end)
        end
    end
end)

-- Every output of every kernel, alone, on a problem with empty rows and one of few queries.
local OUTPUTS = {
    "out", "lse", "row_max", "logits", "masked", "probs", "entropy", "mean_distance", "row_sum",
    "row_argmax", "topk_values", "topk_indices", "col_sum_probs", "col_sum_logits",
    "col_max_probs", "diag_sum_probs", "diag_sum_logits", "pooled_max", "pooled_mass", "max_logit",
}

local function guard_output(kernel, dtype, p, name)
    local q, k, v = support.qkv(p, dtype, 6)
    local opts = {
        kernel = kernel, causal = true, want = {name},
        topk = name:find("^topk") and 3 or nil, tile = name:find("^pooled") and 64 or nil,
    }
    if name ~= "out" then
        v = nil
    end
    if not support.serves(kernel, q, k, v, opts) then
        return 0
    end
    local what = ("%s %s %s"):format(tostring(kernel), dtype, name)
    local free = fasc.attention(q, k, v, opts)[name]
    local whole = free.dtype == "i32" and -7 or 0 / 0 -- the poison: no index, no sum
    local shape = {unpack(free.shape)}
    local all = support.empty({free:numel() + 2 * GUARD}, {dtype = free.dtype}):fill(whole)
    local stride, step = {}, 1
    for i = #shape, 1, -1 do
        stride[i], step = step, step * shape[i]
    end
    local view = tensors.view(all, GUARD, shape, stride)
    opts.want, opts.outputs = nil, {[name] = view}
    fasc.attention(q, k, v, opts)
    -- cuBLAS may choose its algorithm, and so its rounding, by how rows lie.
    local d, rounding = view:compare(free), kernel == "blas" and 0.05 or 0
    assert(d.mismatch == 0 and d.max_abs <= rounding,
        ("%s differs from what it is elsewhere by %g"):format(what, d.max_abs))
    view:fill(whole)
    local untouched = support.empty({free:numel() + 2 * GUARD}, {dtype = free.dtype}):fill(whole)
    assert.equal(0, all:compare(untouched).mismatch, what .. ": elements around it were written")
    return 1
end

describe("every output is written whole, and nothing around it, by", function()
    for _, kernel in ipairs(support.is_cpu and {"the kernels of a GPU"} or support.kernels()) do
        on_gpu(tostring(kernel), function()
            local count = 0
            for _, dtype in ipairs(support.dtypes(kernel)) do
                for _, p in ipairs {{1, 4, 2, 131, 99, 64}, {2, 2, 1, 3, 701, 72}} do
                    for _, name in ipairs(OUTPUTS) do
                        count = count + guard_output(kernel, dtype, p, name)
                    end
                end
            end
            assert.is_true(count >= 6)
        end)
    end
end)

-- What is put where; the reference says what may follow from it.
local SPOTS = {
    {"NaN in a query", function(q) q:slice(0, 1, 77, 3):fill(0 / 0) end},
    {"an infinite query", function(q) q:slice(0, 2, 130, 0):fill(math.huge) end},
    {"NaN in a key", function(_, k) k:slice(0, 1, 140, 5):fill(0 / 0) end},
    {"an infinite key", function(_, k) k:slice(0, 0, 64, 1):fill(-math.huge) end},
    {"NaN in a value", function(_, _, v) v:slice(0, 0, 150, 7):fill(0 / 0) end},
    {"an infinite value", function(_, _, v) v:slice(0, 1, 127, 2):fill(math.huge) end},
    {"a last key and value of NaN", function(_, k, v)
        k:slice(0, nil, NK - 1):fill(0 / 0)
        v:slice(0, nil, NK - 1):fill(0 / 0)
    end},
}

describe("NaN and infinities stay in the rows and columns that they touch", function()
    for _, kernel in ipairs(support.is_cpu and {{arch = "of a GPU"}} or flash_kernels()) do
        on_gpu("flash " .. kernel.arch, function()
            for n, spot in ipairs(SPOTS) do
                for _, dtype in ipairs {"f16", "bf16"} do
                    for _, head_dim in ipairs {64, 128} do
                        local q, k, v = support.qkv({B, HQ, HK, NQ, NK, head_dim}, dtype, 9)
                        spot[2](q, k, v)
                        for _, want in ipairs {{"out", "lse", "logits"}, {"out", "probs"}} do
                            support.agrees(fasc.check(q, k, v, {
                                kernel = {name = "flash", arch = kernel.arch}, want = want,
                                causal = n % 2 == 1 or nil, window = n % 2 == 0 and {60, 20} or nil,
                            }), ("%s %s D=%d"):format(spot[1], dtype, head_dim))
                        end
                    end
                end
            end
        end)
    end
end)
