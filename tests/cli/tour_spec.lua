-- docs/tour.md, typed again: its blocks of Lua go to one prompt, and what follows each is what it
-- printed. Lines that tell times or the machine are compared but for their numbers.
local shell = require "tests.cli.shell"
local support = require "tests.lua.support"

local at = support.folder(setup, teardown)
local tour = shell.read "docs/tour.md"

-- The blocks of Lua, each with the text that follows it.
local function blocks()
    local list = {}
    for code, text in tour:gmatch "\n```lua\n(.-)```\n```text\n(.-)```" do
        list[#list + 1] = {code = code, text = text}
    end
    return list
end

-- What a prompt prints for each block.
local function outputs(list)
    local typed = {}
    for i, block in ipairs(list) do
        typed[i] = ("%sprint '--- %d'\n"):format(block.code, i)
    end
    local here = shell.sh("pwd").out:gsub("\n", "")
    assert(shell.sh(("ln -s %s/tests %s"):format(shell.quote(here), at())).code == 0)
    local program = shell.program:sub(1, 1) == "/" and shell.program or here .. "/" .. shell.program
    local result = shell.sh(("cd %s && %s -i --device cpu"):format(at(), shell.quote(program)),
        table.concat(typed))
    assert.equal("", result.err)
    local found, rest = {}, result.out
    for i = 1, #list do
        found[i], rest = rest:match("^(.-)%-%-%- " .. i .. "\n(.*)$")
    end
    return found
end

-- A line without what differs from machine to machine; most lines have nothing of the kind.
local function timeless(line)
    if not line:find "[mun]s " and not line:find "flash" and not line:find "agrees"
        and not line:find "^%l+ +%d+ +0 +" and not line:find "GFLOP" then
        return line
    end
    return (line:gsub("avx512", "ISA"):gsub("avx2", "ISA"):gsub("portable", "ISA")
        :gsub("[%d%.]+e?%-?%d*", "#"):gsub(" [mun]?s", " s"):gsub(", not converged", "")
        :gsub("%s+", " "))
end

local function lines_of(text)
    local lines = {}
    for line in text:gmatch "[^\n]+" do
        lines[#lines + 1] = timeless(line)
    end
    return lines
end

describe("the tour", function()
    it("prints what it says", function()
        local list = blocks()
        assert.is_true(#list >= 9)
        for i, output in ipairs(outputs(list)) do
            local expected, actual = lines_of(list[i].text), lines_of(output)
            if list[i].code:find "^tune" then -- the order of its rows is the machine's
                assert.equal((expected[1]:gsub("%s+", " ")), (actual[1]:gsub("%s+", " ")))
                assert.matches("the library's choice", output)
            else
                assert.same(expected, actual)
            end
        end
        for _, name in ipairs {"layer3-head3.png", "layer3.npz", "layer3.safetensors"} do
            assert.equal(0, shell.sh(("test -s %s/%s"):format(at(), name)).code, name)
        end
    end)

    it("shows a picture that is there", function()
        for path in tour:gmatch "%]%(([%w%-]+%.png)%)" do
            assert.equal("\137PNG", shell.read("docs/" .. path):sub(1, 4))
        end
    end)
end)
