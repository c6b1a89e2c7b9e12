-- cuda_grid_spec.lua - the problems of FlagAttention's own tests (heads, lengths, head_dims, input
-- scales) on each flash kernel, against the float64 reference on the rows at every tile's edge and
-- on 64 others, and in full against another kernel.
--
-- Each shape is run at the four scales with causal, dtype and layout going round; with
-- FASC_TEST_GRID=full, in all 32 ways.
local fasc = require "fasc"
local gpu = require "gpu"
local support = require "support"

local on_gpu = gpu.tests(it, pending)

local FULL = os.getenv("FASC_TEST_GRID") == "full"

-- {B, Hq, Hk} x {M, N, D}
local GRID = {
    {
        {{2, 4, 4}, {2, 4, 2}, {2, 4, 1}},
        {
            {512, 612, 128}, {1024, 1034, 64}, {2048, 2048, 32}, {4096, 4096, 16},
            {4001, 4001, 32}, {4001, 4096, 64}, {4096, 4000, 128},
        },
    },
    {{{1, 2, 2}, {1, 2, 1}}, {{8192, 8202, 16}, {8192, 8192, 32}}},
}

local function each_shape(f)
    for _, part in ipairs(GRID) do
        for _, heads in ipairs(part[1]) do
            for _, sizes in ipairs(part[2]) do
                f({heads[1], heads[2], heads[3], sizes[1], sizes[2], sizes[3]})
            end
        end
    end
end

-- sigma, causal, dtype, layout
local function points(turn)
    local list = {}
    for sigma = 1, 4 do
        for bits = 0, FULL and 7 or 0 do
            local mix = FULL and bits or (turn + sigma * 3) % 8
            list[#list + 1] = {
                sigma = sigma, causal = mix % 2 == 1,
                dtype = math.floor(mix / 2) % 2 == 1 and "bf16" or "f16",
                layout = mix >= 4 and "BTHD" or "BHTD",
            }
        end
    end
    return list
end

local function tensor(point, shape, seed)
    local opts = {dtype = point.dtype, seed = seed, std = point.sigma}
    if point.layout == "BHTD" then
        return support.randn(shape, opts)
    end
    return support.randn({shape[1], shape[3], shape[2], shape[4]}, opts):transpose(1, 2)
end

-- The library's choice, then the kernels behind it that share its name.
local function subjects()
    local list = {{}}
    for _, kernel in ipairs(support.kernels()) do
        if kernel.name == "flash" then
            list[#list + 1] = {kernel = kernel}
        end
    end
    return list
end

local function run(p, point)
    local b, hq, hk, m, n, d = unpack(p)
    local q = tensor(point, {b, hq, m, d}, 1)
    local k, v = tensor(point, {b, hk, n, d}, 2), tensor(point, {b, hk, n, d}, 3)
    local scores = point.sigma % 2 == 1 and "logits" or "probs"
    local want = {"out", "lse", "row_max", scores}
    local function attend(kernel)
        return fasc.attention(q, k, v, {kernel = kernel, causal = point.causal, want = want})
    end
    local function free(result)
        for _, name in ipairs(want) do
            result[name]:free()
        end
    end
    local other = attend("blas")
    -- Twice what each may be off by: P in 16 bits, the result in 16 bits; |v| is at most 6 sigma.
    local u = point.dtype == "bf16" and 2^-8 or 2^-11
    for _, subject in ipairs(subjects()) do
        local r = attend(subject.kernel)
        local what = ("%s %s %s sigma %d causal %s %s %s"):format(r.plan.kernel, r.plan.arch,
            table.concat(p, "x"), point.sigma, tostring(point.causal), point.dtype, point.layout)
        assert.equal("flash", r.plan.kernel, what)
        support.agrees(fasc.check(q, k, v, r, {rows = "edges"}), what)
        local d_out, d_lse = r.out:compare(other.out), r.lse:compare(other.lse)
        assert(d_out.mismatch == 0 and d_out.max_abs <= 4 * u * 6 * point.sigma,
            ("%s: out differs from %s's by %g"):format(what, other.plan.kernel, d_out.max_abs))
        assert(d_lse.mismatch == 0 and d_lse.max_rel <= 1e-4,
            ("%s: lse differs from %s's by %g"):format(what, other.plan.kernel, d_lse.max_rel))
        free(r)
    end
    free(other)
end

describe("FlagAttention's problem", function()
    local turn = 0
    each_shape(function(p)
        turn = turn + 1
        local mine = turn
        on_gpu(table.concat(p, "x"), function()
            for _, point in ipairs(points(mine)) do
                run(p, point)
            end
        end)
    end)
end)
