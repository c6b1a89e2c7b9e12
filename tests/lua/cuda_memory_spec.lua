-- cuda_memory_spec.lua - the GPU's memory: out of it and back, freeing while work is queued, no new
-- memory in the steady state, more than one device.
local fasc = require "fasc"
local gpu = require "gpu"
local support = require "support"

local on_gpu = gpu.tests(it, pending)

local MIB = 2^20

local function memory()
    return fasc.memory(support.device)
end

describe("the GPU's memory", function()
    after_each(function()
        collectgarbage()
        collectgarbage()
        support.device:trim()
    end)

    on_gpu("running out names what was asked for and what is free, and leaves all else intact",
        function()
            local kept = support.randn({1000}, {seed = 1})
            local before = kept:sum()
            local total = memory().total
            support.fails("ENOMEM", function()
                support.empty({math.floor(total / 4) * 2}, {dtype = "f32"})
            end, "cuda:0: out of memory: asked for ", " are free")
            assert.equal(before, kept:sum())
            assert.equal(64, support.ones({64}):sum())
        end)

    on_gpu("filled to the brim and freed again it serves other sizes: kept blocks are given back",
        function()
            local size = math.floor(memory().free / 8)
            local held = {}
            for _ = 1, 64 do
                local ok, t = pcall(support.empty, {size}, {dtype = "u8"})
                if not ok then
                    assert.equal("ENOMEM", t.status)
                    break
                end
                held[#held + 1] = t
            end
            assert.is_true(#held >= 4)
            for _, t in ipairs(held) do
                t:free()
            end
            assert.is_true(memory().cached > 0)
            local large = support.empty({math.floor(5.5 * size)}, {dtype = "u8"})
            large:slice({0, 1000}):fill(3)
            assert.equal(3000, large:slice({0, 1000}):sum())
            large:free()
        end)

    on_gpu("a tensor may be freed while queued work uses it", function()
        local n, sums = 4 * MIB, 0
        local total = support.zeros({n})
        for i = 1, 20 do
            local t = fasc.full({n}, i, {device = support.device})
            local next_total = support.empty({n})
            next_total:copy_from(t) -- queued
            t:free()
            -- Takes the freed block while it may still be read.
            fasc.full({n}, -1e6, {device = support.device}):free()
            total:copy_from(next_total)
            next_total:free()
            sums = sums + total:slice({n - 1, n}):item()
        end
        assert.equal(20 * 21 / 2, sums)
    end)

    on_gpu("the steady state asks the driver for nothing", function()
        local q, k, v = support.qkv({1, 4, 2, 200, 300, 64}, "f16")
        for _, kernel in ipairs(support.kernel_names()) do
            local opts = {kernel = kernel, causal = true, want = {"out", "lse", "logits"}}
            local call = fasc.attention(q, k, v, opts)
            local outputs = {out = call.out, lse = call.lse, logits = call.logits}
            local again = {kernel = kernel, causal = true, outputs = outputs}
            fasc.attention(q, k, v, again)
            collectgarbage()
            -- What is free is the whole device's, and other programs take some now and then: one
            -- quiet round is enough.
            local before, after
            for _ = 1, 5 do
                before = memory()
                for _ = 1, 20 do
                    fasc.attention(q, k, v, again)
                end
                fasc.synchronize(support.device)
                after = memory()
                if before.free == after.free then
                    break
                end
            end
            assert.equal(before.free, after.free)
            assert.equal(before.cached + before.live, after.cached + after.live)
        end
    end)

    on_gpu("tensors of 64 MiB made in a loop run in bounded memory", function()
        local most = 0
        for i = 1, 2000 do
            support.empty({16 * MIB}, {dtype = "f32"})
            if i % 100 == 0 then
                local m = memory()
                most = math.max(most, m.live + m.cached)
            end
        end
        assert.is_true(most < 0.9 * memory().total)
    end)
end)

describe("devices", function()
    on_gpu("that do not exist are refused by name", function()
        support.raises("ENODEVICE", "cuda:63: no such device, there ", function()
            fasc.device("cuda:63")
        end)
    end)

    on_gpu("do not mix: tensors of one call share a device", function()
        local q, k, v = support.qkv({1, 1, 1, 4, 4, 16}, "f16")
        support.raises("EINVAL", "k: is on cpu, q is on cuda:0", function()
            fasc.attention(q, k:to("cpu"), v)
        end)
        support.raises("EINVAL", "b: is on cpu, a is on cuda:0", function()
            fasc.matmul(q, k:transpose(2, 3):to("cpu"))
        end)
    end)

    on_gpu("work side by side, and copy to one another", function()
        local devices = {}
        for _, device in ipairs(fasc.devices()) do
            devices[#devices + 1] = device.name:find "^cuda" and device.name or nil
        end
        if #devices < 2 then
            pending("needs two GPUs")
            return
        end
        local a = fasc.randn({1, 2, 33, 64}, {dtype = "f16", device = "cuda:0", seed = 1})
        local b = a:to("cuda:1")
        assert.equal("cuda:1", b.device.name)
        local here = fasc.attention(a, a, a).out
        local there = fasc.attention(b, b, b).out
        support.same(there:to("cuda:0"), here, "the same attention on two devices")
        support.raises("EINVAL", "k: is on cuda:1, q is on cuda:0", function()
            fasc.attention(a, b, a)
        end)
    end)
end)

describe("a configuration that does not fit", function()
    on_gpu("is refused with what there is", function()
        local q, k, v = support.qkv({1, 1, 1, 64, 64, 64}, "f16")
        for _, config in ipairs {
            {name = "flash", block_m = 999}, {name = "naive", block_m = 64},
            {name = "blas", stages = 2}, {name = "naive", arch = "sm_70"},
        } do
            support.raises("EUNSUPPORTED", config.name, function()
                fasc.attention(q, k, v, {kernel = config})
            end)
        end
    end)
end)
