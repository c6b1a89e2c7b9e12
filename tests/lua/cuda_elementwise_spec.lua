-- cuda_elementwise_spec.lua - the GPU's element-wise work gives the CPU's bits: random numbers,
-- ramps, conversions between all dtypes, copies between all layouts, summaries.
local fasc = require "fasc"
local gpu = require "gpu"
local support = require "support"

local on_gpu = gpu.tests(it, pending)

local FLOATS = {"f16", "bf16", "f32", "f64"}
local DTYPES = {"f16", "bf16", "f32", "f64", "i32", "i64", "u8"}
local inf, nan = math.huge, 0 / 0

-- Values at which conversions go wrong: ties, limits, subnormals, what is no number.
local SPECIAL = {
    0, -0.0, 1, -1, 0.5, 1.5, 2.5, -2.5, 1 + 2^-11, 1 + 3 * 2^-11, 1 + 2^-8, 1 + 3 * 2^-8,
    1 + 2^-24, 1 + 2^-25 + 2^-50, 65504, 65519.999, 65520, 2^-24, 2^-25, 2^-25 + 2^-60, 2^-14,
    2^-133, 2^-134, 3.3895e38, 3.4028235e38, 3.40282357e38, 2^-149, 2^-150, 1e300, -1e300, 1e-320,
    254.5, 255, 255.5, 256, -0.5, 2^31 - 1, 2^31, -2^31, -2^31 - 1, 2^53, 2^62, 2^63, -2^63, 1e19,
    inf, -inf, nan,
}

local function same_bits(there, here, what)
    local d = there:to("cpu"):compare(here)
    assert(d.mismatch == 0 and d.max_abs == 0, ("%s: %d differ in kind, others by up to %g at %s")
        :format(what, d.mismatch, d.max_abs, table.concat(d.worst or {}, ",")))
end

describe("on the GPU", function()
    on_gpu("random numbers have the CPU's bits, in every dtype, length and layout", function()
        for _, dtype in ipairs(FLOATS) do
            for _, shape in ipairs {{1}, {7}, {1023}, {3, 5, 7}, {2^20 + 3}} do
                for _, name in ipairs {"rand", "randn"} do
                    local opts = {dtype = dtype, seed = 2^40 + 11}
                    opts.device = "cpu"
                    local here = fasc[name](shape, opts)
                    opts.device = support.device
                    same_bits(fasc[name](shape, opts), here, name .. " " .. dtype)
                end
            end
        end
    end)

    on_gpu("random numbers are finite, and differ with seeds", function()
        local a = support.randn({2^22}, {seed = 1})
        local s = a:summary()
        assert.equal(0, s.nan_count + s.inf_count)
        assert.is_true(math.abs(s.mean) < 3e-3)
        assert.is_true(a:compare(support.randn({2^22}, {seed = 2})).max_abs > 1)
    end)

    on_gpu("a long fill reaches every element, and none beside them", function()
        for _, dtype in ipairs(DTYPES) do
            for _, n in ipairs {2^20 + 5, 2^22 + 33} do
                local all = support.empty({n + 64}, {dtype = dtype})
                all:fill(7)
                local inner = all:slice {32, 32 + n}
                inner:fill(3)
                local s = inner:summary()
                assert.same({3, 3, n}, {s.min, s.max, s.count}, dtype)
                for _, beside in ipairs {all:slice {0, 32}, all:slice {32 + n, n + 64}} do
                    assert.same({7, 7}, {beside:min(), beside:max()}, dtype)
                end
            end
        end
    end)

    on_gpu("every dtype converts to every other as on the CPU", function()
        local wide = fasc.from_table(SPECIAL, {dtype = "f64", device = "cpu"})
        for _, from in ipairs(DTYPES) do
            local here = wide:to(from)
            local there = here:to(support.device)
            for _, to in ipairs(DTYPES) do
                same_bits(there:to(to), here:to(to), from .. " to " .. to)
            end
        end
    end)

    on_gpu("ramps and values have the CPU's bits", function()
        for _, dtype in ipairs(DTYPES) do
            local here = fasc.arange(-7, 993, 0.3, {dtype = dtype, device = "cpu"})
            same_bits(fasc.arange(-7, 993, 0.3, {dtype = dtype, device = support.device}), here,
                "arange " .. dtype)
            for _, value in ipairs(SPECIAL) do
                local full = fasc.full({19}, value, {dtype = dtype, device = "cpu"})
                same_bits(fasc.full({19}, value, {dtype = dtype, device = support.device}), full,
                    ("full %g %s"):format(value, dtype))
            end
        end
    end)

    -- The three ways of copying, with whole and broken vectors and tiles.
    on_gpu("copies between layouts move every element", function()
        local shapes = {{4, 8, 64, 32}, {3, 5, 7, 33}, {2, 1, 130, 67}, {1, 2, 3, 1}, {6, 4, 1, 9}}
        local layouts = {
            plain = function(t) return t end,
            heads_inside = function(t) return t:transpose(1, 2):clone():transpose(1, 2) end,
            columns_first = function(t) return t:transpose(2, 3):clone():transpose(2, 3) end,
            batch_last = function(t) return t:transpose(0, 3):clone():transpose(0, 3) end,
        }
        for _, shape in ipairs(shapes) do
            for _, from in ipairs {"f16", "f32", "u8"} do
                local here = fasc.rand(shape, {seed = 3, high = 200, device = "cpu"}):to(from)
                local there = here:to(support.device)
                for source, lay_source in pairs(layouts) do
                    for target, lay_target in pairs(layouts) do
                        for _, to in ipairs {from, "f64", "bf16"} do
                            local dst = lay_target(support.zeros(shape, {dtype = to}))
                            dst:copy_from(lay_source(there))
                            same_bits(dst, here:to(to), ("%s %s to %s %s, %s"):format(from, source,
                                to, target, table.concat(shape, "x")))
                        end
                    end
                end
            end
        end
    end)

    on_gpu("copies that begin off a vector's boundary, or fill views, are right", function()
        local here = fasc.randn({40, 70}, {seed = 5, dtype = "f16", device = "cpu"})
        local there = here:to(support.device)
        for first = 0, 3 do
            local range = {first, first + 61}
            same_bits(there:slice(nil, range):clone(), here:slice(nil, range):clone(), "odd source")
            local dst = support.zeros({40, 70}, {dtype = "f32"})
            dst:slice(nil, range):copy_from(there:slice(nil, range))
            local expected = fasc.zeros({40, 70}, {dtype = "f32", device = "cpu"})
            expected:slice(nil, range):copy_from(here:slice(nil, range))
            same_bits(dst, expected, "odd target")
        end
    end)

    on_gpu("summaries count and find what the CPU's do, and repeat", function()
        for _, n in ipairs {1, 255, 2049, 3 * 2^20 + 1} do
            local here = fasc.randn({n}, {seed = 9, device = "cpu"})
            here:slice({0, 1}):fill(nan)
            if n > 2 then
                here:slice({1, 2}):fill(inf)
            end
            local there = here:to(support.device)
            local a, b, again = here:summary(), there:summary(), there:summary()
            for _, field in ipairs {"count", "nan_count", "inf_count"} do
                assert.equal(a[field], b[field], field)
            end
            if n > 1 then
                assert.equal(a.min, b.min)
                assert.equal(a.max, b.max)
                assert.is_true(math.abs(a.sum - b.sum) <= 1e-9 * n)
                assert.equal(b.sum, again.sum)
            end
        end
    end)

    on_gpu("comparisons find the first worst pair, and mismatches before it", function()
        local a = support.randn({3, 70001}, {seed = 1})
        local b = a:clone()
        b:slice(1, {500, 501}):fill(100)
        local d = a:compare(b)
        assert.same({1, 500}, d.worst)
        b:slice(0, {9, 10}):fill(nan)
        b:slice(2, {3, 4}):fill(-inf)
        d = a:compare(b)
        assert.equal(2, d.mismatch)
        assert.same({0, 9}, d.worst)
        local same = a:transpose(0, 1):compare(a:transpose(0, 1):clone())
        assert.equal(0, same.mismatch + same.max_abs)
    end)
end)
