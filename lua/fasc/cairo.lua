-- cairo.lua - the part of cairo that figures need, opened when the first one is drawn: how wide a
-- text is, and a list of shapes (see figure.lua) as a PNG or a PDF. The same shapes give the same
-- bytes: fonts are not hinted, and a PDF carries a fixed date.
local fasc_ffi = require "fasc.ffi"
local errors = require "fasc.errors"
local files = require "fasc.io"
local texts = require "fasc.text"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

-- ---- the library ----------------------------------------------------------------------------

if not pcall(ffi.typeof, "cairo_t") then
    ffi.cdef [[
        typedef struct cairo cairo_t;
        typedef struct cairo_surface cairo_surface_t;
        typedef struct cairo_pattern cairo_pattern_t;
        typedef struct cairo_font_options cairo_font_options_t;
        typedef struct cairo_glyph_t { unsigned long index; double x, y; } cairo_glyph_t;
        typedef struct cairo_text_extents_t {
            double x_bearing, y_bearing, width, height, x_advance, y_advance;
        } cairo_text_extents_t;
    ]]
end
ffi.cdef [[
    const char *cairo_version_string(void);
    const char *cairo_status_to_string(int status);
    cairo_t *cairo_create(cairo_surface_t *target);
    void cairo_destroy(cairo_t *cr);
    int cairo_status(cairo_t *cr);
    void cairo_save(cairo_t *cr);
    void cairo_restore(cairo_t *cr);
    void cairo_translate(cairo_t *cr, double x, double y);
    void cairo_scale(cairo_t *cr, double x, double y);
    void cairo_rotate(cairo_t *cr, double angle);
    void cairo_rectangle(cairo_t *cr, double x, double y, double width, double height);
    void cairo_arc(cairo_t *cr, double x, double y, double radius, double from, double to);
    void cairo_new_path(cairo_t *cr);
    void cairo_move_to(cairo_t *cr, double x, double y);
    void cairo_line_to(cairo_t *cr, double x, double y);
    void cairo_close_path(cairo_t *cr);
    void cairo_fill_preserve(cairo_t *cr);
    void cairo_stroke(cairo_t *cr);
    void cairo_paint(cairo_t *cr);
    void cairo_clip(cairo_t *cr);
    void cairo_set_line_width(cairo_t *cr, double width);
    void cairo_set_line_join(cairo_t *cr, int join);
    void cairo_set_dash(cairo_t *cr, const double *dashes, int count, double offset);
    void cairo_set_source_rgba(cairo_t *cr, double r, double g, double b, double a);
    void cairo_set_source_surface(cairo_t *cr, cairo_surface_t *surface, double x, double y);
    cairo_pattern_t *cairo_get_source(cairo_t *cr);
    void cairo_pattern_set_filter(cairo_pattern_t *pattern, int filter);
    void cairo_select_font_face(cairo_t *cr, const char *family, int slant, int weight);
    void cairo_set_font_size(cairo_t *cr, double size);
    void cairo_show_text(cairo_t *cr, const char *utf8);
    void cairo_text_extents(cairo_t *cr, const char *utf8, cairo_text_extents_t *extents);
    void *cairo_get_scaled_font(cairo_t *cr);
    int cairo_scaled_font_text_to_glyphs(void *font, double x, double y, const char *utf8,
        int length, cairo_glyph_t **glyphs, int *count, void *clusters, void *cluster_count,
        void *flags);
    void cairo_glyph_free(cairo_glyph_t *glyphs);
    void cairo_set_font_options(cairo_t *cr, const cairo_font_options_t *options);
    cairo_font_options_t *cairo_font_options_create(void);
    void cairo_font_options_destroy(cairo_font_options_t *options);
    void cairo_font_options_set_antialias(cairo_font_options_t *options, int antialias);
    void cairo_font_options_set_hint_style(cairo_font_options_t *options, int style);
    void cairo_font_options_set_hint_metrics(cairo_font_options_t *options, int metrics);
    cairo_surface_t *cairo_image_surface_create(int format, int width, int height);
    unsigned char *cairo_image_surface_get_data(cairo_surface_t *surface);
    int cairo_image_surface_get_stride(cairo_surface_t *surface);
    cairo_surface_t *cairo_pdf_surface_create(const char *path, double width, double height);
    void cairo_pdf_surface_set_metadata(cairo_surface_t *surface, int field, const char *utf8);
    int cairo_surface_status(cairo_surface_t *surface);
    void cairo_surface_flush(cairo_surface_t *surface);
    void cairo_surface_mark_dirty(cairo_surface_t *surface);
    void cairo_surface_finish(cairo_surface_t *surface);
    void cairo_surface_destroy(cairo_surface_t *surface);
]]

-- Values of cairo's enumerations.
local ANTIALIAS_GRAY, HINT_STYLE_NONE, HINT_METRICS_OFF = 2, 1, 1
local FORMAT_RGB24, FILTER_NEAREST, LINE_JOIN_ROUND = 1, 3, 1
local PDF = {title = 0, subject = 2, creator = 4, created = 5, modified = 6}

-- The first has nearly all letters; the others are asked for what it lacks, where they are there.
local FONTS = {"DejaVu Sans", "Noto Sans CJK SC", "Noto Sans", "Noto Emoji", "Unifont"}
local PACKAGES = "libcairo2 fonts-dejavu-core"

local library, missing

-- cairo, or nil and why not. FASC_CAIRO names another library than the system's.
local function open()
    if not library and not missing then
        local name = os.getenv "FASC_CAIRO" or "libcairo.so.2"
        local ok, result = pcall(ffi.load, name)
        if ok then
            library = result
        else
            missing = ("%s cannot be opened: apt-get install %s"):format(name, PACKAGES)
        end
    end
    return library, missing
end

--- Can figures be drawn here? If not, why: one line that names the Debian package.
---@return boolean
---@return string? reason
function M.available()
    local lib, reason = open()
    return lib ~= nil, reason
end

-- cairo; raises EUNSUPPORTED where there is none.
local function need()
    local lib, reason = open()
    if not lib then
        errors.raise("EUNSUPPORTED", "figure: %s", reason)
    end
    return lib
end

local function check(lib, status, what)
    if status ~= 0 then
        errors.raise("EIO", "figure: %s: %s", what, fasc_ffi.string(
            lib.cairo_status_to_string(status)))
    end
end

-- A context on a surface; both end with the collector, or with finish().
local function context(lib, surface, what)
    check(lib, lib.cairo_surface_status(surface), what)
    surface = ffi.gc(surface, lib.cairo_surface_destroy)
    local cr = ffi.gc(lib.cairo_create(surface), lib.cairo_destroy)
    local options = lib.cairo_font_options_create()
    lib.cairo_font_options_set_antialias(options, ANTIALIAS_GRAY)
    lib.cairo_font_options_set_hint_style(options, HINT_STYLE_NONE)
    lib.cairo_font_options_set_hint_metrics(options, HINT_METRICS_OFF)
    lib.cairo_set_font_options(cr, options)
    lib.cairo_font_options_destroy(options)
    lib.cairo_set_line_join(cr, LINE_JOIN_ROUND)
    return cr, surface
end

local function finish(lib, cr, surface)
    lib.cairo_destroy(ffi.gc(cr, nil))
    lib.cairo_surface_finish(surface)
    local status = lib.cairo_surface_status(surface)
    lib.cairo_surface_destroy(ffi.gc(surface, nil))
    return status
end

-- ---- text -----------------------------------------------------------------------------------

local function set_font(lib, cr, family, size, bold)
    lib.cairo_select_font_face(cr, family, 0, bold and 1 or 0)
    lib.cairo_set_font_size(cr, size)
end

local ruler, extents

-- A context to ask about fonts.
local function asking(lib)
    if not ruler then
        ruler = {context(lib, lib.cairo_image_surface_create(FORMAT_RGB24, 1, 1), "text")}
        extents = ffi.new "cairo_text_extents_t"
    end
    return ruler[1]
end

-- Does the font have every letter of this text?
local function has_letters(lib, family, text)
    local glyphs, count = ffi.new "cairo_glyph_t *[1]", ffi.new "int[1]"
    local cr = asking(lib)
    set_font(lib, cr, family, 10)
    local status = lib.cairo_scaled_font_text_to_glyphs(lib.cairo_get_scaled_font(cr), 0, 0, text,
        #text, glyphs, count, nil, nil, nil)
    local all = status == 0
    for i = 0, count[0] - 1 do
        all = all and glyphs[0][i].index ~= 0
    end
    lib.cairo_glyph_free(glyphs[0])
    return all
end

local chosen = {}

-- The font for a text that is not ASCII, and the text as it can be drawn: a letter that no font has
-- becomes its code point, ⟨6CE8⟩.
local function choose_font(lib, text)
    if not text:find "[\128-\255]" then
        return FONTS[1], text
    elseif not chosen[text] then
        for _, family in ipairs(FONTS) do
            if has_letters(lib, family, text) then
                chosen[text] = {family, text}
                return family, text
            end
        end
        chosen[text] = {FONTS[1], (text:gsub("[\194-\244][\128-\191]*", function(letter)
            return has_letters(lib, FONTS[1], letter) and letter
                or ("⟨%04X⟩"):format(texts.code_point(letter))
        end))}
    end
    return chosen[text][1], chosen[text][2]
end

--- How far a text of this size goes, in the figure's units.
---@param text string UTF-8
---@param size number
---@param bold boolean?
---@return number
function M.text_width(text, size, bold)
    local lib = need()
    local cr, family, shown = asking(lib), choose_font(lib, text)
    set_font(lib, cr, family, size, bold)
    lib.cairo_text_extents(cr, shown, extents)
    return extents.x_advance
end

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
    lib.cairo_move_to(cr, shift == 0 and 0 or -shift * M.text_width(s.text, s.size, s.bold), 0)
    local family, text = choose_font(lib, s.text)
    set_font(lib, cr, family, s.size, s.bold)
    set_color(lib, cr, s.color)
    lib.cairo_show_text(cr, text)
    lib.cairo_restore(cr)
    lib.cairo_new_path(cr)
end

-- Cells stay squares with sharp edges, whatever they are enlarged by.
function DRAW.image(lib, cr, s)
    local surface = ffi.gc(lib.cairo_image_surface_create(FORMAT_RGB24, s.cols, s.rows),
        lib.cairo_surface_destroy)
    check(lib, lib.cairo_surface_status(surface), "image")
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
    check(lib, lib.cairo_status(cr), path)
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
    local lib = need()
    local width, height = math.ceil(page.width * scale), math.ceil(page.height * scale)
    local cr, surface = context(lib, lib.cairo_image_surface_create(FORMAT_RGB24, width, height),
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
    finish(lib, cr, surface)
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
    local lib = need()
    local beside = path .. ".part"
    local cr, surface = context(lib, lib.cairo_pdf_surface_create(beside, page.width, page.height),
        path)
    for field, value in pairs {
        title = page.title or "", subject = metadata_line(page.metadata),
        creator = "fasc " .. fasc_ffi.string(C.fasc_version()),
        created = "2000-01-01T00:00:00Z", modified = "2000-01-01T00:00:00Z",
    } do
        lib.cairo_pdf_surface_set_metadata(surface, PDF[field], value)
    end
    local ok, err = pcall(draw, lib, cr, page.shapes, path)
    local status = finish(lib, cr, surface)
    if not ok or status ~= 0 then
        os.remove(beside)
        if not ok then
            error(err, 0)
        end
        check(lib, status, path)
    end
    local moved, reason = os.rename(beside, path)
    if not moved then
        os.remove(beside)
        errors.raise("EIO", "figure: %s", reason)
    end
end

return M
