-- calibrate.lua - how fast can this device compute and move data? Measures a large copy, zeroing
-- and writing (on Hopper: by bulk copies from shared memory) and a matrix product per dtype. Later
-- sweeps show beside each number what share of these ceilings it reaches and which of them bounds
-- it. A sweep that goes faster raises the ceiling.
--
--     fasc-bench calibrate
--     fasc-bench calibrate --device cuda:0
local fasc = require "fasc"
local bench = fasc.bench

local CASES = {
    {"copy", function(o)
        local n = o.mebibytes * 2^18
        return fasc.op.copy(fasc.ones {n}, fasc.empty {n})
    end},
    {"zero", function(o)
        return fasc.op.fill(fasc.empty {o.mebibytes * 2^18})
    end},
    {"write", function(o)
        return fasc.op.fill(fasc.empty {o.mebibytes * 2^18}, 1)
    end},
}
for _, dtype in ipairs {"f32", "f16", "bf16"} do
    CASES[#CASES + 1] = {"matmul " .. dtype, function(o)
        local function matrix(seed)
            return fasc.randn({o.side, o.side}, {dtype = dtype, seed = seed})
        end
        return fasc.op.matmul(matrix(1), matrix(2))
    end}
end

local names, make = {}, {}
for i, case in ipairs(CASES) do
    names[i], make[case[1]] = case[1], case[2]
end

bench.main {
    name = "calibrate",
    summary = "Measures a device's bandwidth and its rates of computing.",
    calibrates = true,
    axes = {{"case", names, "what is measured", choices = names}},
    options = {
        {"mebibytes", 512, "size of what is copied or written", min = 1, gpu = 2048},
        {"side", 2048, "rows and columns of the matrices", min = 1, gpu = 8192},
    },
    op = function(point, _, options)
        return make[point.case](options)
    end,
}
