-- pictures.lua - pictures read again by the tests that write them: pixels of a PNG by libpng, which
-- libfasc brings along, and the parts of an SVG.
local ffi = require "ffi"

local M = {}

if not pcall(ffi.typeof, "png_image") then
    ffi.cdef [[
        typedef struct png_image {
            void *opaque;
            uint32_t version, width, height, format, flags, colormap_entries, warning_or_error;
            char message[64];
        } png_image;
        int png_image_begin_read_from_file(png_image *image, const char *path);
        int png_image_finish_read(png_image *image, const void *background, void *buffer,
            int32_t row_stride, void *colormap);
    ]]
end

local VERSION, FORMAT_RGB = 1, 2

--- A file's bytes.
function M.read(path)
    local file = assert(io.open(path, "rb"))
    local bytes = file:read "*a"
    file:close()
    return bytes
end

--- A PNG: {width, height, at = function(x, y) -> 0xRRGGBB}.
function M.png(path)
    local image = ffi.new "png_image"
    image.version = VERSION
    assert(ffi.C.png_image_begin_read_from_file(image, path) ~= 0, ffi.string(image.message))
    image.format = FORMAT_RGB
    local width, height = tonumber(image.width), tonumber(image.height)
    local pixels = ffi.new("uint8_t[?]", width * height * 3)
    assert(ffi.C.png_image_finish_read(image, nil, pixels, 0, nil) ~= 0,
        ffi.string(image.message))
    return {
        width = width, height = height,
        at = function(x, y)
            local p = pixels + (y * width + x) * 3
            return p[0] * 65536 + p[1] * 256 + p[2]
        end,
    }
end

--- Does a PNG hold this text? Its chunks are not compressed.
function M.has_text(bytes, keyword, value)
    return bytes:find("tEXt" .. keyword .. "\0" .. value, 1, true) ~= nil
        or bytes:find("iTXt" .. keyword .. "\0\0\0\0\0" .. value, 1, true) ~= nil
end

--- The texts of an SVG in their order.
function M.texts(bytes)
    local list = {}
    for text in bytes:gmatch "<text[^>]*>([^<]*)</text>" do
        list[#list + 1] = text
    end
    return list
end

--- Is one of them this text?
function M.says(bytes, wanted)
    for _, text in ipairs(M.texts(bytes)) do
        if text == wanted then
            return true
        end
    end
    return false
end

--- How many elements of a name an SVG has.
function M.count(bytes, element)
    return select(2, bytes:gsub("<" .. element .. "[ >]", ""))
end

--- Asserts that all tags close in order: enough of XML for what svg.lua writes.
function M.well_formed(bytes)
    local open = {}
    for slash, name, rest in bytes:gmatch "<(/?)(%a+)([^>]*)>" do
        if slash == "/" then
            assert(table.remove(open) == name, name)
        elseif rest:sub(-1) ~= "/" then
            open[#open + 1] = name
        end
    end
    assert(#open == 0, open[#open])
end

return M
