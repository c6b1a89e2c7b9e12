-- The scripts about statistics of scores: sweep_reducers, sweep_decode, transformer_block.
local shell = require "tests.cli.shell"
local support = require "support"

local bench = shell.bench
local at = support.folder(before_each, after_each)

local function sweep(name, ...)
    local words = {...}
    for _, word in ipairs {"--warmup-seconds", "0.001", "--max-seconds", "0.02", "--rest-seconds",
        "0", "--output", at "r.jsonl"} do
        words[#words + 1] = word
    end
    return bench(name, unpack(words))
end

describe("sweep_reducers", function()
    it("checks and times every statistic beside the output", function()
        local result = sweep("sweep_reducers", "--axis", "seqlen=96", "--axis", "want=all",
            "--axis", "head_dim=16", "--heads", "2")
        assert.equal(0, result.code, result.err .. result.out)
        assert.truthy(result.out:find("vs out", 1, true))
        assert.truthy(result.out:find("24 points: 24 measured", 1, true), result.out)
    end)
end)

describe("sweep_decode", function()
    it("checks and times few queries, whatever parts the keys are in", function()
        local result = sweep("sweep_decode", "--axis", "seqlen=200", "--axis", "queries=1,5",
            "--axis", "kernel=flash", "--axis", "splits=0,1", "--axis", "want=all", "--heads", "4",
            "--heads-kv", "2")
        assert.equal(0, result.code, result.err .. result.out)
        assert.truthy(result.out:find("12 points: 12 measured", 1, true), result.out)
    end)
end)

describe("transformer_block", function()
    it("puts out the same with scores and without", function()
        local result = bench("transformer_block", "--seqlen", "40", "--heads", "2")
        assert.equal(0, result.code, result.err)
        assert.truthy(result.out:find("scores\ttensor[1,2,40,40] f32", 1, true), result.out)
        local apart, largest = result.out:match("differ by at most (%S+), with elements up to "
            .. "(%S+)\n")
        assert.is_true(tonumber(apart) <= 2^-18 * tonumber(largest), result.out)
    end)
end)
