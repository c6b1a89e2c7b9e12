-- record_chart_spec.lua - line charts of records: what is drawn where, and what cannot be.
local cairo = require "fasc.cairo"
local charts = require "fasc.record_chart"
local json = require "fasc.json"
local records = require "fasc.records"
local support = require "support"
local svg = require "fasc.svg"

local at = support.folder(before_each, after_each)

local function record(point, seconds, status)
    local r = json.object {
        {"schema", 1}, {"sweep", "s"}, {"status", status or "ok"}, {"point", json.object(point)},
        {"environment", json.object {{"device", json.object {{"name", "cpu"}}}}},
        {"rates", json.object {{"flops", 1e9}}},
    }
    if seconds then
        r.timing = json.object {{"n", 9}, {"median", seconds}, {"p5", 0.9 * seconds},
            {"p95", 1.2 * seconds}}
    end
    return r
end

-- Two kernels over three lengths, causal and not; one point fails.
local function example(name, factor)
    local file = assert(io.open(at(name), "w"))
    for _, causal in ipairs {false, true} do
        for i, n in ipairs {512, 1024, 4096} do
            for k, kernel in ipairs {"blas", "flash"} do
                local failed = n == 4096 and kernel == "blas" and causal
                file:write(json.encode(record({{"cache", "hot"}, {"seqlen", n}, {"causal", causal},
                    {"kernel", kernel}}, not failed and (factor or 1) * 1e-3 * i / k or nil,
                    failed and "out_of_memory" or "ok")), "\n")
            end
        end
    end
    file:close()
    return records.load(at(name))
end

local function count(text, pattern)
    return select(2, text:gsub(pattern, ""))
end

describe("a chart of records", function()
    if not cairo.available() then
        return pending "needs cairo"
    end

    it("has a panel for each value of the other axes, and a named line for each kernel", function()
        local figure = charts.draw({example "a"}, {y = "time"})
        local text = svg.encode(figure)
        for _, label in ipairs {"causal false", "causal true", "seqlen", "time (ms)", "512", "1024",
            "4096"} do
            assert.truthy(text:find(">" .. label .. "<", 1, true), label)
        end
        assert.equal(2, count(text, ">flash<"))
        assert.equal(2, count(text, ">blas<"))
        assert.equal(3, count(text, "<polygon[^>]*opacity=\"0.16\""),
            "a band for each line without a gap")
    end)

    it("marks a point without a result by a cross at the foot", function()
        local figure = charts.draw({example "a"}, {y = "time", filter = "causal"})
        local crosses, foot = 0, 0
        for _, shape in ipairs(figure.shapes) do
            if shape.kind == "path" and #shape.points == 4
                and math.abs(shape.points[3] - shape.points[1]) < 10 and shape.width == 1.8 then
                crosses = crosses + 1
                foot = math.max(foot, shape.points[2], shape.points[4])
            end
        end
        assert.equal(2, crosses, "the strokes of one cross")
        assert.is_true(foot > 0.6 * figure.height)
    end)

    it("puts times where they are: twice the time, the same step up a log axis", function()
        local figure = charts.draw({example "a"}, {y = "time", filter = "not causal"})
        local lines = {}
        for _, shape in ipairs(figure.shapes) do
            if shape.kind == "path" and #shape.points == 6 and not shape.closed then
                lines[#lines + 1] = shape.points
            end
        end
        assert.equal(2, #lines)
        local blas, flash = lines[1], lines[2]
        assert.near(blas[3] - blas[1], (blas[5] - blas[3]) / 2, 1e-6, "log2 across")
        for i = 1, 6, 2 do
            assert.equal(blas[i], flash[i])
            assert.is_true(flash[i + 1] > blas[i + 1], "the faster one lies lower")
        end
    end)

    it("of several records tells them by dashes, and by their names", function()
        local figure = charts.draw({example "a", example("b", 2)},
            {y = "gflops", names = {"old", "new"}})
        local text = svg.encode(figure)
        assert.equal(2, count(text, ">flash, old<"))
        assert.equal(2, count(text, ">flash, new<"))
        assert.truthy(text:find('stroke-dasharray="6 3"', 1, true))
    end)

    it("is saved as PNG, SVG and PDF", function()
        local figure = charts.draw({example "a"}, {y = "time", theme = "dark"})
        for ending, head in pairs {png = "\137PNG", svg = "<svg", pdf = "%PDF"} do
            local path = at("chart." .. ending)
            figure:save(path)
            local file = assert(io.open(path, "rb"))
            assert.equal(head, file:read(4))
            file:close()
        end
    end)

    it("refuses what the records do not have", function()
        local set = example "a"
        support.raises("EINVAL", "did you mean 'time'?", charts.draw, {set}, {y = "tme"})
        support.raises("EINVAL", "did you mean 'kernel'?", charts.draw, {set},
            {y = "time", by = "kernl"})
        support.raises("EINVAL", "no point has the metric 'power'", charts.draw, {set},
            {y = "power"})
        support.raises("EINVAL", "leaves no point", charts.draw, {set},
            {y = "time", filter = "seqlen > 1e6"})
    end)
end)
