-- gpu.lua - for specs that only a GPU can run: without one each of their tests is pending, with the
-- reason, and counts as skipped.
local fasc = require "fasc"
local support = require "support"

local M = {}

local function reason()
    if not support.is_cpu then
        return nil
    end
    local ok, err = pcall(fasc.device, "cuda:0")
    return ok and "needs FASC_TEST_DEVICE=cuda:0" or "needs a GPU: " .. err.message
end

--- busted's `it`, on a GPU. A module does not see busted's functions: specs hand them over.
---
---     local on_gpu = gpu.tests(it, pending)
---     on_gpu("adds numbers", function() ... end)
function M.tests(it, pending)
    local why = reason()
    return function(name, f)
        if why then
            pending(("%s (%s)"):format(name, why))
        else
            it(name, f)
        end
    end
end

return M
