-- overhead.lua - what a call costs the host, in microseconds: fasc.attention from Lua with its
-- outputs given, and the prepared call; small enough that the device keeps up.
local ffi = require "ffi"
local clock = require "fasc.clock"
local fasc = require "fasc"

local device = fasc.device("cuda:0")
local opts = {dtype = "f16", device = device, seed = 1}
local q, k, v = fasc.randn({1, 1, 64, 64}, opts), fasc.randn({1, 1, 64, 64}, opts),
    fasc.randn({1, 1, 64, 64}, opts)
local CALLS = 500

-- The median of several rounds of calls that are queued without waiting.
local function microseconds(call)
    local rounds = {}
    for round = 1, 15 do
        fasc.synchronize(device)
        local start = clock.now()
        for _ = 1, CALLS do
            call()
        end
        rounds[round] = (clock.now() - start) / CALLS * 1e6
    end
    fasc.synchronize(device)
    table.sort(rounds)
    return rounds[8]
end

print(("%-8s %-16s %14s %14s"):format("kernel", "wanted", "fasc.attention", "C call"))
for _, name in ipairs {"flash", "blas", "naive"} do
    for _, want in ipairs {{"out"}, {"out", "lse", "logits"}} do
        local r = fasc.attention(q, k, v, {kernel = name, want = want})
        local outputs = {}
        for _, output in ipairs(want) do
            outputs[output] = r[output]
        end
        local with = {kernel = name, outputs = outputs}
        local prepared = require("fasc.attention").prepare(q, k, v, with)
        local from_lua = microseconds(function() fasc.attention(q, k, v, with) end)
        local from_c = microseconds(function() ffi.C.fasc_attention(prepared.args, nil) end)
        print(("%-8s %-16s %11.2f us %11.2f us"):format(name, table.concat(want, ","), from_lua,
            from_c))
    end
end
