-- report_spec.lua - how numbers, tables and progress read.
local host = require "fasc.host"
local progress = require "fasc.progress"
local report = require "fasc.report"
local tables = require "fasc.table"

describe("numbers", function()
    it("have four digits and a unit", function()
        for seconds, text in pairs {
            [1] = "1.000 s", [0.99999] = "1.000 s", [12.345] = "12.35 s", [1.5e-3] = "1.500 ms",
            [0.0123456] = "12.35 ms", [2e-5] = "20.00 us", [999.6e-9] = "999.6 ns",
            [3e-9] = "3.000 ns", [12345] = "12345 s",
        } do
            assert.equal(text, report.time(seconds))
        end
        assert.equal("0", report.digits(0):match "^0")
        assert.equal("0.1235", report.digits(0.12345678))
        assert.equal("1235", report.digits(1234.5678))
        assert.equal("512 B", report.bytes(512))
        assert.equal("1.500 MiB", report.bytes(1.5 * 2^20))
        assert.equal("64.00 GiB", report.bytes(64 * 2^30))
    end)

    it("of durations read as words", function()
        for seconds, text in pairs {
            [0] = "0.0 s", [0.44] = "0.4 s", [12.3] = "12 s", [59.7] = "1 min 00 s",
            [65] = "1 min 05 s", [125.4] = "2 min 05 s", [3600] = "1 h 00 min",
            [4500] = "1 h 15 min",
        } do
            assert.equal(text, progress.duration(seconds))
        end
    end)
end)

describe("the time left", function()
    local function left(weights, done)
        local p = progress.new(weights, true)
        for _, seconds in ipairs(done) do
            p:finish("", seconds, "")
        end
        return p:left()
    end

    it("is unknown before the first point and zero after the last", function()
        assert.is_nil(left({1, 1}, {}))
        assert.near(0, left({1, 1}, {3, 5}), 1e-12)
    end)

    it("is the mean of the points done when all weigh the same", function()
        assert.near(2 * 3, left({1, 1, 1, 1}, {2, 4}), 1e-12)
    end)

    it("follows what points weigh", function()
        assert.near(0.5 + 2 * 8, left({1, 2, 4, 8}, {2.5, 4.5, 8.5}), 1e-9)
        assert.near(2 * 100, left({1, 100}, {2}), 2 * 100, "one point: no more than in proportion")
        assert.is_true(left({1, 2, 1000}, {5, 1}) > 0, "never negative")
    end)
end)

describe("progress", function()
    local isatty, stderr, shown = host.isatty, io.stderr, nil

    before_each(function()
        shown = {}
        rawset(io, "stderr", {
            write = function(_, ...) shown[#shown + 1] = table.concat({...}) end,
            flush = function() end,
        })
    end)

    after_each(function()
        host.isatty = isatty
        rawset(io, "stderr", stderr)
    end)

    local function run(terminal, quiet)
        host.isatty = function() return terminal end
        local p = progress.new({1, 3}, quiet)
        for i = 1, 2 do
            p:start("n=" .. i)
            p:finish("n=" .. i, 2, "fast")
        end
        return table.concat(shown)
    end

    it("is one updating line on a terminal, which leaves nothing behind", function()
        local text = run(true, false)
        assert.equal("\r\27[K[1/2] n=1\r\27[K\r\27[K[2/2] n=2, 2.0 s left\r\27[K", text)
        assert.is_nil(text:find "\n")
    end)

    it("is a line a point elsewhere, and nothing with --quiet", function()
        assert.equal("[1/2] n=1: fast (2.0 s left)\n[2/2] n=2: fast (0.0 s left)\n",
            run(false, false))
        shown = {}
        assert.equal("", run(true, true) .. run(false, true))
    end)
end)

describe("the note on a row", function()
    local function note(timing, row)
        row = row or {status = "ok", check = {}}
        row.timing = timing
        return report.note(row)
    end

    it("tells of samples that were taken while the clock was held down", function()
        assert.equal("", note {n = 8, throttled = 0, discarded = 0})
        assert.equal("50% throttled (power, thermal)",
            note {n = 8, throttled = 4, throttle = {"power", "thermal"}})
        assert.equal("3 samples again after a rest",
            note {n = 8, throttled = 0, discarded = 3, throttle = {"power"}})
    end)

    it("tells of what was not checked, and of a single sample", function()
        assert.equal("unchecked, one sample", note({n = 1, throttled = 0}, {status = "ok"}))
    end)
end)

describe("a table", function()
    local function lines_of(format)
        local lines = {}
        local t = tables.new({{title = "name", width = 6, align = "left"}, {title = "n"},
            {title = "", align = "left"}}, format, function(line) lines[#lines + 1] = line end)
        t:prose "about"
        t:titles()
        t:row {"flash", "12", ""}
        t:row {'a,"b', "3", "x | y"}
        return lines
    end

    it("is aligned for people", function()
        assert.same({"about", "name    n", "flash   12", 'a,"b    3  x | y'}, lines_of "text")
    end)

    it("is Markdown on request", function()
        assert.same({
            "about", "| name   |   n |     |", "| ------ | --: | --- |",
            "| flash  |  12 |     |", '| a,"b   |   3 | x \\| y |',
        }, lines_of "markdown")
    end)

    it("is CSV on request, without prose", function()
        assert.same({"name,n,", "flash,12,", '"a,""b",3,x | y'}, lines_of "csv")
    end)
end)
