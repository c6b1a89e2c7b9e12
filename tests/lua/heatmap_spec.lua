-- heatmap_spec.lua - pictures of maps, and maps out of files. What the pixels must be is tested in
-- C (tests/c/test_heatmap.c); here it is what Lua hands over and gets back.
local fasc = require "fasc"
local support = require "support"

local fails = support.fails
local at = support.folder(setup, teardown)

local function png(name)
    local file = assert(io.open(at(name), "rb"))
    local bytes = file:read "*a"
    file:close()
    assert.equal("\137PNG\r\n\26\n", bytes:sub(1, 8))
    return bytes
end

describe("fasc.heatmap", function()
    it("says what it drew", function()
        local t = support.rand({300, 200}, {seed = 1})
        local info = fasc.heatmap(t, {path = at "a.png", max_size = 100, cell = 2, causal = true})
        assert.same({at "a.png", 134, 200, 3, 3}, {info.path, info.width, info.height,
            info.pool_rows, info.pool_cols})
        local masked = 0
        for i = 0, 299 do
            masked = masked + 199 - math.min(199, math.max(-1, i + 200 - 300))
        end
        assert.equal(masked, info.masked_count)
        assert.equal(0, info.nan_count)
        assert(info.low >= 0 and info.high <= 1 and info.low < info.high)
        png "a.png"
    end)

    it("gives the same bytes for the same map, whatever its dtype, strides and device", function()
        local t = fasc.from_table({{0, 0.5, 1}, {0.25, 0.75, 1}}, {device = "cpu"})
        local views = {t, t:to "f16", t:to "f64", t:to(support.device),
            t:transpose(0, 1):clone():transpose(0, 1)}
        fasc.heatmap(t, {path = at "0.png"})
        for _, view in ipairs(views) do
            fasc.heatmap(view, {path = at "1.png"})
            assert(png "0.png" == png "1.png", tostring(view))
        end
    end)

    it("counts NaN and masked elements", function()
        local nan, inf = 0 / 0, math.huge
        local t = support.from_table {{nan, -inf, -inf}, {0, 1, nan}}
        local info = fasc.heatmap(t, {path = at "n.png"})
        assert.equal(2, info.nan_count)
        assert.equal(2, info.masked_count)
        assert.equal(0, info.low)
        assert.equal(1, info.high)
    end)

    it("writes what was said of the map into the PNG", function()
        fasc.heatmap(support.ones {2, 2}, {path = at "m.png",
            metadata = {tensor = "layers.3.probs", layer = 3, causal = true, name = "é"}})
        local bytes = png "m.png"
        for _, text in ipairs {"tensor\0layers.3.probs", "layer\0003", "causal\0true",
            "name\0\0\0\0\0é", "Software\0fasc " .. fasc.version, "pooling\0max of 1 x 1"} do
            assert(bytes:find(text, 1, true), text)
        end
    end)

    it("takes its settings by name", function()
        local t = support.from_table {{-2, 0, 1}}
        local info = fasc.heatmap(t, {path = at "d.png", map = "diverging"})
        assert.same({-2, 2}, {info.low, info.high})
        info = fasc.heatmap(t, {path = at "r.png", range = {-1, 0.5}, pool = "mean"})
        assert.same({-1, 0.5}, {info.low, info.high})
        info = fasc.heatmap(support.rand {4, 4}, {path = at "l.png", scale = "log", floor = 0.01})
        assert.equal(0.01, info.low)
    end)

    it("refuses what makes no picture", function()
        local t = support.from_table {{-1, 1}}
        local function refused(message, map, opts)
            opts.path = opts.path ~= false and at "never.png" or nil
            fails("EINVAL", function() fasc.heatmap(map, opts) end, "heatmap: ", message)
        end
        refused("path: must be given", t, {path = false})
        refused("map: must be a tensor, got nil", nil, {})
        refused("must be rank 2", support.ones {2, 2, 2}, {})
        refused("scale: must be \"linear\" or \"log\", got 'lin'", t, {scale = "lin"})
        refused("unknown option 'colormap'", t, {colormap = "viridis"})
        refused("max_size: must be", t, {max_size = 0})
        refused("range: must be {low, high}", t, {range = {1}})
        refused("range: {2, 1}", t, {range = {2, 1}})
        refused("needs values >= 0", t, {scale = "log"})
        refused("a log scale", t, {scale = "log", map = "diverging"})
        refused("keyword ''", t, {metadata = {[""] = "x"}})
        fails("EIO", function() fasc.heatmap(t, {path = "/nonexistent/x.png"}) end, "No such file")
        assert.is_nil(io.open(at "never.png"))
    end)
end)

describe("fasc.head_map", function()
    local q, k, probs

    setup(function()
        q, k = support.qkv({2, 4, 2, 6, 9, 8}, "f32")
        probs = fasc.compute_attention_scores(q, k, {kind = "probs", causal = true})
        fasc.save(at "qk.safetensors", {["layers.7.q"] = q, ["layers.7.k"] = k})
        fasc.save(at "p.safetensors", {probs = probs, third = probs:slice(1), flat = q:slice(0, 0)})
        fasc.save(at "p.npy", probs:slice(1, 3))
    end)

    it("computes one head from q and k", function()
        local file = fasc.open(at "qk.safetensors")
        for _, head in ipairs {0, 1, 3} do
            local map, source = fasc.head_map(file, {layer = 7, head = head, batch = 1,
                causal = true, device = support.device})
            support.near(map, probs:slice(1, head):tolist(), 1e-6)
            assert.same({"layers.7.probs", true, 7, head, 1}, {source.tensor, source.computed,
                source.layer, source.head, source.batch})
        end
        local map, source = fasc.head_map(file, {layer = 7, scores = "logits"})
        support.near(map, fasc.compute_attention_scores(q, k):slice(0, 0):tolist(), 1e-5)
        assert.equal("layers.7.logits", source.tensor)
    end)

    it("finds one head in a saved map of rank 2, 3 or 4", function()
        local file = fasc.open(at "p.safetensors")
        support.same(fasc.head_map(file, {head = 2, batch = 1}), probs:slice(1, 2))
        support.same(fasc.head_map(file, {tensor = "third", head = 2}), probs:slice(1, 2))
        support.same(fasc.head_map(file, {tensor = "flat"}), q:slice(0, 0))
        local map, source = fasc.head_map(fasc.open(at "p.npy"))
        support.same(map, probs:slice(1, 3))
        assert.same({"p.npy", false}, {source.tensor, source.computed})
    end)

    it("says what is missing or does not fit", function()
        local qk, p = fasc.open(at "qk.safetensors"), fasc.open(at "p.safetensors")
        fails("EINVAL", function() fasc.head_map(qk) end, "has no q and k, nor probs")
        fails("EINVAL", function() fasc.head_map(qk, {layer = 8}) end, "no layers.8.q")
        fails("EINVAL", function() fasc.head_map(qk, {layer = 7, head = 4}) end,
            "head: 4, but layers.7.q has 4")
        fails("EINVAL", function() fasc.head_map(p, {head = 4}) end, "head: 4, but probs has 4")
        fails("EINVAL", function() fasc.head_map(p, {batch = 2}) end, "batch: 2, but probs has 2")
        fails("EINVAL", function() fasc.head_map(p, {tensor = "flat", head = 0}) end,
            "flat has rank 2")
        fails("EINVAL", function() fasc.head_map(p, {tensor = "thrid"}) end,
            "did you mean 'third'?")
        fails("EINVAL", function() fasc.head_map(p, {head = -1}) end, "head: must be")
        fails("EINVAL", function() fasc.head_map(at "p.npy") end, "what fasc.open gives")
    end)
end)
