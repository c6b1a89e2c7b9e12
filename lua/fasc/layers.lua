-- layers.lua - queries, keys and values of a model's layers, found by name in a file and read one
-- layer at a time.
local errors = require "fasc.errors"
local text = require "fasc.text"

local M = {}

--- One layer of an open file.
---@class fasc.Layer
---@field name string "layers.3" for tensors "layers.3.q", "layers.3.k", "layers.3.v"
---@field file fasc.File
local Layer = {}
Layer.__index = Layer

--- Reads q, k and v, with the options of file:read.
---@param opts fasc.ReadOptions?
---@return fasc.Tensor q
---@return fasc.Tensor k
---@return fasc.Tensor v
function Layer:read(opts)
    local function part(name)
        return self.file:read(self.name .. "." .. name, opts)
    end
    return part "q", part "k", part "v"
end

-- Names with numbers in the order of the numbers.
local function natural(name)
    return (name:gsub("%d+", function(digits)
        return ("%020.0f"):format(tonumber(digits))
    end))
end

--- The layers of a file, sorted. Raises EFORMAT where there is none, or one lacks its k or v.
---@param file fasc.File
---@return fasc.Layer[]
function M.find(file)
    local layers, path = {}, text.printable(file.path)
    for _, name in ipairs(file:names "*.q") do
        local prefix = name:match "^(.+)%.q$"
        for _, part in ipairs {"k", "v"} do
            if not file:has(prefix .. "." .. part) then
                local shown = text.printable(prefix)
                errors.raise("EFORMAT", "%s: has %s.q, but no %s.%s", path, shown, shown, part)
            end
        end
        layers[#layers + 1] = setmetatable({name = prefix, file = file}, Layer)
    end
    if #layers == 0 then
        errors.raise("EFORMAT", "%s: has no tensor named LAYER.q", path)
    end
    table.sort(layers, function(a, b)
        return natural(a.name) < natural(b.name)
    end)
    return layers
end

return M
