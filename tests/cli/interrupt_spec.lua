-- SIGINT: whatever runs ends with status 130; a second one ends it at once.
local shell = require "tests.cli.shell"

local out = os.tmpname()

teardown(function()
    os.remove(out)
end)

-- Runs code that says "ready", then sends SIGINT; once it says `again`, another. None of the codes
-- here ends by itself: one that SIGINT does not end is killed with the shell, which gives 137.
local function interrupt(code, again)
    local function send_after(word)
        return ([[
            while ! grep -q %s %s; do sleep 0.02; kill -0 $program || exit 99; done
            sleep 0.1
            kill -INT $program
        ]]):format(word, out)
    end
    return shell.sh((": >%s; %s >%s & program=$!\n%s %s wait $program"):format(out,
        shell.command("-e", "io.write 'ready\\n' io.flush() " .. code), out, send_after "ready",
        again and send_after(again) or ""))
end

describe("SIGINT ends", function()
    it("a loop in the interpreter, with an error of the library's kind", function()
        local result = interrupt [[
            local errors = require "fasc.errors"
            jit.off()
            local ok, e = pcall(function() while true do end end)
            print("caught", ok, errors.is(e), e.status)]]
        assert.equal(130, result.code)
        assert.truthy(shell.read(out):find("caught\tfalse\ttrue\tECANCELED", 1, true), result.err)
    end)

    it("a loop that LuaJIT has compiled, with its output written", function()
        local result = interrupt "io.write 'kept' local n = 0 while true do n = n + 1 end"
        assert.equal(130, result.code)
        assert.equal("ready\nkept", shell.read(out))
    end)

    it("a script that never catches it, with one line", function()
        local result = interrupt "jit.off() while true do end"
        assert.equal(130, result.code)
        assert.truthy(result.err:find "^fasc%-bench: [^\n]*interrupted\n$", result.err)
    end)

    it("a read from the terminal or a pipe", function()
        -- The other side writes nothing for as long as this one lives.
        local result = interrupt [[
            io.popen("while kill -0 $PPID; do sleep 0.2; done 2>/dev/null"):read "*a"]]
        assert.equal(130, result.code)
    end)

    it("a long CPU kernel", function()
        local result = interrupt [[
            local fasc = require "fasc"
            local q = fasc.randn({1, 8, 16384, 128}, {device = "cpu", dtype = "f32"})
            while true do fasc.attention(q, q, q, {kernel = "naive"}) end]]
        assert.equal(130, result.code)
    end)

    it("what a script does after it has caught the first, at the second", function()
        local result = interrupt("jit.off() pcall(function() while true do end end) "
            .. "print 'saving' io.flush() while true do pcall(tostring, 1) end", "saving")
        assert.equal(130, result.code)
        assert.truthy(result.err:find("interrupted twice", 1, true), result.err)
    end)
end)

describe("after SIGINT", function()
    it("an error of another kind is still told", function()
        local result = interrupt [[
            jit.off()
            pcall(function() while true do end end)
            error "could not save"]]
        assert.equal(130, result.code)
        assert.truthy(result.err:find("could not save", 1, true), result.err)
    end)

    it("a script can keep what it measured, and the status is 130 all the same", function()
        local result = interrupt [[
            local measured = {}
            jit.off()
            pcall(function() while true do measured[1] = "kept" end end)
            print(measured[1])
            os.remove(os.tmpname())]]
        assert.equal(130, result.code)
        assert.truthy(shell.read(out):find("kept", 1, true))
        assert.equal("", result.err)
    end)
end)
