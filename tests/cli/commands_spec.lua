-- The prompt's commands, help, _ and ; with lines from a pipe.
local shell = require "tests.cli.shell"
local support = require "tests.lua.support"

local at = support.folder(setup, teardown)

local function repl(...)
    return shell.sh(shell.command("-i", "--device", "cpu"), table.concat({...}, "\n") .. "\n")
end

local QKV = "q = randn({1, 2, 64, 32}, {seed = 1}) k, v = randn_like(q), randn_like(q)"

describe("?", function()
    it("tells a function's parameters, options, results and source", function()
        local out = repl("?fasc.load").out
        assert.matches("^fasc%.load%(path, opts%)\n\nReads a file: ", out)
        assert.matches("\npath  string\n", out)
        assert.matches("\n    names +string%[%]|string|nil the tensors to load", out)
        assert.matches("\n    layout +string%? ", out) -- of the class that its options follow
        assert.matches("\n%->  table<string, string> metadata\n", out)
        assert.matches("\nlua/fasc/io%.lua:%d+\n$", out)
    end)

    it("knows methods, objects, modules, classes and the prompt itself", function()
        local slice = repl("t = zeros {2}", "?t:slice").out
        assert.matches("^t:slice%(%.%.%.%)\n\nA view of a part%.", slice)
        local tensor = repl("t = zeros {2}", "?t").out
        assert.matches("^fasc%.Tensor\n", tensor)
        assert.matches("\n  dtype +string ", tensor)
        assert.matches("\n  :transpose +A view with two dimensions exchanged", tensor)
        assert.matches("\n  fasc%.op%.matmul +The matrix product", repl("?fasc.op").out)
        assert.matches("\n  layout +string%? \"bhnd\"", repl("?ReadOptions").out)
        local load = repl("?LoadOptions").out -- its own fields, and those of the class it follows
        assert.matches("\n  names +string.*\n  layout +string%? ", load)
        assert.matches("\n%%bench EXPR", repl("?").out)
        assert.matches("^x: a number: 5\n", repl("x = 5", "?x").out)
    end)

    it("searches for what is no name, and says what is near", function()
        local out = repl("?heatmop").out
        assert.matches("^nothing is named 'heatmop'; did you mean 'heatmap'%?\n", out)
        assert.matches("these speak of it:\n.*fasc%.heatmap", repl("?magenta").out)
    end)

    it("has something to say of every function of fasc, and of its options", function()
        local fasc, docs = require "fasc", require "fasc.docs"
        for name, f in pairs(fasc) do
            if type(f) == "function" then
                local doc = docs.of_function(f)
                assert(doc and #doc.text > 0, name .. " has no comment")
                for _, param in ipairs(doc.params) do
                    if param.name:find "^opts" then
                        assert(docs.fields(param.type), name .. ": " .. param.type)
                    end
                end
            end
        end
    end)
end)

describe("a command", function()
    it("%time runs an expression once, shows the time and the value", function()
        local out = repl("n = 0", "%time (function() n = n + 1 return n end)()", "n").out
        assert.matches("^[%d%.]+ [mun]?s\n1\n1\n$", out)
        assert.equal("4\n", repl("%time 1 + 3;", "_").out:match "\n(.*)$")
    end)

    it("%bench times attention in the library's loop, and anything else from Lua", function()
        local out = repl(QKV, "%bench attention(q, k, v, {kernel = 'naive', causal = true})").out
        assert.matches("^median [%d%.]+ [mu]s, 5%% to 95%%: .* calls", out)
        assert.matches("\n[%d%.]+ GFLOP/s, [%d%.]+ GB/s\n", out)
        assert.matches("\nin the library's loop: naive ", out)
        out = repl("x = 0", "%bench (function() x = x + 1 end)()").out
        assert.matches("called from Lua, device waited for\n$", out)
        assert.matches("^naive", repl(QKV, "%bench attention(q, k, v, {kernel = 'naive'});",
            "_.op.plan.kernel").out)
    end)

    it("%run runs a script with its arguments and lives on when that exits", function()
        shell.write(at "s.lua", "made = table.concat(arg, '|') print(arg[0], ...) os.exit(3)")
        local result = repl(("%%run %s 'a b' --x \"c\""):format(at "s.lua"), "made", "#arg")
        assert.equal(("%s\ta b\t--x\tc\na b|--x|c\n0\n"):format(at "s.lua"), result.out)
        assert.equal(at "s.lua" .. " ended with status 3\n", result.err)
        assert.equal(0, result.code)
        result = repl("%run ls tests/data/gpt-d64-layer3-n128.qkv.safetensors *.k", "1")
        assert.matches("\n1 tensors, 32768 bytes.*\n1\n$", result.out)
    end)

    it("tells what is wrong in one line, and goes on", function()
        for _, case in ipairs {
            {"%bnech 1", "^no command %%bnech; did you mean 'bench'%?\n$"},
            {"%time", "^%%time: needs an expression"},
            {"%time )", "^prompt:1: unexpected symbol"},
            {"%run", "^%%run: which script%? %(.*ls.*%)\n$"},
            {"%run sl", "^%%run: no script and no file named 'sl'; did you mean 'ls'%?\n$"},
            {"%run ls 'x", "^%%run: a ' is not closed\n$"},
            {"%run ls /nowhere", "No such file or directory\n$"},
        } do
            local result = repl(case[1], "7")
            assert.matches(case[2], result.err)
            assert.equal("7\n", result.out)
        end
    end)
end)

describe("the prompt", function()
    it("keeps the last value in _ and shows nothing after a ;", function()
        assert.equal("42\n43\n", repl("6 * 7", "x = 1", "_ + 1").out)
        assert.equal("5\n", repl("5;", "_").out)
        assert.equal("5\n", repl("2 + 3 ;  ", "_").out)
        assert.equal("5\nnil\nnil\n", repl("5", "nil", "_").out)
        assert.equal("", repl("(1 +", "2);").out)
    end)

    it("tells how a configuration that was tried does beside the library's choice", function()
        local out = repl(QKV, "attention(q, k, v, {kernel = {name = 'flash', block_n = 32}})").out
        assert.matches("\nplan +flash %(.*x32, ", out)
        assert.matches("\ntime +[%d%.]+ [mu]s median of %d+, [%d%.]+ GFLOP/s\n", out)
        assert.matches("\ndefault +[%d%.]+ [mu]s median of %d+, .* %(flash ", out)
        assert.is_nil(repl(QKV, "attention(q, k, v, {kernel = 'flash'})").out:find "\ntime ")
    end)

    it("cuts long values", function()
        local out = repl("t = {} for i = 1, 30 do t[i] = {} for j = 1, 30 do "
            .. "t[i][j] = ('x'):rep(40) end end", "t").out
        assert.equal(102, select(2, out:gsub("\n", "\n")) + 1)
        assert.matches("\n%.%.%. %(%d+ more lines; print the parts to see all%)\n$", out)
    end)

    it("shows a tensor as a PNG and gives its path", function()
        local out = repl("show(zeros {3, 5})", "show(zeros {2, 2, 4, 4}, {path = '"
            .. at "s.png" .. "'})").out
        local made = out:match "^(/[^\n]+%.png)\n"
        assert.equal(made .. "\n" .. at "s.png" .. "\n", out)
        for _, path in ipairs {made, at "s.png"} do
            assert.equal("\137PNG", shell.read(path):sub(1, 4))
        end
        os.remove(made)
    end)
end)
