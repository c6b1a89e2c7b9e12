-- map_source_spec.lua - maps as cells: from q and k, block by block, they must be what the whole
-- map gives wherever the causal line lies.
local fasc = require "fasc"
local sources = require "fasc.map_source"
local support = require "support"

local POOLS = {"max", "mass", "mean", "extreme"}

-- q and k of one head, and the whole map of a kind.
local function problem(nq, nk, kind, causal)
    local q, k = support.qkv({1, 1, 1, nq, nk, 16}, "f32", nq + nk)
    local map = fasc.attention(q, k, nil, {want = kind, causal = causal})[kind]:slice(0, 0)
    return sources.of_qk(q, k, {kind = kind, causal = causal}),
        sources.of_tensor(map, {kind = kind, causal = causal})
end

local function same_cells(a, b, label)
    support.near(a.cells, b.cells:tolist(), 2e-6, label)
    assert.equal(b.masked_count, a.masked_count, label)
    assert.equal(b.nan_count, a.nan_count, label)
    if b.col_sum then
        support.near(a.col_sum, b.col_sum:tolist(), 1e-5, label .. " col_sum")
        support.near(a.entropy, b.entropy:tolist(), 1e-4, label .. " entropy")
    end
end

describe("a map from q and k, block by block,", function()
    local kept = sources.BLOCK_ELEMENTS

    before_each(function() sources.BLOCK_ELEMENTS = 100 end)
    after_each(function() sources.BLOCK_ELEMENTS = kept end)

    for _, shape in ipairs {{40, 40}, {30, 47}, {47, 30}, {1, 50}, {9, 5}} do
        for _, causal in ipairs {false, "bottom_right", "top_left"} do
            it(("is the whole map: %d x %d, causal %s"):format(shape[1], shape[2],
                tostring(causal)), function()
                local nq, nk = shape[1], shape[2]
                for i, kind in ipairs {"probs", "masked", "logits"} do
                    local computed, whole = problem(nq, nk, kind, causal)
                    for pool_rows = 1, 4, 3 do
                        local spec = {pool = POOLS[i], pool_rows = pool_rows, pool_cols = 3,
                            crop = {0, nq, 0, nk}, sides = kind == "probs"}
                        same_cells(computed:pool(spec), whole:pool(spec), kind)
                    end
                end
            end)
        end
    end

    it("shows a part of itself", function()
        local computed, whole = problem(40, 50, "probs", true)
        for _, crop in ipairs {{3, 37, 11, 45}, {0, 5, 40, 50}, {39, 40, 0, 50}, {7, 8, 7, 8}} do
            local spec = {pool = "mass", pool_rows = 2, pool_cols = 4, crop = crop, sides = true}
            same_cells(computed:pool(spec), whole:pool(spec), table.concat(crop, " "))
        end
    end)

    it("gives the entropy of whole rows and the column sums of what is shown", function()
        local computed, whole = problem(20, 20, "probs", false)
        local r = fasc.attention(computed.q, computed.k, nil, {want = "probs"}).probs
        for _, source in ipairs {computed, whole} do
            local result = source:pool {pool = "max", pool_rows = 1, pool_cols = 1,
                crop = {5, 9, 10, 12}, sides = true}
            local p = r:slice(0, 0):tolist()
            for i = 5, 8 do
                local h = 0
                for j = 1, 20 do
                    h = h - p[i + 1][j] * math.log(p[i + 1][j])
                end
                assert.near(h, result.entropy:get(i - 5), 1e-5)
            end
            assert.near(p[6][11] + p[7][11] + p[8][11] + p[9][11], result.col_sum:get(0), 1e-6)
        end
    end)

    it("subtracts another", function()
        local a, whole_a = problem(30, 30, "probs", true)
        local b, whole_b = problem(30, 30, "probs", true)
        b.q = b.k -- another map of the same shape
        whole_b.map = fasc.attention(b.q, b.k, nil, {want = "probs", causal = true}).probs
            :slice(0, 0)
        local function spec(minus)
            return {pool = "extreme", pool_rows = 2, pool_cols = 2, crop = {0, 30, 0, 30},
                minus = minus}
        end
        local wanted = whole_a:pool(spec(whole_b))
        same_cells(a:pool(spec(b)), wanted, "both computed")
        same_cells(a:pool(spec(whole_b)), wanted, "one computed")
        assert.truthy(wanted.cells:min() == -math.huge) -- masked in both: masked
        assert.equal(0, wanted.nan_count)
    end)

    it("is the same through a kernel that pools", function()
        local least = sources.REDUCE_ELEMENTS
        for _, causal in ipairs {false, "bottom_right", "top_left"} do
            for _, pool in ipairs {"max", "mass"} do
                local computed, whole = problem(70, 90, "probs", causal)
                local spec = {pool = pool, pool_rows = 4, pool_cols = 4, crop = {0, 70, 0, 90},
                    sides = true}
                sources.REDUCE_ELEMENTS = 0
                local ok, result = pcall(computed.pool, computed, spec)
                sources.REDUCE_ELEMENTS = least
                assert(ok, result)
                same_cells(result, whole:pool(spec), pool)
            end
        end
    end)
end)
