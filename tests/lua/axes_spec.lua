-- axes_spec.lua - axes as data, the command line's way to change them, and the points they span.
local axes = require "fasc.axes"
local support = require "support"

local raises = support.raises

local function sample()
    return axes.new {
        {"seqlen", axes.pow2(512, 2048), "queries and keys", min = 1},
        {"causal", {false, true}},
        {"share", {0.5, 1}},
        {"kernel", {"naive", "flash"}, "which", choices = {"naive", "blas", "flash"}},
    }
end

local function overridden(text, index)
    local list = sample()
    axes.override(list, text)
    return list[index].values
end

describe("values of axes", function()
    it("come from powers of two and ranges", function()
        assert.same({512, 1024, 2048, 4096}, axes.pow2(512, 4096))
        assert.same({3, 6, 12}, axes.pow2(3, 23))
        assert.same({1, 2, 3}, axes.range(1, 3))
        assert.same({0, 0.1, 0.2}, {axes.range(0, 0.3, 0.1)[1], axes.range(0, 0.3, 0.1)[2],
            axes.range(0, 0.3, 0.1)[3]})
        assert.equal(4, #axes.range(0, 0.3, 0.1), "the last one counts in spite of rounding")
        raises("EINVAL", "pow2(0, 8)", axes.pow2, 0, 8)
        raises("EINVAL", "range(1, 2, 0)", axes.range, 1, 2, 0)
    end)

    it("are all of one kind", function()
        local list = sample()
        assert.same({"integer", "boolean", "number", "string"},
            {list[1].kind, list[2].kind, list[3].kind, list[4].kind})
        raises("EINVAL", "all numbers, all strings or all booleans", axes.new, {{"x", {1, "a"}}})
        raises("EINVAL", "axis x: has no values", axes.new, {{"x", {}}})
        raises("EINVAL", "axis x: 'c' is none of a, b", axes.new,
            {{"x", {"c"}, choices = {"a", "b"}}})
        raises("EINVAL", "its name must be a word", axes.new, {{"a b", {1}}})
        raises("EINVAL", "there is an axis x already", axes.new, {{"x", {1}}, {"x", {2}}})
    end)
end)

describe("--axis", function()
    it("takes lists, powers of two, ranges, booleans and words", function()
        assert.same({512, 1024}, overridden("seqlen=512,1024", 1))
        assert.same({64, 128, 256}, overridden("seqlen=pow2(64,256)", 1))
        assert.same({1, 100, 200, 300, 7}, overridden(" seqlen = 1, range(100,300,100), 7 ", 1))
        assert.same({true}, overridden("causal=true", 2))
        assert.same({true, false}, overridden("causal=true,false", 2))
        assert.same({0.25}, overridden("share=0.25", 3))
        assert.same({"blas", "naive"}, overridden("kernel=blas,naive", 4))
        assert.same({"naive", "blas", "flash"}, overridden("kernel=all", 4))
        assert.same({false, true}, overridden("causal=all", 2))
    end)

    it("names what is wrong, and the nearest name", function()
        local function wrong(text, message)
            raises("EINVAL", message, axes.override, sample(), text)
        end
        wrong("seqlne=512", "unknown axis 'seqlne'; did you mean 'seqlen'?")
        wrong("zzz=1", "unknown axis 'zzz'; known: causal, kernel, seqlen, share")
        wrong("seqlen", "not of the form NAME=VALUE")
        wrong("seqlen=", "'' is no integer")
        wrong("seqlen=512.5", "512.5 is no integer")
        wrong("seqlen=abc", "'abc' is no integer")
        wrong("seqlen=0", "0 is less than 1")
        wrong("seqlen=512,512", "512 is given twice")
        wrong("seqlen=pow3(1,2)", "there is no pow3(); did you mean 'pow2'?")
        wrong("seqlen=pow2(x,2)", "'x' is no number")
        wrong("causal=yes", "'yes' is no boolean")
        wrong("kernel=flsh", "'flsh' is none of naive, blas, flash; did you mean 'flash'?")
    end)
end)

describe("points", function()
    it("are every combination, the last axis fastest", function()
        local list = axes.new {{"a", {1, 2}}, {"b", {false, true}}, {"c", {"x"}}}
        assert.same({
            {a = 1, b = false, c = "x"}, {a = 1, b = true, c = "x"},
            {a = 2, b = false, c = "x"}, {a = 2, b = true, c = "x"},
        }, axes.points(list))
        assert.equal("a=1 b=false c=x", axes.format(list, axes.points(list)[1]))
    end)

    it("are filtered by a Lua expression", function()
        local list = axes.new {{"a", {1, 2, 3}}, {"kind", {"x", "y"}}}
        local keep = axes.filter(list, 'a >= 2 and kind ~= "x"')
        local kept = {}
        for _, point in ipairs(axes.points(list)) do
            kept[#kept + 1] = keep(point) and axes.format(list, point) or nil
        end
        assert.same({"a=2 kind=y", "a=3 kind=y"}, kept)
        assert.is_true(axes.filter(list, "math.max(a, 5) == 5")({a = 1, kind = "x"}))
        raises("EINVAL", "is no Lua expression", axes.filter, list, "a >=")
        raises("EINVAL", "unknown axis 'knd'; did you mean 'kind'?", axes.filter(list, "knd == 1"),
            {a = 1, kind = "x"})
        raises("EINVAL", "attempt to", axes.filter(list, "a .. {}"), {a = 1, kind = "x"})
        raises("EINVAL", "unknown axis 'os'", axes.filter(list, "os.exit()"), {a = 1, kind = "x"})
    end)
end)
