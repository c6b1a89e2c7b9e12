-- heatmap_words.lua - the title and the caption of a picture of maps.
local ticks = require "fasc.ticks"

local M = {}

local POOLED = {
    max = "the largest of %s elements",
    mass = "%s elements: sum over the keys, mean over the queries",
    mean = "the mean of the visible ones of %s elements",
    extreme = "the one of %s elements that is farthest from 0",
}

local function shape_words(panel)
    local source, crop = panel.source, panel.spec.crop
    local q0, q1, k0, k1 = unpack(crop)
    local words = ("%d %s × %d %s"):format(q1 - q0, q1 - q0 == 1 and "query" or "queries", k1 - k0,
        k1 - k0 == 1 and "key" or "keys")
    if q1 - q0 < source.rows or k1 - k0 < source.cols then
        words = ("Queries %d to %d × keys %d to %d of %d × %d"):format(q0, q1 - 1, k0, k1 - 1,
            source.rows, source.cols)
    end
    return words .. (source.causal and ", causal" or "")
        .. (source.causal == "top_left" and " (top left)" or "")
end

local function short(x)
    return ticks.label(tonumber(("%.4g"):format(x)))
end

local function scale_words(how)
    local low, high = short(how.low), short(how.high)
    if how.scale == "log" then
        return ("Log scale from %s to %s"):format(low, high)
    elseif how.scale == "percentile" then
        return ("Linear scale from %s to %s, which 99.8 %% of the cells are within"):format(low,
            high)
    end
    return ("Linear scale from %s to %s"):format(low, high)
end

--- What the picture shows and what was done to it.
---@param panels fasc.Panel[]
---@param how table
---@return string
function M.caption(panels, how)
    local first = panels[1]
    local source, spec = first.source, first.spec
    local parts = {}
    if how.note then
        parts[1] = how.note
    end
    parts[#parts + 1] = shape_words(first) .. (source.computed and ", computed from q and k" or "")
    if spec.pool_rows == 1 and spec.pool_cols == 1 then
        parts[#parts + 1] = "A cell is one pair"
    else
        parts[#parts + 1] = "A cell is " .. POOLED[how.pool]:format(("%d × %d"):format(
            spec.pool_rows, spec.pool_cols))
    end
    parts[#parts + 1] = scale_words(how)
    if #panels > 1 then
        parts[#parts + 1] = "Queries run down, keys across"
    end
    if how.totals.nan_count > 0 then
        parts[#parts + 1] = ("%d elements are NaN"):format(how.totals.nan_count)
    end
    return table.concat(parts, ". ") .. "."
end

-- "0–3, 7"
local function numbers(list)
    local parts, i = {}, 1
    while i <= #list do
        local j = i
        while list[j + 1] == list[j] + 1 do
            j = j + 1
        end
        parts[#parts + 1] = j > i + 1 and list[i] .. "–" .. list[j] or list[i]
        i = j > i + 1 and j + 1 or i + 1
    end
    return table.concat(parts, ", ")
end

--- The different values of a source's field, in their order; empty where one lacks it.
---@param panels {source: fasc.MapSource}[]
---@param field string
---@return any[]
function M.distinct(panels, field)
    local seen, list = {}, {}
    for _, panel in ipairs(panels) do
        local value = panel.source[field]
        if value == nil then
            return {}
        elseif not seen[value] then
            seen[value] = true
            list[#list + 1] = value
        end
    end
    return list
end

--- What is drawn: "layers.4.probs, head 5", "probs of layers 0–5, heads 0–7".
---@param panels fasc.Panel[]
---@return string
function M.title(panels)
    local first = panels[1]
    if #panels == 1 then
        local minus = first.spec.minus
        return first.source:name() .. (minus and " − " .. minus:name() or "")
    end
    local tensors, heads = M.distinct(panels, "tensor"), M.distinct(panels, "head")
    local layers = M.distinct(panels, "layer")
    local kind = first.source.kind or "maps"
    local name = #tensors == 1 and tensors[1]
        or #layers > 1 and ("%s of layers %s"):format(kind, numbers(layers)) or kind
    return name .. (#heads > 0 and (#heads > 1 and ", heads " or ", head ") .. numbers(heads) or "")
        .. (first.spec.minus and ", differences" or "")
end

return M
