-- stats_spec.lua - fasc.time and fasc.statistics: what they report and what they refuse.
local ffi = require "ffi"
local fasc = require "fasc"
local support = require "support"

local raises = support.raises

local QUICK = {warmup_seconds = 0.005, max_seconds = 0.1}

describe("fasc.statistics", function()
    it("interpolates between the sorted numbers", function()
        local s = fasc.statistics {40, 10, 30, 20}
        assert.equal(4, s.n)
        assert.equal(25, s.median)
        assert.near(11.5, s.p5, 1e-12)
        assert.near(38.5, s.p95, 1e-12)
        assert.near(27 / 25, s.spread, 1e-12)
        assert.equal(10, s.min)
        assert.equal(40, s.max)
        assert.equal(25, s.mean)
    end)

    it("has no error for equal numbers and an infinite one for a single number", function()
        assert.equal(0, fasc.statistics({3, 3, 3}).rse)
        assert.equal(math.huge, fasc.statistics({3}).rse)
    end)

    it("refuses what is no sample", function()
        raises("EINVAL", "samples", fasc.statistics, {})
        raises("EINVAL", "samples", fasc.statistics, 3)
        raises("EINVAL", "samples[1]", fasc.statistics, {1, math.huge})
    end)
end)

describe("fasc.time", function()
    it("times an operation and gives its samples", function()
        local t = support.ones {1000}
        local r = fasc.time(fasc.op.fill(t), QUICK)
        assert.is_true(r.n >= 1 and r.n == #r.samples)
        assert.is_true(r.min > 0 and r.min <= r.median and r.median <= r.max)
        assert.equal(r.median, fasc.statistics(r.samples).median)
        assert.is_false(r.cold)
        assert.equal(0, t:get(0), "the operation ran")
    end)

    it("takes no more samples than asked for, and tells whether it converged", function()
        local op = fasc.op.fill(support.ones {1000})
        local options = {max_samples = 3, warmup_seconds = 0.001, max_seconds = 1e6}
        local r = fasc.time(op, options)
        assert.equal(3, r.n)
        assert.is_false(r.converged)
        options.max_samples, options.target_rse = 200, 100
        assert.is_true(fasc.time(op, options).converged)
    end)

    it("reads its options by name", function()
        local op = fasc.op.fill(support.ones {10})
        raises("EINVAL", "unknown option 'max_second'; did you mean 'max_seconds'?", fasc.time, op,
            {max_second = 1})
        raises("EINVAL", "min_samples 9 is more than max_samples 3", fasc.time, op,
            {min_samples = 9, max_samples = 3})
        raises("EINVAL", "op: must be an operation (see fasc.op), got a tensor", fasc.time,
            support.ones {10})
    end)

    it("stops with ECANCELED when cancelled, and works again when that is cleared", function()
        local op = fasc.op.fill(support.ones {10})
        ffi.C.fasc_cancel()
        raises("ECANCELED", "time", fasc.time, op, QUICK)
        ffi.C.fasc_cancel_clear()
        assert.is_true(fasc.time(op, QUICK).n > 0)
    end)
end)

describe("operations", function()
    it("know what they move and compute", function()
        local a, b = support.ones {8, 16}, support.ones {16, 4}
        local op = fasc.op.matmul(a, b)
        assert.equal(2 * 8 * 16 * 4, op.flops)
        assert.equal(4 * (8 * 16 + 16 * 4 + 8 * 4), op.bytes)
        local copy = fasc.op.copy(a, support.zeros({8, 16}, {dtype = "f16"}))
        assert.equal(8 * 16 * (4 + 2), copy.bytes)
    end)

    it("run once on request and are checked", function()
        local src, dst = support.randn {100}, support.zeros({100}, {dtype = "f16"})
        local op = fasc.op.copy(src, dst)
        op:run()
        assert.equal(0, op:check().failed)
        dst:fill(7)
        local verdict = op:check()
        assert.is_true(verdict.failed > 0)
        assert.matches("dst", verdict.message)
    end)
end)
