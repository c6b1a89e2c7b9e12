-- memory_spec.lua - the account of tensors' memory, and a collector that keeps up with it.
local fasc = require "fasc"
local support = require "support"

local device = support.device
local MiB = 2^20

local function settled()
    collectgarbage()
    return device:memory()
end

describe("the account", function()
    it("counts storages and bytes, views not", function()
        local before = settled()
        local t = support.zeros({1000}, {dtype = "f64"})
        local view = t:slice({0, 10})
        local now = fasc.memory(device)
        assert.equal(before.count + 1, now.count)
        assert.is_true(now.live >= before.live + 8000)
        t:free()
        assert.equal(now.live, device:memory().live)
        view:free()
        assert.equal(before.live, device:memory().live)
        assert.equal(before.count, device:memory().count)
    end)

    it("remembers the peak until it is reset", function()
        settled()
        device:reset_peak()
        local t = support.empty({MiB}, {dtype = "f32"})
        t:free()
        assert.is_true(device:memory().peak >= device:memory().live + 4 * MiB)
        device:reset_peak()
        assert.equal(device:memory().live, device:memory().peak)
    end)

    it("knows the device's memory", function()
        local m = device:memory()
        assert.is_true(m.total > 0 and m.free > 0 and m.free <= m.total)
        assert.is_true(m.soft_limit > 0)
        assert.truthy(tostring(m):find("^live .* in %d+ storages, peak .*, free .*iB of .*iB$"))
    end)
end)

describe("the collector", function()
    local headroom = device.headroom

    after_each(function()
        collectgarbage("restart")
        device:set_headroom(headroom)
    end)

    it("lets 10,000 tensors of 64 MiB be made in a loop in bounded memory", function()
        local before = settled()
        device:set_headroom(headroom) -- from what lives now, not from what earlier tests needed
        device:reset_peak()
        for _ = 1, 10000 do
            support.empty({16 * MiB}, {dtype = "f32"})
        end
        local bound = before.live + device.headroom + 64 * MiB
        local peak = device:memory().peak
        assert(peak <= bound, ("peak %.0f MiB, bound %.0f MiB"):format(peak / MiB, bound / MiB))
    end)

    it("does so when every tensor is written to, and when Lua's own collector is off", function()
        collectgarbage("stop")
        settled()
        device:set_headroom(64 * MiB)
        device:reset_peak()
        local before = device:memory().live
        for i = 1, 200 do
            assert.equal(i, support.zeros({2 * MiB}, {dtype = "f32"}):fill(i):get(7))
        end
        local peak = device:memory().peak
        assert(peak <= before + 72 * MiB, ("peak %.0f MiB"):format(peak / MiB))
    end)

    it("leaves what is reachable alone and makes room for it", function()
        device:set_headroom(16 * MiB)
        local kept = {}
        for i = 1, 40 do
            kept[i] = support.zeros({MiB / 4}, {dtype = "f32"}):fill(i)
        end
        for i = 1, 40 do
            assert.equal(i, kept[i]:get(0))
        end
    end)

    it("lets one tensor be larger than the room for garbage", function()
        device:set_headroom(MiB)
        assert.equal(16 * MiB, support.zeros({16 * MiB}, {dtype = "u8"}):numel())
        assert.is_true(device:memory().soft_limit > 0)
    end)

    it("can be told to wait for a failed allocation", function()
        device:set_headroom(0)
        assert.equal(0, device:memory().soft_limit)
        support.fails("EINVAL", function() device:set_headroom(-1) end, "at least 0")
    end)

    it("frees the outputs of a call that fails", function()
        local q, k = support.qkv({1, 1, 1, 4, 4, 8}, "f32")
        local v = support.zeros({1, 1, 5, 8})
        local before = settled()
        support.fails("EINVAL", function()
            fasc.attention(q, k, v, {want = {"out", "probs"}})
        end, "v")
        assert.equal(before.count, device:memory().count)
    end)
end)

describe("devices", function()
    it("have a name, one object each, and say what they are", function()
        assert.equal(device, fasc.device(device.name))
        assert.equal(device, fasc.device(device))
        local info = device:info()
        assert.equal(device.name, info.name)
        assert.is_true(#info.model > 0 and #info.arch > 0)
        assert.is_true(info.units >= 1 and info.memory_total > 0)
        device:synchronize()
        fasc.synchronize(device)
    end)

    it("are listed, with the reason where a backend has none", function()
        local devices, reasons = fasc.devices()
        local names = {}
        for _, d in ipairs(devices) do
            names[d.name] = true
        end
        assert.is_true(names.cpu and names[device.name])
        assert.equal("string", type(names["cuda:0"] and "" or reasons.cuda))
    end)

    it("are refused by name when there are none such", function()
        support.fails("EINVAL", function() fasc.device("gpu") end, "gpu")
        support.fails("EINVAL", function() fasc.device(3) end, "must be a string")
        support.fails("EINVAL", function() return device.nme end, "did you mean 'name'")
        local ok, err = pcall(fasc.device, "cuda:99")
        assert.is_false(ok)
        assert.equal("ENODEVICE", err.status)
    end)

    it("use as many threads as they are told", function()
        local before = fasc.num_threads()
        fasc.set_num_threads(1)
        assert.equal(1, fasc.num_threads())
        fasc.set_num_threads(0)
        assert.is_true(fasc.num_threads() >= 1)
        fasc.set_num_threads(before)
        support.fails("EINVAL", function() fasc.set_num_threads(-1) end, "at least 0")
    end)
end)
