-- plan.lua - what will run, or has run, and why: a fasc_attention_plan as a plain table.
local fasc_ffi = require "fasc.ffi"

local M = {}

---@class fasc.Plan
---@field kernel string          "flash"
---@field arch string            "avx512", "sm_90a"
---@field config string          the configuration in words: "avx512 64x256, 2 threads"
---@field reason string          why this kernel and this path
---@field block_m number         query rows of a tile; 0 where the kernel has no such thing
---@field block_n number         keys of a tile; likewise 0, as the next two
---@field stages number          K/V tiles in flight
---@field warps number           warps, or consumer warpgroups, of a block
---@field threads number         CPU threads, or threads of a GPU block
---@field splits number         parts that the keys are split into; 1 = no split
---@field workspace_bytes number beyond the outputs
---@field flops number           what the outputs need: 2 D per visible pair and product
---@field bytes number           each input read once, each output written once

local TEXTS = {"kernel", "arch", "config", "reason"}
local NUMBERS = {
    "block_m", "block_n", "stages", "warps", "threads", "splits", "workspace_bytes", "flops",
    "bytes",
}

local metatable = {
    __tostring = function(plan)
        return ("%s (%s): %s; %.4g GFLOP, %.4g MB moved, %.4g MB workspace"):format(plan.kernel,
            plan.config, plan.reason, plan.flops / 1e9, plan.bytes / 1e6,
            plan.workspace_bytes / 1e6)
    end,
}

--- An empty struct for the library to fill.
function M.struct()
    return fasc_ffi.new "fasc_attention_plan"
end

--- The filled struct as a table.
---@return fasc.Plan
function M.from(struct)
    local plan = {}
    for _, field in ipairs(TEXTS) do
        plan[field] = fasc_ffi.string(struct[field])
    end
    for _, field in ipairs(NUMBERS) do
        plan[field] = tonumber(struct[field])
    end
    return setmetatable(plan, metatable)
end

return M
