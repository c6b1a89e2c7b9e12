-- heatmap_figure.lua - painted cells as a figure with a title and a caption that say what was done.
local figures = require "fasc.figure"
local grid = require "fasc.heatmap_grid"
local one = require "fasc.heatmap_one"
local parts = require "fasc.heatmap_parts"
local words = require "fasc.heatmap_words"

local M = {}

--- How many cells the longer side of each of these maps may have.
M.panel_cells = grid.panel_cells

--- A map that was pooled and painted.
---@class fasc.Panel
---@field source fasc.MapSource
---@field spec fasc.PoolSpec
---@field result fasc.Cells
---@field colors ffi.cdata* uint8_t *: the cells' colours

--- Lays panels out and writes the figure; `how` is what heatmap.lua knows of it.
---@param panels fasc.Panel[]
---@param how table
---@return number width  pixels of a .png, else units
---@return number height
---@return string title
function M.draw(panels, how)
    local said = {
        title = how.title or words.title(panels), caption = words.caption(panels, how),
    }
    local fig = #panels == 1 and one.draw(panels[1], how, said) or grid.draw(panels, how, said)
    fig:save(how.path, {scale = parts.SCALE, metadata = how.metadata})
    local unit = figures.format("heatmap", how.path) == "png" and parts.SCALE or 1
    return math.ceil(fig.width * unit), math.ceil(fig.height * unit), said.title
end

return M
