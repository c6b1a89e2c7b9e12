-- What a failed script prints: the place, the message, the calls that led there.
local shell = require "tests.cli.shell"

local bench = shell.bench
local path = os.tmpname()

-- What the text prints on stderr as a script that fails, with its path written SCRIPT.
local function run(text, option)
    shell.write(path, text)
    local result = option and bench(option, path) or bench(path)
    assert.equal(1, result.code)
    return (result.err:gsub(path:gsub("%p", "%%%0"), "SCRIPT"))
end

teardown(function()
    os.remove(path)
end)

describe("a mistake in a script", function()
    it("tells the line and the calls, and none of the host", function()
        assert.equal(table.concat {
            "fasc-bench: SCRIPT:2: attempt to index local 'x' (a nil value)\n",
            "    SCRIPT:2: in function 'inner'\n",
            "    SCRIPT:5: in function 'outer'\n",
            "    SCRIPT:7: in main chunk\n",
        }, run [[
local function inner(x)
    local y = x.field return y
end
local function outer()
    local z = inner(nil) return z
end
outer()]])
    end)

    it("leaves error and assert out of the calls", function()
        assert.equal("fasc-bench: SCRIPT:1: why\n    SCRIPT:1: in main chunk\n",
            run "local _ = error('why')")
        assert.equal("fasc-bench: SCRIPT:1: because\n    SCRIPT:1: in main chunk\n",
            run "local _ = assert(false, 'because')")
    end)

    it("shortens a deep stack in the middle", function()
        local text = run "local function f(n) return 1 + f(n + 1) end f(1)"
        assert.truthy(text:find "stack overflow", text)
        assert.truthy(text:find "%.%.%. %(%d+ more%)\n", text)
        assert.truthy(select(2, text:gsub("\n", "")) < 30, text)
    end)

    it("that does not parse has one line", function()
        assert.equal("fasc-bench: SCRIPT:2: unexpected symbol near ')'\n", run "x = 1\n)")
    end)

    it("inside a coroutine is told as well", function()
        local text = run "coroutine.wrap(function() local x = nil + 1 return x end)()"
        assert.truthy(text:find("SCRIPT:1: attempt to perform arithmetic on a nil value", 1, true),
            text)
    end)

    it("may raise any value", function()
        assert.equal("fasc-bench: (the error is a table)\n    SCRIPT:1: in main chunk\n",
            run "local _ = error({})")
        assert.equal("fasc-bench: told\n    SCRIPT:1: in main chunk\n",
            run "local e = setmetatable({}, {__tostring = function() return 'told' end}) error(e)")
    end)

    it("is found in the modules inside the program with their names", function()
        local text = run "require 'fasc.errors'.check('no status')"
        assert.truthy(text:find("fasc-bench: lua/fasc/errors.lua:", 1, true), text)
    end)
end)

describe("an error of the library", function()
    local mistake = "local fasc = require 'fasc'\nfasc.zeros({2, -1})"

    it("is one line with the script's place", function()
        local text = run(mistake)
        assert.truthy(text:find "^fasc%-bench: SCRIPT:2: [^\n]+\n$", text)
    end)

    it("comes with the calls after --traceback or FASC_TRACEBACK=1", function()
        local text = run(mistake, "--traceback")
        assert.truthy(text:find "^fasc%-bench: SCRIPT:2: [^\n]+\n.*    SCRIPT:2: in main chunk\n$",
            text)
        local command = shell.command(path)
        assert.truthy(shell.sh("FASC_TRACEBACK=1 " .. command).err:find "in main chunk")
        assert.falsy(shell.sh("FASC_TRACEBACK=0 " .. command).err:find "in main chunk")
    end)

    it("can be caught", function()
        assert.equal("EINVAL\n", bench("-e", [[
            local fasc = require "fasc"
            local ok, e = pcall(fasc.zeros, {2, -1})
            print(e.status)]]).out)
    end)
end)

describe("a module that is not there", function()
    it("of fasc is one message, without folders of other modules", function()
        local text = run "local _ = require 'fasc.nonsense'"
        assert.truthy(text:find("no module 'fasc.nonsense' inside fasc-bench", 1, true), text)
        assert.falsy(text:find("/usr", 1, true), text)
    end)
end)
