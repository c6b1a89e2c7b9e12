-- cairo_page.lua - a page of shapes (see figure.lua) drawn by cairo, as a PNG or a PDF. The same
-- page gives the same bytes: a PDF carries a fixed date.
local fasc_ffi = require "fasc.ffi"
local cairo = require "fasc.cairo"
local errors = require "fasc.errors"
local files = require "fasc.io"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

-- Values of cairo's enumerations.
local FILTER_NEAREST = 3
local PDF = {title = 0, subject = 2, creator = 4, created = 5, modified = 6}

-- ---- shapes ---------------------------------------------------------------------------------

local function set_color(lib, cr, color, opacity)
    local r, g, b = color:match "^#(%x%x)(%x%x)(%x%x)$"
    lib.cairo_set_source_rgba(cr, tonumber(r, 16) / 255, tonumber(g, 16) / 255,
        tonumber(b, 16) / 255, opacity or 1)
end

-- Fills and strokes the path as the shape says.
local function ink(lib, cr, shape)
    if shape.fill then
        set_color(lib, cr, shape.fill, shape.opacity)
        lib.cairo_fill_preserve(cr)
    end
    if shape.stroke then
        set_color(lib, cr, shape.stroke, shape.opacity)
        lib.cairo_set_line_width(cr, shape.width or 1)
        local dash = shape.dash or {}
        lib.cairo_set_dash(cr, ffi.new("double[?]", #dash + 1, dash), #dash, 0)
        lib.cairo_stroke(cr)
    end
    lib.cairo_new_path(cr)
end

local ANCHOR = {start = 0, middle = 0.5, ["end"] = 1}

local DRAW = {}

function DRAW.rect(lib, cr, s)
    lib.cairo_rectangle(cr, s.x, s.y, s.w, s.h)
    ink(lib, cr, s)
end

function DRAW.circle(lib, cr, s)
    lib.cairo_arc(cr, s.x, s.y, s.r, 0, 2 * math.pi)
    ink(lib, cr, s)
end

function DRAW.path(lib, cr, s)
    local p = s.points
    for i = 1, #p, 2 do
        lib.cairo_line_to(cr, p[i], p[i + 1])
    end
    if s.closed then
        lib.cairo_close_path(cr)
    end
    ink(lib, cr, s)
end

function DRAW.text(lib, cr, s)
    lib.cairo_save(cr)
    lib.cairo_translate(cr, s.x, s.y)
    lib.cairo_rotate(cr, math.rad(s.rotate or 0))
    local shift = ANCHOR[s.anchor]
    lib.cairo_move_to(cr, shift == 0 and 0 or -shift * cairo.text_width(s.text, s.size, s.bold), 0)
    local text = cairo.use_font(lib, cr, s.text, s.size, s.bold)
    set_color(lib, cr, s.color)
    lib.cairo_show_text(cr, text)
    lib.cairo_restore(cr)
    lib.cairo_new_path(cr)
end

-- Cells stay squares with sharp edges, whatever they are enlarged by.
function DRAW.image(lib, cr, s)
    local surface = ffi.gc(cairo.image(lib, s.cols, s.rows),
        lib.cairo_surface_destroy)
    cairo.check(lib, lib.cairo_surface_status(surface), "image")
    local data, stride = lib.cairo_image_surface_get_data(surface),
        lib.cairo_image_surface_get_stride(surface)
    for y = 0, s.rows - 1 do
        local pixel = ffi.cast("uint32_t *", data + y * stride)
        for x = 0, s.cols - 1 do
            local color = s.palette + 3 * s.cells[y * s.cols + x]
            pixel[x] = color[0] * 65536 + color[1] * 256 + color[2]
        end
    end
    lib.cairo_surface_mark_dirty(surface)
    lib.cairo_save(cr)
    lib.cairo_translate(cr, s.x, s.y)
    lib.cairo_scale(cr, s.w / s.cols, s.h / s.rows)
    lib.cairo_set_source_surface(cr, surface, 0, 0)
    lib.cairo_pattern_set_filter(lib.cairo_get_source(cr), FILTER_NEAREST)
    lib.cairo_paint(cr)
    lib.cairo_restore(cr)
end

function DRAW.clip(lib, cr, s)
    lib.cairo_save(cr)
    lib.cairo_rectangle(cr, s.x, s.y, s.w, s.h)
    lib.cairo_clip(cr)
end

function DRAW.unclip(lib, cr)
    lib.cairo_restore(cr)
end

local function draw(lib, cr, shapes, path)
    for _, shape in ipairs(shapes) do
        DRAW[shape.kind](lib, cr, shape)
    end
    cairo.check(lib, lib.cairo_status(cr), path)
end

-- ---- files ----------------------------------------------------------------------------------

--- A page of shapes, as figure.lua makes it.
---@class fasc.Page
---@field width number
---@field height number
---@field shapes table[]
---@field title string?
---@field metadata table<string, string|number|boolean>?

--- Writes a page as a PNG with `scale` pixels for a unit; the metadata become its text.
---@param page fasc.Page
---@param path string
---@param scale number
---@return integer width  in pixels
---@return integer height
function M.png(page, path, scale)
    local lib = cairo.need()
    local width, height = math.ceil(page.width * scale), math.ceil(page.height * scale)
    local cr, surface = cairo.context(lib, cairo.image(lib, width, height),
        path)
    lib.cairo_scale(cr, scale, scale)
    draw(lib, cr, page.shapes, path)
    lib.cairo_surface_flush(surface)
    local data = lib.cairo_image_surface_get_data(surface)
    local stride = lib.cairo_image_surface_get_stride(surface)
    local rgb = ffi.new("uint8_t[?]", width * height * 3)
    for y = 0, height - 1 do
        local from, to = ffi.cast("uint32_t *", data + y * stride), rgb + y * width * 3
        for x = 0, width - 1 do
            local color = from[x]
            to[3 * x] = bit.band(bit.rshift(color, 16), 255)
            to[3 * x + 1] = bit.band(bit.rshift(color, 8), 255)
            to[3 * x + 2] = bit.band(color, 255)
        end
    end
    cairo.finish(lib, cr, surface)
    local text, count = files.metadata_pairs("figure", page.metadata)
    errors.check(C.fasc_save_png(path, width, height, rgb, count, text))
    return width, height
end

local function metadata_line(metadata)
    local parts, keys = {}, {}
    for key in pairs(metadata or {}) do
        keys[#keys + 1] = key
    end
    table.sort(keys)
    for i, key in ipairs(keys) do
        parts[i] = key .. ": " .. tostring(metadata[key])
    end
    return table.concat(parts, "; ")
end

--- Writes a page as a PDF, a unit a point; the metadata become its subject. The file appears whole
--- or not at all.
---@param page fasc.Page
---@param path string
function M.pdf(page, path)
    local lib = cairo.need()
    local beside = path .. ".part"
    local cr, surface = cairo.context(lib,
        lib.cairo_pdf_surface_create(beside, page.width, page.height), path)
    for field, value in pairs {
        title = page.title or "", subject = metadata_line(page.metadata),
        creator = "fasc " .. fasc_ffi.string(C.fasc_version()),
        created = "2000-01-01T00:00:00Z", modified = "2000-01-01T00:00:00Z",
    } do
        lib.cairo_pdf_surface_set_metadata(surface, PDF[field], value)
    end
    local ok, err = pcall(draw, lib, cr, page.shapes, path)
    local status = cairo.finish(lib, cr, surface)
    if not ok or status ~= 0 then
        os.remove(beside)
        if not ok then
            error(err, 0)
        end
        cairo.check(lib, status, path)
    end
    local moved, reason = os.rename(beside, path)
    if not moved then
        os.remove(beside)
        errors.raise("EIO", "figure: %s", reason)
    end
end

return M
