-- cairo.lua - the part of cairo that figures need, opened when the first one is drawn: contexts to
-- draw on, and texts in fonts that have their letters. Fonts are not hinted, so that a text is as
-- wide on every surface.
local fasc_ffi = require "fasc.ffi"
local errors = require "fasc.errors"
local texts = require "fasc.text"

local ffi = fasc_ffi.ffi

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
local FORMAT_RGB24, LINE_JOIN_ROUND = 1, 1

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

--- cairo; raises EUNSUPPORTED where there is none.
function M.need()
    local lib, reason = open()
    if not lib then
        errors.raise("EUNSUPPORTED", "figure: %s", reason)
    end
    return lib
end

--- Raises EIO, naming what could not be drawn, unless status is 0.
function M.check(lib, status, what)
    if status ~= 0 then
        errors.raise("EIO", "figure: %s: %s", what, fasc_ffi.string(
            lib.cairo_status_to_string(status)))
    end
end

--- An image surface of opaque pixels, 0xRRGGBB each.
function M.image(lib, width, height)
    return lib.cairo_image_surface_create(FORMAT_RGB24, width, height)
end

--- A context on a surface; both end with the collector, or with M.finish.
function M.context(lib, surface, what)
    M.check(lib, lib.cairo_surface_status(surface), what)
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

--- Ends a context and its surface; returns cairo's status.
function M.finish(lib, cr, surface)
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
        ruler = {M.context(lib, M.image(lib, 1, 1), "text")}
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

--- Sets the font for a text; returns the text as it can be drawn with it.
---@return string
function M.use_font(lib, cr, text, size, bold)
    local family, shown = choose_font(lib, text)
    set_font(lib, cr, family, size, bold)
    return shown
end

--- How far a text of this size goes, in the figure's units.
---@param text string UTF-8
---@param size number
---@param bold boolean?
---@return number
function M.text_width(text, size, bold)
    local lib = M.need()
    local cr = asking(lib)
    lib.cairo_text_extents(cr, M.use_font(lib, cr, text, size, bold), extents)
    return extents.x_advance
end

return M
