-- layers.lua - queries, keys and values of a model's layers, found by name among loaded tensors.
local errors = require "fasc.errors"

local M = {}

--- One layer's inputs.
---@class fasc.Layer
---@field name string "layers.3" for tensors "layers.3.q", "layers.3.k", "layers.3.v"
---@field q fasc.Tensor
---@field k fasc.Tensor
---@field v fasc.Tensor

-- Names with numbers in the order of the numbers.
local function natural(name)
    return (name:gsub("%d+", function(digits)
        return ("%020.0f"):format(tonumber(digits))
    end))
end

--- The layers of a file, sorted. Raises EFORMAT where there is none, or one lacks its k or v.
---@param tensors table<string, fasc.Tensor> as fasc.load gives them
---@param path string for messages
---@return fasc.Layer[]
function M.find(tensors, path)
    local layers = {}
    for name, q in pairs(tensors) do
        local prefix = name:match "^(.+)%.q$"
        if prefix then
            local layer = {name = prefix, q = q}
            for _, part in ipairs {"k", "v"} do
                layer[part] = rawget(tensors, prefix .. "." .. part)
                if not layer[part] then
                    errors.raise("EFORMAT", "%s: has %s, but no %s.%s", path, name, prefix, part)
                end
            end
            layers[#layers + 1] = layer
        end
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
