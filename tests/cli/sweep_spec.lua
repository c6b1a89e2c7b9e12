-- Sweeps from the command line: sweep_seqlen as it comes, mistakes in its arguments, SIGINT,
-- kill -9, points in processes of their own.
local fasc = require "fasc"
local json = require "fasc.json"
local results = require "fasc.results"
local shell = require "tests.cli.shell"
local support = require "support"

local bench = shell.bench
local at = support.folder(before_each, after_each)

local QUICK = {"--warmup-seconds", "0.001", "--max-seconds", "0.02", "--rest-seconds", "0"}

local function sweep(...)
    return bench("sweep_seqlen", ...)
end

-- With one head_dim, of which the default has two on a GPU.
local function quick(...)
    local words = {"--axis", "head_dim=64", ...}
    for _, word in ipairs(QUICK) do
        words[#words + 1] = word
    end
    return sweep(unpack(words))
end

-- A sweep of fills over the axis `how`; setup and check are Lua code.
local function script(values, setup, check)
    return shell.write(at "sweep_test.lua", ([[
        local fasc = require "fasc"
        local ffi = require "ffi"
        fasc.bench.main {
            name = "sweep_test", summary = "A test.",
            axes = {{"how", %s}},
            setup = function(p) local how = p.how %s return fasc.ones({1000}) end,
            op = function(p, x) return fasc.op.fill(x) end,
            check = function(p, x, op) local how = p.how %s return op:check() end,
        }
    ]]):format(values, setup or "", check or ""))
end

-- A kernel that the programs' device has beside the naive one.
local function other_kernel()
    for _, kernel in ipairs(fasc.kernels()) do
        if kernel.name ~= "naive" then
            return kernel.name
        end
    end
end

describe("sweep_seqlen", function()
    it("prints a table, its progress on stderr, and writes a record", function()
        local path = at "r.jsonl"
        local result = quick("--axis", "seqlen=16,33", "--axis", "kernel=naive," .. other_kernel(),
            "--axis", "causal=true", "--heads", "2", "--output", path)
        assert.equal(0, result.code, result.err .. result.out)
        assert.truthy(result.out:find("seqlen +kernel +median +spread +n +%aFLOP/s +%aB/s "
            .. "+error .*vs naive"))
        assert.truthy(result.out:find "\n +33  naive +%d+%.%d+ [mu]?s ", result.out)
        assert.truthy(result.out:find("4 points: 4 measured", 1, true))
        assert.truthy(result.err:find "^%[1/4%] seqlen=16 kernel=naive: .* left%)\n")
        assert.equal(4, select(2, result.err:gsub("\n", "")))
        local records, problems = results.read(path)
        assert.same({}, problems)
        assert.equal(4, #records)
        for _, r in ipairs(records) do
            assert.equal("ok", r.status)
            assert.equal(2, r.options.heads)
            assert.is_true(r.check.failed == 0 and r.check.share <= 1)
            assert.is_true(r.rates.flops_per_second > 0 and r.speedup > 0)
            assert.equal(r.point.kernel, r.plan.kernel)
            assert.truthy(r.environment.fasc.commit)
            assert.same({"fasc-bench", "sweep_seqlen"},
                {r.environment.command[1], r.environment.command[2]})
        end
    end)

    it("writes to ./results unless told otherwise", function()
        local result = shell.sh(("cd %s && %s"):format(shell.quote(at()),
            shell.command("sweep_seqlen", "--quiet", "--axis", "seqlen=16", "--axis",
                "head_dim=64", "--axis", "kernel=naive", unpack(QUICK))))
        assert.equal(0, result.code, result.err)
        assert.equal("", result.err)
        local path = result.out:match "records: (results/sweep_seqlen%-[%d%-]+%.jsonl)\n"
        assert.equal(2, #results.read(at "" .. path))
    end)

    it("explains itself: options, axes and their values", function()
        local result = sweep "--help"
        assert.equal(0, result.code)
        for _, text in ipairs {
            "--axis", "--filter", "--list", "--dry-run", "--output", "--json", "--heads HEADS",
            "seqlen = 256, 512, 1024, 2048", "causal = false, true",
            "kernel = naive, blas, flash (of reference, naive, blas, flash)",
        } do
            assert.truthy(result.out:find(text, 1, true), text .. " in " .. result.out)
        end
        assert.falsy(result.out:find("--point", 1, true))
    end)

    it("prints records and nothing else with --json", function()
        local result = quick("--json", "--quiet", "--no-output", "--axis", "seqlen=16", "--axis",
            "kernel=naive")
        assert.equal("", result.err)
        local count = 0
        for line in result.out:gmatch "[^\n]+" do
            assert.equal(1, json.decode(line).schema)
            count = count + 1
        end
        assert.equal(2, count)
    end)

    it("tells in one line what is wrong with its command line, with status 2", function()
        for _, case in ipairs {
            {"unknown axis 'seqlne'; did you mean 'seqlen'?", "--axis", "seqlne=512"},
            {"'flsh' is none of reference, naive, blas, flash; did you mean 'flash'?",
                "--axis", "kernel=flsh"},
            {"axis seqlen: 0 is less than 1", "--axis", "seqlen=0"},
            {"unknown option '--head'", "--head", "3"},
            {"--heads: '0' is not an integer of at least 1", "--heads", "0"},
            {"device", "--device", "abacus"},
            {"--filter 'seqlen > 9e9' leaves no point", "--filter", "seqlen > 9e9"},
        } do
            local result = sweep(unpack(case, 2))
            assert.equal(2, result.code, result.err)
            assert.truthy(result.err:find(case[1], 1, true), result.err)
            assert.equal(1, select(2, result.err:gsub("\n", "")), result.err)
            assert.equal("", result.out)
        end
    end)

    it("does not begin when its record cannot be written", function()
        shell.write(at "file", "")
        for _, path in ipairs {at(), at "file/r.jsonl", "/proc/none/r.jsonl"} do
            local result = sweep("--output", path)
            assert.equal(1, result.code)
            assert.truthy(result.err:find("sweep_seqlen: results: ", 1, true), result.err)
            assert.equal(1, select(2, result.err:gsub("\n", "")), result.err)
            assert.equal("", result.out)
        end
    end)

    it("gives each point that cannot be done a row with the reason", function()
        local result = quick("--no-output", "--quiet", "--axis", "kernel=naive", "--axis",
            "causal=false", "--heads", "3", "--heads-kv", "2", "--axis", "seqlen=8")
        assert.equal(1, result.code)
        assert.truthy(result.out:find "naive.*ERROR: attention: .*heads", result.out)
    end)
end)

describe("a sweep with a kernel that is wrong", function()
    it("has a failed row without a speed, and status 1", function()
        local path = script('{"right", "wrong"}', nil,
            'if how == "wrong" then op.outputs.dst:fill(1e-3) end')
        local record = at "r.jsonl"
        local result = bench(path, "--output", record, unpack(QUICK))
        assert.equal(1, result.code)
        assert.truthy(result.out:find "\nwrong +%- +%- +%- .*WRONG: dst", result.out)
        local records = results.read(record)
        assert.equal("wrong", records[2].status)
        assert.is_nil(records[2].timing)
        assert.truthy(records[1].timing)
    end)
end)

describe("SIGINT", function()
    it("ends a sweep with status 130 and keeps what was measured", function()
        local path = script("fasc.bench.range(1, 1000)", [[
            if how == 4 then
                io.stderr:write "ready\n"
                local t = fasc.ones({2^20})
                fasc.time(fasc.op.fill(t), {min_samples = 1e7, max_samples = 1e7,
                    max_seconds = 1e6})
            end]])
        local record = at "r.jsonl"
        local result = shell.sh(([[
            %s 2>%s/err &
            program=$!
            while ! grep -q ready %s/err; do sleep 0.02; kill -0 $program || exit 99; done
            sleep 0.1
            kill -INT $program
            wait $program
        ]]):format(shell.command(path, "--output", record, unpack(QUICK)), at(), at()))
        assert.equal(130, result.code)
        assert.truthy(result.out:find("3 points: 3 measured", 1, true), result.out)
        assert.equal(3, #results.read(record))
    end)
end)

describe("kill -9", function()
    it("at any moment loses at most the point in flight; --resume completes the record", function()
        local path = script("fasc.bench.range(1, 300)")
        local record = at "r.jsonl"
        local command = shell.command(path, "--output", record, "--resume", "--quiet",
            "--warmup-seconds", "0.0001", "--max-seconds", "0.002", "--rest-seconds", "0")
        -- Each time so late that some points more are done, at a moment that differs each time.
        local killed = shell.sh(([[
            for i in $(seq 1 55); do
                %s >/dev/null 2>&1 &
                lines=$(cat %s 2>/dev/null | wc -l)
                tries=0
                while [ $(cat %s 2>/dev/null | wc -l) -le $lines ] && [ $tries -lt 99 ]; do
                    sleep 0.00$((i * 7 %% 10))1; tries=$((tries + 1))
                done
                kill -KILL $! && echo $(cat %s | wc -l)
                wait $!
            done 2>/dev/null
        ]]):format(command, shell.quote(record), shell.quote(record), shell.quote(record)))
        local last, kills = 0, 0
        for lines in killed.out:gmatch "%d+" do
            assert.is_true(tonumber(lines) >= last, "a line was lost")
            last, kills = tonumber(lines), kills + 1
        end
        assert.is_true(kills >= 50, kills .. " kills")
        local result = shell.sh(command)
        assert.equal(0, result.code, result.err)
        local seen, records, problems = {}, results.read(record)
        for _, r in ipairs(records) do
            assert.is_nil(seen[r.point.how], "measured twice")
            seen[r.point.how] = true
        end
        assert.same({}, problems)
        assert.equal(300, #records)
    end)
end)

describe("a disk that fills up", function()
    it("ends the sweep with the reason; --resume goes on once there is room", function()
        local path = script("fasc.bench.range(1, 8)")
        local record = at "r.jsonl"
        local command = shell.command(path, "--output", record, "--resume", "--quiet",
            unpack(QUICK))
        -- A file may grow to 4 blocks of 512 bytes, less than two records.
        local full = shell.sh("trap '' XFSZ; ulimit -f 4; " .. command)
        assert.equal(1, full.code)
        assert.truthy(full.err:find("results: " .. record .. ": File too large", 1, true), full.err)
        assert.equal(1, select(2, full.err:gsub("\n", "")), full.err)
        local result = shell.sh(command)
        assert.equal(0, result.code, result.err)
        local records, problems = results.read(record)
        assert.equal(8, #records)
        assert.equal(1, #problems, "the line that was cut off, and no other")
        assert.truthy(bench(path, "--output", "/dev/full", "--quiet", unpack(QUICK)).err:find(
            "/dev/full: No space left on device", 1, true))
    end)
end)

describe("--isolate", function()
    local path

    before_each(function()
        path = script('{"fine", "crash", "exit", "hang", "mistake", "again"}', [[
            if how == "crash" then ffi.cast("int *", 8)[0] = 1 end
            if how == "exit" then os.exit(7) end
            if how == "hang" then while true do pcall(error) end end
            if how == "mistake" then error "oh" end]])
    end)

    it("makes a crash, an exit and a hang rows of their own", function()
        local record = at "r.jsonl"
        local result = bench(path, "--timeout", "50", "--filter", 'how ~= "hang"', "--output",
            record, unpack(QUICK))
        assert.equal(1, result.code, result.err)
        result = bench(path, "--timeout", "1", "--resume", "--filter", 'how == "hang"', "--output",
            record, unpack(QUICK))
        assert.equal(1, result.code, result.err)
        local status = {}
        for _, r in ipairs(results.read(record)) do
            status[r.point.how] = r.status .. (r.reason and ": " .. r.reason or "")
        end
        assert.matches("^error: .*oh$", status.mistake)
        status.mistake = nil
        assert.same({
            fine = "ok", again = "ok", crash = "crashed: Segmentation fault",
            exit = "crashed: ended with status 7 and without a result",
            hang = "timeout: took longer than 1 s",
        }, status)
    end)

    it("measures the same as without", function()
        local result = bench(path, "--isolate", "--json", "--no-output", "--filter",
            'how == "fine" or how == "again"', unpack(QUICK))
        assert.equal(0, result.code, result.err)
        for line in result.out:gmatch "[^\n]+" do
            local r = json.decode(line)
            assert.equal("ok", r.status)
            assert.is_true(r.timing.median > 0)
            assert.equal(0, r.check.failed)
        end
    end)
end)

describe("--interleave", function()
    it("measures another build of the library in turns with this one", function()
        local other = shell.prefix .. "/lib/libfasc.so"
        shell.sh(("cp -L %s %s"):format(shell.quote(other), shell.quote(at "libfasc.so")))
        local record = at "r.jsonl"
        -- Rounds enough for a median that a busy machine does not throw far off.
        local result = sweep("--axis", "seqlen=33", "--axis", "causal=true", "--axis",
            "kernel=naive", "--interleave", at "libfasc.so", "--output", record, "--device", "cpu",
            "--max-seconds", "0.5", "--heads", "1")
        assert.equal(0, result.code, result.err)
        local records = results.read(record)
        assert.same({"this", at "libfasc.so"}, {records[1].point.build, records[2].point.build})
        assert.equal(records[1].environment.fasc.commit, records[2].build.commit)
        assert.is_true(records[2].versus.ratio > 0.1 and records[2].versus.ratio < 10)
        assert.is_true(records[2].versus.low <= records[2].versus.ratio)
        assert.equal(0, records[2].check.failed)
        assert.truthy(result.out:find("times build=this", 1, true), result.out)
    end)

    it("says why another library cannot be", function()
        local result = quick("--no-output", "--interleave", "/nowhere/libfasc.so")
        assert.equal(1, result.code)
        assert.truthy(result.err:find("/nowhere/libfasc.so: cannot open", 1, true), result.err)
        result = quick("--no-output", "--interleave", "seqlne")
        assert.equal(2, result.code)
        assert.truthy(result.err:find("unknown axis 'seqlne'; did you mean 'seqlen'?", 1, true))
        result = quick("--no-output", "--interleave", "kernel", "--isolate")
        assert.equal(2, result.code)
        assert.truthy(result.err:find("exclude each other", 1, true), result.err)
    end)
end)

describe("calibrate", function()
    it("gives later sweeps the share of what the device can do", function()
        local cache = "XDG_CACHE_HOME=" .. shell.quote(at()) .. " "
        local result = shell.sh(cache .. shell.command("calibrate", "--quiet", "--no-output",
            "--mebibytes", "1", "--side", "64", "--axis", "case=copy,write,matmul f32",
            unpack(QUICK)))
        assert.equal(0, result.code, result.err)
        assert.truthy(result.out:find("3 points: 3 measured", 1, true), result.out)
        local kept = json.decode(shell.read(at "fasc/ceilings.json"))
        local _, ceilings = next(kept)
        assert.is_true(ceilings.rate.f32 > 0)
        result = shell.sh(cache .. shell.command("sweep_seqlen", "--quiet", "--no-output",
            "--axis", "seqlen=32", "--axis", "kernel=naive", unpack(QUICK)))
        assert.equal(0, result.code, result.err)
        assert.truthy(result.out:find "of roof +vs naive\n", result.out)
        assert.truthy(result.out:find "%d+%% compute ", result.out)
    end)
end)

describe("bench_cpu", function()
    it("gives no verdict when cases are missing", function()
        local result = bench("bench_cpu", "--quiet", "--no-output", "--axis", "case=sgemm",
            "--max-samples", "1")
        assert.equal(1, result.code, result.err)
        assert.truthy(result.out:find("1 point: 1 measured", 1, true), result.out)
        assert.truthy(result.out:find("7 cases were not measured: no verdict", 1, true), result.out)
    end)

    it("measures memory in a process of its own", function()
        local result = bench("-e", [[
            local fasc = require "fasc"
            fasc.set_num_threads(2) -- the kernel's count is off by some pages for each
            local grown = require("fasc.process").peak_growth(function()
                fasc.ones({2^24}, {device = "cpu"}):free() -- 64 MiB
            end)
            print(grown / 2^20)]])
        assert.equal(0, result.code, result.err)
        assert.near(64, tonumber(result.out), 16)
    end)
end)
