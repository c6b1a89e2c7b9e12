-- overhead.lua - what a call costs the host, in microseconds: fasc.attention from Lua with its
-- outputs given, the prepared call from C, and what of the former is not launching. A launch is
-- taken to cost what filling a tensor of one element does, a cuBLAS product what fasc_matmul does.
-- Fails where a call that names no kernel costs 15 microseconds or more beyond its launches.
local ffi = require "ffi"
local clock = require "fasc.clock"
local fasc = require "fasc"

local device = fasc.device("cuda:0")
local opts = {dtype = "f16", device = device, seed = 1}
local q, k, v = fasc.randn({1, 1, 64, 64}, opts), fasc.randn({1, 1, 64, 64}, opts),
    fasc.randn({1, 1, 64, 64}, opts)
local CALLS, MOST = 500, 15

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

local function launch_cost()
    local handle = fasc.empty({1}, {device = device}):handle()
    return microseconds(function() ffi.C.fasc_tensor_fill(handle, 1) end)
end

local function product_cost()
    local args = fasc.op.matmul(q, k:transpose(2, 3)).args
    return microseconds(function() ffi.C.fasc_matmul(args) end)
end

local launch, product = launch_cost(), product_cost()
print(("a launch %.2f us, a cuBLAS product %.2f us"):format(launch, product))

local LAUNCHES = {flash = launch, naive = 3 * launch, blas = launch + 2 * product}
local slow = 0
print(("%-8s %-16s %14s %14s %14s"):format("kernel", "wanted", "fasc.attention", "C call",
    "not launching"))
for _, name in ipairs {"default", "flash", "blas", "naive"} do
    for _, want in ipairs {{"out"}, {"out", "lse", "logits"}} do
        local kernel = name ~= "default" and name or nil
        local r = fasc.attention(q, k, v, {kernel = kernel, want = want})
        local outputs = {}
        for _, output in ipairs(want) do
            outputs[output] = r[output]
        end
        local with = {kernel = kernel, outputs = outputs}
        local prepared = fasc.op.attention(q, k, v, with)
        local from_lua = microseconds(function() fasc.attention(q, k, v, with) end)
        local from_c = microseconds(function() ffi.C.fasc_attention(prepared.args, nil) end)
        local beyond = from_lua - LAUNCHES[r.plan.kernel]
        slow = slow + (name == "default" and beyond >= MOST and 1 or 0)
        print(("%-8s %-16s %11.2f us %11.2f us %11.2f us"):format(name, table.concat(want, ","),
            from_lua, from_c, beyond))
    end
end
if slow > 0 then
    print(("FAILED: %d us or more beyond the launches"):format(MOST))
    os.exit(1)
end
