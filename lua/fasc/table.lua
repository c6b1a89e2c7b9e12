-- table.lua - rows of text under columns, printed as they come: aligned for people, or as Markdown
-- or CSV. Widths are fixed before the first row, so that a row need not wait for the last.
local M = {}

--- One column.
---@class fasc.Column
---@field title string
---@field width integer?    at least this many characters; the title's otherwise
---@field align "left"|"right"|nil right unless given

local function pad(text, column)
    local space = (" "):rep(column.width - #text)
    return column.align == "left" and text .. space or space .. text
end

local function aligned(columns, cells)
    local parts = {}
    for i, column in ipairs(columns) do
        parts[i] = pad(cells[i], column)
    end
    return (table.concat(parts, "  "):gsub("%s+$", ""))
end

local function markdown(columns, cells)
    local parts = {}
    for i, column in ipairs(columns) do
        parts[i] = pad(cells[i]:gsub("|", "\\|"), column)
    end
    return "| " .. table.concat(parts, " | ") .. " |"
end

local function csv(_, cells)
    local parts = {}
    for i, cell in ipairs(cells) do
        parts[i] = cell:find '[",\n]' and '"' .. cell:gsub('"', '""') .. '"' or cell
    end
    return table.concat(parts, ",")
end

local function rule(columns)
    local parts = {}
    for i, column in ipairs(columns) do
        parts[i] = ("-"):rep(column.width - 1) .. (column.align == "left" and "-" or ":")
    end
    return "| " .. table.concat(parts, " | ") .. " |"
end

-- How a line of cells looks, what follows the titles, and whether prose may stand around the rows.
local FORMATS = {
    text = {line = aligned, prose = true},
    markdown = {line = markdown, after_titles = rule, prose = true, least_width = 3},
    csv = {line = csv},
}

local Table = {}
Table.__index = Table

--- A table that writes its lines with `write`.
---@param columns fasc.Column[]
---@param format "text"|"markdown"|"csv"
---@param write fun(line: string)
function M.new(columns, format, write)
    local form = FORMATS[format]
    for _, column in ipairs(columns) do
        column.width = math.max(column.width or 0, #column.title, form.least_width or 0)
    end
    return setmetatable({columns = columns, format = form, write = write}, Table)
end

--- Writes the titles.
function Table:titles()
    local titles = {}
    for i, column in ipairs(self.columns) do
        titles[i] = column.title
    end
    self.write(self.format.line(self.columns, titles))
    if self.format.after_titles then
        self.write(self.format.after_titles(self.columns))
    end
end

--- Writes one row: as many strings as there are columns.
---@param cells string[]
function Table:row(cells)
    self.write(self.format.line(self.columns, cells))
end

--- Writes a line of prose, where the format has room for it.
---@param text string
function Table:prose(text)
    if self.format.prose then
        self.write(text)
    end
end

return M
