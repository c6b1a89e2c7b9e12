-- bench_cpu.lua - does the CPU's flash kernel reach its targets? Measured in one run at B=1 H=8
-- N=4096 D=64 in f32; each ratio stands beside its target, exit status 1 when one is missed. It
-- wants a quiet machine and takes a minute.
--
--     fasc-bench bench_cpu --output results/cpu.jsonl
local fasc = require "fasc"
local child = require "fasc.child"
local host = require "fasc.host"
local targets = require "fasc.targets"

-- {name, outputs, kernel, causal}; without outputs a square matrix product, first and last.
local CASES = {
    {"sgemm"},
    {"flash out", {"out"}, "flash", false},
    {"flash out causal", {"out"}, "flash", true},
    {"blas out", {"out"}, "blas", false},
    {"flash logits", {"out", "logits"}, "flash", false},
    {"blas logits", {"out", "logits"}, "blas", false},
    {"naive out", {"out"}, "naive", false},
    {"sgemm again"},
}

local names, case_of = {}, {}
for i, case in ipairs(CASES) do
    names[i], case_of[case[1]] = case[1], case
end
-- MiB that flash needs beyond its inputs and its output, in a process that has no memory to reuse.
local MEMORY = [[
    local fasc = require "fasc"
    local shape = {1, 8, %d, 64}
    local op = fasc.op.attention(fasc.randn(shape), fasc.randn(shape), fasc.randn(shape))
    op.outputs.out:fill(0)
    print(require("fasc.process").peak_growth(op.run, op) / 2^20)]]

local function flash_memory(seqlen)
    return assert(tonumber(child.run({host.executable, "-e", MEMORY:format(seqlen)}).output))
end

fasc.bench.main {
    name = "bench_cpu",
    summary = "Measures the CPU's flash kernel against its targets.",
    axes = {{"case", names, "what is measured", choices = names}},
    timing = {max_seconds = 4},

    op = function(point)
        local case = case_of[point.case]
        if not case[2] then
            return fasc.op.matmul(fasc.randn {2048, 2048}, fasc.randn {2048, 2048})
        end
        local shape = {1, 8, 4096, 64}
        return fasc.op.attention(fasc.randn(shape), fasc.randn(shape), fasc.randn(shape),
            {want = case[2], kernel = case[3], causal = case[4]})
    end,

    -- Called with all rows; judges the targets when none is missing.
    finish = function(rows, write)
        local time, rate, measured = {}, {}, 0
        for _, row in ipairs(rows) do
            if row.timing then
                local case, seconds = row.point.case, row.timing.median
                time[case], rate[case], measured = seconds, row.flops / seconds, measured + 1
            end
        end
        if measured < #CASES then
            write((#CASES - measured) .. " cases were not measured: no verdict")
            return nil, true
        end
        local sgemm = math.max(rate["sgemm"], rate["sgemm again"])
        return targets.judge({
            {"flash out, share of sgemm's rate", rate["flash out"] / sgemm, least = 0.75},
            {"flash out, speed-up over blas", time["blas out"] / time["flash out"], least = 1.6},
            {"flash logits, speed-up over blas", time["blas logits"] / time["flash logits"],
                least = 1.5},
            {"flash causal, share of the full time", time["flash out causal"] / time["flash out"],
                most = 0.6},
            {"flash, MiB of memory at N=32768", flash_memory(32768), most = 64},
        }, write)
    end,
}
