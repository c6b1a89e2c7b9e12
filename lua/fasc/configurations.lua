-- configurations.lua - the configurations of a kernel that can serve a problem: those of a grid
-- that the planner accepts, each once.
local M = {}

-- What a tile, a pipeline and a block may be. A kernel whose plan has none of a field is not asked
-- for it, and what it does not have, its plan refuses.
local GRID = {
    {"block_m", {16, 32, 64, 128, 192, 256}},
    {"block_n", {16, 32, 48, 64, 80, 96, 112, 128, 160, 176, 192, 256, 512}},
    {"stages", {1, 2, 3, 4}},
    {"warps", {1, 2, 3, 4, 8}},
}

-- Does the plan have what the configuration asks for?
local function is_as_asked(plan, config)
    for _, axis in ipairs(GRID) do
        local field = axis[1]
        if config[field] and plan[field] ~= config[field] then
            return false
        end
    end
    return true
end

--- A configuration and what the planner makes of it.
---@class fasc.Configuration
---@field config fasc.KernelConfig
---@field plan fasc.Plan

--- All configurations of a kernel, the planner's own first.
---@param kernel fasc.Kernel
---@param plan_of fun(config: fasc.KernelConfig): fasc.Plan? nil where it cannot serve
---@return fasc.Configuration[]
function M.of(kernel, plan_of)
    local list, seen = {}, {}
    local function add(config)
        local plan = plan_of(config)
        local label = plan and plan.arch .. " " .. plan.config
        if plan and is_as_asked(plan, config) and not seen[label] then
            seen[label] = true
            list[#list + 1] = {config = config, plan = plan}
        end
        return plan
    end
    local base = add {name = kernel.name, arch = kernel.arch}
    local function vary(config, axis)
        while GRID[axis] and base[GRID[axis][1]] == 0 do
            axis = axis + 1
        end
        if not GRID[axis] then
            add(config)
            return
        end
        for _, value in ipairs(GRID[axis][2]) do
            local more = {[GRID[axis][1]] = value}
            for field, other in pairs(config) do
                more[field] = other
            end
            vary(more, axis + 1)
        end
    end
    if base then
        vary({name = kernel.name, arch = kernel.arch}, 1)
    end
    return list
end

return M
