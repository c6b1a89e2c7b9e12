-- heatmap_spec.lua - the script heatmap: pictures of the real layer, and what it says of mistakes.
local pictures = require "pictures"
local shell = require "tests.cli.shell"
local support = require "support"

local bench = shell.bench
local here = debug.getinfo(1, "S").source:match("^@(.*)/cli/[^/]*$")
local data = here .. "/data/gpt-d64-layer3-n128."
local qkv, expected = data .. "qkv.safetensors", data .. "expected.safetensors"
local at = support.folder(setup, teardown)

-- Runs the script and returns the picture's bytes and what it printed.
local function draw(name, ...)
    local r = bench("heatmap", "-o", at(name), ...)
    assert.equal("", r.err)
    assert.equal(0, r.code)
    assert.truthy(r.out:find(at(name) .. ": ", 1, true))
    return shell.read(at(name)), r.out
end

describe("heatmap draws", function()
    it("a head computed from q and k", function()
        local bytes, out = draw("a.png", qkv, "--layer", "3", "--head", "5", "--causal", "--raw")
        assert.truthy(out:find("layers.3.probs, head 5, 128 x 128 pixels", 1, true))
        for keyword, value in pairs {tensor = "layers.3.probs", layer = "3", head = "5",
            batch = "0", computed = "from q and k", scale = "log 0.0001 to 1",
            pooling = "max of 1 x 1", causal = "bottom_right"} do
            assert(pictures.has_text(bytes, keyword, value), keyword)
        end
    end)

    it("a saved map, pooled, without axes", function()
        local bytes, out = draw("b.png", expected, "--tensor", "layers.3.probs", "--head", "2",
            "--pool", "mass", "--max-size", "64", "--scale", "linear", "--raw")
        assert.truthy(out:find("64 x 64 pixels, a cell is 2 x 2", 1, true))
        assert(pictures.has_text(bytes, "pooling", "mass of 2 x 2"))
        assert(pictures.has_text(bytes, "computed", "no"))
    end)

    it("logits, from blue over white at 0 to red", function()
        local bytes = draw("c.svg", qkv, "--layer", "3", "--scores", "logits", "--map",
            "diverging")
        assert.truthy(bytes:find("colormap: diverging", 1, true))
        assert(bytes:find("scale: linear %-[%d.]+ to [%d.]+"))
        assert(pictures.says(bytes, "score"))
    end)

    it("a part, with the file's own tokens, where they fit", function()
        local bytes = draw("t.svg", qkv, "--layer", "3", "--crop", "0:40,0:40", "--causal")
        pictures.well_formed(bytes)
        assert.truthy(bytes:find("crop: 0:40,0:40", 1, true))
        for _, token in ipairs {"⟨256⟩", "c", "␣", ":", "⏎", "&quot;"} do
            assert(pictures.says(bytes, token), token)
        end
        local path = shell.write(at "tokens.txt", "BOS\n" .. ("größe \n \n"):rep(30))
        bytes = draw("t.svg", qkv, "--layer", "3", "--crop", "0:40,0:40", "--tokens", path)
        assert(pictures.says(bytes, "BOS") and pictures.says(bytes, "␣"))
        assert.falsy(pictures.says(bytes, "⟨256⟩"))
        local list = shell.write(at "tokens.json", '["a\\nb", "<s>", "c", "d"]')
        bytes = draw("t.svg", qkv, "--layer", "3", "--crop", "0:4,0:4", "--tokens", list)
        assert(pictures.says(bytes, "a⏎b") and pictures.says(bytes, "&lt;s&gt;"))
    end)

    it("all heads as a grid, or some", function()
        local bytes, out = draw("g.svg", qkv, "--grid")
        assert.equal(9, pictures.count(bytes, "image"))
        assert.truthy(out:find("layers.3.probs, heads 0–7", 1, true))
        bytes = draw("g.svg", qkv, "--layer", "3", "--head", "0-1,5", "--theme", "dark")
        assert.equal(4, pictures.count(bytes, "image"))
        assert(pictures.says(bytes, "head 5"))
    end)

    it("the difference of two files", function()
        local bytes = draw("d.svg", qkv, "--layer", "3", "--causal", "--diff", qkv)
        assert(pictures.says(bytes, "difference"))
        assert.truthy(bytes:find("scale: linear -1 to 1", 1, true))
    end)

    it("the same bytes again", function()
        for _, ending in ipairs {"png", "svg", "pdf"} do
            assert(draw("1." .. ending, qkv, "--layer", "3")
                == draw("2." .. ending, qkv, "--layer", "3"), ending)
        end
    end)

    it("NaN in magenta, with a word on stderr", function()
        local path = at "nan.npy"
        local r = bench("-e", ([[local fasc = require "fasc"
            fasc.save(%q, fasc.full({2, 2}, 0 / 0))]]):format(path))
        assert.equal(0, r.code)
        r = bench("heatmap", path, "-o", at "nan.png")
        assert.equal(0, r.code)
        assert.equal("heatmap: 4 elements are NaN, drawn magenta\n", r.err)
    end)

    it("the cells alone where cairo is missing, and says what to install", function()
        local function without(...)
            return shell.sh("FASC_CAIRO=/nonexistent.so " .. shell.command("heatmap", qkv,
                "--layer", "3", "-o", ...))
        end
        local r = without(at "w.png")
        assert.equal(0, r.code)
        assert.equal("heatmap: only the cells: /nonexistent.so cannot be opened: apt-get install "
            .. "libcairo2 fonts-dejavu-core\n", r.err)
        draw("raw.png", qkv, "--layer", "3", "--raw")
        assert(shell.read(at "w.png") == shell.read(at "raw.png"))
        r = without(at "w.svg")
        assert.equal(1, r.code)
        assert.truthy(r.err:find("apt-get install libcairo2 fonts-dejavu-core", 1, true))
        assert.equal(1, select(2, r.err:gsub("\n", "\n")))
        assert.equal("", shell.read(at "w.svg"))
    end)
end)

describe("heatmap fails", function()
    local function fails(code, message, ...)
        local r = bench("heatmap", ...)
        assert.equal(code, r.code)
        assert(r.err:find(message, 1, true), r.err)
        assert.equal(1, select(2, r.err:gsub("\n", "\n")))
    end

    it("with status 2 on usage", function()
        fails(2, "missing argument 'file'", "-o", at "x.png")
        fails(2, "missing option '-o'", qkv)
        fails(2, "'--scale' must be one of", qkv, "-o", at "x.png", "--scale", "cubic")
        for _, list in ipairs {"-1", "1.5", "3-1", "", "1,", "x"} do
            fails(2, ("--head: '%s' is not a list of integers"):format(list), qkv, "-o",
                at "x.png", "--head=" .. list)
        end
        fails(2, "--crop: '1:1,0:4' is not Q0:Q1,K0:K1", qkv, "-o", at "x.png", "--crop",
            "1:1,0:4")
        fails(2, "unknown option '--haed'", qkv, "-o", at "x.png", "--haed", "1")
    end)

    it("with status 1 and one line on all else", function()
        fails(1, "No such file", at "missing.npy", "-o", at "x.png")
        fails(1, "has no q and k, nor probs", qkv, "-o", at "x.png")
        fails(1, "head: 8, but layers.3.q has 8", qkv, "--layer", "3", "--head", "8", "-o",
            at "x.png")
        fails(1, "did you mean 'layers.3.probs'", expected, "--tensor", "layers.3.prob", "-o",
            at "x.png")
        fails(1, "/nonexistent/x.png: No such file", qkv, "--layer", "3", "-o",
            "/nonexistent/x.png")
        fails(1, "a log scale needs values >= 0", qkv, "--layer", "3", "--scores", "logits",
            "--scale", "log", "-o", at "x.png")
        fails(1, "not .npy, and as .safetensors", here .. "/data/README.md", "-o", at "x.png")
    end)
end)
