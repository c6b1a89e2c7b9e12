-- report_spec.lua - compare, plot and report on records of a sweep; the page in a browser.
local json = require "fasc.json"
local shell = require "tests.cli.shell"
local support = require "support"

local bench = shell.bench
local at = support.folder(before_each, after_each)

local TIMES = {[256] = 1e-3, [512] = 4e-3, [1024] = 30e-3}

-- A record of three points, `factor` times as slow.
local function write(name, factor, reason)
    local lines = {}
    for n, seconds in pairs(TIMES) do
        local samples = json.array()
        for i = 1, 20 do
            samples[i] = factor * seconds * (1 + 1e-3 * (i % 5 - 2))
        end
        lines[#lines + 1] = json.encode(json.object {
            {"schema", 1}, {"sweep", "s"}, {"status", "ok"}, {"date", "2026-01-02T03:04:05Z"},
            {"point", json.object {{"seqlen", n}, {"kernel", "flash"}}},
            {"timing", json.object {{"n", 20}, {"median", factor * seconds}, {"rse", 1e-3},
                {"p5", factor * seconds}, {"p95", 1.1 * factor * seconds}, {"spread", 0.1}}},
            {"samples", samples},
            {"rates", json.object {{"flops", 1e9}, {"bytes", 1e6}}},
            {"environment", json.object {{"fasc", json.object {{"commit", name}}},
                {"device", json.object {{"name", "cpu"}, {"model", "A <b>CPU</b>"}}},
                {"command", json.array {"fasc-bench", "s"}}}},
        })
    end
    lines[#lines + 1] = json.encode(json.object {
        {"schema", 1}, {"sweep", "s"}, {"status", "error"}, {"reason", reason or "no"},
        {"point", json.object {{"seqlen", 2048}, {"kernel", "flash"}}},
    })
    return shell.write(at(name), table.concat(lines, "\n") .. "\n")
end

describe("compare", function()
    it("ends with status 1 on a regression beyond the threshold, and only then", function()
        local old, new, slow = write("old", 1), write("new", 1.001), write("slow", 1.1)
        local result = bench("compare", old, new)
        assert.equal(0, result.code, result.err)
        assert.truthy(result.out:find("fasc.commit: old -> new", 1, true), result.out)
        assert.truthy(result.out:find("4 points: 3 same, 1 no time; only in A: 0", 1, true))
        result = bench("compare", old, slow)
        assert.equal(1, result.code, result.err)
        assert.truthy(result.out:find("seqlen=256 +1%.000 ms +1%.100 ms +1%.100 +"
            .. "1%.%d+ to 1%.%d+ +slower\n"), result.out)
        assert.equal(0, bench("compare", slow, old).code, "faster is no regression")
        assert.equal(0, bench("compare", old, slow, "--threshold", "0.2").code)
    end)

    it("tells what is wrong with its arguments", function()
        local old = write("old", 1)
        for _, case in ipairs {
            {2, "compare: ", old}, {2, "--threshold: 'x' is not a number", old, old, "--threshold",
                "x"},
            {1, "compare: results: ", old, at "nowhere"},
        } do
            local result = bench("compare", unpack(case, 3))
            assert.equal(case[1], result.code, result.err)
            assert.truthy(result.err:find(case[2], 1, true), result.err)
        end
    end)
end)

describe("plot", function()
    it("draws what it is told, or says why not", function()
        local old = write("old", 1)
        local result = bench("plot", old, "-o", at "p.svg", "-y", "gflops", "--dark", "--title",
            "T")
        assert.equal(0, result.code, result.err)
        assert.truthy(shell.read(at "p.svg"):find(">rate (GFLOP/s)<", 1, true))
        result = bench("plot", old, "-o", at "p.bmp")
        assert.equal(2, result.code)
        assert.truthy(result.err:find("must end in .png, .svg or .pdf", 1, true), result.err)
    end)
end)

describe("report", function()
    local reason = '</table><script>document.title="hacked"</script>'

    it("is one file that asks for nothing else", function()
        local old, new = write("old.jsonl", 1), write("new.jsonl", 1.1, reason)
        local result = bench("report", old)
        assert.equal(0, result.code, result.err)
        assert.equal(at "old.html" .. "\n", result.out)
        result = bench("report", old, new, "-o", at "two.html")
        assert.equal(0, result.code, result.err)
        local html = shell.read(at "two.html")
        assert.is_nil(html:find "<script[^>]+src", nil)
        assert.is_nil(html:gsub("http://www.w3.org/2000/svg", ""):find "https?://")
        assert.is_nil(html:find(reason, 1, true), "texts of records are escaped")
        assert.truthy(html:find("A &lt;b&gt;CPU", 1, true))
        assert.truthy(html:find(">slower<", 1, true))
        assert.truthy(html:find("new.jsonl", 1, true), "the environments' difference")
        local _, ids = html:gsub('id="c%d_%d+"', "")
        local seen, double = {}, 0
        for id in html:gmatch 'id="([^"]+)"' do
            double = double + (seen[id] and 1 or 0)
            seen[id] = true
        end
        assert.is_true(ids > 0 and double == 0, "every id is one of its kind")
    end)

    local browser = shell.has "chromium" and "chromium"
    if not browser then
        pending "opens in a browser: chromium is not installed"
        return
    end

    local function open(page, ...)
        local result = shell.sh(("%s --headless --no-sandbox --disable-gpu --user-data-dir=%s "
            .. "--enable-logging=stderr %s %s"):format(browser, shell.quote(at "profile"),
            table.concat({...}, " "), shell.quote("file://" .. page)))
        assert.equal(0, result.code, result.err)
        assert.is_nil(result.err:match "[^\n]*CONSOLE[^\n]*", "the page's script complains")
        return result.out
    end

    it("opens without an error and sorts by number, by address or by click", function()
        bench("report", write("old.jsonl", 1, reason), "-o", at "r.html")
        local function order(address)
            local dom = open(at "r.html" .. address, "--dump-dom")
            assert.truthy(dom:find('data-ready="yes"', 1, true))
            assert.truthy(dom:find("<title>s on A &lt;b&gt;CPU", 1, true), "the title is ours")
            local lengths = {}
            for n in dom:match('id="points".-</table>'):gmatch '<tr data%-label="seqlen=(%d+)' do
                lengths[#lengths + 1] = tonumber(n)
            end
            return lengths, dom
        end
        local up, dom = order "#sort=points:median:ascending"
        assert.same({256, 512, 1024, 2048}, up)
        assert.truthy(dom:find('aria-sort="ascending"', 1, true))
        assert.same({1024, 512, 256, 2048}, (order "#sort=points:median:descending"),
            "a point without a time comes last")
        assert.same({2048, 1024, 512, 256}, (order "#sort=points:seqlen:descending"))
    end)

    it("can be looked at, light and dark", function()
        bench("report", write("old.jsonl", 1), "-o", at "r.html")
        for _, dark in ipairs {"", "--force-dark-mode"} do
            local picture = at("shot" .. #dark .. ".png")
            open(at "r.html", dark, "--window-size=1200,1600", "--screenshot=" .. picture)
            assert.is_true(#shell.read(picture) > 20000, "an empty picture")
        end
        assert.are_not.equal(shell.read(at "shot0.png"), shell.read(at "shot17.png"))
    end)
end)
