-- roofline_spec.lua - what a device can do, and the share of it that a measurement reaches.
local ffi = require "ffi"
local fasc = require "fasc"
local roofline = require "fasc.roofline"
local support = require "support"

ffi.cdef "int setenv(const char *name, const char *value, int overwrite);"

local device = fasc.device "cpu"
local before = os.getenv "XDG_CACHE_HOME" or ""

-- A row of a call that computes flops and moves bytes in so many seconds.
local function row(flops, bytes, seconds, more)
    local r = {flops = flops, bytes = bytes, dtype = "f32",
        timing = {min = 0.9 * seconds, median = seconds, cold = false}}
    for name, value in pairs(more or {}) do
        r[name] = value
    end
    return r
end

describe("ceilings", function()
    local at = support.folder(before_each, after_each)

    before_each(function()
        ffi.C.setenv("XDG_CACHE_HOME", at(), 1)
    end)

    after_each(function()
        ffi.C.setenv("XDG_CACHE_HOME", before, 1)
    end)

    local beyond_caches = 64 * device:info().l2_bytes + 2^30

    it("are unknown at first, and give no share", function()
        local c = roofline.of(device)
        assert.is_false(c:known())
        assert.is_nil(c:share(row(1e9, 1e3, 1)))
    end)

    it("come from the fastest call and are kept for later processes", function()
        roofline.of(device):learn(row(1e11, 1e3, 1))
        roofline.of(device):learn(row(nil, beyond_caches, 1, {dtype = false}))
        local c = roofline.of(device)
        assert.near(1e11 / 0.9, c.rate.f32, 1)
        assert.near(beyond_caches / 0.9, c.bandwidth, 1)
    end)

    it("rise but never sink, each dtype for itself", function()
        local c = roofline.of(device)
        c:learn(row(1e11, 1, 1))
        c:learn(row(5e10, 1, 1))
        c:learn(row(2e10, 1, 1, {dtype = "f16"}))
        assert.near(1e11 / 0.9, roofline.of(device).rate.f32, 1)
        assert.near(2e10 / 0.9, roofline.of(device).rate.f16, 1)
        c:learn(row(2e11, 1, 1))
        assert.near(2e11 / 0.9, roofline.of(device).rate.f32, 1)
    end)

    it("give the share and say what bounds", function()
        local c = roofline.of(device)
        c.rate, c.bandwidth = {f32 = 1e11}, beyond_caches
        local share = c:share(row(1e11, 0.1 * beyond_caches, 2))
        assert.near(0.5, share.share, 1e-12)
        assert.equal("compute", share.bound)
        share = c:share(row(1e10, 0.8 * beyond_caches, 1))
        assert.near(0.8, share.share, 1e-12)
        assert.equal("memory", share.bound)
        assert.is_nil(c:share(row(1e10, 1e3, 1, {dtype = "bf16"})))
    end)

    it("leave out the bandwidth where hot data stays in the caches", function()
        local c = roofline.of(device)
        c.rate, c.bandwidth = {f32 = 1e11}, 1e9
        assert.near(0.01, c:share(row(1e9, 1e5, 1)).share, 1e-12)
        local cold = row(1e3, 1e5, 1e-3)
        cold.timing.cold = true
        assert.equal("memory", c:share(cold).bound)
        local turning = row(1e3, 1e5, 1e-3)
        turning.timing.rotate = 8
        assert.equal("memory", c:share(turning).bound)
    end)

    it("say so where the host needs longer for a call than the device", function()
        local c = roofline.of(device)
        c.rate = {f32 = 1e11}
        local small = row(1e6, 1e3, 5e-6)
        small.timing.host_overhead = 8e-6
        assert.equal("host", c:share(small).bound)
        small.timing.host_overhead = 1e-6
        assert.equal("compute", c:share(small).bound)
    end)

    it("are measured again when their file is no JSON", function()
        os.execute("mkdir " .. at "fasc")
        local file = io.open(roofline.path(), "w")
        file:write "{"
        file:close()
        local c = roofline.of(device)
        assert.is_false(c:known())
        c:learn(row(1e11, 1, 1))
        assert.is_true(roofline.of(device):known())
    end)
end)
