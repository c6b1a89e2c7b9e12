-- agreement.lua - a table of how well attention's outputs agree: a row for each comparison, a
-- column for each output with its largest error as a share of what is allowed.
local tables = require "fasc.table"

---@class fasc.Agreement
---@field outputs string[]
---@field disagreements integer rows with an element beyond its bound
local Agreement = {}
Agreement.__index = Agreement

local M = {}

--- An empty table; its titles are written at once.
---@param outputs string[] names of outputs, in the order of the columns
---@param write fun(line: string)
---@return fasc.Agreement
function M.new(outputs, write)
    local columns = {{title = "layer", width = 8, align = "left"},
        {title = "compared", width = 21, align = "left"}}
    for _, name in ipairs(outputs) do
        columns[#columns + 1] = {title = name, width = math.max(7, #name)}
    end
    columns[#columns + 1] = {title = "", align = "left"}
    local self = {outputs = outputs, disagreements = 0, table = tables.new(columns, "text", write)}
    self.table:titles()
    return setmetatable(self, Agreement)
end

--- Adds a row.
---@param layer string
---@param compared string what was compared with what
---@param entry_of fun(output: string): table? from fasc.check or verify.stored; nil = not compared
---@param note string? instead of the verdict
function Agreement:row(layer, compared, entry_of, note)
    local cells, failed = {layer, compared}, 0
    for _, name in ipairs(self.outputs) do
        local entry = entry_of(name)
        cells[#cells + 1] = entry and ("%.3f"):format(entry.max_share or entry.share) or "-"
        failed = failed + (entry and entry.failed or 0)
    end
    cells[#cells + 1] = note or failed > 0 and failed .. " elements DIFFER" or "agrees"
    self.disagreements = self.disagreements + (failed > 0 and 1 or 0)
    self.table:row(cells)
end

return M
