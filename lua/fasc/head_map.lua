-- head_map.lua - one head's attention map out of a file: a map that was saved, or one computed from
-- saved q and k.
local attention = require "fasc.attention"
local devices = require "fasc.device"
local errors = require "fasc.errors"
local options = require "fasc.options"
local text = require "fasc.text"

local M = {}

-- What a saved map is called when it is not named, best first.
local NAMES = {"probs", "attn", "scores", "logits", "masked"}

---@class fasc.HeadMapOptions
---@field tensor string?  a saved map's name; without it, the map comes from q and k, or is what
---                       the file calls probs, attn, scores, logits or masked
---@field layer integer?  look for layers.L.q and so on, instead of q and so on
---@field head integer?   default 0
---@field batch integer?  default 0
---@field scores string?  what to compute from q and k: "probs" (the default), "masked", "logits"
---@field causal boolean|string|nil for what is computed, as for fasc.attention
---@field device string|fasc.Device|nil where it is computed
local RULES = {
    tensor = {is = "string"},
    layer = {is = "integer", min = 0},
    head = {is = "integer", min = 0},
    batch = {is = "integer", min = 0},
    scores = {is = "string", values = {"probs", "masked", "logits"}, default = "probs"},
    causal = {is = "boolean|string", values = {"bottom_right", "top_left"}, default = false},
    device = {is = "string|device"},
}

--- Where a map comes from.
---@class fasc.MapSource
---@field tensor string    "layers.3.probs", or the file's name for an npy
---@field computed boolean from q and k, by this call
---@field layer integer?
---@field head integer?    nil where the map has no such dimension
---@field batch integer?

-- The entry of a dimension that the options ask for.
local function pick(t, dimension, opts, option, name)
    local index, count = opts[option] or 0, t.shape[dimension + 1]
    if index >= count then
        errors.usage("head_map: %s: %d, but %s has %d", option, index, text.printable(name), count)
    end
    return index
end

-- One head alone: a map costs Nq * Nk elements, and those of all heads might not fit.
local function compute(file, prefix, opts)
    local q, k = file:read(prefix .. "q"), file:read(prefix .. "k")
    for name, t in pairs {q = q, k = k} do
        if t.rank ~= 4 then
            errors.usage("head_map: %s%s: has rank %d, must be (batch, heads, seqlen, head_dim)",
                prefix, name, t.rank)
        end
    end
    local b, h = pick(q, 0, opts, "batch", prefix .. "q"), pick(q, 1, opts, "head", prefix .. "q")
    if b >= k.shape[1] or q.shape[2] % k.shape[2] ~= 0 then
        errors.usage("head_map: %sk: batch %d and heads %d do not fit q's %d and %d", prefix,
            k.shape[1], k.shape[2], q.shape[1], q.shape[2])
    end
    local hk = math.floor(h / (q.shape[2] / k.shape[2])) -- query heads share key heads in groups
    local device = devices.open(opts.device)
    local map = attention.attention(q:slice({b, b + 1}, {h, h + 1}):to(device),
        k:slice({b, b + 1}, {hk, hk + 1}):to(device), nil,
        {want = opts.scores, causal = opts.causal, scores_dtype = "f32"})[opts.scores]
    return map:slice(0, 0), {
        tensor = prefix .. opts.scores, computed = true, layer = opts.layer, head = h, batch = b,
    }
end

local function saved_name(file, prefix, opts)
    if opts.tensor or file.format == "npy" then
        return opts.tensor
    end
    for _, name in ipairs(NAMES) do
        if file:has(prefix .. name) then
            return prefix .. name
        end
    end
    errors.usage("head_map: %s has no %sq and %sk, nor %s%s; name its map with `tensor`",
        text.printable(file.path), prefix, prefix, prefix, table.concat(NAMES, ", " .. prefix))
end

local function read_saved(file, prefix, opts)
    local name = saved_name(file, prefix, opts)
    local t = file:read(name)
    local shown = name or file.path:match "[^/]*$"
    if t.rank < 2 or t.rank > 4 then
        errors.usage("head_map: %s has rank %d, a map has 2 to 4", text.printable(shown), t.rank)
    end
    local source = {tensor = shown, computed = false, layer = opts.layer}
    for _, dimension in ipairs {{"batch", 4}, {"head", 3}} do
        local option, rank = dimension[1], dimension[2]
        if t.rank == rank then
            source[option] = pick(t, 0, opts, option, shown)
            t = t:slice(source[option])
        elseif opts[option] then
            errors.usage("head_map: %s: %s has rank %d, so no such dimension", option,
                text.printable(shown), t.rank)
        end
    end
    return t, source
end

--- One head's map, (Nq, Nk), from an open file: saved as (Nq, Nk), (H, Nq, Nk) or (B, H, Nq, Nk),
--- or computed from saved q and k (B, H, N, D), by that head alone.
---
---     local map, source = fasc.head_map(fasc.open "qkv.safetensors", {layer = 4, head = 5})
---@param file fasc.File
---@param opts fasc.HeadMapOptions?
---@return fasc.Tensor
---@return fasc.MapSource
function M.head_map(file, opts)
    if options.typename(file) ~= "file" then
        errors.usage("head_map: file: must be what fasc.open gives, got %s", options.show(file))
    end
    opts = options.check("head_map", opts, RULES)
    local prefix = opts.layer and ("layers.%d."):format(opts.layer) or ""
    local has_qk = file:has(prefix .. "q") and file:has(prefix .. "k")
    return (has_qk and not opts.tensor and compute or read_saved)(file, prefix, opts)
end

return M
