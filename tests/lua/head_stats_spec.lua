-- head_stats_spec.lua - the numbers of heads against formulas: of heads made by hand, and of a real
-- layer from q and k and from its saved probabilities.
local fasc = require "fasc"
local sources = require "fasc.map_source"
local stats = require "fasc.head_stats"
local support = require "support"

local folder = debug.getinfo(1, "S").source:match "^@(.*)/lua/[^/]*$"
local data = folder .. "/data/gpt-d64-layer3-n128."

-- One head of saved probabilities, from p(i, j).
local function head(n, p)
    local rows = {}
    for i = 0, n - 1 do
        rows[i + 1] = {}
        for j = 0, n - 1 do
            rows[i + 1][j + 1] = p(i, j)
        end
    end
    return sources.of_tensor(support.from_table(rows), {kind = "probs", causal = true})
end

local function of(source, opts)
    return stats.statistics({source}, opts)[1]
end

describe("fasc.head_statistics", function()
    it("of causal attention that is even", function()
        local n = 50
        local got = of(head(n, function(i, j) return j <= i and 1 / (i + 1) or 0 end))
        local inverse, logs, distance, previous = 0, 0, 0, 0
        for i = 0, n - 1 do
            inverse, logs = inverse + 1 / (i + 1), logs + math.log(i + 1)
            distance = distance + i / 2
            previous = previous + (i > 0 and 1 / (i + 1) or 0)
        end
        assert.near(inverse / n, got.sink, 1e-6)
        assert.near(logs / n, got.entropy, 1e-5)
        assert.near(distance / n, got.distance, 1e-5)
        assert.near(inverse / n, got.own, 1e-6)
        assert.near(previous / (n - 1), got.previous, 1e-6)
        assert.is_nil(got.induction)
        assert.is_nil(got.max_logit)
    end)

    it("of a head that looks at the token before", function()
        local got = of(head(20, function(i, j) return j == math.max(0, i - 1) and 1 or 0 end))
        assert.equal(1, got.previous)
        assert.near(1 / 20, got.own, 1e-9)
        assert.equal(0, got.entropy)
        assert.near(19 / 20, got.distance, 1e-6)
    end)

    it("of a head that copies what followed", function()
        local tokens = {}
        for i = 0, 29 do
            tokens[i + 1] = 1000 + i % 10
        end
        -- The latest key after the query's token: 9 places back; the first ten have none.
        local source = head(30, function(i, j) return j == (i < 10 and 0 or i - 9) and 1 or 0 end)
        assert.equal(1, of(source, {tokens = tokens}).induction)
        assert.equal(1, of(source, {tokens = tokens, match = 4}).induction)
        local other = head(30, function(i, j) return j == i and 1 or 0 end)
        assert.equal(0, of(other, {tokens = tokens}).induction)
        local half = head(30, function(i, j)
            return i < 10 and (j == 0 and 1 or 0) or (j == i - 9 or j == i) and 0.5 or 0
        end)
        assert.near(0.5, of(half, {tokens = tokens}).induction, 1e-9)
        assert.is_nil(of(source, {tokens = {1, 2, 3}}).induction) -- of another sequence
    end)

    it("asks bytes for longer repetitions, which short ones are by chance", function()
        assert.equal(4, stats.default_match {1, 256, 97})
        assert.equal(1, stats.default_match {1, 257})
        assert.equal(1, stats.default_match {"a", "b"})
    end)

    it("agrees between q and k and the saved probabilities of a real layer", function()
        local qkv = fasc.open(data .. "qkv.safetensors")
        local expected = fasc.open(data .. "expected.safetensors")
        local opts = {tokens = require("fasc.tokens").ids(qkv)}
        local computed = stats.statistics(fasc.head_maps(qkv, {layer = 3, head = "all",
            device = support.device}), opts)
        local saved = stats.statistics(fasc.head_maps(expected, {tensor = "layers.3.probs",
            head = "all", causal = true}), opts)
        local entropy = expected:read "layers.3.entropy"
        assert.equal(8, #computed)
        for h = 1, 8 do
            for _, column in ipairs(stats.COLUMNS) do
                local a, b = computed[h][column.name], saved[h][column.name]
                if column.name ~= "max_logit" then
                    assert.near(b, a, 2e-3 * (1 + math.abs(b)), column.name .. " of head " .. h - 1)
                end
            end
            assert.near(entropy:slice(0, h - 1):mean(), computed[h].entropy, 1e-4)
            assert.same({3, h - 1}, {computed[h].layer, computed[h].head})
        end
        local q, k = qkv:read "layers.3.q", qkv:read "layers.3.k"
        local masked = fasc.attention(q, k, nil, {want = "masked", causal = true,
            scores_dtype = "f32"}).masked
        assert.near(masked:slice(0, 5):max(), computed[6].max_logit, 1e-4)
    end)

    it("names the heads that stand out by each number", function()
        local list = {}
        for h = 0, 4 do
            list[h + 1] = {head = h, sink = h / 10, entropy = h, previous = 0 / 0}
        end
        local notable = stats.notable(list)
        assert.equal(2, #notable) -- of previous there is no number, of others nothing
        assert.equal("sink", notable[1].column.name)
        assert.same({4, 3}, {notable[1].heads[1].head, notable[1].heads[2].head})
        assert.same({0, 1}, {notable[2].heads[1].head, notable[2].heads[2].head})
        assert.equal(1, #stats.notable(list, 1)[1].heads)
    end)

    it("refuses maps that are no probabilities", function()
        local source = sources.of_tensor(support.ones {3, 3}, {kind = "logits"})
        support.fails("EINVAL", function() of(source) end, "must be probabilities, is logits")
        support.fails("EINVAL", function() of(source, {matches = 3}) end, "unknown option")
    end)
end)
