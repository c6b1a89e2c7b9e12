-- The installed tree: complete, working from where it was moved to, owing nothing to the source.
local shell = require "tests.cli.shell"

local sh = shell.sh
local folder = os.tmpname()
local first, moved = folder .. "/first", folder .. "/moved"

local function must(command)
    local result = sh(command)
    assert.equal(0, result.code, result.out .. result.err)
    return result.out
end

if not shell.has "cmake" or sh("test -f " .. shell.prefix .. "/CMakeCache.txt").code ~= 0 then
    describe("the installed tree", function()
        pending "needs cmake and a build folder made here"
    end)
    return
end

local install = "cmake --install " .. shell.quote(shell.prefix)

describe("the installed tree", function()
    setup(function()
        os.remove(folder)
        must("mkdir " .. folder)
        must(install .. " --prefix " .. first)
        must(("mv %s %s"):format(first, moved))
    end)
    teardown(function()
        sh("rm -r " .. folder)
    end)

    -- Runs the moved program in an empty folder, without the build's libraries in reach.
    local function bench(arguments)
        return sh(("cd %s && env -u LD_LIBRARY_PATH %s/bin/fasc-bench %s"):format(folder, moved,
            arguments))
    end

    it("holds program, library, header, pkg-config file and scripts", function()
        for _, name in ipairs {"bin/fasc-bench", "lib/libfasc.so", "lib/libfasc.so.0",
            "include/fasc.h", "lib/pkgconfig/fasc.pc", "share/fasc/scripts/sweep_seqlen.lua"} do
            assert.equal(0, sh(("test -e %s/%s"):format(moved, name)).code, name)
        end
    end)

    it("runs after it was moved, with its own library and scripts", function()
        local result = bench [[-e 'local fasc = require "fasc"
            print(fasc.zeros({3}, {device = "cpu"}):sum())
            print((require "fasc.host".scripts_dir))
            for line in io.lines "/proc/self/maps" do
                local path = line:match "/[^ ]*libfasc[^ ]*"
                if path then print(path) break end
            end']]
        assert.equal(("0\n%s/share/fasc/scripts\n%s/lib/libfasc.so."):format(moved, moved),
            result.out:match "^.*libfasc%.so%.", result.err)
        assert.equal(0, bench("sweep_seqlen --help").code)
    end)

    it("names no folder of the source or the build", function()
        local source = must("grep ^CMAKE_HOME_DIRECTORY " .. shell.quote(shell.prefix)
            .. "/CMakeCache.txt"):match "=([^\n]+)"
        assert.equal("", sh(("grep -rlF %s %s"):format(shell.quote(source), moved)).out)
    end)

    it("serves C++ programs", function()
        local compiler = shell.has "c++" and "c++" or shell.has "clang++-14" and "clang++-14"
        if not compiler then
            pending "needs a C++ compiler"
            return
        end
        shell.write(folder .. "/use.cc", [[
            #include <fasc.h>
            int main() { return fasc_cancel_requested() ? fasc_status_name(FASC_OK)[0] : 0; }
        ]])
        must(("cd %s && %s -std=c++11 -pedantic -Wall -Werror -fsyntax-only -I%s/include use.cc")
            :format(folder, compiler, moved))
    end)

    it("serves C programs through pkg-config", function()
        if not shell.has "cc" then
            pending "needs a C compiler"
            return
        end
        shell.write(folder .. "/use.c", [[
            #include <fasc.h>
            #include <stdio.h>
            int main(void)
            {
                printf("%s %d\n", fasc_version(), fasc_abi_version() == FASC_ABI_VERSION);
                return 0;
            }
        ]])
        must(("cd %s && export PKG_CONFIG_PATH=%s/lib/pkgconfig && "
            .. "cc -std=c11 -Wall -Wextra -Wpedantic -Werror $(pkg-config --cflags fasc) use.c "
            .. "$(pkg-config --libs fasc) -o use"):format(folder, moved))
        local out = must(("LD_LIBRARY_PATH=%s/lib %s/use"):format(moved, folder))
        assert.truthy(out:find "^%d+%.%d+%.%d+ 1\n$", out)
    end)

    it("honours DESTDIR", function()
        must(("DESTDIR=%s/stage %s --prefix /opt/fasc"):format(folder, install))
        assert.equal(0, sh(("%s/stage/opt/fasc/bin/fasc-bench --version"):format(folder)).code)
    end)
end)
