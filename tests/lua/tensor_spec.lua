-- tensor_spec.lua - tensors: fields, views, copies and conversions, statistics, comparison,
-- printing.
local fasc = require "fasc"
local support = require "support"

local fails, near, same = support.fails, support.near, support.same

-- Element (i, j, ...) of a tensor of this shape is its row-major number.
local function counting(shape, dtype)
    local n = 1
    for _, size in ipairs(shape) do
        n = n * size
    end
    return fasc.arange(n, {device = support.device, dtype = dtype}):reshape(shape)
end

describe("a tensor's fields", function()
    local t = support.zeros({2, 3, 4}, {dtype = "f16"})

    it("are plain numbers and names", function()
        assert.same({2, 3, 4}, t.shape)
        assert.same({12, 4, 1}, t.stride)
        assert.equal("f16", t.dtype)
        assert.equal(support.device, t.device)
        assert.equal(3, t.rank)
        assert.equal(24, t:numel())
        assert.equal("number", type(t:numel()))
    end)

    it("are known by name: another one is an error with the nearest", function()
        fails("EINVAL", function() return t.shpae end, "no field 'shpae'", "did you mean 'shape'")
        fails("EINVAL", function() return t:contigous() end, "did you mean 'contiguous'")
    end)

    it("cannot be set, and elements are not indexed", function()
        fails("EINVAL", function() t.name = "x" end, "'name' cannot be set")
        fails("EINVAL", function() return t[0] end, "t:get", "t:slice")
    end)
end)

describe("slice", function()
    local t = counting({2, 3, 4})

    it("picks with integers and keeps half-open ranges", function()
        same(t:slice(1), counting({2, 3, 4}):slice({1, 2}):reshape({3, 4}))
        near(t:slice(1, 2, 3), 23, 0)
        near(t:slice(nil, 1), {{4, 5, 6, 7}, {16, 17, 18, 19}}, 0)
        near(t:slice(0, {1, 3}, {2, 4}), {{6, 7}, {10, 11}}, 0)
        near(t:slice(1, nil, 0), {12, 16, 20}, 0)
    end)

    it("counts negative indices from the end, and an open range goes there", function()
        near(t:slice(-1, -1, -1), 23, 0)
        near(t:slice(0, 0, {-2}), {2, 3}, 0)
        near(t:slice(0, 0, {-3, -1}), {1, 2}, 0)
    end)

    it("gives a view: writing to it writes to the tensor", function()
        local base = support.zeros({3, 3})
        base:slice(1, {0, 2}):fill(7)
        near(base, {{0, 0, 0}, {7, 7, 0}, {0, 0, 0}}, 0)
    end)

    it("may be empty", function()
        local empty = t:slice({1, 1})
        assert.same({0, 3, 4}, empty.shape)
        assert.same({}, empty:tolist())
        assert.same({0, 3, 4}, t:slice({2, 2}).shape)
    end)

    it("refuses what lies outside", function()
        fails("EINVAL", function() t:slice(2) end, "dimension 0", "index 2", "2 entries")
        fails("EINVAL", function() t:slice(0, -4) end, "dimension 1", "-4")
        fails("EINVAL", function() t:slice(0, {0, 4}) end, "dimension 1", "4")
        fails("EINVAL", function() t:slice(0, {2, 1}) end, "ends before it begins")
        fails("EINVAL", function() t:slice(0, 0, 0, 0) end, "4 indices for rank 3")
        fails("EINVAL", function() t:slice(0.5) end, "0.5")
        fails("EINVAL", function() t:slice("a") end, "'a'")
    end)
end)

describe("transpose and reshape", function()
    local t = counting({2, 3, 4})

    it("exchanges dimensions without a copy", function()
        local u = t:transpose(0, 2)
        assert.same({4, 3, 2}, u.shape)
        assert.equal(t:get(1, 2, 3), u:get(3, 2, 1))
        assert.is_false(u:is_contiguous())
        same(t:transpose(-1, -2):transpose(1, 2), t)
        fails("EINVAL", function() t:transpose(0, 3) end, "d1", "0 to 2", "3")
    end)

    it("sees elements under another shape, one size left to be found", function()
        near(t:reshape({4, 6}):slice(3), {18, 19, 20, 21, 22, 23}, 0)
        assert.same({2, 12}, t:reshape({2, -1}).shape)
        assert.same({1, 1, 24}, t:reshape({1, 1, -1}).shape)
    end)

    it("reshapes strided views where the strides allow", function()
        local half = t:slice(nil, nil, {0, 2})
        assert.same({6, 2}, half:reshape({6, 2}).shape)
        near(half:reshape({6, 2}):slice(3), {12, 13}, 0)
    end)

    it("says what to do where they do not", function()
        fails("EINVAL", function() t:transpose(0, 1):reshape({24}) end, "without a copy",
            ":contiguous():reshape")
        near(t:transpose(0, 1):contiguous():reshape({24}):slice({0, 6}),
            {0, 1, 2, 3, 12, 13}, 0)
    end)

    it("refuses another number of elements", function()
        fails("EINVAL", function() t:reshape({5, 5}) end, "24 elements", "5,5", "25")
        fails("EINVAL", function() t:reshape({-1, 5}) end, "24 elements", "does not divide")
        fails("EINVAL", function() t:reshape({-1, -1}) end, "only one", "-1,-1")
        fails("EINVAL", function() t:reshape({-2, 12}) end, "size 0", "-2")
        fails("EINVAL", function() t:reshape(24) end, "must be a table")
    end)

    it("keeps the storage alive for views", function()
        local view = support.from_table({1, 2, 3}):slice({1, 3})
        collectgarbage()
        collectgarbage()
        near(view, {2, 3}, 0)
    end)
end)

describe("copies", function()
    it("converts dtypes with round to nearest even", function()
        local t = support.from_table({1 + 2^-11, 1 + 3 * 2^-11, 65504, 65520, 1e-8, -2.5})
        near(t:to("f16"), {1, 1 + 2^-9, 65504, math.huge, 0, -2.5}, 0)
        near(support.from_table({1 + 2^-8, 1 + 3 * 2^-8}):to("bf16"), {1, 1 + 2^-6}, 0)
        near(support.from_table({1.9, -1.9, 300, -5}):to("u8"), {1, 0, 255, 0}, 0)
        near(support.from_table({1.9, -1.9, 3e9}):to("i32"), {1, -1, 2^31 - 1}, 0)
    end)

    it("keeps every f16 value through f32 and back", function()
        local t = support.rand({1000}, {dtype = "f16", seed = 3, low = -70000, high = 70000})
        same(t:to("f32"):to("f16"), t)
    end)

    it("takes dtype, device or both by name", function()
        local t = support.ones({2})
        assert.equal("f64", t:to("double").dtype)
        assert.equal("cpu", t:to("cpu").device.name)
        local both = t:to({dtype = "bf16", device = "cpu"})
        assert.equal("bf16 cpu", both.dtype .. " " .. both.device)
        fails("EINVAL", function() t:to("f15") end, "'f15'", "did you mean 'f16'")
        fails("EINVAL", function() t:to({dtyp = "f16"}) end, "unknown option 'dtyp'", "'dtype'")
        fails("EINVAL", function() t:to(3) end, "must be a table")
    end)

    it("shares memory where nothing changes, and clone never does", function()
        local t = support.zeros({2})
        t:to("f32"):fill(1)
        t:contiguous():fill(2)
        t:clone():fill(3)
        near(t, {2, 2}, 0)
    end)

    it("copies across strides", function()
        local t = counting({3, 5})
        local u = support.zeros({5, 3})
        assert.equal(u, u:copy_from(t:transpose(0, 1)))
        same(u:transpose(0, 1), t)
        fails("EINVAL", function() u:copy_from(t) end, "shape")
    end)

    it("goes to the CPU and back", function()
        local t = support.randn({4, 33}, {dtype = "bf16", seed = 5})
        same(t:to("cpu"):to(support.device), t)
    end)
end)

describe("numbers", function()
    it("come one by one", function()
        local t = counting({2, 3})
        assert.equal(5, t:get(1, 2))
        assert.equal(5, t:get(-1, -1))
        assert.equal(4, t:slice(1, 1):item())
        assert.equal(2.5, support.from_table({{2.5}}):item())
        fails("EINVAL", function() t:get(0) end, "1 indices")
        fails("EINVAL", function() t:get(0, 3) end, "dimension 1", "3")
        fails("EINVAL", function() t:item() end, "6 elements")
    end)

    it("come as nested tables, up to a limit", function()
        assert.same({{{0, 1}, {2, 3}}}, counting({1, 2, 2}):tolist())
        assert.equal(7, support.from_table(7):tolist())
        fails("EINVAL", function() support.zeros({2000, 2000}):tolist() end, "4000000", "limit")
        fails("EINVAL", function() support.zeros({3}):tolist({limit = 2}) end, "limit = 2")
        assert.equal(3, #support.zeros({3}):tolist({limit = 3}))
    end)

    it("are exact for i64 up to 2^53, and an error beyond", function()
        local t = support.from_table({2^53 - 1, -(2^53 - 1)}, {dtype = "i64"})
        assert.same({2^53 - 1, -(2^53 - 1)}, t:tolist())
        local big = support.from_table({2^60}, {dtype = "i64"})
        fails("EINVAL", function() big:tolist() end, "too large for a Lua number")
        fails("EINVAL", function() big:get(0) end, "too large for a Lua number")
    end)

    it("can be read through a typed pointer on the CPU", function()
        local t = fasc.from_table({1.5, 2.5}, {device = "cpu"})
        assert.equal(2.5, t:data()[1])
    end)
end)

describe("statistics", function()
    local nan, inf = 0 / 0, math.huge

    it("cover all elements", function()
        local t = counting({3, 4})
        local s = t:summary()
        assert.same({12, 0, 0, 0, 11, 66, 5.5},
            {s.count, s.nan_count, s.inf_count, s.min, s.max, s.sum, s.mean})
        assert.same({66, 5.5, 0, 11, 0}, {t:sum(), t:mean(), t:min(), t:max(), t:nan_count()})
    end)

    it("tell NaN and infinities", function()
        local t = support.from_table({1, nan, inf, 3, -inf})
        local s = t:summary()
        assert.same({5, 1, 2, -inf, inf, 4, 2},
            {s.count, s.nan_count, s.inf_count, s.min, s.max, s.sum, s.mean})
        assert.is_true(t:sum() ~= t:sum())
        assert.equal(inf, support.from_table({1, inf}):sum())
        assert.is_true(support.from_table({inf, -inf}):sum() ~= 0)
        assert.equal(-inf, support.from_table({-inf, 5}):mean())
    end)

    it("work on strided views and other dtypes", function()
        local t = counting({4, 4}, "i32")
        assert.equal(0 + 4 + 8 + 12, t:slice(nil, 0):sum())
        assert.equal(15, t:transpose(0, 1):max())
        assert.equal(255, support.from_table({255, 0}, {dtype = "u8"}):max())
    end)

    it("of a large tensor are added up in float64", function()
        local t = support.ones({2^21 + 1}, {dtype = "f16"})
        assert.equal(2^21 + 1, t:sum())
    end)
end)

describe("comparison", function()
    local nan, inf = 0 / 0, math.huge

    it("finds the worst pair", function()
        local a = counting({3, 4})
        local b = a:clone()
        b:slice(2, 1):fill(9.25)
        local d = a:compare(b)
        assert.equal(12, d.count)
        assert.equal(0, d.mismatch)
        assert.equal(0.25, d.max_abs)
        assert.same({2, 1}, d.worst)
        assert.equal(0.25, a:max_abs_diff(b))
        near(d.max_rel, 0.25 / 9.25, 1e-15)
    end)

    it("counts NaN and infinities that stand alone", function()
        local a = support.from_table({nan, 1, inf, inf, nan})
        local b = support.from_table({nan, nan, inf, -inf, 0})
        assert.equal(3, a:compare(b).mismatch)
        assert.equal(inf, a:max_abs_diff(b))
        assert.equal(0, a:max_abs_diff(a))
    end)

    it("takes other dtypes, strides and devices", function()
        local a = support.randn({5, 7}, {seed = 1})
        assert.equal(0, a:max_abs_diff(a:to("f64")))
        assert.equal(0, a:max_abs_diff(a:transpose(0, 1):contiguous():transpose(0, 1)))
        assert.equal(0, a:max_abs_diff(a:to("cpu")))
        fails("EINVAL", function() a:compare(a:transpose(0, 1)) end, "shape")
        fails("EINVAL", function() a:compare(3) end, "other", "must be a tensor")
    end)
end)

describe("printing", function()
    local function lines(t)
        local list = {}
        for line in tostring(t):gmatch "[^\n]+" do
            list[#list + 1] = line
        end
        return list
    end

    it("says what a tensor is, its statistics, and shows its corners", function()
        local text = lines(counting({1, 2, 8, 10}))
        assert.equal("tensor[1,2,8,10] f32 " .. support.device, text[1])
        assert.equal("min 0, mean 79.5, max 159, 0 NaN", text[2])
        assert.equal("[0,0,:,:]", text[3])
        assert.equal(3 + 7, #text)
        assert.same({"0", "1", "2", "...", "7", "8", "9"}, {
            text[4]:match "(%S+)%s+(%S+)%s+(%S+)%s+(%S+)%s+(%S+)%s+(%S+)%s+(%S+)"})
        assert.equal("79", text[10]:match "(%S+)$")
        assert.truthy(text[7]:find "%.%.%.")
    end)

    it("shows small ones whole", function()
        local where = " " .. support.device
        assert.same({
            "tensor[2,2] i32" .. where, "min 0, mean 1.5, max 3, 0 NaN", "  0  1", "  2  3",
        }, lines(counting({2, 2}, "i32")))
        assert.same({
            "tensor[] f32" .. where, "min 2.5, mean 2.5, max 2.5, 0 NaN", "  2.5",
        }, lines(support.from_table(2.5)))
        assert.equal(3, #lines(counting({5})))
    end)

    it("shows views as they are seen", function()
        local text = lines(counting({2, 3}):transpose(0, 1))
        assert.same({"  0  3", "  1  4", "  2  5"}, {text[3], text[4], text[5]})
    end)

    it("tells NaN, infinities, emptiness and freed tensors", function()
        local text = tostring(support.from_table({0 / 0, math.huge}))
        assert.truthy(text:find("1 NaN, 1 inf", 1, true))
        assert.truthy(text:find("nan", 1, true))
        assert.equal("tensor[0,4] f32 " .. support.device .. " (empty)",
            tostring(support.zeros({0, 4})))
        local t = support.zeros({1})
        t:free()
        assert.equal("tensor[1] f32 " .. support.device .. " (freed)", tostring(t))
        assert.truthy(("x" .. support.zeros({1})):find("xtensor", 1, true))
    end)
end)

describe("free", function()
    it("may be called again, and any other use is an error", function()
        local t = support.zeros({2})
        t:free()
        t:free()
        for _, use in ipairs {
            function() t:sum() end, function() t:slice(0) end, function() t:to("cpu") end,
            function() t:fill(1) end, function() t:tolist() end, function() t:handle() end,
            function() t:clone() end, function() t:get(0) end, function() t:reshape({2}) end,
            function() t:is_contiguous() end, function() support.zeros({2}):copy_from(t) end,
        } do
            fails("EINVAL", use, "tensor[2] f32 " .. support.device .. " was freed")
        end
    end)

    it("leaves views alive", function()
        local t = support.from_table({1, 2, 3})
        local view = t:slice({1, 3})
        t:free()
        near(view, {2, 3}, 0)
    end)
end)
