-- figure_spec.lua - figures as files: what must be in an SVG, a PNG and a PDF, and that the same
-- figure gives the same bytes.
local chart = require "fasc.chart"
local figure = require "fasc.figure"
local pictures = require "pictures"
local support = require "support"
local svg = require "fasc.svg"
local ticks = require "fasc.ticks"

local fails = support.fails
local at = support.folder(setup, teardown)

local function read(name)
    return pictures.read(at(name))
end

-- A line chart of two series, drawn anew each time.
local function draw(theme)
    local fig = figure.new {width = 400, height = 300, theme = theme, title = "Größe & <Zeit>",
        caption = "2 cores"}
    local plot = chart.new(fig, fig.area, {
        x = {label = "seqlen", scale = "log2", range = {512, 4096}},
        y = {label = "GFLOP/s", range = {0, 200}},
    })
    plot:band({{512, 80, 100}, {4096, 100, 150}}, {color = "#0072b2"})
    plot:line({{512, 90}, {1024, 0 / 0}, {2048, 110}, {4096, 130}},
        {color = "#0072b2", label = "flash", marker = "circle"})
    plot:legend()
    return fig, plot
end

describe("ticks", function()
    it("are round numbers within the range", function()
        assert.same({0, 50, 100, 150, 200}, ticks.choose(0, 210, "linear", 5))
        assert.same({-0.2, 0, 0.2}, ticks.choose(-0.3, 0.3, "linear", 3))
        assert.same({512, 1024, 2048}, ticks.choose(300, 4000, "log2", 6))
        assert.same({1e-4, 1e-2, 1}, ticks.choose(1e-4, 1, "log", 3))
        assert.same({0.1, 0.2, 0.5, 1}, ticks.choose(0.08, 1, "log", 6))
        assert.same({7}, ticks.choose(7, 7, "linear"))
    end)

    it("are written short", function()
        for number, text in pairs {[0] = "0", [4096] = "4096", [0.25] = "0.25", [1e-4] = "10⁻⁴",
            [-2] = "−2", [3e7] = "3×10⁷", [1.5e-12] = "1.5×10⁻¹²", [-1e9] = "−10⁹"} do
            assert.equal(text, ticks.label(number))
        end
    end)
end)

describe("a figure", function()
    it("saves as an SVG whose texts are texts", function()
        local fig = draw "light"
        fig:save(at "a.svg", {metadata = {tensor = "p", version = 1}})
        local bytes = read "a.svg"
        pictures.well_formed(bytes)
        assert.same({"Größe &amp; &lt;Zeit&gt;", "2 cores", "512", "1024", "2048", "4096", "0",
            "50", "100", "150", "200", "seqlen", "GFLOP/s", "flash"}, pictures.texts(bytes))
        assert.truthy(bytes:find("<desc>tensor: p\nversion: 1</desc>", 1, true))
        assert.truthy(bytes:find('viewBox="0 0 400 300"', 1, true))
    end)

    it("saves as a PNG of its size, with its metadata", function()
        draw("dark"):save(at "a.png", {scale = 3, metadata = {tensor = "p"}})
        local bytes = read "a.png"
        local png = pictures.png(at "a.png")
        assert.same({1200, 900}, {png.width, png.height})
        assert.equal(0x14171c, png.at(0, 0)) -- the dark background
        assert.truthy(pictures.has_text(bytes, "tensor", "p"))
    end)

    it("saves as a PDF", function()
        draw("light"):save(at "a.pdf", {metadata = {tensor = "p"}})
        local bytes = read "a.pdf"
        assert.equal("%PDF-", bytes:sub(1, 5))
        assert.truthy(bytes:find("tensor: p", 1, true))
        assert.truthy(bytes:find("DejaVuSans", 1, true))
        assert.is_nil(io.open(at "a.pdf.part"))
    end)

    it("gives the same bytes again in every format", function()
        for _, ending in ipairs {"svg", "png", "pdf"} do
            draw("light"):save(at("1." .. ending))
            draw("light"):save(at("2." .. ending))
            draw("dark"):save(at("3." .. ending))
            assert(read("1." .. ending) == read("2." .. ending), ending)
            assert(read("1." .. ending) ~= read("3." .. ending), ending)
        end
    end)

    it("puts values where the axes say", function()
        local _, plot = draw "light"
        local box = plot.box
        assert.near(box.x, plot:x_at(512), 1e-9)
        assert.near(box.x + box.w / 3, plot:x_at(1024), 1e-9)
        assert.near(box.y, plot:y_at(200), 1e-9)
        assert.near(box.y + box.h, plot:y_at(0), 1e-9)
    end)

    it("wraps and shortens texts to a width", function()
        local text = "one two three four five six seven"
        local lines = figure.wrap(text, 10, 60)
        assert.truthy(#lines > 2)
        assert.equal(text, table.concat(lines, " "))
        for _, line in ipairs(lines) do
            assert.truthy(figure.text_width(line, 10) <= 60)
        end
        lines = figure.wrap("a " .. ("ü"):rep(100) .. " b", 10, 60)
        assert.equal("a" .. ("ü"):rep(100) .. " b", table.concat(lines))
        for _, line in ipairs(lines) do
            assert.truthy(figure.text_width(line, 10) <= 60)
        end
        local short = figure.shorten("größer als alles", 10, 50)
        assert.truthy(short:find "^grö.*…$")
        assert.truthy(figure.text_width(short, 10) <= 50)
        assert.equal("kurz", figure.shorten("kurz", 10, 50))
    end)

    it("writes letters that no font has as their code points", function()
        local fig = figure.new {width = 200, height = 50}
        fig:text {x = 5, y = 20, text = "a\243\176\128\128b"} -- U+F0000, of private use
        fig:save(at "private.png")
        assert.near(figure.text_width("a⟨F0000⟩b", 10),
            figure.text_width("a\243\176\128\128b", 10), 1e-9)
    end)

    it("draws bytes that are no UTF-8 as U+FFFD", function()
        local fig = figure.new {width = 100, height = 50}
        fig:text {x = 5, y = 20, text = "a\255b\0c"}
        fig:save(at "u.png")
        assert.truthy(svg.encode {width = 1, height = 1, shapes = fig.shapes}:find("a\239\191\189b",
            1, true))
    end)

    it("fails in one line", function()
        local fig = draw "light"
        fails("EINVAL", function() fig:save(at "a.gif") end, "must end in .png, .svg or .pdf")
        for _, ending in ipairs {"svg", "png", "pdf"} do
            fails("EIO", function() fig:save("/nonexistent/a." .. ending) end)
        end
        fails("EINVAL", function() figure.new {width = 1, height = 400} end, "width: must be 16 to")
        fails("EINVAL", function() figure.new {width = 100, height = 400, theme = "blue"} end,
            'theme: must be "light" or "dark"')
    end)
end)
