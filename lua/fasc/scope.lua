-- scope.lua - tensors freed when a function ends, instead of when the collector comes by.
local errors = require "fasc.errors"
local options = require "fasc.options"

local M = {}

-- The innermost open scope: the tensors made in it (weak, so that the collector may take them
-- first) and the scope around it.
local current

--- Called for every new tensor.
function M.add(tensor)
    if current then
        current.made[tensor] = true
    end
end

-- Moves every tensor reachable from value through tables out of the scope.
local function keep(value, made, seen)
    local kind = options.typename(value)
    if kind == "tensor" then
        if made[value] then
            made[value] = nil
            M.add(value)
        end
    elseif type(value) == "table" and not seen[value] then
        seen[value] = true
        for key, item in next, value do
            keep(key, made, seen)
            keep(item, made, seen)
        end
    end
end

local function close(scope, ok, ...)
    current = scope.outer
    if ok then
        local seen = {}
        for i = 1, select("#", ...) do
            keep((select(i, ...)), scope.made, seen)
        end
    end
    for tensor in pairs(scope.made) do
        tensor:free()
    end
    if not ok then
        error((...), 0)
    end
    return ...
end

--- Calls fn(...) and frees at its end every tensor made in it, except those that it returns
--- (by themselves or inside tables, such as fasc.attention's result). Frees them on errors too,
--- and passes the error on. Scopes nest: what an inner one returns belongs to the outer one.
--- A tensor that fn stores elsewhere (an upvalue, a table it was given) is freed all the same.
---
---     local lse = fasc.scope(function()
---         return fasc.attention(q, k, v, {want = {"out", "lse"}}).lse
---     end)
---@generic T
---@param fn fun(...): T
---@return T
function M.scope(fn, ...)
    if type(fn) ~= "function" then
        errors.usage("scope: fn: must be a function, got %s", options.show(fn))
    end
    local scope = {made = setmetatable({}, {__mode = "k"}), outer = current}
    current = scope
    return close(scope, pcall(fn, ...))
end

return M
