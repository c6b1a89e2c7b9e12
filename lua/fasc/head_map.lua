-- head_map.lua - attention maps out of a file, head by head: maps that were saved, or ones computed
-- from saved q and k.
local devices = require "fasc.device"
local errors = require "fasc.errors"
local files = require "fasc.file"
local glob = require "fasc.glob"
local options = require "fasc.options"
local sources = require "fasc.map_source"
local text = require "fasc.text"

local M = {}

-- What a saved map is called when it is not named, best first.
local NAMES = {"probs", "attn", "scores", "logits", "masked"}
local KIND = {probs = "probs", attn = "probs", logits = "logits", masked = "masked"}

---@class fasc.HeadMapOptions
---@field tensor string?  a saved map's name, or a pattern (head_maps); without it, maps
---                       come from q and k, or are what the file calls probs, attn, scores,
---                       logits or masked
---@field layer integer|integer[]|nil look for layers.L.q and so on, instead of q and so on
---@field head integer|integer[]|"all"|nil default 0
---@field batch integer?  default 0
---@field scores string?  what to compute from q and k: "probs" (the default), "masked", "logits"
---@field causal boolean|string|nil as for fasc.attention; without it, what the file's metadata say
---                       (mask = causal)
---@field layout string?  how q and k lie in the file: "bhnd" (the default) or "bnhd"
---@field device string|fasc.Device|nil where it is computed
local RULES = {
    tensor = {is = "string"},
    layer = {is = "integer|table", min = 0},
    head = {is = "integer|table|string", values = {"all"}, min = 0},
    batch = {is = "integer", min = 0},
    scores = {is = "string", values = {"probs", "masked", "logits"}, default = "probs"},
    causal = {is = "boolean|string", values = {"bottom_right", "top_left"}},
    layout = files.READ.layout,
    device = {is = "string|device"},
}

-- The entries of a dimension that the options ask for.
local function pick(count, opts, option, name)
    local given, list = opts[option] or 0, {}
    if given == "all" then
        for i = 0, count - 1 do
            list[i + 1] = i
        end
        return list
    end
    for i, index in ipairs(type(given) == "table" and given or {given}) do
        if not options.is_integer(index) or index < 0 or index >= count then
            errors.usage("head_map: %s: %s, but %s has %d", option, options.show(index),
                text.printable(name), count)
        end
        list[i] = index
    end
    return list
end

-- ---- from q and k ----------------------------------------------------------------------------

-- One head alone at a time: a map costs Nq * Nk elements, and those of all heads might not fit.
local function compute(file, prefix, layer, opts)
    local q = file:read(prefix .. "q", {layout = opts.layout})
    local k = file:read(prefix .. "k", {layout = opts.layout})
    for name, t in pairs {q = q, k = k} do
        if t.rank ~= 4 then
            errors.usage("head_map: %s%s: has rank %d, must be (batch, heads, seqlen, head_dim)",
                prefix, name, t.rank)
        end
    end
    local b = pick(q.shape[1], opts, "batch", prefix .. "q")[1]
    if b >= k.shape[1] or q.shape[2] % k.shape[2] ~= 0 then
        errors.usage("head_map: %sk: batch %d and heads %d do not fit q's %d and %d", prefix,
            k.shape[1], k.shape[2], q.shape[1], q.shape[2])
    end
    local group = q.shape[2] / k.shape[2] -- query heads share key heads in groups
    local device, list = devices.open(opts.device), {}
    for i, h in ipairs(pick(q.shape[2], opts, "head", prefix .. "q")) do
        local hk = math.floor(h / group)
        list[i] = sources.of_qk(q:slice({b, b + 1}, {h, h + 1}):to(device),
            k:slice({b, b + 1}, {hk, hk + 1}):to(device), {
                kind = opts.scores, causal = opts.causal, tensor = prefix .. opts.scores,
                layer = layer, head = h, batch = b,
            })
    end
    return list
end

-- ---- saved maps ------------------------------------------------------------------------------

local function saved_names(file, prefix, opts)
    if file.format == "npy" then
        return {""}
    elseif opts.tensor then
        return files.pick("head_map", file, {opts.tensor})
    end
    for _, name in ipairs(NAMES) do
        if file:has(prefix .. name) then
            return {prefix .. name}
        end
    end
    errors.usage("head_map: %s has no %sq and %sk, nor %s%s; name its map with `tensor`",
        text.printable(file.path), prefix, prefix, prefix, table.concat(NAMES, ", " .. prefix))
end

local function read_saved(file, name, layer, opts)
    local t = file:read(name, {map = file.format == "safetensors"})
    local shown = name ~= "" and name or file.path:match "[^/]*$"
    if t.rank < 2 or t.rank > 4 then
        errors.usage("head_map: %s has rank %d, a map has 2 to 4", text.printable(shown), t.rank)
    end
    local fields = {
        tensor = shown, layer = layer or tonumber(shown:match "^layers%.(%d+)%."),
        causal = opts.causal, kind = KIND[shown:match "(%a+)$"],
    }
    if t.rank == 4 then
        fields.batch = pick(t.shape[1], opts, "batch", shown)[1]
        t = t:slice(fields.batch)
    elseif opts.batch then
        errors.usage("head_map: batch: %s has rank %d, so no such dimension",
            text.printable(shown), t.rank)
    end
    if t.rank == 2 and opts.head and opts.head ~= "all" then
        errors.usage("head_map: head: %s has rank 2, so no such dimension", text.printable(shown))
    elseif t.rank == 2 then
        return {sources.of_tensor(t, fields)}
    end
    local list = {}
    for i, h in ipairs(pick(t.shape[1], opts, "head", shown)) do
        fields.head = h
        list[i] = sources.of_tensor(t:slice(h), fields)
    end
    return list
end

-- ---- both ------------------------------------------------------------------------------------

local function of_prefix(file, prefix, layer, opts)
    if not opts.tensor and file:has(prefix .. "q") and file:has(prefix .. "k") then
        return compute(file, prefix, layer, opts)
    end
    local list = {}
    for _, name in ipairs(saved_names(file, prefix, opts)) do
        for _, source in ipairs(read_saved(file, name, layer, opts)) do
            list[#list + 1] = source
        end
    end
    return list
end

--- Maps of an open file, by layer and head, as sources for fasc.heatmap: nothing is computed before
--- a picture wants it. Saved as (Nq, Nk), (H, Nq, Nk) or (B, H, Nq, Nk), or computed from saved q
--- and k (B, H, N, D).
---
---     local file = fasc.open "qkv.safetensors"
---     fasc.heatmap(fasc.head_maps(file, {layer = {4, 5}, head = "all"}), {path = "grid.png"})
---@param file fasc.File
---@param opts fasc.HeadMapOptions?
---@return fasc.MapSource[]
function M.head_maps(file, opts)
    if options.typename(file) ~= "file" then
        errors.usage("head_map: file: must be what fasc.open gives, got %s", options.show(file))
    end
    opts = options.check("head_map", opts, RULES)
    if opts.causal == nil then
        opts.causal = file:metadata().mask == "causal"
    end
    if not opts.layer or opts.tensor then
        local prefix = opts.layer and ("layers.%s."):format(tostring(opts.layer)) or ""
        return of_prefix(file, opts.tensor and "" or prefix, nil, opts)
    end
    local list = {}
    for _, layer in ipairs(type(opts.layer) == "table" and opts.layer or {opts.layer}) do
        for _, source in ipairs(of_prefix(file, ("layers.%d."):format(layer), layer, opts)) do
            list[#list + 1] = source
        end
    end
    return list
end

--- One head's map as a tensor (Nq, Nk), whole; see head_maps for more than one, or for one that is
--- larger than memory.
---
---     local map, source = fasc.head_map(fasc.open "qkv.safetensors", {layer = 4, head = 5})
---@param file fasc.File
---@param opts fasc.HeadMapOptions?
---@return fasc.Tensor
---@return fasc.MapSource
function M.head_map(file, opts)
    local list = M.head_maps(file, opts)
    if #list ~= 1 then
        errors.usage("head_map: %d maps fit; name one, or use head_maps", #list)
    end
    return list[1]:tensor_of(), list[1]
end

--- The layers that a file holds, by their tensors' names (layers.L.q), rising.
---@param file fasc.File
---@return integer[]
function M.layers(file)
    local seen, list = {}, {}
    for _, name in ipairs(glob.select(file:names(), "layers.*")) do
        local layer = tonumber(name:match "^layers%.(%d+)%.")
        if layer and not seen[layer] then
            seen[layer] = true
            list[#list + 1] = layer
        end
    end
    table.sort(list)
    return list
end

return M
