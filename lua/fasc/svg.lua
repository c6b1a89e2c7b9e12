-- svg.lua - a page of shapes (see figure.lua) as an SVG: texts stay texts, so that they can be
-- searched and read aloud; images are PNGs inside of it. The same page gives the same bytes.
local fasc_ffi = require "fasc.ffi"
local errors = require "fasc.errors"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

local ESCAPE = {["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;"}

-- XML has no way to write control characters.
local function escape(text)
    return (tostring(text):gsub("[%z\1-\8\11\12\14-\31\127]", "\239\191\189")
        :gsub('[&<>"]', ESCAPE))
end

-- A hundredth of a unit is finer than any eye.
local function number(x)
    return (("%.2f"):format(x):gsub("%.?0+$", ""):gsub("^%-0$", "0"))
end

-- ` x="1" y="2"` of the fields named, in that order.
local function attributes(...)
    local parts = {}
    for i = 1, select("#", ...), 2 do
        local name, value = select(i, ...)
        if value ~= nil then
            parts[#parts + 1] = (' %s="%s"'):format(name,
                type(value) == "number" and number(value) or escape(value))
        end
    end
    return table.concat(parts)
end

local function ink(s)
    local dash
    if s.dash then
        dash = {}
        for i, length in ipairs(s.dash) do
            dash[i] = number(length)
        end
        dash = table.concat(dash, " ")
    end
    return attributes("fill", s.fill or "none", "stroke", s.stroke, "stroke-width",
        s.stroke and s.width ~= 1 and s.width or nil, "stroke-dasharray", dash,
        "stroke-linejoin", s.stroke and s.kind == "path" and "round" or nil,
        "opacity", s.opacity)
end

-- ---- images ---------------------------------------------------------------------------------

local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(bytes)
    local out = {}
    for i = 1, #bytes, 3 do
        local a, b, c = bytes:byte(i, i + 2)
        local n = a * 65536 + (b or 0) * 256 + (c or 0)
        for digit = 3, 0, -1 do
            local at = bit.band(bit.rshift(n, 6 * digit), 63) + 1
            out[#out + 1] = digit < (b and (c and 0 or 1) or 2) and "=" or DIGITS:sub(at, at)
        end
    end
    return table.concat(out)
end

-- Of a unit, at least: viewers that smooth images leave cells of several pixels sharp.
local PIXELS = 2

-- Writes each cell as a rectangle of pixels.
local function write_rows(png, s, across, down)
    local row = ffi.new("uint8_t[?]", s.cols * across)
    for y = 0, s.rows - 1 do
        for x = 0, s.cols * across - 1 do
            row[x] = s.cells[y * s.cols + math.floor(x / across)]
        end
        for _ = 1, down do
            local status = C.fasc_png_rows(png, 1, row)
            if status ~= 0 then
                return status
            end
        end
    end
    return 0
end

-- The image as the bytes of a PNG.
local function png_bytes(s)
    local across = math.max(1, math.floor(PIXELS * s.w / s.cols))
    local down = math.max(1, math.floor(PIXELS * s.h / s.rows))
    local path, png = os.tmpname(), ffi.new "fasc_png *[1]"
    local status = C.fasc_png_open(path, s.cols * across, s.rows * down, s.palette, 0, nil, png)
    if status == 0 then
        local written = write_rows(png[0], s, across, down)
        status = C.fasc_png_close(png[0])
        status = written ~= 0 and written or status
    end
    local file = io.open(path, "rb")
    local bytes = file and file:read "*a"
    if file then
        file:close()
    end
    os.remove(path)
    errors.check(status)
    return bytes
end

-- ---- shapes ---------------------------------------------------------------------------------

local WRITE = {}

function WRITE.rect(s)
    return "<rect" .. attributes("x", s.x, "y", s.y, "width", s.w, "height", s.h) .. ink(s) .. "/>"
end

function WRITE.circle(s)
    return "<circle" .. attributes("cx", s.x, "cy", s.y, "r", s.r) .. ink(s) .. "/>"
end

function WRITE.path(s)
    local points = {}
    for i = 1, #s.points, 2 do
        points[#points + 1] = number(s.points[i]) .. "," .. number(s.points[i + 1])
    end
    return ("<%s"):format(s.closed and "polygon" or "polyline")
        .. attributes("points", table.concat(points, " ")) .. ink(s) .. "/>"
end

function WRITE.text(s)
    local turn = s.rotate and ("rotate(%s %s %s)"):format(number(s.rotate), number(s.x),
        number(s.y)) or nil
    return "<text" .. attributes("x", s.x, "y", s.y, "font-size", s.size, "fill", s.color,
        "font-weight", s.bold and "bold" or nil,
        "text-anchor", s.anchor ~= "start" and s.anchor or nil, "transform", turn)
        .. ">" .. escape(s.text) .. "</text>"
end

function WRITE.image(s)
    return "<image" .. attributes("x", s.x, "y", s.y, "width", s.w, "height", s.h,
        "preserveAspectRatio", "none", "style", "image-rendering:pixelated",
        "href", "data:image/png;base64," .. base64(png_bytes(s))) .. "/>"
end

function WRITE.clip(s, n)
    return ('<clipPath id="clip%d"><rect%s/></clipPath><g clip-path="url(#clip%d)">'):format(n,
        attributes("x", s.x, "y", s.y, "width", s.w, "height", s.h), n)
end

function WRITE.unclip()
    return "</g>"
end

-- What the file says of itself: lines "key: value" in the order of the keys.
local function description(metadata)
    local lines, keys = {}, {}
    for key in pairs(metadata or {}) do
        keys[#keys + 1] = key
    end
    table.sort(keys)
    for i, key in ipairs(keys) do
        lines[i] = escape(key .. ": " .. tostring(metadata[key]))
    end
    return table.concat(lines, "\n")
end

--- A page as the text of an SVG; its title and metadata become <title> and <desc>.
---@param page fasc.Page
---@return string
function M.encode(page)
    local lines = {
        ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s"%s font-family="%s">'):format(
            number(page.width), number(page.height),
            attributes("width", page.width, "height", page.height),
            "DejaVu Sans, Verdana, sans-serif"),
        "<title>" .. escape(page.title or "") .. "</title>",
        "<desc>" .. description(page.metadata) .. "</desc>",
    }
    for i, shape in ipairs(page.shapes) do
        lines[#lines + 1] = WRITE[shape.kind](shape, i)
    end
    lines[#lines + 1] = "</svg>\n"
    return table.concat(lines, "\n")
end

--- Writes a page as an SVG. The file appears whole or not at all.
---@param page fasc.Page
---@param path string
function M.save(page, path)
    local text, beside = M.encode(page), path .. ".part"
    local file, reason = io.open(beside, "wb")
    if file then
        local written = file:write(text)
        local ok = file:close() and written
        ok, reason = ok and os.rename(beside, path) or nil, path .. ": the disk is full"
        if ok then
            return
        end
        os.remove(beside)
    end
    errors.raise("EIO", "figure: %s", reason)
end

return M
