-- bench_spec.lua - sweeps: what becomes of good and bad points, what is printed and what is kept.
local ffi = require "ffi"
local errors = require "fasc.errors"
local fasc = require "fasc"
local json = require "fasc.json"
local results = require "fasc.results"
local support = require "support"

local raises = support.raises

local FAST = {"--quiet", "--no-output", "--warmup-seconds", "0.001", "--max-seconds", "0.01",
    "--rest-seconds", "0"}

-- A sweep of copies; `changes` replaces its parts.
local function copies(changes)
    local sweep = {
        name = "copies", summary = "Times copies.",
        axes = {
            {"size", {100, 200}, "elements", min = 1},
            {"dtype", {"f16", "f32"}, "of the copy", choices = {"f16", "bf16", "f32"}},
        },
        setup = function(point)
            return support.randn({point.size}, {seed = 1})
        end,
        op = function(point, src)
            return fasc.op.copy(src, support.empty(src.shape, {dtype = point.dtype}))
        end,
    }
    for name, part in pairs(changes or {}) do
        sweep[name] = part
    end
    return sweep
end

-- Runs it; returns rows, exit status and the printed lines.
local function run(sweep, ...)
    local argv, lines = {unpack(FAST)}, {}
    for _, word in ipairs {...} do
        argv[#argv + 1] = word
    end
    local rows, status = fasc.bench.run(sweep, argv, function(line)
        lines[#lines + 1] = line
    end)
    return rows, status, lines
end

local function statuses(rows)
    local list = {}
    for i, row in ipairs(rows) do
        list[i] = row.status
    end
    return list
end

local function column(lines, pattern)
    local found = {}
    for _, line in ipairs(lines) do
        found[#found + 1] = line:match(pattern)
    end
    return found
end

describe("a sweep", function()
    it("checks and times every point, in order", function()
        local rows, status, lines = run(copies())
        assert.same({"ok", "ok", "ok", "ok"}, statuses(rows))
        assert.equal(0, status)
        for i, expected in ipairs {{100, "f16"}, {100, "f32"}, {200, "f16"}, {200, "f32"}} do
            assert.equal(expected[1], rows[i].point.size)
            assert.equal(expected[2], rows[i].point.dtype)
            assert.is_true(rows[i].timing.median > 0)
            assert.equal(0, rows[i].check.failed)
        end
        assert.same({"100", "100", "200", "200"}, column(lines, "^ +(%d+)  f%d%d "))
        assert.is_truthy(table.concat(lines, "\n"):find("4 points: 4 measured", 1, true))
    end)

    it("gives a wrong result a failed row without a speed, and goes on", function()
        local rows, status, lines = run(copies {check = function(point, _, op)
            if point.size == 100 and point.dtype == "f32" then
                op.outputs.dst:fill(3)
            end
            return op:check()
        end})
        assert.same({"ok", "wrong", "ok", "ok"}, statuses(rows))
        assert.equal(1, status)
        assert.is_nil(rows[2].timing)
        assert.matches("dst: max", rows[2].reason)
        local row = column(lines, "^ +100  f32 .*")[1]
        assert.matches(" +%-  +%-  +%-  +%-", row)
        assert.matches("WRONG: dst: max", row)
    end)

    it("turns what goes wrong with a point into its row", function()
        local rows, status = run(copies {
            axes = {{"case", {"memory", "unsupported", "mistake", "rule", "skip", "fine"}}},
            skip = function(point)
                return point.case == "skip" and "not today" or nil
            end,
            setup = function(point)
                if point.case == "memory" then
                    return support.empty {2^50}
                elseif point.case == "unsupported" then
                    errors.raise("EUNSUPPORTED", "no such thing here")
                elseif point.case == "mistake" then
                    return point.nothing.at_all
                elseif point.case == "rule" then
                    return support.empty {-1}
                end
                return support.ones {10}
            end,
            op = function(_, src)
                return fasc.op.copy(src, fasc.empty_like(src))
            end,
        })
        assert.same({"out_of_memory", "unsupported", "error", "error", "skipped", "ok"},
            statuses(rows))
        assert.equal(1, status)
        assert.equal("no such thing here", rows[2].reason)
        assert.matches("attempt to index", rows[3].reason)
        assert.equal("not today", rows[5].reason)
        for i = 1, 5 do
            assert.is_nil(rows[i].timing)
        end
    end)

    it("is no failure when points are merely skipped, unsupported or too large", function()
        local _, status = run(copies {skip = function() return "no" end})
        assert.equal(0, status)
        _, status = run(copies {setup = function() return support.empty {2^50} end})
        assert.equal(0, status)
    end)

    it("keeps what was measured when it is canceled", function()
        local seen = 0
        local rows, status, lines = run(copies {setup = function(point)
            seen = seen + 1
            if seen == 3 then
                ffi.C.fasc_cancel()
            end
            return support.randn({point.size}, {seed = 1})
        end})
        ffi.C.fasc_cancel_clear()
        assert.same({"ok", "ok"}, statuses(rows))
        assert.equal(130, status)
        assert.equal(2, #column(lines, "^ +%d+  f%d%d "))
        assert.is_truthy(table.concat(lines, "\n"):find("2 points: 2 measured", 1, true))
    end)

    it("measures the baseline first and gives speed-ups over it", function()
        local rows = run(copies {baseline = {"dtype", "f32"}})
        local order = {}
        for i, row in ipairs(rows) do
            order[i] = row.point.size .. " " .. row.point.dtype
        end
        assert.same({"100 f32", "100 f16", "200 f32", "200 f16"}, order)
        for i = 1, 3, 2 do
            assert.equal(1, rows[i].speedup)
            assert.near(rows[i].timing.median / rows[i + 1].timing.median, rows[i + 1].speedup,
                1e-9)
        end
    end)

    it("gives derived values and own options to all its functions", function()
        local rows, _, lines = run(copies {
            options = {{"factor", 2, "how many times the size", min = 1}},
            derive = function(point, o) point.elements = point.size * o.factor end,
            setup = function(point) return support.ones {point.elements} end,
            flops = function(point) return point.elements end,
            columns = {{"twice", 5, function(row) return tostring(row.point.elements) end}},
        }, "--factor", "3")
        assert.equal(300, rows[1].point.elements)
        assert.equal(300, rows[1].flops)
        assert.is_truthy(table.concat(lines, "\n"):find("factor 3", 1, true))
        assert.equal(2, #column(lines, " 300$"))
    end)

    it("concludes from all rows; its conclusion may fail the run", function()
        local kept
        local _, status, lines = run(copies {finish = function(rows, write)
            kept = #rows
            write("that was all")
            return {fastest = 1}, true
        end})
        assert.equal(4, kept)
        assert.equal(1, status)
        assert.equal(1, #column(lines, "^that was all$"))
    end)

    it("names a field that no sweep has", function()
        raises("EINVAL", "unknown option 'setpu'; did you mean 'setup'?", fasc.bench.run,
            copies {setpu = print}, {})
    end)
end)

describe("the command line of a sweep", function()
    it("replaces axes and filters points", function()
        local rows = run(copies(), "--axis", "size=7,8,9", "--axis", "dtype=all",
            "--filter", 'size ~= 8 and dtype ~= "bf16"')
        local points = {}
        for i, row in ipairs(rows) do
            points[i] = row.point.size .. row.point.dtype
        end
        assert.same({"7f16", "7f32", "9f16", "9f32"}, points)
    end)

    it("lists points without making any input", function()
        local rows, status, lines = run(copies {setup = error}, "--list", "--axis", "dtype=f32")
        assert.same({}, rows)
        assert.equal(0, status)
        assert.same({"cache=hot launch=queued size=100 dtype=f32",
            "cache=hot launch=queued size=200 dtype=f32"}, lines)
    end)

    it("checks without timing in a dry run", function()
        local rows, status = run(copies(), "--dry-run")
        assert.same({"checked", "checked", "checked", "checked"}, statuses(rows))
        assert.is_nil(rows[1].timing)
        assert.equal(0, rows[1].check.failed)
        assert.equal(0, status)
    end)

    it("can leave out the check, and the rows say so", function()
        local rows, _, lines = run(copies(), "--no-check")
        assert.is_nil(rows[1].check)
        assert.equal(4, #column(lines, " unchecked"))
    end)

    it("empties the caches when asked to", function()
        if fasc.device(support.device):info().l2_bytes == 0 then
            return
        end
        local rows = run(copies(), "--axis", "cache=hot,cold", "--axis", "size=100", "--axis",
            "dtype=f32", "--max-samples", "5")
        assert.is_false(rows[1].timing.cold)
        assert.is_true(rows[2].timing.cold)
        assert.equal(1, rows[2].timing.batch)
    end)

    it("passes its thresholds on", function()
        local rows = run(copies(), "--min-samples", "1", "--max-samples", "1")
        for _, row in ipairs(rows) do
            assert.equal(1, row.timing.n)
        end
    end)

    it("prints records, CSV or Markdown instead of the table", function()
        local _, _, lines = run(copies(), "--json")
        assert.equal(4, #lines)
        assert.equal(100, json.decode(lines[1]).point.size)
        _, _, lines = run(copies(), "--csv")
        assert.matches("^cache,launch,size,dtype,median,spread,", lines[1])
        assert.equal(5, #lines)
        _, _, lines = run(copies(), "--markdown")
        assert.equal(6, #column(lines, "^| .* |$"))
    end)

    it("says in one line what is wrong with it", function()
        local function wrong(text, ...)
            raises("EINVAL", text, fasc.bench.run, copies(), {...})
        end
        wrong("unknown axis 'sise'; did you mean 'size'?", "--axis", "sise=3")
        wrong("unknown option '--filtre'", "--filtre", "x")
        wrong("--max-samples: '0' is not an integer of at least 1", "--max-samples", "0")
        wrong("--json, --csv and --markdown exclude each other", "--json", "--csv")
        wrong("--resume needs --output", "--resume")
        wrong("--filter 'size > 1000' leaves no point", "--filter", "size > 1000")
        wrong("too many arguments", "word")
    end)
end)

describe("the record of a sweep", function()
    local path

    before_each(function()
        path = os.tmpname()
    end)

    after_each(function()
        os.remove(path)
    end)

    local RECORDED = {"--quiet", "--warmup-seconds", "0.001", "--max-seconds", "0.01",
        "--rest-seconds", "0"}

    local function recorded(sweep, ...)
        local argv = {"--output", path, unpack(RECORDED)}
        for _, word in ipairs {...} do
            argv[#argv + 1] = word
        end
        return fasc.bench.run(sweep, argv, function() end)
    end

    it("holds one object a point with its environment", function()
        recorded(copies())
        local records, problems = results.read(path)
        assert.same({}, problems)
        assert.equal(4, #records)
        local r = records[1]
        assert.equal("copies", r.sweep)
        assert.equal("ok", r.status)
        assert.same({"cache", "launch", "size", "dtype"}, json.keys(r.point))
        assert.is_true(r.timing.median > 0 and r.timing.n > 0)
        assert.equal(r.rates.bytes / r.timing.median, r.rates.bytes_per_second)
        assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", r.date)
        assert.equal(fasc.version, r.environment.fasc.version)
        assert.is_boolean(r.environment.fasc.dirty)
        assert.equal(support.device.name, r.environment.device.name)
        assert.is_true(#r.environment.cpu.model > 0 and r.environment.cpu.threads >= 1)
        assert.matches("^Linux ", r.environment.system.kernel)
        assert.is_true(#r.environment.command > 0)
        assert.is_number(r.load)
    end)

    it("is opened before anything is measured", function()
        local touched = false
        raises("EIO", "results: /proc/nothing", fasc.bench.run,
            copies {setup = function() touched = true end},
            {"--quiet", "--output", "/proc/nothing/r.jsonl"}, function() end)
        assert.is_false(touched)
    end)

    it("has null where one sample leaves an error unknown", function()
        recorded(copies(), "--max-samples", "1")
        assert.equal(json.null, results.read(path)[1].timing.rse)
    end)

    it("is continued: what it holds is not measured again", function()
        local sweep = copies {baseline = {"dtype", "f32"}}
        recorded(sweep, "--axis", "size=100")
        local rows, status = recorded(sweep, "--resume")
        assert.equal(0, status)
        assert.same({200, 200}, {rows[1].point.size, rows[2].point.size})
        assert.equal(2, #rows)
        assert.equal(4, #results.read(path))
        assert.equal(0, #recorded(sweep, "--resume"))
        assert.equal(2, #recorded(sweep, "--resume", "--axis", "size=300"))
    end)

    it("is not continued by what another machine or another build measured", function()
        for _, change in ipairs {
            function(e) e.device.model = "another" end,
            function(e) e.fasc.commit = "0123456789ab" end,
        } do
            recorded(copies(), "--axis", "size=100")
            local changed = {}
            for i, r in ipairs(results.read(path)) do
                change(r.environment)
                changed[i] = json.encode(r)
            end
            local file = assert(io.open(path, "w"))
            file:write(table.concat(changed, "\n"), "\n")
            file:close()
            assert.equal(2, #recorded(copies(), "--resume", "--axis", "size=100"))
            assert.equal(0, #recorded(copies(), "--resume", "--axis", "size=100"))
            os.remove(path)
        end
    end)

    it("gives the baseline to points measured later", function()
        local sweep = copies {baseline = {"dtype", "f32"}}
        recorded(sweep, "--axis", "size=100", "--axis", "dtype=f32")
        local base = results.read(path)[1].timing.median
        local rows = recorded(sweep, "--resume", "--axis", "size=100")
        assert.equal("f16", rows[1].point.dtype)
        assert.near(base / rows[1].timing.median, rows[1].speedup, 1e-9)
    end)

    it("measures again what ended in an error", function()
        local broken = copies {setup = function() error "no" end}
        recorded(broken, "--axis", "size=100", "--axis", "dtype=f32")
        local rows = recorded(copies(), "--resume", "--axis", "size=100", "--axis", "dtype=f32")
        assert.same({"ok"}, statuses(rows))
    end)
end)

describe("the inputs of a sweep", function()
    local inputs = fasc.bench.inputs
    local FILE = "tests/data/gpt-d64-layer3-n128.qkv.safetensors"

    it("may come from a file, repeated along heads and tokens", function()
        local file = fasc.open(FILE)
        for _, name in ipairs {"q", "k"} do
            local source = file:read("layers.3." .. name):to {dtype = "f32", device = "cpu"}
            local heads = source.shape[2]
            local t = inputs.make("file", name, {2, heads + 3, 300, 64},
                {dtype = "f32", seed = 1}, {inputs_file = FILE .. ":0"}):to "cpu"
            assert.same({2, heads + 3, 300, 64}, t.shape)
            for _, at in ipairs {{0, 0, 0, 0}, {1, heads + 2, 299, 63}, {0, heads, 128, 5}} do
                local b, h, n, d = unpack(at)
                assert.equal(source:get(0, h % heads, n % 128, d), t:get(b, h, n, d))
            end
        end
    end)

    it("from a file that cannot be used are an error with the reason", function()
        local function make(file, head_dim)
            return inputs.make("file", "q", {1, 1, 8, head_dim}, {dtype = "f32", seed = 1},
                {inputs_file = file})
        end
        raises("EINVAL", "--inputs-file names none", make, "", 64)
        raises("EUNSUPPORTED", "head_dim 32 is asked for", make, FILE, 32)
        raises("EINVAL", "there are 1 layers", make, FILE .. ":7", 64)
        raises("EIO", "nowhere", make, "nowhere.safetensors", 64)
    end)

    it("take turns with cache=rotate, each on tensors of its own", function()
        local made = 0
        local rows = run(copies {setup = function(point)
            made = made + 1
            return support.randn({2^20 * point.size}, {seed = 1})
        end}, "--axis", "cache=rotate", "--axis", "size=8", "--axis", "dtype=f32")
        assert.equal("ok", rows[1].status, rows[1].reason)
        assert.equal(made, rows[1].timing.rotate)
        assert.is_true(made >= 2)
        assert.equal(0, rows[1].timing.batch % made)
    end)

    it("too small to exceed the caches are unsupported with cache=rotate", function()
        local rows = run(copies(), "--axis", "cache=rotate", "--axis", "size=10")
        assert.same({"unsupported", "unsupported"}, statuses(rows))
        assert.matches("copies of the inputs would be needed", rows[1].reason)
    end)
end)

describe("points measured in turns", function()
    it("are all checked, timed and compared with the first", function()
        local rows, status, lines = run(copies(), "--interleave", "dtype", "--axis", "size=1000")
        assert.equal(0, status)
        assert.same({"ok", "ok"}, statuses(rows))
        assert.is_nil(rows[1].versus)
        local v = rows[2].versus
        assert.matches("dtype=f16", v.first)
        assert.is_true(v.ratio.low <= v.ratio.ratio and v.ratio.ratio <= v.ratio.high)
        assert.equal(rows[1].timing.n, #rows[1].timing.samples)
        assert.equal(1, #column(lines, "^f32 .* times dtype=f16 %("))
    end)

    it("leave out the one that is wrong, and go on", function()
        local rows = run(copies {check = function(point, _, op)
            if point.dtype == "f16" then
                op.outputs.dst:fill(3)
            end
            return op:check()
        end}, "--interleave", "dtype", "--axis", "size=1000")
        assert.same({"wrong", "ok"}, statuses(rows))
        assert.is_nil(rows[1].timing)
        assert.is_true(rows[2].timing.median > 0)
    end)
end)

describe("defaults that a GPU has of its own", function()
    it("hold there and nowhere else, and yield to the command line", function()
        local seen
        local function sweep(...)
            run(copies {
                axes = {{"size", {1, 2}, "elements", gpu = {3}}},
                options = {{"heads", 5, "heads", gpu = 7}},
                setup = function(point, o)
                    seen[#seen + 1] = ("%d/%d"):format(point.size, o.heads)
                    return support.ones {point.size}
                end,
                op = function(_, src) return fasc.op.copy(src, fasc.empty_like(src)) end,
            }, ...)
        end
        seen = {}
        sweep()
        assert.same(fasc.device().name == "cpu" and {"1/5", "2/5"} or {"3/7"}, seen)
        seen = {}
        sweep("--axis", "size=4", "--heads", "1")
        assert.same({"4/1"}, seen)
    end)
end)
