-- heatmap_spec.lua - pictures of maps, and maps out of files. Bare cells are judged by their
-- pixels, figures by what must stand in them.
local fasc = require "fasc"
local fasc_ffi = require "fasc.ffi"
local pictures = require "pictures"
local raws = require "fasc.heatmap_raw"
local support = require "support"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C
local fails = support.fails
local at = support.folder(setup, teardown)

local function read(name)
    return pictures.read(at(name))
end

-- 0xRRGGBB of a palette's colours.
local function palette(map)
    local rgb = ffi.new("uint8_t[?]", 3 * C.FASC_PALETTE)
    assert(C.fasc_colormap_palette(map, rgb) == 0)
    return function(number)
        return rgb[3 * number] * 65536 + rgb[3 * number + 1] * 256 + rgb[3 * number + 2]
    end
end

local GREY, MAGENTA = 0xb4b4b4, 0xff00ff

-- A map of probabilities.
local function softmax(rows, cols, causal)
    local q, k = support.qkv({1, 1, 1, rows, cols, 8}, "f32", 3)
    return fasc.compute_attention_scores(q, k, {kind = "probs", causal = causal}):slice(0, 0)
end

describe("fasc.heatmap, raw,", function()
    it("shows each cell as the colour of its value", function()
        local nan, inf = 0 / 0, math.huge
        local t = support.from_table {{0, 0.25, 0.5, 1}, {nan, -inf, 2, -1}}
        local color = palette(C.FASC_MAP_VIRIDIS)
        local info = fasc.heatmap(t, {path = at "v.png", raw = true, range = {0, 1}})
        local png = pictures.png(at "v.png")
        assert.same({4, 2}, {png.width, png.height})
        local expected = {{color(0), color(63), color(126), color(252)},
            {MAGENTA, GREY, color(252), color(0)}}
        for y = 0, 1 do
            for x = 0, 3 do
                assert.equal(expected[y + 1][x + 1], png.at(x, y), x .. ", " .. y)
            end
        end
        assert.same({1, 1, true}, {info.nan_count, info.masked_count, info.raw})
    end)

    it("agrees with fasc_heatmap_png, pooled and enlarged", function()
        local t = support.rand({300, 200}, {seed = 1})
        for _, causal in ipairs {false, "bottom_right", "top_left"} do
            local info = fasc.heatmap(t, {path = at "a.png", raw = true, max_size = 100, cell = 2,
                causal = causal, scale = "log"})
            local args = fasc_ffi.new "fasc_heatmap_args"
            args.map, args.max_size, args.cell = t:handle(), 100, 2
            args.scale, args.floor = C.FASC_SCALE_LOG, info.low
            args.causal, args.align = causal and 1 or 0, causal == "top_left" and 1 or 0
            assert(C.fasc_heatmap_png(args, at "c.png", 0, nil, nil) == 0)
            local a, c = pictures.png(at "a.png"), pictures.png(at "c.png")
            assert.same({c.width, c.height}, {a.width, a.height})
            assert.same({134, 200, 3, 3}, {info.width, info.height, info.pool_rows,
                info.pool_cols})
            for y = 0, a.height - 1 do
                for x = 0, a.width - 1 do
                    if a.at(x, y) ~= c.at(x, y) then
                        error(("pixel %d, %d: %06x, not %06x"):format(x, y, a.at(x, y),
                            c.at(x, y)))
                    end
                end
            end
        end
    end)

    it("is the same in bands", function()
        local t, kept = softmax(100, 90, true), raws.KEPT_CELLS
        fasc.heatmap(t, {path = at "1.png", raw = true, causal = true, max_size = 50})
        raws.KEPT_CELLS = 300
        local ok, err = pcall(fasc.heatmap, t, {path = at "2.png", raw = true, causal = true,
            max_size = 50})
        local refused = select(2, pcall(fasc.heatmap, t, {path = at "3.png", raw = true,
            scale = "percentile", max_size = 50}))
        raws.KEPT_CELLS = kept
        assert(ok, tostring(err))
        assert(read "1.png" == read "2.png")
        assert.truthy(tostring(refused):find("percentile needs all 50 x 90 cells in memory", 1,
            true))
    end)

    it("gives the same bytes for the same map, whatever its dtype, strides and device", function()
        local t = fasc.from_table({{0, 0.5, 1}, {0.25, 0.75, 1}}, {device = "cpu"})
        local views = {t, t:to "f16", t:to "f64", t:to(support.device),
            t:transpose(0, 1):clone():transpose(0, 1)}
        fasc.heatmap(t, {path = at "0.png", raw = true})
        for _, view in ipairs(views) do
            fasc.heatmap(view, {path = at "1.png", raw = true})
            assert(read "0.png" == read "1.png", tostring(view))
        end
    end)

    it("counts NaN and masked elements", function()
        local nan, inf = 0 / 0, math.huge
        local t = support.from_table {{nan, -inf, -inf}, {0, 1, nan}}
        local info = fasc.heatmap(t, {path = at "n.png", raw = true})
        assert.equal(2, info.nan_count)
        assert.equal(2, info.masked_count)
        assert.equal(0, info.low)
        assert.equal(1, info.high)
    end)

    it("writes what was said of the map into the PNG", function()
        for _, raw in ipairs {true, false} do
            fasc.heatmap(support.ones {2, 2}, {path = at "m.png", raw = raw, metadata = {
                tensor = "layers.3.probs", layer = 3, causal = true, name = "é"}})
            local bytes = read "m.png"
            for keyword, value in pairs {tensor = "layers.3.probs", layer = "3", causal = "true",
                name = "é", Software = "fasc " .. fasc.version, pooling = "max of 1 x 1"} do
                assert(pictures.has_text(bytes, keyword, value), keyword)
            end
        end
    end)
end)

describe("a golden picture", function()
    it("of a real head is drawn again, to the nearest of 253 colours", function()
        local folder = debug.getinfo(1, "S").source:match "^@(.*)/lua/[^/]*$" .. "/data/"
        local file = fasc.open(folder .. "gpt-d64-layer3-n128.qkv.safetensors")
        fasc.heatmap(fasc.head_maps(file, {layer = 3, head = 3, device = support.device}),
            {path = at "golden.png", raw = true})
        local golden = pictures.png(folder .. "layer3-head3.golden.png")
        local drawn, color, number = pictures.png(at "golden.png"), palette(C.FASC_MAP_VIRIDIS), {}
        for i = 0, C.FASC_PALETTE - 1 do
            number[color(i)] = i
        end
        assert.same({128, 128}, {drawn.width, drawn.height})
        local masked = 0
        for y = 0, 127 do
            for x = 0, 127 do
                local a, b = number[drawn.at(x, y)], number[golden.at(x, y)]
                assert.truthy(math.abs(a - b) <= 1, x .. ", " .. y .. ": " .. a .. ", not " .. b)
                assert.equal(b == C.FASC_COLOR_MASKED, a == C.FASC_COLOR_MASKED)
                masked = masked + (a == C.FASC_COLOR_MASKED and 1 or 0)
            end
        end
        assert.equal(128 * 127 / 2, masked)
    end)
end)

describe("fasc.heatmap's colours", function()
    local function range(t, opts)
        opts.path, opts.raw = at "r.png", true
        local info = fasc.heatmap(t, opts)
        return {info.low, info.high}
    end

    it("span what the map holds, centred on 0 where they diverge", function()
        local t = support.from_table {{-2, 0, 1}}
        assert.same({-2, 1}, range(t, {}))
        assert.same({-2, 2}, range(t, {map = "diverging"}))
        assert.same({-1, 0.5}, range(t, {range = {-1, 0.5}, pool = "mean"}))
    end)

    it("begin at the floor on a log scale, or at 1 / keys", function()
        assert.equal(0.01, range(support.rand {4, 4}, {scale = "log", floor = 0.01})[1])
        assert.equal(1e-4, range(support.rand {4, 4}, {scale = "log"})[1])
        assert.near(1 / 20000, range(support.rand {1, 20000}, {scale = "log"})[1], 1e-12)
    end)

    it("leave out the outermost cells of a percentile scale", function()
        local values = {}
        for i = 1, 2000 do
            values[i] = i
        end
        values[1], values[2000] = -1e6, 1e6
        assert.same({3, 1998}, range(support.from_table {values}, {scale = "percentile",
            max_size = 2000}))
    end)

    it("differ by map", function()
        local seen = {}
        for _, map in ipairs {"viridis", "magma", "cividis", "diverging"} do
            fasc.heatmap(support.from_table {{-1, 1}}, {path = at "map.png", raw = true,
                map = map})
            local color = pictures.png(at "map.png").at(1, 0)
            assert.is_nil(seen[color])
            seen[color] = true
        end
    end)
end)

describe("fasc.heatmap, as a figure,", function()
    local function svg(what, opts)
        opts.path = at "f.svg"
        local info = fasc.heatmap(what, opts)
        local bytes = read "f.svg"
        pictures.well_formed(bytes)
        return bytes, info
    end

    it("has axes in tokens, a title, a caption and a colour bar", function()
        local bytes, info = svg(softmax(300, 300, true), {causal = true, title = "A & B",
            note = "from here"})
        for _, text in ipairs {"A &amp; B", "key", "query", "0", "100", "200", "masked",
            "column sum", "entropy", "probability", "10⁻⁴",
            "from here. 300 queries × 300 keys, causal. A cell is one pair. Log scale from 10⁻⁴ "
                .. "to 1."} do
            assert(pictures.says(bytes, text), text)
        end
        assert.equal(2, pictures.count(bytes, "image")) -- the map and the bar
        assert.truthy(bytes:find("pooling: max of 1 x 1", 1, true))
        assert.equal(tonumber(bytes:match 'width="(%d+)"'), info.width)
    end)

    it("counts original tokens when pooled or cropped, and says what it did", function()
        local bytes, info = svg(softmax(300, 300), {max_size = 100, pool = "mass"})
        assert.same({3, 3}, {info.pool_rows, info.pool_cols})
        assert(pictures.says(bytes, "200"))
        assert.truthy(table.concat(pictures.texts(bytes), " "):find(
            "A cell is 3 × 3 elements: sum over the keys, mean over the queries.", 1, true))
        bytes = svg(softmax(300, 300), {crop = {100, 260, 200, 300}})
        assert(pictures.says(bytes, "120") and not pictures.says(bytes, "50"))
        assert.truthy(bytes:find("crop: 100:260,200:300", 1, true))
        assert.truthy(table.concat(pictures.texts(bytes), " "):find(
            "Queries 100 to 259 × keys 200 to 299 of 300 × 300", 1, true))
    end)

    it("labels tokens where there is room", function()
        local tokens = {}
        for i = 1, 300 do
            tokens[i] = "t" .. i - 1
        end
        tokens[12] = "größe<"
        local bytes = svg(softmax(300, 300), {crop = {10, 40, 5, 45}, tokens = tokens})
        assert(pictures.says(bytes, "t10") and pictures.says(bytes, "t44"))
        assert(pictures.says(bytes, "größe&lt;"))
        assert.falsy(pictures.says(bytes, "t45"))
        bytes = svg(softmax(300, 300), {tokens = tokens})
        assert.falsy(pictures.says(bytes, "t10"))
        assert(pictures.says(bytes, "100"))
    end)

    it("draws several maps as a grid with one range and one colour bar", function()
        local a = support.from_table {{0, 1}, {2, 3}}
        local b = support.from_table {{4, 5}, {6, 8}}
        local bytes, info = svg({a, b, a, b, a}, {})
        assert.same({0, 8}, {info.low, info.high})
        assert.equal(6, pictures.count(bytes, "image"))
    end)

    it("draws differences about 0", function()
        local a, b = softmax(40, 40, true), softmax(40, 40, true):clone()
        b:slice({20, 21}, {3, 4}):fill(0.9)
        local bytes, info = svg(a, {minus = b, causal = true})
        local most = 0.9 - a:get(20, 3)
        assert.near(-most, info.low, 1e-6)
        assert.near(most, info.high, 1e-6)
        assert(pictures.says(bytes, "difference"))
        assert.truthy(bytes:find("pooling: extreme", 1, true))
        assert.equal(40 * 39 / 2, info.masked_count)
    end)

    it("survives maps that are all masked, all NaN, or a single cell", function()
        for value, word in pairs {[-math.huge] = "masked", [0.5] = "key"} do
            assert(pictures.says(svg(fasc.full({7, 5}, value), {}), word))
        end
        assert(pictures.says(svg(fasc.full({7, 5}, 0 / 0), {}), "NaN"))
        assert(pictures.says(svg(support.ones {1, 1}, {}), "key"))
        assert(pictures.says(svg(support.ones {1, 5000}, {}), "4000"))
    end)

    it("shows NaN of q in its row alone", function()
        local q, k = support.qkv({1, 1, 1, 20, 20, 8}, "f32")
        q:slice(0, 0, {3, 4}):fill(0 / 0)
        local source = require("fasc.map_source").of_qk(q, k, {kind = "probs", causal = true})
        local info = fasc.heatmap(source, {path = at "q.png", raw = true})
        local png = pictures.png(at "q.png")
        assert.equal(4, info.nan_count) -- keys 0 to 3
        for x = 0, 19 do
            assert.equal(x > 3 and GREY or MAGENTA, png.at(x, 3))
            assert.truthy(png.at(x, 2) ~= MAGENTA and png.at(x, 4) ~= MAGENTA)
        end
    end)

    it("takes names from files as they come", function()
        local t = support.ones {4, 4}
        local bytes = svg(t, {title = ("endless"):rep(60), note = "\27[31m <&> \255",
            metadata = {file = "caf\233\1"}})
        assert.truthy(bytes:find("file: caf\239\191\189\239\191\189", 1, true))
        assert.truthy(#pictures.texts(bytes) > 8) -- the title in several lines
        fasc.heatmap(t, {path = at "n.png", metadata = {file = "caf\233"}})
        assert(pictures.has_text(read "n.png", "file", "caf\239\191\189"))
    end)

    it("gives the same bytes again in every format, and a PNG of the size it says", function()
        for _, ending in ipairs {"png", "svg", "pdf"} do
            local first, second = at("1." .. ending), at("2." .. ending)
            local info = fasc.heatmap(softmax(64, 64), {path = first})
            fasc.heatmap(softmax(64, 64), {path = second})
            assert(pictures.read(first) == pictures.read(second), ending)
            if ending == "png" then
                local png = pictures.png(first)
                assert.same({png.width, png.height}, {info.width, info.height})
            end
        end
    end)
end)

describe("fasc.heatmap", function()
    it("refuses what makes no picture", function()
        local t = support.from_table {{-1, 1}}
        local function refused(message, map, opts)
            opts.path = opts.path ~= false and (opts.path or at "never.png") or nil
            fails("EINVAL", function() fasc.heatmap(map, opts) end, "heatmap: ", message)
        end
        refused("path: must be given", t, {path = false})
        refused("map: must be a tensor, got nil", nil, {})
        refused("must be rank 2", support.ones {2, 2, 2}, {})
        refused("map: holds no map", {}, {})
        refused("scale: must be \"linear\", \"log\" or \"percentile\", got 'lin'", t,
            {scale = "lin"})
        refused("unknown option 'colormap'", t, {colormap = "viridis"})
        refused("max_size: must be", t, {max_size = 0})
        refused("range: must be {low, high}", t, {range = {1}})
        refused("range: {2, 1}", t, {range = {2, 1}})
        refused("range: {-1, 2}, must be {-x, x}", t, {range = {-1, 2}, map = "diverging"})
        refused("range: low 0, must be above 0", t, {range = {0, 2}, scale = "log"})
        refused("needs values >= 0", t, {scale = "log"})
        refused("floor: -1, must be above 0", t, {scale = "log", floor = -1})
        refused("a log scale", t, {scale = "log", map = "diverging"})
        refused("crop: keys 1 to 3, must rise within 0 to 2", t, {crop = {0, 1, 1, 3}})
        refused("crop: queries 1 to 1, must rise", t, {crop = {1, 1, 0, 2}})
        refused("minus: 1 x 1, but 'map' is 1 x 2", t, {minus = support.ones {1, 1}})
        refused("minus: 2 maps, but there are 1", t, {minus = {t, t}})
        refused("raw: draws one map, got 2", {t, t}, {raw = true})
        refused("raw: is a .png", t, {raw = true, path = at "never.svg"})
        refused("cell: is for raw pictures", t, {cell = 2})
        refused("max_size: 15001 cells are too many for a figure", support.ones {1, 15001},
            {max_size = 20000})
        refused("path: ", t, {path = at "never.gif"})
        fails("EINVAL", function()
            fasc.heatmap(t, {path = at "never.png", raw = true, metadata = {[""] = "x"}})
        end, "keyword ''")
        fails("EIO", function() fasc.heatmap(t, {path = "/nonexistent/x.png"}) end, "No such file")
        fails("EIO", function() fasc.heatmap(t, {path = "/nonexistent/x.png", raw = true}) end,
            "No such file")
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
