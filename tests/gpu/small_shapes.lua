-- small_shapes.lua - every kernel of the GPU on small problems, once, for compute-sanitizer (see
-- scripts/sanitize). Results are not compared here: the specs do that.
--
--     fasc-bench tests/gpu/small_shapes.lua list       names of the parts, one a line
--     fasc-bench tests/gpu/small_shapes.lua PART...    runs them; all when none is named
--
-- The JIT compiler is off: the sanitizer looks through the host's stack at calls of the driver, and
-- LuaJIT's compiled code tells nobody how to unwind it.
require("jit").off()
require("jit").flush()

local fasc = require "fasc"

local device = fasc.device("cuda:0")
local DTYPES = {"f16", "bf16", "f32", "f64", "i32", "i64", "u8"}
local FLOATS = {"f16", "bf16", "f32", "f64"}
local launches = 0
local parts = {} -- {name, function}

local function part(name, run)
    parts[#parts + 1] = {name = name, run = run}
end

local function ran()
    launches = launches + 1
end

-- ---- tensors --------------------------------------------------------------------------------

part("tensors", function()
    for _, dtype in ipairs(DTYPES) do
        local t = fasc.full({3, 37, 5}, 2, {dtype = dtype, device = device})
        fasc.arange(0, 77, 1, {dtype = dtype, device = device})
        t:summary()
        t:compare(t:clone())
        for _, to in ipairs(DTYPES) do
            local target = fasc.zeros({3, 37, 5}, {dtype = to, device = device})
            target:copy_from(t)
            target:transpose(0, 2):copy_from(t:transpose(0, 2):clone())
            fasc.zeros({5, 37, 3}, {dtype = to, device = device}):copy_from(t:transpose(0, 2))
            ran()
        end
    end
    for _, dtype in ipairs(FLOATS) do
        local opts = {dtype = dtype, device = device, seed = 1}
        fasc.randn({1001}, opts)
        fasc.rand({7, 143}, opts)
        local a, b = fasc.randn({2, 33, 17}, opts), fasc.randn({2, 17, 9}, opts)
        fasc.matmul(a, b)
        fasc.matmul(a:transpose(1, 2), fasc.randn({2, 33, 9}, opts))
        ran()
    end
end)

-- ---- attention ------------------------------------------------------------------------------

local ALL = {"out", "lse", "row_max", "logits", "masked", "probs"}
local STATISTICS = {
    "entropy", "mean_distance", "row_sum", "row_argmax", "topk_values", "topk_indices",
    "col_sum_probs", "col_sum_logits", "col_max_probs", "diag_sum_probs", "diag_sum_logits",
    "pooled_max", "pooled_mass", "max_logit",
}

local function attend(kernel, q, k, v, opts)
    local with = {kernel = {name = kernel.name, arch = kernel.arch}}
    for name, value in pairs(opts) do
        with[name] = value
    end
    local ok, err = pcall(fasc.attention, q, k, v, with)
    if ok then
        ran()
    elseif err.status ~= "EUNSUPPORTED" then
        error(err, 0)
    end
end

local function problems(kernel, dtype, head_dim)
    local opts = {dtype = dtype, device = device, seed = 3}
    local q = fasc.randn({1, 4, 67, head_dim}, opts)
    local k, v = fasc.randn({1, 2, 131, head_dim}, opts), fasc.randn({1, 2, 131, head_dim}, opts)
    attend(kernel, q, k, v, {want = {"out", "lse"}})
    attend(kernel, q, k, v, {causal = true, want = {"out"}})
    attend(kernel, q, k, v, {want = {"logits"}})
    attend(kernel, q, k, v, {causal = true, want = {"masked"}})
    for _, scores in ipairs {"logits", "masked", "probs"} do
        for _, scores_dtype in ipairs {dtype, "f32"} do
            attend(kernel, q, k, v, {
                causal = true, want = {"out", scores}, scores_dtype = scores_dtype,
            })
        end
    end
    for _, scores in ipairs {"logits", "masked", "probs"} do -- rows that begin anywhere
        attend(kernel, q, k, v, {
            causal = true, outputs = {
                out = fasc.empty_like(q), [scores] = fasc.empty({1, 4, 67, 131}, opts),
            },
        })
    end
    local long = fasc.randn({1, 2, 2040, head_dim}, opts) -- so many that Hopper sorts such rows
    for _, scores in ipairs(kernel.arch == "sm_90a" and {"logits", "masked", "probs"} or {}) do
        attend(kernel, long, k, v, {
            window = {100, 9}, outputs = {
                out = fasc.empty_like(long), [scores] = fasc.empty({1, 2, 2040, 131}, opts),
            },
        })
    end
    local mask = fasc.randn({67, 131}, {device = device, seed = 4})
    attend(kernel, q, k, v, {attn_mask = mask, want = ALL})
    attend(kernel, q, k, v, {causal = true, want = STATISTICS, topk = 3, tile = 64})
    attend(kernel, q, k, v, {
        want = {"out", "col_sum_probs"}, per = "kv_head", query_range = {5, 60},
        key_range = {3, 100},
    })
    attend(kernel, q, k, v, {causal = true, dropout_p = 0.2, want = {"out", "lse"}})
    local few = q:slice(nil, nil, {0, 3}) -- whose keys are split among blocks
    -- An odd number: for even ones cuBLAS has kernels whose writes initcheck does not see.
    local many = fasc.randn({1, 2, 1001, head_dim}, opts)
    attend(kernel, few, many, many, {causal = true, want = {"out", "lse", "row_max"}})
    for _, queries in ipairs {3, 10, 30} do -- 16, 32 and 64 rows a block
        local rows = q:slice(nil, nil, {0, queries})
        attend(kernel, rows, many, many, {causal = true, splits = 3, want = {"out", "lse"}})
        attend(kernel, rows, many, many, {
            causal = true, splits = 3, dropout_p = 0.2,
            want = {"out", "entropy", "row_argmax", "logits", "masked", "probs"},
        })
    end
    attend(kernel, few, many, many, {
        attn_mask = fasc.randn({3, 1001}, {device = device, seed = 5}), splits = 3, want = ALL,
    })
    local two = q:slice(nil, {0, 2})
    attend(kernel, k, two, two, {causal = true, want = ALL}) -- more queries than keys: empty rows
    local function bthd(t)
        return t:transpose(1, 2):clone():transpose(1, 2)
    end
    attend(kernel, bthd(q), bthd(k), bthd(v), {window = {20, 3}, want = ALL})
    local function columns_first(t)
        return t:transpose(2, 3):clone():transpose(2, 3)
    end
    attend(kernel, columns_first(q), columns_first(k), columns_first(v), {want = ALL})
end

-- flash: each head_dim that a kernel is compiled for, padded and not; bf16 runs the same code. The
-- others are compiled for a dtype alone.
local FLASH = {f16 = {8, 64, 96, 120, 160, 256}, bf16 = {64, 128}}

for _, kernel in ipairs(fasc.kernels(device)) do
    for _, dtype in ipairs {"f16", "bf16", "f32"} do
        local name = ("%s-%s-%s"):format(kernel.name, kernel.arch, dtype)
        if kernel.name ~= "flash" then
            part(name, function()
                problems(kernel, dtype, 24)
                problems(kernel, dtype, 128)
            end)
        end
        for _, head_dim in ipairs(kernel.name == "flash" and FLASH[dtype] or {}) do
            part(("%s-%d"):format(name, head_dim), function()
                problems(kernel, dtype, head_dim)
            end)
        end
    end
end

-- ---- measuring ------------------------------------------------------------------------------

part("measuring", function()
    local a, b = fasc.randn({1000}, {device = device}), fasc.empty({1000}, {device = device})
    for _, cold in ipairs {false, true} do
        fasc.time(fasc.op.copy(a, b), {max_samples = 2, min_samples = 1, cold = cold,
            warmup_seconds = 1e-6})
    end
end)

-- ---- what was asked for ---------------------------------------------------------------------

local asked = {...}
if asked[1] == "list" then
    for _, p in ipairs(parts) do
        print(p.name)
    end
    return
end
local wanted = {}
for _, name in ipairs(asked) do
    wanted[name] = true
end
for _, p in ipairs(parts) do
    if #asked == 0 or wanted[p.name] then
        wanted[p.name] = nil
        p.run()
    end
end
fasc.synchronize(device)
assert(not next(wanted), "no such part: " .. tostring(next(wanted)))
print(("%d calls on %s"):format(launches, device:info().model))
