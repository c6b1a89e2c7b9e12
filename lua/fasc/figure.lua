-- figure.lua - a page to draw on: shapes and text in units of a pixel at scale 1, y down, with a
-- title above and a caption below; saved as PNG, SVG or PDF by the path's ending. What is drawn is
-- kept as a list of shapes, so one figure can be saved in every format.
--
--     local fig = figure.new {width = 640, height = 400, title = "Speed", caption = "2 cores"}
--     local plot = chart.new(fig, fig.area, {
--         x = {label = "seqlen", scale = "log2", range = {512, 8192}},
--         y = {label = "GFLOP/s", range = {0, 200}}})
--     plot:line({{512, 90}, {8192, 170}}, {color = figure.COLORS[1], label = "flash"})
--     fig:save "speed.svg"
local cairo = require "fasc.cairo"
local cairo_page = require "fasc.cairo_page"
local errors = require "fasc.errors"
local options = require "fasc.options"
local svg = require "fasc.svg"
local texts = require "fasc.text"

local M = {}

--- Colours of a theme.
---@class fasc.Theme
---@field background string
---@field text string
---@field muted string  ticks, captions
---@field frame string
---@field grid string
---@field accent string  of a single series
M.THEMES = {
    light = {background = "#ffffff", text = "#1b1f24", muted = "#57606a", frame = "#8c959f",
        grid = "#e4e7eb", accent = "#0072b2"},
    dark = {background = "#14171c", text = "#e6e9ee", muted = "#9aa4b0", frame = "#5b6470",
        grid = "#2b3038", accent = "#56b4e9"},
}

--- Colours of series, which the colour-blind tell apart (Okabe and Ito), readable on both themes.
M.COLORS = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c"}

local PAD, TITLE_SIZE, CAPTION_SIZE = 12, 14, 9.5

---@class fasc.Figure
---@field width number
---@field height number
---@field theme fasc.Theme
---@field area {x: number, y: number, w: number, h: number} what title and caption leave free
---@field shapes table[]
local Figure = {}
Figure.__index = Figure

--- How far a text goes.
---@param text string
---@param size number
---@param bold boolean?
---@return number
function M.text_width(text, size, bold)
    return cairo.text_width(texts.utf8(text), size, bold)
end

-- A word as pieces no wider than `width`.
local function split(word, size, width)
    local pieces, piece = {}, ""
    if M.text_width(word, size) <= width then
        return {word}
    end
    for _, character in ipairs(texts.characters(texts.utf8(word))) do
        if piece ~= "" and M.text_width(piece .. character, size) > width then
            pieces[#pieces + 1] = piece
            piece = ""
        end
        piece = piece .. character
    end
    pieces[#pieces + 1] = piece
    return pieces
end

--- The text in lines no wider than `width`, broken at spaces, and within words that are wider.
---@param text string
---@param size number
---@param width number
---@return string[]
function M.wrap(text, size, width)
    local lines = {}
    for paragraph in (text .. "\n"):gmatch "(.-)\n" do
        local line = ""
        for word in paragraph:gmatch "%S+" do
            for i, piece in ipairs(split(word, size, width)) do
                local longer = line == "" and piece or line .. (i == 1 and " " or "") .. piece
                if line ~= "" and (i > 1 or M.text_width(longer, size) > width) then
                    lines[#lines + 1] = line
                    longer = piece
                end
                line = longer
            end
        end
        lines[#lines + 1] = line
    end
    return lines
end

--- Cuts a text with an ellipsis so that it is no wider than `width`.
---@param text string
---@param size number
---@param width number
---@return string
function M.shorten(text, size, width)
    if M.text_width(text, size) <= width then
        return text
    end
    local kept = texts.characters(texts.utf8(text))
    while #kept > 1 do
        kept[#kept] = nil
        local short = table.concat(kept) .. "…"
        if M.text_width(short, size) <= width then
            return short
        end
    end
    return "…"
end

-- ---- shapes ---------------------------------------------------------------------------------

local function add(fig, kind, shape)
    shape.kind = kind
    fig.shapes[#fig.shapes + 1] = shape
end

--- {x, y, w, h, fill, stroke, width, dash, opacity}; colours are "#rrggbb".
function Figure:rect(shape)
    add(self, "rect", shape)
end

--- {x, y, r, fill, stroke, width, opacity}
function Figure:circle(shape)
    add(self, "circle", shape)
end

--- {points = {x1, y1, x2, y2, ...}, stroke, width, dash, closed, fill, opacity}
function Figure:path(shape)
    add(self, "path", shape)
end

--- A straight line: fig:line(x1, y1, x2, y2, {stroke = "#888888", width = 1}).
function Figure:line(x1, y1, x2, y2, style)
    local shape = {points = {x1, y1, x2, y2}}
    for key, value in pairs(style) do
        shape[key] = value
    end
    add(self, "path", shape)
end

-- How far the baseline lies below the y that was asked for, in sizes: DejaVu's capitals are 0.73
-- high.
local BASELINE = {baseline = 0, middle = 0.365, top = 0.76, bottom = -0.2}

--- {x, y, text, size = 11, color = the theme's, anchor = "start" | "middle" | "end",
--- baseline = "baseline" | "middle" | "top" | "bottom", bold, rotate = degrees clockwise}
function Figure:text(shape)
    local size = shape.size or 11
    local angle, drop = math.rad(shape.rotate or 0), BASELINE[shape.baseline or "baseline"] * size
    add(self, "text", {
        x = shape.x - math.sin(angle) * drop, y = shape.y + math.cos(angle) * drop,
        text = texts.utf8(shape.text), size = size, color = shape.color or self.theme.text,
        anchor = shape.anchor or "start", bold = shape.bold, rotate = shape.rotate,
    })
end

--- Cells as an image: {x, y, w, h, cols, rows, cells = uint8_t * (row-major numbers of colours),
--- palette = uint8_t * (r, g, b of FASC_PALETTE colours)}. The arrays must live until the figure is
--- saved.
function Figure:image(shape)
    add(self, "image", shape)
end

--- Draws what fn draws only inside of the box.
---@param box {x: number, y: number, w: number, h: number}
---@param fn fun()
function Figure:clip(box, fn)
    add(self, "clip", {x = box.x, y = box.y, w = box.w, h = box.h})
    fn()
    add(self, "unclip", {})
end

-- ---- the page -------------------------------------------------------------------------------

---@class fasc.FigureOptions
---@field width number
---@field height number
---@field theme "light"|"dark"|nil default light
---@field title string?
---@field caption string? small print below; wrapped
local RULES = {
    width = {is = "number", required = true, min = 16, max = 32768},
    height = {is = "number", required = true, min = 16, max = 32768},
    theme = {is = "string", values = {"light", "dark"}, default = "light"},
    title = {is = "string"},
    caption = {is = "string"},
}

--- The lines that a title and a caption take on a page of this width, and how high they are
--- together: what a caller adds to the height of what it will draw.
---@param opts {width: number, title: string?, caption: string?}
---@return string[] title
---@return string[] caption
---@return number above
---@return number below
function M.margins(opts)
    local inner = opts.width - 2 * PAD
    local title = opts.title and M.wrap(opts.title, TITLE_SIZE * 1.1, inner) or {}
    local caption = opts.caption and M.wrap(opts.caption, CAPTION_SIZE, inner) or {}
    return title, caption, PAD + #title * TITLE_SIZE * 1.35,
        #caption > 0 and PAD + 4 + #caption * CAPTION_SIZE * 1.4 or PAD
end

--- A new, empty figure. Raises EUNSUPPORTED, naming the Debian package, where cairo is missing.
---@param opts fasc.FigureOptions
---@return fasc.Figure
function M.new(opts)
    opts = options.check("figure", opts, RULES)
    local theme = M.THEMES[opts.theme]
    local fig = setmetatable({width = opts.width, height = opts.height, theme = theme,
        title = opts.title, shapes = {}}, Figure)
    fig:rect {x = 0, y = 0, w = fig.width, h = fig.height, fill = theme.background}
    local title, caption, above, below = M.margins(opts)
    for i, line in ipairs(title) do
        fig:text {x = PAD, y = PAD + (i - 1) * TITLE_SIZE * 1.35, text = line, size = TITLE_SIZE,
            bold = true, baseline = "top"}
    end
    for i, line in ipairs(caption) do
        fig:text {x = PAD, y = fig.height - PAD - (#caption - i) * CAPTION_SIZE * 1.4,
            text = line, size = CAPTION_SIZE, color = theme.muted}
    end
    fig.area = {x = PAD, y = above, w = fig.width - 2 * PAD, h = fig.height - above - below}
    return fig
end

local ENDINGS = {"png", "svg", "pdf"}

--- The format that a path's ending names; raises EINVAL for another.
---@param call string
---@param path string
---@return "png"|"svg"|"pdf"
function M.format(call, path)
    local ending = (path:match "%.(%w+)$" or ""):lower()
    for _, known in ipairs(ENDINGS) do
        if ending == known then
            return known
        end
    end
    errors.usage("%s: path: '%s' must end in .png, .svg or .pdf", call, texts.printable(path))
end

local SAVE = {
    scale = {is = "number", default = 2, min = 0.25, max = 16},
    metadata = {is = "table"},
}

--- Writes the figure as .png (with `scale` pixels a unit, 2 by default), .svg or .pdf. The metadata
--- (strings, numbers, booleans by name) go into the file. The same figure gives the same bytes.
---@param path string
---@param opts {scale: number?, metadata: table<string, string|number|boolean>?}?
function Figure:save(path, opts)
    options.argument("figure", "path", path, {is = "path"})
    opts = options.check("figure", opts, SAVE)
    local format = M.format("figure", path)
    local page = {width = self.width, height = self.height, shapes = self.shapes,
        title = self.title, metadata = opts.metadata}
    if format == "png" then
        cairo_page.png(page, path, opts.scale)
    elseif format == "pdf" then
        cairo_page.pdf(page, path)
    else
        svg.save(page, path)
    end
end

return M
