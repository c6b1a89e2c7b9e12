-- tokens_spec.lua - labels of axes from token files, JSON lists, and a file's own numbers.
local fasc = require "fasc"
local support = require "support"
local tokens = require "fasc.tokens"

local fails = support.fails
local at = support.folder(setup, teardown)

local function write(name, text)
    return support.write(at(name), text)
end

describe("tokens", function()
    it("of a text file stand one a line, with blanks made visible", function()
        assert.same({"BOS", "a b", "␣", "∅", "größe", "x⇥y", "\\x01"},
            tokens.load(write("a.txt", "BOS\na b\n \n\ngröße\nx\ty\n\1\n")))
        assert.same({"a", "b"}, tokens.load(write("b.txt", "a\r\nb\r\n")))
    end)

    it("of a JSON list may hold anything", function()
        assert.same({"a⏎", "注", "␣", "∅", "[x"},
            tokens.load(write("a.json", '["a\\n", "注", " ", "", "[x"]')))
        fails("EFORMAT", function() tokens.load(write("n.json", '["a", 3]')) end,
            "entry 1 is no string")
        fails("EFORMAT", function() tokens.load(write("e.json", "[]")) end, "holds none")
        fails("EIO", function() tokens.load(at "missing.txt") end, "No such file")
    end)

    it("that are bytes become the characters that they spell", function()
        local ids = {256}
        for byte in ("hé \n注\1\200"):gmatch "." do
            ids[#ids + 1] = byte:byte()
        end
        assert.same({"⟨256⟩", "h", "é", "·", "␣", "⏎", "注", "·", "·", "\\x01", "\\xc8"},
            tokens.from_ids(ids))
        assert.same({"\\xe6", "\\xb3", "a"}, tokens.from_ids {0xe6, 0xb3, 0x61}) -- cut short
        assert.same({"97", "50256"}, tokens.from_ids {97, 50256}) -- of a vocabulary
    end)

    it("come from a file's tensor of integers", function()
        local q = support.ones {1, 1}
        local function labels(t)
            fasc.save(at "t.safetensors", {tokens = t, q = q})
            return tokens.of_file(fasc.open(at "t.safetensors"))
        end
        for _, dtype in ipairs {"i32", "i64", "u8"} do
            local t = fasc.from_table({{104, 105}}, {dtype = dtype, device = "cpu"})
            assert.same({"h", "i"}, labels(t))
            assert.same({"h", "i"}, labels(t:slice(0)))
        end
        assert.is_nil(labels(support.ones {3}))
        assert.is_nil(labels(fasc.from_table({{1, 2}, {3, 4}}, {dtype = "i32", device = "cpu"})))
    end)
end)
