-- The README's code: its Lua runs, its C compiles without a warning and runs, its scripts exist.
local shell = require "tests.cli.shell"

local sh, quote = shell.sh, shell.quote
local readme = shell.read "README.md"

local function blocks(language)
    local found = {}
    for code in readme:gmatch("\n```" .. language .. "\n(.-)\n```") do
        found[#found + 1] = code
    end
    return found
end

local function in_folder(fn)
    local folder = os.tmpname()
    os.remove(folder)
    assert.equal(0, sh("mkdir " .. folder).code)
    local ok, message = pcall(fn, folder)
    sh("rm -r " .. folder)
    assert(ok, message)
end

describe("the README", function()
    -- What each block of Lua prints and saves.
    local LUA = {
        {prints = {"flash %(", "agrees over %d+ rows"}, saves = {"head3.png", "run.safetensors"}},
        {prints = {"topk_indices +tensor%[1,8,2048,4%] i32", "agrees over 24 rows",
            "col_sum_probs +%- not compared", "tensor%[1,8,64%] i32"}, saves = {}},
        {prints = {"layers%.0%.q\t1 x 4 x 128 x 64\n0\n"}, saves = {"model.npz"}},
    }

    it("has Lua that runs, prints and saves what it says", function()
        local code = blocks "lua"
        assert.equal(#LUA, #code)
        for i, block in ipairs(code) do
            in_folder(function(folder)
                shell.write(folder .. "/example.lua", block)
                local result = sh(("cd %s && %s example.lua"):format(folder, quote(shell.program)))
                assert.equal("", result.err)
                assert.equal(0, result.code)
                for _, pattern in ipairs(LUA[i].prints) do
                    assert.matches(pattern, result.out)
                end
                for _, name in ipairs(LUA[i].saves) do
                    assert.equal(0, sh(("test -s %s/%s"):format(folder, name)).code, name)
                end
            end)
        end
    end)

    it("names scripts that there are", function()
        local named = 0
        for name in readme:gmatch "\n| `([%l_]+)[^`\n]*` | " do
            if sh("test -f scripts/" .. name .. ".lua").code == 0 then
                named = named + 1
            end
        end
        assert.equal(tonumber(sh("ls scripts/*.lua | wc -l").out), named)
    end)

    if not shell.has "cc" then
        pending "has C that compiles and runs: needs a C compiler"
        return
    end
    it("has C that compiles without a warning and runs", function()
        local code = blocks "c"
        assert.equal(1, #code)
        in_folder(function(folder)
            shell.write(folder .. "/example.c", code[1])
            local lib = quote(shell.prefix .. "/lib")
            local built = sh(("cc -std=c11 -Wall -Wextra -Wpedantic -Werror -Isrc %s/example.c "
                .. "-L%s -lfasc -Wl,-rpath,$(realpath %s) -o %s/example"):format(folder, lib, lib,
                folder))
            assert.equal("", built.err)
            local result = sh(folder .. "/example")
            assert.equal(0, result.code)
            assert.matches("^flash: query 9 gives key 3 the weight 0%.05", result.out)
        end)
    end)
end)
