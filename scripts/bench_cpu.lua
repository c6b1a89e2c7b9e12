-- bench_cpu.lua - does the CPU's flash kernel reach its targets? Measured in one run: the rate of a
-- plain matrix product, then the kernels at B=1 H=8 N=4096 D=64 in f32, then flash's memory at
-- N=32768. Prints each ratio beside its target; exit status 1 when one is missed. It wants a quiet
-- machine and takes some two minutes.
--
--     fasc-bench bench_cpu --output results/cpu.jsonl
local fasc = require "fasc"
local process = require "fasc.process"
local targets = require "fasc.targets"

-- What is measured, in this order: {name, outputs, kernel, causal}; without outputs, a square
-- matrix product, twice, because the machine may change its speed meanwhile.
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

local function qkv(seqlen)
    local shape, opts = {1, 8, seqlen, 64}, {dtype = "f32"}
    return fasc.randn(shape, opts), fasc.randn(shape, opts), fasc.randn(shape, opts)
end

-- MiB that flash needs beyond its inputs and its output.
local function flash_memory(seqlen)
    return fasc.scope(function()
        local op = fasc.op.attention(qkv(seqlen))
        op.outputs.out:fill(0) -- so that its pages are there already
        return process.peak_growth(op.run, op) / 2^20
    end)
end

fasc.bench.main {
    name = "bench_cpu",
    summary = "Measures the CPU's flash kernel against its targets.",
    axes = {{"case", names, "what is measured", choices = names}},
    options = {{"memory_seqlen", 32768, "sequence length of the memory measurement", min = 1}},

    op = function(point)
        local case = case_of[point.case]
        if not case[2] then
            return fasc.op.matmul(fasc.randn {2048, 2048}, fasc.randn {2048, 2048})
        end
        local q, k, v = qkv(4096)
        return fasc.op.attention(q, k, v, {want = case[2], kernel = case[3], causal = case[4]})
    end,

    -- Called with all rows; a missing one leaves nothing to conclude.
    finish = function(rows, write, options)
        local time, rate = {}, {}
        for _, row in ipairs(rows) do
            if row.timing then
                time[row.point.case] = row.timing.median
                rate[row.point.case] = row.flops / row.timing.median
            end
        end
        for _, name in ipairs(names) do
            if not time[name] then
                write("no verdict without " .. name)
                return nil, true
            end
        end
        local sgemm = math.max(rate["sgemm"], rate["sgemm again"])
        return targets.judge({
            {"flash out, share of sgemm's rate", rate["flash out"] / sgemm, least = 0.75},
            {"flash out, speed-up over blas", time["blas out"] / time["flash out"], least = 1.6},
            {"flash logits, speed-up over blas", time["blas logits"] / time["flash logits"],
                least = 1.5},
            {"flash causal, share of the full time", time["flash out causal"] / time["flash out"],
                most = 0.6},
            {("flash, MiB of memory at N=%d"):format(options.memory_seqlen),
                flash_memory(options.memory_seqlen), most = 64},
        }, write)
    end,
}
