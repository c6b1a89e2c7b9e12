-- inspect_spec.lua - what the compiler says of a device's kernels: fasc.inspect and kernel:info().
local fasc = require "fasc"
local support = require "support"

describe("reports on kernels", function()
    local q, k, v = support.qkv({1, 2, 1, 64, 96, 64}, "f16")

    it("name what would run, its registers and its occupancy; or say that nothing is compiled",
        function()
            local ok, reports = pcall(fasc.inspect, q, k, v, {causal = true, want = {"out", "lse"}})
            if support.is_cpu then
                assert.is_false(ok)
                assert.equal("EUNSUPPORTED", reports.status)
                assert.truthy(tostring(reports):find("cpu are not compiled at run time", 1, true))
                return
            end
            assert(ok, reports)
            assert.is_true(#reports >= 1)
            for _, report in ipairs(reports) do
                assert.is_false(report.failed, report.message)
                local launched = 0
                for _, f in ipairs(report.functions) do
                    assert.is_true(f.registers > 0 and f.registers <= 255)
                    assert.equal(0, f.spill_bytes)
                    if f.threads > 0 then
                        launched = launched + 1
                        assert.is_true(f.blocks_per_unit >= 1)
                        assert.is_true(f.occupancy > 0 and f.occupancy <= 1)
                    end
                end
                assert.equal(1, launched)
            end
            assert.truthy(tostring(reports):find("registers", 1, true))
        end)

    it("come for every kernel of a device that can run on it", function()
        local reported = {}
        for _, kernel in ipairs(fasc.kernels(support.device)) do
            local ok, reports = pcall(kernel.info, kernel, {head_dim = 32, seqlen = 128})
            if ok then
                reported[kernel.name] = #reports
            else -- the CPU's, and those for another GPU
                assert.equal("EUNSUPPORTED", reports.status)
            end
        end
        for _, name in ipairs(support.is_cpu and {} or support.kernel_names()) do
            assert.is_true((reported[name] or 0) >= 1, name)
        end
    end)

    it("check their options as fasc.attention does", function()
        support.raises("EINVAL", "did you mean 'causal'?", function()
            fasc.inspect(q, k, v, {causl = true})
        end)
    end)
end)
