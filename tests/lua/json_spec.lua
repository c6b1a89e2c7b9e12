-- json_spec.lua - JSON to Lua and back without losing anything.
local ffi = require "ffi"
local json = require "fasc.json"
local support = require "support"

local raises = support.raises

describe("json.decode", function()
    it("keeps the order of keys, also through encode", function()
        local text = '{"zebra":1,"apple":{"y":[],"x":{}},"mango":[1,2,{"b":1,"a":2}]}'
        assert.same({"zebra", "apple", "mango"}, json.keys(json.decode(text)))
        assert.equal(text, json.encode(json.decode(text)))
    end)

    it("gives the values of each kind", function()
        local t = json.decode(
            '{"s":"a\\u00e9\\n\\u0000z","t":true,"f":false,"n":null,"i":-7,"r":2.5}')
        assert.equal("a\195\169\n\0z", t.s)
        assert.is_true(t.t)
        assert.is_false(t.f)
        assert.equal(json.null, t.n)
        assert.equal(-7, t.i)
        assert.equal(2.5, t.r)
        assert.equal(3, json.decode "3")
    end)

    it("keeps integers that a Lua number cannot hold", function()
        local big = json.decode "[9007199254740993, -9223372036854775808, 9007199254740992]"
        assert.is_true(ffi.istype("int64_t", big[1]))
        assert.equal("[9007199254740993,-9223372036854775808,9007199254740992]", json.encode(big))
    end)

    it("rejects a key given twice, text after the value and cut-off text, with the byte", function()
        raises("EFORMAT", "duplicate object key", json.decode, '{"a":1,"a":2}')
        raises("EFORMAT", "byte 3: end of file expected", json.decode, "1 2")
        raises("EFORMAT", "json: byte", json.decode, '{"a":')
        raises("EFORMAT", "json: byte", json.decode, "")
        raises("EFORMAT", "json: byte", json.decode, '"\255"')
    end)
end)

describe("json.encode", function()
    it("writes numbers that read back as the same number", function()
        for _, x in ipairs {
            0.1, 1 / 3, 1e-310, 5e-324, 1.7976931348623157e308, 2^53, -2^53, 123456789.123456789,
            1e21, 0, -1, 4.9406564584124654e-320, 0.30000000000000004,
        } do
            assert.equal(x, json.decode(json.encode(x)), tostring(x))
        end
        assert.equal("0.1", json.encode(0.1))
        assert.equal("1048576", json.encode(2^20))
    end)

    it("writes objects in a given order, and leaves nil out", function()
        local t = json.object {{"z", 1}, {"y", nil}, {"a", 2}}
        assert.equal('{"z":1,"a":2}', json.encode(t))
        t.m = 3
        t.z = nil
        assert.equal('{"a":2,"m":3}', json.encode(t))
        assert.equal('{"a":1,"b":2,"c":3}', json.encode {c = 3, a = 1, b = 2})
    end)

    it("tells empty arrays from empty objects", function()
        assert.equal("{}", json.encode {})
        assert.equal("[]", json.encode(json.array()))
    end)

    it("escapes what JSON must, and replaces what is no UTF-8", function()
        assert.equal([["\"\\\n\t\u0001é"]], json.encode "\"\\\n\t\1é")
        for bad, good in pairs {
            ["a\255b"] = "a\239\191\189b",
            ["\192\128"] = "\239\191\189\239\191\189",             -- over-long
            ["\237\160\128"] = ("\239\191\189"):rep(3),           -- a surrogate
            ["x\226\130"] = "x" .. ("\239\191\189"):rep(2),        -- cut off
            ["\240\159\152\128"] = "\240\159\152\128",              -- four bytes, and right
        } do
            assert.equal('"' .. good .. '"', json.encode(bad))
            assert.equal(good, json.decode(json.encode(bad)))
        end
    end)

    it("refuses what JSON has no word for", function()
        raises("EINVAL", "nan", json.encode, {0 / 0})
        raises("EINVAL", "inf", json.encode, math.huge)
        raises("EINVAL", "function", json.encode, {print})
        raises("EINVAL", "keys must be strings", json.encode, {[true] = 1})
        local loop = {}
        loop.x = loop
        raises("EINVAL", "deeper than 200", json.encode, loop)
    end)
end)
