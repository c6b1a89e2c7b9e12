-- check.lua on one layer of a real model: agreement, disagreement with changed values, mistakes.
local fasc = require "fasc"
local shell = require "tests.cli.shell"

local bench = shell.bench
local data = debug.getinfo(1, "S").source:match("^@(.*)/cli/[^/]*$") .. "/data/"
    .. "gpt-d64-layer3-n128."
local qkv, expected = data .. "qkv.safetensors", data .. "expected.safetensors"
local changed = os.tmpname()
os.remove(changed)
changed = changed .. ".safetensors"

teardown(function()
    os.remove(changed)
end)

describe("check", function()
    it("finds that every kernel, and the reference, agree on real tensors", function()
        local result = bench("check", qkv, "--expected", expected)
        assert.equal(0, result.code, result.out .. result.err)
        assert.equal("", result.err)
        local rows = 0
        for _, kernel in ipairs(fasc.kernels()) do
            assert.truthy(result.out:find("layers.3  " .. kernel.name .. " .*agrees\n"), result.out)
            rows = rows + 1
        end
        local share = "%d%.%d%d%d +"
        assert.truthy(result.out:find("reference vs expected +" .. share:rep(3) .. "%- +%- +"
            .. share:rep(2) .. "%- +%- +%- +agrees"), result.out)
        assert.equal(rows + 3, select(2, result.out:gsub("\n", "")))
        assert.truthy(result.out:find "\nall agree\n$")
    end)

    it("checks one kernel alone, and other masks", function()
        local result = bench("check", qkv, "--kernel", "naive", "--mask", "full")
        assert.equal(0, result.code, result.err)
        assert.equal(3, select(2, result.out:gsub("\n", "")))
    end)

    it("has status 1 when an expected value is off by a step of its dtype", function()
        local tensors = fasc.load(expected)
        local lse = tensors["layers.3.lse"]
        local at = lse:slice(0, 5, 77)
        at:fill(at:tolist() * (1 + 2^-22))
        fasc.save(changed, {["layers.3.lse"] = lse, ["layers.3.out"] = tensors["layers.3.out"]})
        local result = bench("check", qkv, "--expected", changed)
        assert.equal(1, result.code, result.err)
        assert.truthy(result.out:find "reference vs expected .*1 elements DIFFER", result.out)
        assert.truthy(result.out:find "\n1 rows differ\n$", result.out)
    end)

    it("has status 1 when the expected values are of another mask", function()
        local result = bench("check", qkv, "--expected", expected, "--mask", "full")
        assert.equal(1, result.code, result.err)
        assert.truthy(result.out:find "reference vs expected .*DIFFER", result.out)
    end)

    it("says in one line what it cannot use", function()
        for _, case in ipairs {
            {2, "argument 'file'"},
            {2, "unknown option '--expectd'; Did you mean '--expected'?", qkv, "--expectd", "x"},
            {1, "No such file", "nowhere.safetensors"},
            {1, "has no tensor named LAYER.q", expected},
            {1, "did you mean 'flash'?", qkv, "--kernel", "flsh"},
            {1, "abacus", qkv, "--device", "abacus"},
        } do
            local result = bench("check", unpack(case, 3))
            assert.equal(case[1], result.code, result.err)
            assert.truthy(result.err:find(case[2], 1, true), result.err)
            assert.equal(1, select(2, result.err:gsub("\n", "")), result.err)
        end
        fasc.save(changed, {["layers.3.q"] = fasc.load(qkv)["layers.3.q"]})
        local result = bench("check", changed)
        assert.equal(1, result.code)
        assert.truthy(result.err:find("has layers.3.q, but no layers.3.k", 1, true), result.err)
    end)
end)
