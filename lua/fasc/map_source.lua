-- map_source.lua - one head's map as pictures read it: brought down to cells, with sums along its
-- sides, from a tensor or from q and k. From q and k the N x N matrix is never whole in memory: a
-- kernel that pools as it goes does the work where one can, else blocks of query rows are computed
-- and pooled one after another.
local fasc_ffi = require "fasc.ffi"
local attention = require "fasc.attention"
local create = require "fasc.create"
local errors = require "fasc.errors"
local memory = require "fasc.memory"
local options = require "fasc.options"
local scope = require "fasc.scope"
local tensors = require "fasc.tensor"
local text = require "fasc.text"

local C = fasc_ffi.C

local M = {}

local POOL = {max = C.FASC_POOL_MAX, mass = C.FASC_POOL_MASS, mean = C.FASC_POOL_MEAN,
    extreme = C.FASC_POOL_EXTREME}

--- Elements of a map computed from q and k that are in memory at a time.
M.BLOCK_ELEMENTS = 2^23

--- Smaller maps are not worth a kernel that pools as it goes.
M.REDUCE_ELEMENTS = 2^22

--- A map and where it comes from.
---@class fasc.MapSource
---@field tensor string?   "layers.3.probs", or the file's name for an npy
---@field computed boolean from q and k
---@field kind "probs"|"masked"|"logits"|nil what it shows, where that is known
---@field layer integer?
---@field head integer?    nil where the map has no such dimension
---@field batch integer?
---@field rows number      queries
---@field cols number      keys
---@field causal boolean|string false, "bottom_right" or "top_left"
local Source = {}
Source.__index = Source
Source.__name = "fasc.source"

--- Is this value a map source?
---@param value any
---@return boolean
function M.is(value)
    return getmetatable(value) == Source
end

-- Key j is past the causal line of query i where j > i + diagonal; nil without such a line.
local function diagonal(source)
    if source.causal then
        return source.causal == "top_left" and 0 or source.cols - source.rows
    end
end

local function new(fields)
    local source = setmetatable(fields, Source)
    source.causal = source.causal == true and "bottom_right" or source.causal or false
    return source
end

--- A source that reads a tensor (Nq, Nk). causal masks what lies past the diagonal.
---@param map fasc.Tensor
---@param fields {causal: boolean|string|nil, kind: string?, tensor: string?}?
---@return fasc.MapSource
function M.of_tensor(map, fields)
    tensors.argument("heatmap", "map", map)
    if map.rank ~= 2 or map:numel() == 0 then
        errors.usage("heatmap: map: %s, must be rank 2 and not empty", tensors.describe(map))
    end
    local all = {map = map, rows = map.shape[1], cols = map.shape[2], computed = false}
    for key, value in pairs(fields or {}) do
        all[key] = value
    end
    return new(all)
end

--- A source that computes one head from q and k, both (1, 1, N, D).
---@param q fasc.Tensor
---@param k fasc.Tensor
---@param fields {kind: "probs"|"masked"|"logits", causal: boolean|string|nil}
---@return fasc.MapSource
function M.of_qk(q, k, fields)
    local all = {q = q, k = k, rows = q.shape[3], cols = k.shape[3], computed = true}
    for key, value in pairs(fields) do
        all[key] = value
    end
    return new(all)
end

-- ---- blocks ----------------------------------------------------------------------------------

-- One call of attention for rows [first, past) and the first `keys` keys; a causal line that is
-- aligned bottom-right is where it was if the last row's last visible key is the last of these.
local function compute(source, first, past, keys, causal, outputs)
    attention.attention(source.q:slice({}, {}, {first, past}), source.k:slice({}, {}, {0, keys}),
        nil, {outputs = outputs, causal = causal and source.kind ~= "logits"})
end

-- Does a kernel give the rows' entropies beside the probabilities, at float32's speed?
local function gives_entropy(source)
    if source.kind ~= "probs" then
        return false
    elseif source.with_entropy == nil then
        local ok, plan = pcall(attention.plan, source.q, source.k, nil,
            {want = {"probs", "entropy"}, causal = source.causal})
        source.with_entropy = ok and plan.kernel ~= "reference"
    end
    return source.with_entropy
end

-- Rows [first, past) of the map, as a tensor that may lack the last keys, all of them masked for
-- these rows; nil where every key is. Second: the rows' entropies, if they are wanted and come with
-- it.
function Source:block(first, past, want_entropy)
    if self.map then
        return self.map:slice({first, past})
    end
    local line, rows = diagonal(self), past - first
    local keys = line and math.min(self.cols, past + line) or self.cols
    if keys < 1 then
        return nil
    end
    local device = self.q.device
    local map = create.empty({1, 1, rows, keys}, {device = device})
    local entropy = want_entropy and gives_entropy(self)
        and create.empty({1, 1, rows}, {device = device}) or nil
    -- Rows from `turn` on see every key.
    local turn = line and math.max(first, math.min(past, self.cols - line)) or first
    for _, part in ipairs {{first, turn, true}, {turn, past, false}} do
        local from, to = part[1] - first, part[2] - first
        if to > from then
            compute(self, part[1], part[2], keys, part[3], {
                [self.kind] = map:slice({}, {}, {from, to}),
                entropy = entropy and entropy:slice({}, {}, {from, to}),
            })
        end
    end
    return map:slice(0, 0), entropy and entropy:slice(0, 0)
end

--- What a picture shows of a source.
---@class fasc.PoolSpec
---@field pool "max"|"mass"|"mean"|"extreme"
---@field pool_rows integer   elements in a cell
---@field pool_cols integer
---@field crop number[]       {q0, q1, k0, k1}: the part of the map
---@field minus fasc.MapSource? a map of the same shape that is subtracted
---@field sides boolean?      also sums along the sides

--- A source as cells.
---@class fasc.Cells
---@field cells fasc.Tensor    (rows, cols) f32 on the CPU: -inf = masked, NaN = a NaN among them
---@field nan_count number     elements that are NaN; cells, where a kernel pooled
---@field masked_count number  elements that are masked
---@field lowest number        of the others
---@field col_sum fasc.Tensor? (keys shown) f64: over the queries shown
---@field entropy fasc.Tensor? (queries shown) f32: of whole rows
---@field plan fasc.Plan?      of the kernel that pooled

local function new_cells(spec)
    local q0, q1, k0, k1 = unpack(spec.crop)
    local result = {
        cells = create.full({math.ceil((q1 - q0) / spec.pool_rows),
            math.ceil((k1 - k0) / spec.pool_cols)}, -math.huge, {device = "cpu"}),
        nan_count = 0, masked_count = 0, lowest = math.huge,
    }
    if spec.sides then
        result.col_sum = create.zeros({k1 - k0}, {dtype = "f64", device = "cpu"})
        result.entropy = create.zeros({q1 - q0}, {device = "cpu"})
    end
    return result
end

-- Calls fasc_map_pool on map (rows, keys), whose element (0, 0) is the source's (row, key).
local function pool_call(source, spec, map, minus, row, key, out)
    local args, info = fasc_ffi.new "fasc_pool_args", fasc_ffi.new "fasc_pool_info"
    local line = diagonal(source)
    args.map, args.minus = map:handle(), minus and minus:handle() or nil
    args.pool = POOL[spec.pool]
    args.pool_rows, args.pool_cols = spec.pool_rows, spec.pool_cols
    args.causal, args.diagonal = line and 1 or 0, line and line + row - key or 0
    args.cells = out.cells:handle()
    args.col_sum = out.col_sum and out.col_sum:handle() or nil
    args.entropy = out.entropy and out.entropy:handle() or nil
    memory.call(C.fasc_map_pool, fasc_ffi.anchor(args, {map, minus, out}), info)
    return info
end

-- Entropies of whole rows, where the picture shows a part of the keys.
local function row_entropies(source, map, row, entropy)
    local rows, cols = map.shape[1], map.shape[2]
    pool_call(source, {pool = "max", pool_rows = rows, pool_cols = cols}, map, nil, row, 0,
        {cells = create.empty({1, 1}, {device = "cpu"}), entropy = entropy})
end

-- Pools rows [first, past) into their cells. Where the keys end early, the rest stays masked.
local function pool_block(source, spec, first, past, result)
    local q0, _, k0, k1 = unpack(spec.crop)
    local sides = spec.sides
    local map, entropy = source:block(first, past, sides)
    local minus = spec.minus and spec.minus:block(first, past)
    local past_key = map and math.min(k1, map.shape[2]) or k0
    if minus then
        past_key = math.min(past_key, minus.shape[2])
    end
    local rows, keys = past - first, math.max(0, past_key - k0)
    result.masked_count = result.masked_count + rows * (k1 - k0 - keys)
    local rows_entropy = sides and result.entropy:slice({first - q0, past - q0})
    if entropy then
        rows_entropy:copy_from(entropy)
    elseif sides and map then
        row_entropies(source, map, first, rows_entropy)
    end
    if keys == 0 then
        return
    end
    local shown = {}
    shown.map = map:slice({}, {k0, past_key})
    shown.minus = minus and minus:slice({}, {k0, past_key})
    local cell_first = (first - q0) / spec.pool_rows
    local cells = {math.ceil(rows / spec.pool_rows), math.ceil(keys / spec.pool_cols)}
    local target = result.cells:slice({cell_first, cell_first + cells[1]}, {0, cells[2]})
    local whole = target:is_contiguous()
    local out = {cells = whole and target or create.empty(cells, {device = "cpu"}),
        col_sum = sides and result.col_sum:slice({0, keys})}
    local info = pool_call(source, spec, shown.map, shown.minus, first, k0, out)
    if not whole then
        target:copy_from(out.cells)
    end
    result.nan_count = result.nan_count + tonumber(info.nan_count)
    result.masked_count = result.masked_count + tonumber(info.masked_count)
    result.lowest = math.min(result.lowest, info.lowest)
end

-- ---- a kernel that pools ---------------------------------------------------------------------

local REDUCER = {max = "pooled_max", mass = "pooled_mass"}

-- The options with which one call of attention gives the cells, if a kernel can.
local function reduction(source, spec)
    local q0, q1, k0, k1 = unpack(spec.crop)
    local whole = q0 == 0 and k0 == 0 and q1 == source.rows and k1 == source.cols
    if not source.computed or source.kind ~= "probs" or not REDUCER[spec.pool] or spec.minus
        or not whole or spec.pool_rows ~= spec.pool_cols or spec.pool_rows == 1
        or source.rows * source.cols < M.REDUCE_ELEMENTS then
        return nil
    end
    local want = {REDUCER[spec.pool]}
    if spec.sides then
        want[2], want[3] = "entropy", "col_sum_probs"
    end
    local opts = {want = want, tile = spec.pool_rows, causal = source.causal}
    local ok, plan = pcall(attention.plan, source.q, source.k, nil, opts)
    if ok then
        return plan.kernel ~= "reference" and opts or nil -- blocks of float32 are much faster
    elseif not (errors.is(plan) and plan.status == "EUNSUPPORTED") then
        error(plan, 0)
    end
end

-- Tiles that no query sees are masked; the kernel gives 0 there.
local function mask_tiles(source, spec, cells)
    local line = diagonal(source)
    local rows, cols = cells.shape[1], cells.shape[2]
    if not line then
        return 0
    end
    for r = 0, rows - 1 do
        local last = math.min(source.rows, (r + 1) * spec.pool_rows) - 1
        local first_masked = math.max(0, math.ceil((last + line + 1) / spec.pool_cols))
        if first_masked < cols then
            cells:slice({r, r + 1}, {first_masked, cols}):fill(-math.huge)
        end
    end
    local masked = 0
    for i = 0, source.rows - 1 do
        masked = masked + math.max(0, source.cols - math.max(0, i + line + 1))
    end
    return masked
end

local function reduce(source, spec, opts)
    local r = attention.attention(source.q, source.k, nil, opts)
    local pooled = r[REDUCER[spec.pool]]:slice(0, 0)
    local result = new_cells(spec)
    result.cells:copy_from(pooled)
    if spec.sides then
        result.col_sum:copy_from(r.col_sum_probs:slice(0, 0))
        result.entropy:copy_from(r.entropy:slice(0, 0))
    end
    local summary = result.cells:summary()
    result.nan_count, result.lowest = summary.nan_count, summary.min
    result.masked_count = mask_tiles(source, spec, result.cells)
    result.plan = r.plan
    return result
end

-- ---- cells -----------------------------------------------------------------------------------

--- The part of a map that a picture shows, as cells.
---@param spec fasc.PoolSpec
---@return fasc.Cells
function Source:pool(spec)
    local opts = reduction(self, spec)
    if opts then
        return reduce(self, spec, opts)
    end
    local q0, q1 = spec.crop[1], spec.crop[2]
    local result = new_cells(spec)
    local per_block = self.map and not (spec.minus and spec.minus.q) and q1 - q0
        or math.max(1, math.floor(M.BLOCK_ELEMENTS / self.cols / spec.pool_rows)) * spec.pool_rows
    for first = q0, q1 - 1, per_block do
        scope.scope(function()
            pool_block(self, spec, first, math.min(q1, first + per_block), result)
        end)
    end
    return result
end

--- The whole map as a tensor (Nq, Nk).
---@return fasc.Tensor
function Source:tensor_of()
    if self.map then
        return self.map
    end
    return attention.attention(self.q, self.k, nil, {want = self.kind, causal = self.causal,
        scores_dtype = "f32"})[self.kind]:slice(0, 0)
end

--- "layers.4.probs, head 5": what the map shows.
---@return string
function Source:name()
    local parts = {text.printable(self.tensor or "map")}
    if self.head then
        parts[#parts + 1] = "head " .. self.head
    end
    if self.batch and self.batch > 0 then
        parts[#parts + 1] = "batch " .. self.batch
    end
    return table.concat(parts, ", ")
end

--- Raises EINVAL unless both maps have one shape.
---@param other fasc.MapSource
function Source:same_shape(other)
    if self.rows ~= other.rows or self.cols ~= other.cols then
        errors.usage("heatmap: minus: %d x %d, but %s is %d x %d", other.rows, other.cols,
            options.show(self:name()), self.rows, self.cols)
    end
end

return M
