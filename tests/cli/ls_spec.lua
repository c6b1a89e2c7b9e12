-- fasc-bench ls: what a file holds, without reading its data.
local shell = require "tests.cli.shell"
local fasc = require "fasc"
local json = require "fasc.json"
local support = require "tests.lua.support"

local at = support.folder(setup, teardown)

setup(function()
    local one = fasc.ones({2, 3}, {device = "cpu", dtype = "f16"})
    fasc.save(at "t.safetensors", {["layers.0.q"] = one, ["layers.0.k"] = one,
        ["\27[2J"] = fasc.zeros({}, {device = "cpu", dtype = "i64"})},
        {metadata = {note = "two\nlines", layer = 3}})
    fasc.save(at "t.npz", {a = one})
    fasc.save(at "t.npy", one)
end)

describe("ls", function()
    it("lists names, dtypes, shapes and metadata, safe to print", function()
        local result = shell.bench("ls", at "t.safetensors")
        assert.equal("", result.err)
        assert.equal(table.concat({
            "name        dtype    read as  shape                        bytes",
            "\\x1b[2J     I64      i64                                       8",
            "layers.0.k  F16      f16      2 x 3                           12",
            "layers.0.q  F16      f16      2 x 3                           12",
            "3 tensors, 32 bytes; safetensors",
            "metadata: layer = 3",
            "metadata: note = two\\x0alines", "",
        }, "\n"), result.out)
    end)

    it("takes patterns, and says when nothing fits", function()
        local result = shell.bench("ls", at "t.safetensors", "*.k", "none*")
        assert.equal(1, result.code)
        assert.matches("has no tensor that fits 'none%*' among its 3\n$", result.err)
        assert.equal("", result.out)
        result = shell.bench("ls", at "t.safetensors", "*.k")
        assert.matches("\nlayers%.0%.k ", result.out)
        assert.matches("\n1 tensors, 12 bytes", result.out)
    end)

    it("gives JSON", function()
        for _, name in ipairs {"t.safetensors", "t.npz", "t.npy"} do
            local listed = json.decode(shell.bench("ls", at(name), "--json").out)
            assert.equal(name:match "%.(.*)$", listed.format)
            local last = listed.tensors[#listed.tensors]
            assert.same({2, 3}, {last.shape[1], last.shape[2]})
            assert.equal("f16", last.read_as)
            assert.equal(12, last.bytes)
        end
        local listed = json.decode(shell.bench("ls", at "t.safetensors", "--json").out)
        assert.equal("\27[2J", listed.tensors[1].name)
        assert.equal("two\nlines", listed.metadata.note)
    end)

    it("lists 100 GB in less than a second", function()
        local header = '{"huge":{"dtype":"F16","shape":[500000,100000],'
            .. '"data_offsets":[0,100000000000]}}     '
        shell.write(at "huge.safetensors", string.char(#header) .. ("\0"):rep(7) .. header)
        assert.equal(0, shell.sh(("truncate -s %.0f %s"):format(8 + #header + 1e11,
            at "huge.safetensors")).code)
        local result = shell.sh("ulimit -v 4000000; timeout 1 "
            .. shell.command("ls", at "huge.safetensors"))
        assert.equal("", result.err)
        assert.equal(0, result.code)
        assert.matches("\nhuge  F16      f16      500000 x 100000       100000000000\n", result.out)
    end)

    it("tells what is no file of tensors in one line", function()
        local result = shell.bench("ls", shell.write(at "x.txt", "hello, this is text"))
        assert.equal(1, result.code)
        assert.matches("^fasc%-bench: [^\n]+not %.npy, and as %.safetensors[^\n]+\n$", result.err)
    end)
end)
