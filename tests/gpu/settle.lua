-- settle.lua - how the time of a heavy call settles after a pause: medians of slices of time, from
-- the first call on, with the clock and the power that the device tells. What the warm-up of a
-- timing must outlast.
--
--     fasc-bench tests/gpu/settle.lua
local clock = require "fasc.clock"
local fasc = require "fasc"

local device = fasc.device("cuda:0")
local SECONDS = 2

local function pause(seconds)
    local past = clock.now() + seconds
    while clock.now() < past do end
end

local function point(seqlen, head_dim, causal, kernel, pause_seconds)
    local opts = {dtype = "f16", device = device, seed = 1}
    local shape = {1, 32, seqlen, head_dim}
    local q, k, v = fasc.randn(shape, opts), fasc.randn(shape, opts), fasc.randn(shape, opts)
    local op = fasc.op.attention(q, k, v,
        {causal = causal, kernel = kernel, want = {"out", "logits"}})
    op:run()
    pause(pause_seconds)
    local slices, now, limit, marks = {}, 0, 0.02, 0
    local start = clock.now()
    local t = fasc.time(op, {warmup_seconds = 1e-9, min_samples = 20000, max_samples = 20000,
        max_seconds = SECONDS})
    local wall, slice = clock.now() - start, {}
    local busy = 0
    for _, seconds in ipairs(t.samples) do
        busy = busy + t.batch * seconds
    end
    for i, seconds in ipairs(t.samples) do
        now = now + t.batch * seconds * wall / busy
        slice[#slice + 1] = seconds
        marks = marks + (t.marks and t.marks[i] > 0 and 1 or 0)
        if now > limit or i == #t.samples then
            slices[#slices + 1] = ("%.2f:%.0f%s"):format(limit,
                1e6 * fasc.statistics(slice).median, marks > 0 and "*" or "")
            slice, marks = {}, 0
            limit = limit + (limit < 0.4 and 0.02 or 0.2)
        end
    end
    print(("N=%d D=%d %s %s after %g s: %.0f MHz, %.0f W, %.0f C; seconds:microseconds\n  %s")
        :format(seqlen, head_dim, causal and "causal" or "full", kernel, pause_seconds,
            t.clock_mhz or 0, t.power_watts or 0, t.temperature or 0, table.concat(slices, " ")))
end

for _, pause_seconds in ipairs {0.5, 0.02} do
    fasc.scope(point, 8192, 128, false, "flash", pause_seconds)
    fasc.scope(point, 8192, 128, true, "flash", pause_seconds)
    fasc.scope(point, 4096, 128, false, "flash", pause_seconds)
end
fasc.scope(point, 8192, 128, false, "blas", 0.5)
