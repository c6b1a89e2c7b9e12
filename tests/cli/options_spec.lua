-- The command line itself: options, usage errors, versions, devices.
local shell = require "tests.cli.shell"

local bench = shell.bench

-- One line on stderr with this text, nothing on stdout, exit status 2.
local function assert_usage_error(result, text)
    assert.equal(2, result.code)
    assert.equal("", result.out)
    assert.truthy(result.err:find(text, 1, true), result.err)
    assert.truthy(result.err:find "^fasc%-bench: [^\n]+\n$", result.err)
end

describe("usage errors are one line and exit with 2", function()
    it("for an unknown option, with the hint to --help", function()
        assert_usage_error(bench "--frobnicate", "unknown option '--frobnicate'; see")
        assert_usage_error(bench("-x", "a.lua"), "unknown option '-x'")
    end)

    it("for a mistyped option, with the nearest one", function()
        assert_usage_error(bench("--devcie", "cpu"), "did you mean --device?")
        assert_usage_error(bench "--list-device", "did you mean --list-devices?")
        assert_usage_error(bench "--verison", "did you mean --version?")
    end)

    it("for an option without its value", function()
        assert_usage_error(bench "--device", "option --device lacks its NAME")
        assert_usage_error(bench "--lua-dir", "option --lua-dir lacks its DIR")
        assert_usage_error(bench "-e", "option -e lacks its CODE")
    end)

    it("for a value that an option does not take", function()
        assert_usage_error(bench "--version=2", "option --version takes no value")
    end)

    it("for a script that is not there, and for a folder", function()
        assert_usage_error(bench "no/such.lua", "no/such.lua: No such file or directory")
        assert_usage_error(bench "missing.lua", "missing.lua: No such file or directory")
        assert_usage_error(bench "/tmp/", "/tmp/: Is a directory")
    end)

    it("for a bare word that is no script, with the known ones and the nearest", function()
        local result = bench "sweep_seqln"
        assert_usage_error(result, "no script and no file named 'sweep_seqln'")
        assert.truthy(result.err:find("did you mean sweep_seqlen?", 1, true), result.err)
        assert.truthy(result.err:find("scripts:.* sweep_seqlen"), result.err)
        assert_usage_error(bench "sweep_seq", "did you mean sweep_seqlen?")
        assert_usage_error(bench "zzzzzzzzzz", "scripts:")
    end)
end)

describe("what is asked for is printed", function()
    it("--help: every option, exit 0, nothing on stderr", function()
        local result = bench "--help"
        assert.equal(0, result.code)
        assert.equal("", result.err)
        for _, option in ipairs {"-e CODE", "-i ", "--device NAME", "--lua-dir DIR", "--traceback",
            "--list-devices", "--version", "--help"} do
            assert.truthy(result.out:find("\n  " .. option, 1, true), option)
        end
        for line in result.out:gmatch "[^\n]+" do
            assert.truthy(#line <= 100, line)
        end
    end)

    it("--version: fasc's, with commit and build, and LuaJIT's", function()
        local result = bench "--version"
        assert.equal(0, result.code)
        assert.truthy(result.out:find "^fasc %d+%.%d+%.%d+ %(commit %S+", result.out)
        assert.truthy(result.out:find("\nLuaJIT 2.1", 1, true), result.out)
    end)

    it("--list-devices: the CPU with model, instruction set, threads and memory", function()
        local result = bench "--list-devices"
        assert.equal(0, result.code)
        local line = result.out:match "^cpu [^\n]*"
        assert.truthy(line, result.out)
        assert.truthy(line:find ", %l+%d*, %d+ threads?, [%d.]+ GiB %([%d.]+ free%)", line)
    end)

    it("--list-devices: CUDA devices, or one line that says why there are none", function()
        local lines = {}
        for line in bench("--list-devices").out:gmatch "[^\n]+" do
            lines[#lines + 1] = line:match "^cuda.*"
        end
        assert.truthy(#lines >= 1)
        for _, line in ipairs(lines) do
            assert.truthy(line:find "^cuda    not usable: .+"
                or line:find "^cuda:%d  .+, sm_%d+%l?, %d+ SMs, .+ GiB .+, driver .+, CUDA ", line)
        end
    end)
end)

describe("starting", function()
    it("takes less than 20 ms of the processor", function()
        local least = 1
        for _ = 1, 5 do
            least = math.min(least, tonumber(bench("-e", "print(os.clock())").out))
        end
        assert.is_true(least < 0.02, ("%g s"):format(least))
    end)

    it("opens nothing of the GPU's, and no call on the CPU does", function()
        local result = bench("-e", [[
            local fasc = require "fasc"
            local t = fasc.ones({2, 2, 8, 16}, {device = "cpu"})
            print(fasc.attention(t, t, t).plan.kernel)
            for line in io.lines "/proc/self/maps" do
                local name = line:match "/([^/]*)$" or ""
                if name:find "fasc_cuda" or name:find "^libcuda" or name:find "^libcublas"
                    or name:find "^libnv" or line:find "/dev/nvidia" then
                    print(name)
                end
            end]])
        assert.equal("", result.err)
        assert.equal("flash\n", result.out)
    end)
end)

describe("FASC_CPU", function()
    local function arch(wanted)
        return shell.sh(("FASC_CPU=%s %s"):format(wanted, shell.command("-e",
            'print(require "fasc".device "cpu":info().arch)')))
    end

    it("chooses the instructions that CPU kernels use", function()
        assert.equal("portable\n", arch("portable").out)
    end)

    it("is refused when it names none", function()
        local result = arch "avx3"
        assert.equal(1, result.code)
        assert.matches("^fasc%-bench: [^\n]*FASC_CPU: 'avx3' is not one of portable, avx2, "
            .. "avx512\n$", result.err)
    end)
end)

describe("options reach the scripts", function()
    it("--device NAME and --device=NAME", function()
        local code = 'print(require "fasc.host".device)'
        assert.equal("cpu\n", bench("--device", "cpu", "-e", code).out)
        assert.equal("cuda:3\n", bench("--device=cuda:3", "-e", code).out)
        assert.equal("nil\n", bench("-e", code).out)
    end)

    it("--device is what fasc.device() opens", function()
        local code = 'print(require "fasc".device())'
        assert.equal("cpu\n", bench("--device", "cpu", "-e", code).out)
        local result = bench("--device", "tpu", "-e", code)
        assert.equal(1, result.code)
        assert.truthy(result.err:find("tpu", 1, true), result.err)
    end)

    it("-- ends the options", function()
        local result = bench("-e", "print(arg[0], arg[1])", "--", "-", "--help")
        assert.equal("-\t--help\n", result.out)
    end)
end)

describe("--lua-dir", function()
    local folder = os.tmpname()

    setup(function()
        os.remove(folder)
        shell.sh("mkdir -p " .. folder .. "/fasc")
        shell.write(folder .. "/fasc/init.lua", "return {from = 'disk'}")
        shell.write(folder .. "/fasc/own.lua", "return {line = debug.getinfo(1, 'S').source}")
    end)
    teardown(function()
        shell.sh("rm -r " .. folder)
    end)

    local function run(code)
        return bench("--lua-dir", folder, "-e", code)
    end

    it("takes fasc and fasc.* from the folder", function()
        assert.equal("disk\n", run('print(require "fasc".from)').out)
        assert.equal("@" .. folder .. "/fasc/own.lua\n", run('print(require "fasc.own".line)').out)
    end)

    it("does not fall back to the modules inside the program", function()
        local result = run 'require "fasc.tensor"'
        assert.equal(1, result.code)
        assert.truthy(result.err:find("cannot open " .. folder .. "/fasc/tensor.lua", 1, true),
            result.err)
    end)

    it("leaves fasc.host and fasc.cdef as they are", function()
        assert.equal("table\tstring\n",
            run('print(type(require "fasc.host"), type(require "fasc.cdef"))').out)
    end)
end)
