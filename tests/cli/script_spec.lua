-- Running code: scripts, stdin, -e, arg, bare words, exit statuses.
local shell = require "tests.cli.shell"
local support = require "support"

local bench = shell.bench
local at = support.folder(setup, teardown)

local function script(name, text)
    return shell.write(at(name), text)
end

describe("code comes from", function()
    it("-e, in order, each seeing the globals of those before", function()
        assert.equal("1\n2\n", bench("-e", "x = 1 print(x)", "-e", "print(x + 1)").out)
    end)

    it("a script, after -e", function()
        local path = script("after.lua", "print(x)")
        assert.equal("7\n", bench("-e", "x = 7", path).out)
    end)

    it("stdin, as - or when there is nothing else", function()
        assert.equal("hello -\n", shell.sh(shell.command "-", 'print("hello", arg[0])').out
            :gsub("\t", " "))
        assert.equal("hello\n", shell.sh(shell.command(), 'print "hello"').out)
    end)

    it("a file whose name has no .lua", function()
        local path = script("plain", "print 'plain'")
        assert.equal("plain\n", bench(path).out)
        assert.equal("plain\n", shell.sh(("cd %s && %s"):format(at(), shell.command "plain")).out)
    end)

    it("a file that begins with #!", function()
        local path = script("hash.lua", "#!/usr/bin/env fasc-bench\nprint(2 + 2)")
        assert.equal("4\n", bench(path).out)
    end)
end)

describe("arg is as luajit has it", function()
    local lines = [[
        local first = 0
        while arg[first - 1] do first = first - 1 end
        for i = first, #arg do io.write(i, "=", arg[i], "\n") end
        print("...", ...)
    ]]

    it("the script is 0, its arguments follow, options go before", function()
        local path = script("arg.lua", lines)
        local expected = ("-3=%s\n-2=--device\n-1=cpu\n0=%s\n1=a\n2=-e\n3=\n...\ta\t-e\t\n")
            :format(shell.program, path)
        assert.equal(expected, bench("--device", "cpu", path, "a", "-e", "").out)
    end)

    it("busted runs as a script", function()
        local busted = arg[0]
        local result = bench(busted, "--version")
        assert.equal(0, result.code)
        assert.truthy(result.out:find "^%d+%.%d+", result.out)
    end)
end)

describe("a bare word", function()
    it("names a script that comes with fasc", function()
        local result = bench("sweep_seqlen", "--help")
        assert.equal(0, result.code)
        assert.truthy(result.out:find("sweep_seqlen", 1, true), result.out)
    end)

    it("may end in .lua", function()
        local result = bench("sweep_seqlen.lua", "--help")
        assert.equal(0, result.code)
        assert.truthy(result.out:find("sweep_seqlen", 1, true), result.out)
    end)

    it("names a file of that name first", function()
        script("sweep_seqlen", "print 'mine'")
        assert.equal("mine\n",
            shell.sh(("cd %s && %s"):format(at(), shell.command "sweep_seqlen")).out)
    end)

    it("is not mistaken for a folder of that name", function()
        local result = shell.sh(("mkdir -p %s/in/sweep_seqlen && cd %s/in && %s"):format(
            at(), at(), shell.command("sweep_seqlen", "--help")))
        assert.equal(0, result.code)
    end)
end)

describe("the exit status", function()
    it("is 0 after a script that ends", function()
        assert.equal(0, bench("-e", "local x = 1; return x").code)
    end)

    it("is what os.exit says, with all output written", function()
        local result = bench("-e", 'io.write(("x"):rep(100000)) os.exit(7)')
        assert.equal(7, result.code)
        assert.equal(100000, #result.out)
        assert.equal(0, bench("-e", "os.exit(true)").code)
        assert.equal(1, bench("-e", "os.exit(false)").code)
        assert.equal(3, bench("-e", "coroutine.wrap(function() os.exit(3) end)()").code)
    end)

    it("is 1 after an error, and the script after a failed -e does not run", function()
        local result = bench("-e", "error 'no'", script("never.lua", "print 'ran'"))
        assert.equal(1, result.code)
        assert.equal("", result.out)
    end)

    it("is 1 when the output cannot be written", function()
        local result = shell.sh(shell.command("-e", "print 'lost'") .. " >/dev/full")
        assert.equal(1, result.code)
        assert.equal("fasc-bench: stdout: No space left on device\n", result.err)
    end)

    it("is 1 without a word after error(nil)", function()
        local result = bench("-e", "error()")
        assert.equal(1, result.code)
        assert.equal("", result.err)
    end)

    it("is 1 when busted has a failure, whose report is all there is", function()
        local spec = script("failing_spec.lua", 'it("fails", function() assert.equal(1, 2) end)')
        local config = script("config.lua", "return {}")
        local result = bench(arg[0], "-f", config, "-o", "plainTerminal", spec)
        assert.equal(1, result.code)
        assert.truthy(result.out:find("1 failure", 1, true), result.out)
        assert.equal("", result.err)
    end)
end)
