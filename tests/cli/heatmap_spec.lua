-- heatmap_spec.lua - the script heatmap: pictures of the real layer, and what it says of mistakes.
local shell = require "tests.cli.shell"
local support = require "support"

local bench = shell.bench
local here = debug.getinfo(1, "S").source:match("^@(.*)/cli/[^/]*$")
local data = here .. "/data/gpt-d64-layer3-n128."
local qkv, expected = data .. "qkv.safetensors", data .. "expected.safetensors"
local at = support.folder(setup, teardown)

-- Runs the script and returns the PNG's bytes.
local function draw(name, ...)
    local r = bench("heatmap", "-o", at(name), ...)
    assert.equal("", r.err)
    assert.equal(0, r.code)
    assert.truthy(r.out:find(at(name) .. ": ", 1, true))
    local bytes = shell.read(at(name))
    assert.equal("\137PNG\r\n\26\n", bytes:sub(1, 8))
    return bytes, r.out
end

describe("heatmap draws", function()
    it("a head computed from q and k", function()
        local bytes, out = draw("a.png", qkv, "--layer", "3", "--head", "5", "--causal")
        assert.truthy(out:find("layers.3.probs head 5, 128 x 128 pixels", 1, true))
        for _, text in ipairs {"tensor\0layers.3.probs", "layer\0003", "head\0005", "batch\0000",
            "computed\0from q and k", "scale\0log 0.0001 to 1", "pooling\0max of 1 x 1",
            "causal\0bottom_right"} do
            assert(bytes:find(text, 1, true), text)
        end
    end)

    it("a saved map, pooled and magnified", function()
        local bytes, out = draw("b.png", expected, "--tensor", "layers.3.probs", "--head", "2",
            "--pool", "mass", "--max-size", "64", "--cell", "3", "--scale", "linear")
        assert.truthy(out:find("192 x 192 pixels, a cell is 2 x 2", 1, true))
        assert(bytes:find("pooling\0mass of 2 x 2", 1, true))
        assert(bytes:find("computed\0no", 1, true))
    end)

    it("logits, from blue over white at 0 to red", function()
        local bytes = draw("c.png", qkv, "--layer", "3", "--scores", "logits", "--map",
            "diverging")
        assert(bytes:find("colormap\0diverging", 1, true))
        assert(bytes:find("scale\0linear %-[%d.]+ to [%d.]+"))
    end)

    it("the same bytes again", function()
        assert(draw("1.png", qkv, "--layer", "3") == draw("2.png", qkv, "--layer", "3"))
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
        fails(2, "--head: '-1' is not an integer", qkv, "-o", at "x.png", "--head=-1")
        fails(2, "--layer: '1.5' is not an integer", qkv, "-o", at "x.png", "--layer", "1.5")
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
