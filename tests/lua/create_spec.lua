-- create_spec.lua - new tensors: values, progressions, random numbers, Lua tables.
local bit = require "bit"
local fasc = require "fasc"
local support = require "support"

local fails, near, same = support.fails, support.near, support.same

describe("constructors", function()
    it("fill with zeros, ones or a value, in every dtype", function()
        for _, dtype in ipairs {"f16", "bf16", "f32", "f64", "i32", "i64", "u8"} do
            near(support.zeros({2, 2}, {dtype = dtype}), {{0, 0}, {0, 0}}, 0, dtype)
            near(support.ones({3}, {dtype = dtype}), {1, 1, 1}, 0, dtype)
            near(fasc.full({2}, 42, {dtype = dtype, device = support.device}), {42, 42}, 0, dtype)
        end
    end)

    it("make f32 on the default device unless told otherwise", function()
        local t = fasc.zeros({1})
        assert.equal("f32", t.dtype)
        assert.equal(fasc.device(), t.device)
        assert.same({3, 2}, fasc.empty({3, 2}).shape)
    end)

    it("follow another tensor's shape, dtype and device, or override them", function()
        local t = support.zeros({2, 3}, {dtype = "bf16"})
        for _, name in ipairs {"empty", "zeros", "ones", "rand", "randn"} do
            local like = name .. "_like"
            local u = fasc[like](t)
            assert.same({2, 3}, u.shape)
            assert.equal("bf16", u.dtype)
            assert.equal(t.device, u.device)
            assert.equal("f32", fasc[like](t, {dtype = "f32"}).dtype)
        end
        near(fasc.full_like(t, 2), {{2, 2, 2}, {2, 2, 2}}, 0)
        assert.equal("cpu", fasc.zeros_like(t, {device = "cpu"}).device.name)
    end)

    it("make rank 0 and zero sizes", function()
        assert.equal(0, support.zeros({}):item())
        assert.equal(0, support.zeros({3, 0, 2}):numel())
        assert.equal(8, support.zeros({1, 1, 1, 1, 1, 1, 1, 2}).rank)
    end)

    it("refuse bad shapes", function()
        fails("EINVAL", function() fasc.zeros(3) end, "zeros: shape", "{2, 3}", "got 3")
        fails("EINVAL", function() fasc.zeros() end, "got nil")
        fails("EINVAL", function() fasc.zeros({2, -1}) end, "size 1", "-1")
        fails("EINVAL", function() fasc.zeros({2.5}) end, "size 0", "2.5")
        fails("EINVAL", function() fasc.zeros({2, "x"}) end, "size 1", "'x'")
        fails("EINVAL", function() fasc.zeros({2, nil, 3}) end, "got nil")
        fails("EINVAL", function() fasc.zeros({n = 2}) end, "size 0", "got nil")
        fails("EINVAL", function() fasc.zeros({1, 1, 1, 1, 1, 1, 1, 1, 1}) end, "rank 9", "8")
    end)

    it("refuse bad options", function()
        fails("EINVAL", function() fasc.zeros({2}, {dtyp = "f16"}) end, "'dtyp'", "'dtype'")
        fails("EINVAL", function() fasc.zeros({2}, {dtype = "fp16"}) end, "'fp16'", "'f16'")
        fails("EINVAL", function() fasc.zeros({2}, {dtype = 16}) end, "dtype", "must be a string")
        fails("EINVAL", function() fasc.zeros({2}, {seed = 1}) end, "unknown option 'seed'")
        fails("EINVAL", function() fasc.zeros({2}, {device = "gpu"}) end, "gpu")
        fails("EINVAL", function() fasc.zeros({2}, "f16") end, "must be a table")
        fails("EINVAL", function() fasc.full({2}, "x") end, "full: x", "'x'")
        fails("EINVAL", function() fasc.randn({2}, {dtype = "i32"}) end, "i32")
        fails("EINVAL", function() fasc.zeros_like({2}) end, "must be a tensor")
    end)

    it("say how much was asked for when it cannot be had", function()
        fails("ENOMEM", function() support.empty({2^24, 2^24}, {dtype = "f64"}) end,
            "tensor_empty")
    end)
end)

describe("arange", function()
    local here = {device = support.device}

    it("counts up to stop, from start, by step", function()
        near(fasc.arange(4, here), {0, 1, 2, 3}, 0)
        near(fasc.arange(2, 5, here), {2, 3, 4}, 0)
        near(fasc.arange(1, 2, 0.25, here), {1, 1.25, 1.5, 1.75}, 0)
        near(fasc.arange(5, 0, -2, here), {5, 3, 1}, 0)
        assert.equal(0, fasc.arange(0, here):numel())
        assert.equal("i64", fasc.arange(3, {dtype = "i64"}).dtype)
    end)

    it("refuses steps that lead nowhere", function()
        fails("EINVAL", function() fasc.arange(0, 5, 0) end, "step 0")
        fails("EINVAL", function() fasc.arange(0, 5, -1) end, "step -1")
        fails("EINVAL", function() fasc.arange() end, "give stop")
        fails("EINVAL", function() fasc.arange("x") end, "must be a number")
    end)
end)

describe("from_table", function()
    it("takes its shape from the nesting", function()
        local t = support.from_table({{1, 2, 3}, {4, 5, 6}})
        assert.same({2, 3}, t.shape)
        assert.same({{1, 2, 3}, {4, 5, 6}}, t:tolist())
        assert.same({2, 1, 1}, support.from_table({{{1}}, {{2}}}).shape)
        assert.same({}, support.from_table(5).shape)
        assert.same({0}, support.from_table({}).shape)
        assert.same({2, 0}, support.from_table({{}, {}}).shape)
    end)

    it("gives a flat list a shape", function()
        local t = support.from_table({1, 2, 3, 4}, {shape = {2, 2}, dtype = "i32"})
        assert.same({{1, 2}, {3, 4}}, t:tolist())
        fails("EINVAL", function() fasc.from_table({1, 2, 3}, {shape = {2, 2}}) end, "2,2",
            "4 elements", "3")
    end)

    it("makes masks of booleans", function()
        local t = support.from_table({{true, false}})
        assert.equal("u8", t.dtype)
        assert.same({{1, 0}}, t:tolist())
    end)

    it("refuses ragged tables and what is no number", function()
        fails("EINVAL", function() fasc.from_table({{1, 2}, {3}}) end, "[2]", "2 entries",
            "one with 1")
        fails("EINVAL", function() fasc.from_table({{1, 2}, 3}) end, "[2]", "got 3")
        fails("EINVAL", function() fasc.from_table({1, "x"}) end, "[2]", "must be a number", "'x'")
        fails("EINVAL", function() fasc.from_table({1, {2}}) end, "[2]", "must be a number")
        fails("EINVAL", function() fasc.from_table("x") end, "must be a table or a number")
        fails("EINVAL", function() fasc.from_table(fasc.zeros({1})) end, "got a tensor")
    end)
end)

-- ---- random numbers ------------------------------------------------------------------------

local function mulhilo(a, b)
    local product = (0ULL + bit.tobit(a) % 2^32) * (bit.tobit(b) % 2^32)
    return tonumber(bit.rshift(product, 32)), tonumber(bit.band(product, 0xffffffffULL))
end

local function add(a, b)
    return (a + b) % 2^32
end

local function xor(a, b, c)
    return bit.bxor(a, b, c) % 2^32
end

-- Philox4x32-10 as its authors define it (Salmon et al., SC 2011).
local function philox(counter, key)
    local c0, c1, c2, c3 = unpack(counter)
    local k0, k1 = unpack(key)
    for _ = 1, 10 do
        local high0, low0 = mulhilo(0xD2511F53, c0)
        local high1, low1 = mulhilo(0xCD9E8D57, c2)
        c0, c1, c2, c3 = xor(high1, c1, k0), low1, xor(high0, c3, k1), low0
        k0, k1 = add(k0, 0x9E3779B9), add(k1, 0xBB67AE85)
    end
    return {c0, c1, c2, c3}
end

describe("random tensors", function()
    it("hold Philox4x32-10's words", function()
        assert.same({0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, philox({0, 0, 0, 0}, {0, 0}))
        local seed, stream, values = 2^33 + 7, 5, {}
        for n = 0, 9 do
            local words = philox({math.floor(n / 4), 0, stream, 0}, {7, 2})
            values[n + 1] = math.floor(words[n % 4 + 1] / 256) * 2^-24
        end
        near(support.rand({10}, {seed = seed, stream = stream}), values, 0)
    end)

    it("depend on seed, stream and place alone", function()
        local a = support.randn({7, 31}, {seed = 11})
        same(support.randn({217}, {seed = 11}):reshape({7, 31}), a)
        same(support.randn({2, 7, 31}, {seed = 11}):slice(0), a)
        same(fasc.randn({7, 31}, {seed = 11, device = "cpu"}), a:to("cpu"))
        assert.is_true(support.randn({7, 31}, {seed = 12}):max_abs_diff(a) > 1)
        assert.is_true(support.randn({7, 31}, {seed = 11, stream = 1}):max_abs_diff(a) > 1)
    end)

    it("do not depend on the number of threads", function()
        local threads = fasc.num_threads()
        local many = support.randn({100003}, {seed = 2})
        fasc.set_num_threads(1)
        local one = support.randn({100003}, {seed = 2})
        fasc.set_num_threads(threads)
        same(one, many)
    end)

    it("differ from call to call without a seed, and come again after manual_seed", function()
        fasc.manual_seed(3)
        local a = support.randn({50})
        local b = fasc.randn_like(a)
        assert.is_true(a:max_abs_diff(b) > 0.5)
        fasc.manual_seed(3)
        same(support.randn({50}), a)
        fails("EINVAL", function() fasc.manual_seed(-1) end, "at least 0")
        fails("EINVAL", function() fasc.manual_seed(0.5) end, "integer")
    end)

    it("have the distribution asked for", function()
        local n = 200000
        local u = support.rand({n}, {seed = 1, low = 2, high = 6})
        assert.is_true(u:min() >= 2 and u:max() < 6)
        near(u:mean(), 4, 5 * (4 / math.sqrt(12)) / math.sqrt(n), "uniform mean")
        local x = support.randn({n}, {seed = 1, mean = -1, std = 3})
        near(x:mean(), -1, 5 * 3 / math.sqrt(n), "normal mean")
        local flat = x:reshape({1, n})
        local square = fasc.matmul(flat, flat:transpose(0, 1)):item() / n
        near(square - x:mean()^2, 9, 0.2, "normal variance")
        assert.equal(0, x:nan_count())
    end)

    it("round to the dtype asked for", function()
        local x = support.randn({1000}, {seed = 4})
        for _, dtype in ipairs {"f16", "bf16"} do
            same(support.randn({1000}, {seed = 4, dtype = dtype}), x:to(dtype), dtype)
        end
    end)
end)
