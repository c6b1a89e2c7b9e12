-- analyze_spec.lua - the script analyze: its table, its JSON, and the folder that it fills.
local json = require "fasc.json"
local pictures = require "pictures"
local shell = require "tests.cli.shell"
local support = require "support"

local bench = shell.bench
local here = debug.getinfo(1, "S").source:match("^@(.*)/cli/[^/]*$")
local data = here .. "/data/gpt-d64-layer3-n128."
local at = support.folder(setup, teardown)

local function run(...)
    local r = bench("analyze", ...)
    assert.equal(0, r.code, r.err)
    return r.out, r.err
end

describe("analyze", function()
    it("prints each head's numbers and names those worth a look, with how to see them", function()
        local out, err = run(data .. "qkv.safetensors")
        assert.equal("", err)
        assert.truthy(out:find("^layer +head +sink rate +entropy"))
        assert.equal(8, select(2, out:gsub("\n +3 +%d", "")))
        local command = out:match "Worth a look:.-(fasc%-bench heatmap [^\n]*)"
        assert.truthy(command:find("%-%-layer 3 %-%-head %d %-o layer3%-head%d%.png$"))
    end)

    it("prints JSON for machines", function()
        local report = json.decode((run(data .. "qkv.safetensors", "--json", "--head", "2,4-5")))
        assert.same({128, 128, "bottom_right", 3}, {report.queries, report.keys, report.causal,
            #report.heads})
        for i, head in ipairs(report.heads) do
            assert.equal(({2, 4, 5})[i], head.head)
            for _, name in ipairs {"sink", "entropy", "distance", "max_logit", "own", "previous",
                "induction"} do
                assert.equal("number", type(head[name]), name)
            end
        end
        local full = json.decode((run(data .. "qkv.safetensors", "--json", "--full")))
        assert.is_false(full.causal)
    end)

    it("reads saved probabilities", function()
        local report = json.decode((run(data .. "expected.safetensors", "--tensor", "*.probs",
            "--causal", "--json")))
        assert.equal(8, #report.heads)
        assert.equal("layers.3.probs", report.heads[1].tensor)
    end)

    it("fills a folder with numbers, a figure and heatmaps, the same each time", function()
        local out, err = run(data .. "qkv.safetensors", "-o", at "deep/heads")
        run(data .. "qkv.safetensors", "-o", at "again")
        local count = 0
        for path in err:gmatch "wrote ([^\n]+)" do
            local bytes = shell.read(path)
            assert.truthy(#bytes > 100, path)
            assert.equal(bytes, shell.read(at("again/" .. path:match "[^/]*$")))
            count = count + 1
        end
        assert.truthy(count >= 5)
        local svg = shell.read(at "deep/heads/heads.svg")
        pictures.well_formed(svg)
        for _, text in ipairs {"sink rate", "induction", "previous token"} do
            assert(pictures.says(svg, text), text)
        end
        assert.equal(7, pictures.count(svg, "image"))
        assert.truthy(out:find(at "deep/heads/layer3%-head%d%.png"))
        local report = json.decode(shell.read(at "deep/heads/heads.json"))
        local named = report.notable[1].heads[1].head
        assert.truthy(pictures.png(at("deep/heads/layer3-head" .. named .. ".png")).width > 500)
    end)

    it("fails in one line", function()
        local function fails(code, message, ...)
            local r = bench("analyze", ...)
            assert.equal(code, r.code)
            assert(r.err:find(message, 1, true), r.err)
            assert.equal(1, select(2, r.err:gsub("\n", "\n")))
        end
        fails(1, "No such file", at "missing.safetensors")
        fails(1, "must be probabilities", data .. "expected.safetensors", "--tensor", "*.lse")
        fails(2, "--layer: 'x' is not a list", data .. "qkv.safetensors", "--layer", "x")
    end)
end)
