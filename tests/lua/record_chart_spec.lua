-- record_chart_spec.lua - line charts of records: what is drawn where, and what cannot be.
local cairo = require "fasc.cairo"
local charts = require "fasc.record_chart"
local figures = require "fasc.figure"
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

-- ---- colours ------------------------------------------------------------------------------

-- What linear RGB becomes without one kind of cone (Machado, Oliveira and Fernandes 2009, severity
-- 1), and with all of them.
local SIGHT = {
    normal = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
    protanopia = {{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216},
        {-0.003882, -0.048116, 1.051998}},
    deuteranopia = {{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413},
        {-0.011820, 0.042940, 0.968881}},
    tritanopia = {{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602},
        {0.004733, 0.691367, 0.303900}},
}
local XYZ = {{0.4124, 0.3576, 0.1805}, {0.2126, 0.7152, 0.0722}, {0.0193, 0.1192, 0.9505}}
local WHITE = {0.9505, 1, 1.089}

local function times(matrix, x)
    local y = {}
    for i, row in ipairs(matrix) do
        y[i] = math.min(1, math.max(0, row[1] * x[1] + row[2] * x[2] + row[3] * x[3]))
    end
    return y
end

-- CIE L*a*b* of "#rrggbb" as it is seen.
local function lab(color, sight)
    local rgb = {}
    for i = 1, 3 do
        local v = tonumber(color:sub(2 * i, 2 * i + 1), 16) / 255
        rgb[i] = v <= 0.04045 and v / 12.92 or ((v + 0.055) / 1.055) ^ 2.4
    end
    local f = times(XYZ, times(sight, rgb))
    for i = 1, 3 do
        local t = f[i] / WHITE[i]
        f[i] = t > 0.008856 and t ^ (1 / 3) or 7.787 * t + 16 / 116
    end
    return {116 * f[2] - 16, 500 * (f[1] - f[2]), 200 * (f[2] - f[3])}
end

describe("the colours of lines", function()
    it("and the background are told apart by every kind of eye, light and dark", function()
        local noticeable = 2.3 -- a difference that is just seen in patches side by side
        for theme, colors in pairs(charts.COLORS) do
            local all = {figures.THEMES[theme].background, unpack(colors)}
            for kind, sight in pairs(SIGHT) do
                for i = 1, #all do
                    for j = 1, i - 1 do
                        local a, b = lab(all[i], sight), lab(all[j], sight)
                        local d = math.sqrt((a[1] - b[1]) ^ 2 + (a[2] - b[2]) ^ 2
                            + (a[3] - b[3]) ^ 2)
                        assert.is_true(d > 3 * noticeable, ("%s, %s: %s and %s are %.1f apart")
                            :format(theme, kind, all[i], all[j], d))
                    end
                end
            end
        end
    end)
end)
