-- The prompt with lines from a pipe: what is printed and what is kept.
local shell = require "tests.cli.shell"

local function repl(...)
    return shell.sh(shell.command "-i", table.concat({...}, "\n") .. "\n")
end

describe("the prompt", function()
    it("prints what expressions give, and nothing for statements", function()
        assert.equal("3\n", repl("1 + 2").out)
        assert.equal("a\tnil\ttrue\n", repl("'a', nil, 1 == 1").out)
        assert.equal("5\n", repl("= 5").out)
        assert.equal("", repl("x = 1", "local y = 2", "do end").out)
    end)

    it("prints no prompt when nobody sits there", function()
        local result = repl("1")
        assert.equal("1\n", result.out)
        assert.equal("", result.err)
        assert.equal(0, result.code)
    end)

    it("reads on while a chunk is not complete", function()
        assert.equal("1\n2\n", repl("for i = 1, 2 do", "", "print(i)", "end").out)
        assert.equal("6\n", repl("(1 +", "2 +", "3)").out)
        assert.equal("a\nb\n", repl("[[a", "b]]").out)
    end)

    it("tells an error with its calls, and keeps the state", function()
        local result = repl("x = 41", "local t = nil; return t.field", "x + 1")
        assert.equal("42\n", result.out)
        assert.equal("prompt:1: attempt to index local 't' (a nil value)\n"
            .. "    prompt:1: in main chunk\n", result.err)
        assert.equal(0, result.code)
    end)

    it("tells what is no Lua in one line, also when input ends inside it", function()
        assert.equal("prompt:1: unexpected symbol near ')'\n", repl(")").err)
        assert.truthy(repl("print(").err:find "^prompt:%d: [^\n]+near '<eof>'\n$")
    end)

    it("has fasc and its functions as globals, and globals that are not set are nil", function()
        assert.equal("true\ttrue\tnil\n", repl("fasc ~= nil, zeros == fasc.zeros, nonsense").out)
    end)

    it("loads files of tensors with load, which is Lua's own otherwise", function()
        local path = "tests/data/gpt-d64-layer3-n128.qkv.safetensors"
        local tokens = ("load('%s', {names = 'tokens'}).tokens:numel()"):format(path)
        assert.equal("128\n", repl(tokens).out)
        assert.equal("7\n", repl("load('return 7')()").out)
        assert.equal("8\n", repl("n = 0",
            "load(function() n = n + 1 return ({'return', ' 8'})[n] end)()").out)
        assert.matches("^[^\n]+missing%.npy: No such file[^\n]*\n$", repl("load 'missing.npy'").err)
    end)

    it("prints tensors as they describe themselves", function()
        local result = repl('fasc.zeros({2, 3}, {device = "cpu"})')
        assert.truthy(result.out:find("tensor[2,3] f32 cpu", 1, true), result.out .. result.err)
    end)

    it("tells an error of the library in one line", function()
        local result = repl("fasc.zeros({-1})")
        assert.truthy(result.err:find "^zeros: [^\n]+\n$", result.err)
    end)

    it("follows -e code and a script", function()
        local command = shell.command("-e", "x = 5", "-i")
        assert.equal("5\n", shell.sh(command, "x\n").out)
    end)

    it("survives a value whose __tostring fails", function()
        local result = repl("setmetatable({}, {__tostring = function() error('no', 0) end})", "1")
        assert.equal("1\n", result.out)
        assert.truthy(result.err:find "^no\n", result.err)
    end)
end)

describe("tables are printed", function()
    it("on a line where they fit, the list first, then the names in order", function()
        assert.equal('{1, 2, "x", a = {}, b = true, ["c d"] = 4}\n',
            repl('{1, 2, "x", b = true, a = {}, ["c d"] = 4}').out)
    end)

    it("over lines where they do not", function()
        local out = repl "{first = ('x'):rep(50), second = {1, 2, 3}, third = ('y'):rep(50)}".out
        assert.equal(('{\n    first = "%s",\n    second = {1, 2, 3},\n    third = "%s",\n}\n')
            :format(("x"):rep(50), ("y"):rep(50)), out)
    end)

    it("to a depth and a length, and once where they contain themselves", function()
        assert.equal("{{{{{...}}}}}\n", repl "{{{{{{{1}}}}}}}".out)
        assert.truthy(repl("t = {} for i = 1, 100 do t[i] = i end", "t").out
            :find("... (60 more)", 1, true))
        assert.equal("{me = {...itself}}\n", repl("t = {} t.me = t", "t").out)
    end)

    it("with control characters in strings made visible", function()
        assert.equal([[{"a\nb\"\0\27"}]] .. "\n", repl [[{"a\nb\"\0\27"}]].out)
    end)
end)
