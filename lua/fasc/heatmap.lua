-- heatmap.lua - attention maps as pictures: queries down, keys across; one map with its axes and
-- the sums along its sides, or many as a grid with one colour bar, or the bare cells.
local fasc_ffi = require "fasc.ffi"
local cairo = require "fasc.cairo"
local create = require "fasc.create"
local drawing = require "fasc.heatmap_figure"
local errors = require "fasc.errors"
local figures = require "fasc.figure"
local raw = require "fasc.heatmap_raw"
local options = require "fasc.options"
local sources = require "fasc.map_source"
local texts = require "fasc.text"

local ffi, C = fasc_ffi.ffi, fasc_ffi.C

local M = {}

local SCALE = {log = C.FASC_SCALE_LOG, linear = C.FASC_SCALE_LINEAR,
    percentile = C.FASC_SCALE_LINEAR}
local MAP = {viridis = C.FASC_MAP_VIRIDIS, diverging = C.FASC_MAP_DIVERGING,
    magma = C.FASC_MAP_MAGMA, cividis = C.FASC_MAP_CIVIDIS}
local CUT = 0.001       -- of the cells are left out at either end by the percentile scale
local LEAST_SIDE = 64   -- cells that pooling leaves to the shorter side
local WHOLE = 1024      -- cells of a map's longer side, unless the caller says
local DRAWN = 15000     -- cells of a side that a figure has room for

---@class fasc.HeatmapOptions
---@field path string       the picture to write: .png, .svg or .pdf
---@field raw boolean?      only the cells, one pixel each, without axes; .png
---@field scale string?     "log", "linear", or "percentile": linear between the 0.1st and the
---                         99.9th; default: log for probabilities, else linear
---@field pool string?      how a cell sums up the elements it stands for: "max" (the default) keeps
---                         single hot ones, "mass" (sum over keys, mean over queries) row totals,
---                         "mean" averages, "extreme" (the default of the diverging map) keeps what
---                         is farthest from 0
---@field map string?       "viridis" (the default), "magma", "cividis", or "diverging" (the default
---                         for differences): blue, white at 0, red
---@field max_size integer? cells of the longer side at most; larger maps are pooled; default 1024
---@field cell integer?     pixels of a cell and side of a raw picture; default 1
---@field range number[]?   {low, high} of the colours; default: what the cells span
---@field floor number?     where a log scale without a range begins; default 1e-4, or 1 / keys if
---                         that is less
---@field causal boolean|string|nil of a tensor: true or "bottom_right", "top_left": elements past
---                         the diagonal are masked, which is grey, as is -inf
---@field crop number[]?    {q0, q1, k0, k1}: queries q0 to before q1, keys k0 to before k1
---@field minus fasc.Tensor|fasc.MapSource|nil subtract this map; also a list, one for each map
---@field tokens string[]?  what stands at each place, as labels where there is room
---@field sides boolean?    column sums above and entropy at the right; default: of probabilities,
---                         when they are one map
---@field theme string?     "light" (the default) or "dark"
---@field title string?     default: what is drawn
---@field note string?      begins the caption
---@field metadata table<string, string|number|boolean>? text that the file carries
local RULES = {
    path = {is = "path", required = true},
    raw = {is = "boolean", default = false},
    scale = {is = "string", values = {"linear", "log", "percentile"}},
    pool = {is = "string", values = {"max", "mass", "mean", "extreme"}},
    map = {is = "string", values = {"viridis", "magma", "cividis", "diverging"}},
    max_size = {is = "integer", min = 1, max = 2^31 - 1},
    cell = {is = "integer", min = 1, max = 4096},
    range = {is = "table"},
    floor = {is = "number"},
    causal = {is = "boolean|string", values = {"bottom_right", "top_left"}},
    crop = {is = "table"},
    minus = {is = "table|tensor|source"},
    tokens = {is = "table"},
    sides = {is = "boolean"},
    theme = {is = "string", values = {"light", "dark"}, default = "light"},
    title = {is = "string"},
    note = {is = "string"},
    metadata = {is = "table"},
}

---@class fasc.HeatmapInfo
---@field path string
---@field title string
---@field raw boolean        the cells alone
---@field missing string?    why the cells alone were drawn though axes were wanted
---@field width number       pixels; of .svg and .pdf: units
---@field height number
---@field pool_rows integer  how many elements of the map a cell stands for
---@field pool_cols integer
---@field nan_count number   elements that are NaN; their cells are magenta
---@field masked_count number elements that are masked
---@field low number         the colour range that was used
---@field high number
---@field plan fasc.Plan?    of the kernel that pooled q and k

-- ---- what is drawn ---------------------------------------------------------------------------

-- A list of sources from a tensor, a source, or a list of them.
local function list_of(what, causal, call)
    if sources.is(what) then
        return {what}
    elseif options.typename(what) == "tensor" or type(what) ~= "table" then
        return {sources.of_tensor(what, {causal = causal})}
    elseif #what == 0 then
        errors.usage("heatmap: %s: holds no map", call)
    end
    local list = {}
    for i, item in ipairs(what) do
        list[i] = sources.is(item) and item or sources.of_tensor(item, {causal = causal})
    end
    return list
end

local function check_crop(source, crop)
    local q0, q1, k0, k1 = unpack(crop)
    for i, bound in ipairs {{q0, q1, source.rows}, {k0, k1, source.cols}} do
        local low, high, most = unpack(bound, 1, 3)
        if not options.is_integer(low) or not options.is_integer(high) or low < 0 or high <= low
            or high > most then
            errors.usage("heatmap: crop: %s %s to %s, must rise within 0 to %d",
                i == 1 and "queries" or "keys", options.show(low), options.show(high), most)
        end
    end
    return {q0, q1, k0, k1}
end

-- Elements in a cell, of each side: both by the factor that brings the longer side to max_size, but
-- the shorter one keeps some.
local function factors(rows, cols, max_size)
    local wanted = math.ceil(math.max(rows, cols) / max_size)
    local function least(length)
        return math.min(wanted, math.max(1, math.floor(length / LEAST_SIDE)))
    end
    return rows >= cols and wanted or least(rows), cols >= rows and wanted or least(cols)
end

-- Are these the probabilities of rows, as far as their cells show it?
local function looks_like_probs(source, result)
    if source.kind or not result.col_sum then
        return source.kind == "probs"
    end
    local rows = result.entropy.shape[1]
    return result.lowest >= 0 and result.lowest < math.huge and result.nan_count == 0
        and result.col_sum:sum() <= rows * 1.01 and result.col_sum:min() >= 0
end

-- ---- colours ---------------------------------------------------------------------------------

local function check_range(opts)
    local low, high = opts.range[1], opts.range[2]
    if type(low) ~= "number" or type(high) ~= "number" or #opts.range ~= 2 then
        errors.usage("heatmap: range: must be {low, high}, got {%s, %s}", options.show(low),
            options.show(high))
    elseif low ~= low or high ~= high or low >= high or high - low == math.huge then
        errors.usage("heatmap: range: {%g, %g}, must be finite and rise", low, high)
    elseif opts.scale == "log" and low <= 0 then
        errors.usage("heatmap: range: low %g, must be above 0 for a log scale", low)
    elseif opts.map == "diverging" and low ~= -high then
        errors.usage("heatmap: range: {%g, %g}, must be {-x, x} for the diverging map, which is "
            .. "centred on 0", low, high)
    end
    return low, high
end

--- What finite cells span: of all of them, or without the outermost.
local function span(list, cut)
    local low, high = ffi.new "double[1]", ffi.new "double[1]"
    local all = list[1]
    if #list > 1 then
        local count, at = 0, 0
        for _, cells in ipairs(list) do
            count = count + cells:numel()
        end
        all = create.empty({count}, {device = "cpu"})
        for _, cells in ipairs(list) do
            all:slice({at, at + cells:numel()}):copy_from(cells:reshape {cells:numel()})
            at = at + cells:numel()
        end
    end
    errors.check(C.fasc_map_range(all:handle(), cut, low, high))
    return low[0], high[0]
end

-- The colour range of what the cells span; `low > high` says that they span nothing.
local function choose_range(opts, low, high, keys)
    local any = low <= high
    if opts.range then
        return check_range(opts)
    elseif opts.scale == "log" then
        local floor = opts.floor or math.min(1e-4, 1 / keys)
        return floor, any and high > floor and high or 10 * floor
    elseif opts.map == "diverging" then
        local most = any and math.max(math.abs(low), math.abs(high)) or 0
        most = most > 0 and most or 1
        return -most, most
    end
    return any and low or 0, any and high or 1
end

local function check_scale(opts, lowest)
    if opts.scale == "log" and opts.map == "diverging" then
        errors.usage("heatmap: scale: the diverging map is centred on 0, which a log scale does "
            .. "not have; use linear")
    elseif opts.scale == "log" and lowest < 0 then
        errors.usage("heatmap: scale: the map holds %g, and a log scale needs values >= 0; use "
            .. "linear", lowest)
    elseif opts.floor and not (opts.floor > 1.2e-38 and opts.floor < 3e38) then
        errors.usage("heatmap: floor: %g, must be above 0", opts.floor)
    end
end

-- ---- the options of one call -----------------------------------------------------------------

local function prepare(what, opts)
    opts = options.check("heatmap", opts, RULES)
    local list = list_of(what, opts.causal, "map")
    local minus = opts.minus and list_of(opts.minus, opts.causal, "minus")
    if minus and #minus ~= #list then
        errors.usage("heatmap: minus: %d maps, but there are %d to subtract from", #minus, #list)
    end
    if opts.raw and #list > 1 then
        errors.usage("heatmap: raw: draws one map, got %d", #list)
    elseif opts.cell and not opts.raw then
        errors.usage("heatmap: cell: is for raw pictures; others have room for axes")
    end
    opts.map = opts.map or minus and "diverging" or "viridis"
    opts.pool = opts.pool or opts.map == "diverging" and "extreme" or "max"
    if minus and opts.pool == "max" then
        opts.pool = "extreme"
    end
    if opts.scale == "log" then
        check_scale(opts, 0)
    end
    if opts.range then
        check_range(opts)
    end
    return opts, list, minus
end

-- What each map shows, as specs for source:pool.
local function make_specs(opts, list, minus)
    local panel = opts.max_size or drawing.panel_cells(list, WHOLE)
    local specs = {}
    for i, source in ipairs(list) do
        local crop = check_crop(source, opts.crop or {0, source.rows, 0, source.cols})
        local pool_rows, pool_cols = factors(crop[2] - crop[1], crop[4] - crop[3], panel)
        local longest = math.max(math.ceil((crop[2] - crop[1]) / pool_rows),
            math.ceil((crop[4] - crop[3]) / pool_cols))
        if minus then
            source:same_shape(minus[i])
        end
        if not opts.raw and longest > DRAWN then
            errors.usage("heatmap: max_size: %d cells are too many for a figure, which has room "
                .. "for %d; a raw picture may have any number", longest, DRAWN)
        end
        specs[i] = {
            pool = opts.pool, crop = crop, minus = minus and minus[i],
            pool_rows = pool_rows, pool_cols = pool_cols,
            sides = not minus and #list == 1 and opts.sides ~= false,
        }
    end
    return specs
end

local function text_of(opts, list, specs, low, high, causal, plan)
    local source, spec = list[1], specs[1]
    local q0, q1, k0, k1 = unpack(spec.crop)
    local own = {
        Software = "fasc " .. fasc_ffi.string(C.fasc_version()),
        shape = ("%d queries x %d keys"):format(source.rows, source.cols),
        scale = ("%s %.9g to %.9g"):format(opts.scale, low, high),
        colormap = opts.map,
        pooling = ("%s of %d x %d"):format(opts.pool, spec.pool_rows, spec.pool_cols),
        causal = causal or "no",
        crop = opts.crop and ("%d:%d,%d:%d"):format(q0, q1, k0, k1) or nil,
        minus = spec.minus and spec.minus:name() or nil,
        maps = #list > 1 and #list or nil,
        kernel = plan and plan.kernel .. " " .. plan.arch or nil,
        tensor = source.tensor, layer = source.layer, batch = source.batch,
        head = #list == 1 and source.head or nil,
        computed = source.tensor and (source.computed and "from q and k" or "no") or nil,
    }
    for key, value in pairs(opts.metadata or {}) do
        own[key] = value
    end
    for key, value in pairs(own) do
        own[key] = type(value) == "string" and texts.utf8(value) or value
    end
    return own
end

local function palette_of(map)
    local palette = ffi.new("uint8_t[?]", 3 * C.FASC_PALETTE)
    errors.check(C.fasc_colormap_palette(MAP[map], palette))
    return palette
end

local INFO = {
    __name = "fasc.heatmap_info",
    __tostring = function(info)
        return ("%s: %s, %d x %d%s, a cell is %d x %d, colours %.4g to %.4g"):format(info.path,
            info.title, info.width, info.height, info.path:lower():find "%.png$" and " pixels"
            or "", info.pool_rows, info.pool_cols, info.low, info.high)
    end,
}

-- ---- drawing ---------------------------------------------------------------------------------

local function paint(cells, opts, low, high)
    local colors = ffi.new("uint8_t[?]", cells:numel())
    errors.check(C.fasc_map_paint(cells:handle(), SCALE[opts.scale], low, high, colors))
    return colors
end

local function settle_scale(opts, is_probs)
    if not opts.scale then
        opts.scale = is_probs and opts.map ~= "diverging" and not opts.minus and "log" or "linear"
    end
end

local function draw_raw(opts, list, specs)
    local source, spec = list[1], specs[1]
    settle_scale(opts, source.kind == "probs")
    spec.sides = false
    return raw.draw(source, spec, {
        path = opts.path, cell = opts.cell or 1, palette = palette_of(opts.map),
        percentile = opts.scale == "percentile",
        paint = function(cells, low, high) return paint(cells, opts, low, high) end,
        span = function(cells)
            return span({cells}, opts.scale == "percentile" and CUT or 0)
        end,
        choose = function(low, high, lowest)
            check_scale(opts, lowest)
            return choose_range(opts, low, high, source.cols)
        end,
        text = function(low, high) return text_of(opts, list, specs, low, high, source.causal) end,
    })
end

local function draw_figure(opts, list, specs)
    local cells, panels, totals = {}, {}, {nan_count = 0, masked_count = 0, lowest = math.huge}
    for i, source in ipairs(list) do
        local result = source:pool(specs[i])
        cells[i] = result.cells
        panels[i] = {source = source, spec = specs[i], result = result}
        totals.nan_count = totals.nan_count + result.nan_count
        totals.masked_count = totals.masked_count + result.masked_count
        totals.lowest = math.min(totals.lowest, result.lowest)
    end
    local is_probs = looks_like_probs(list[1], panels[1].result)
    settle_scale(opts, is_probs)
    check_scale(opts, totals.lowest)
    local low, high = span(cells, opts.scale == "percentile" and CUT or 0)
    low, high = choose_range(opts, low, high, list[1].cols)
    for i, panel in ipairs(panels) do
        panel.colors = paint(cells[i], opts, low, high)
    end
    local width, height, title = drawing.draw(panels, {
        path = opts.path, low = low, high = high, scale = opts.scale, map = opts.map,
        pool = opts.pool, palette = palette_of(opts.map), theme = opts.theme, title = opts.title,
        note = opts.note, tokens = opts.tokens, is_probs = is_probs,
        sides = specs[1].sides and (opts.sides or is_probs), totals = totals,
        metadata = text_of(opts, list, specs, low, high, list[1].causal,
            panels[1].result.plan),
    })
    return {
        path = opts.path, raw = false, title = title, width = width, height = height,
        pool_rows = specs[1].pool_rows, pool_cols = specs[1].pool_cols,
        nan_count = totals.nan_count, masked_count = totals.masked_count, low = low, high = high,
        plan = panels[1].result.plan,
    }
end

--- Draws a map (a 2-D tensor on any device, or what fasc.head_maps gives), or a list of them as a
--- grid. P = 0, masked (grey) and NaN (magenta) all look different; axes count tokens, pooled or
--- not; the file says in its text how it was made, and the same input gives the same bytes. Without
--- cairo a PNG of one map holds its cells alone, and `missing` says what to install.
---
---     fasc.heatmap(probs:slice(0, 3), {path = "head3.png", causal = true})
---     fasc.heatmap(fasc.head_maps(file, {layer = 4, head = "all"}), {path = "layer4.svg"})
---@param what fasc.Tensor|fasc.MapSource|table
---@param opts fasc.HeatmapOptions
---@return fasc.HeatmapInfo
function M.heatmap(what, opts)
    local list, minus
    opts, list, minus = prepare(what, opts)
    local format = figures.format("heatmap", opts.path)
    if opts.raw and format ~= "png" then
        errors.usage("heatmap: raw: is a .png, got '%s'", opts.path)
    end
    local specs = make_specs(opts, list, minus)
    local able, reason = cairo.available()
    if opts.raw or not able and format == "png" and #list == 1 then
        local info = draw_raw(opts, list, specs)
        info.title = list[1]:name()
        info.missing = not opts.raw and reason or nil
        return setmetatable(info, INFO)
    end
    return setmetatable(draw_figure(opts, list, specs), INFO)
end

return M
