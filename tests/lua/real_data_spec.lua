-- real_data_spec.lua - one layer of a small language model (tests/data/README.md): every kernel
-- agrees with values computed elsewhere, in float64, from the same tensors.
local fasc = require "fasc"
local support = require "support"

local folder = debug.getinfo(1, "S").source:match("^@(.*)/lua/[^/]*$")
local LAYER = "layers.3."

local function load(name)
    return fasc.load(("%s/data/gpt-d64-layer3-n128.%s.safetensors"):format(folder, name))
end

describe("layer 3 of the model", function()
    local inputs, expected = load("qkv"), load("expected")
    local q = inputs[LAYER .. "q"]:to(support.device)
    local k = inputs[LAYER .. "k"]:to(support.device)
    local v = inputs[LAYER .. "v"]:to(support.device)

    it("is what its description says", function()
        assert.same({1, 8, 128, 64}, q.shape)
        assert.same({1, 2, 128, 64}, k.shape)
        assert.equal("bf16", q.dtype)
        assert.equal(0, q:nan_count() + k:nan_count() + v:nan_count())
    end)

    -- The expected values are stored as f32 (probs as f16), each rounded once more. A kernel may
    -- round P to the inputs' bf16 before the second product: 2^-8 of the largest |v| at most.
    local range = v:summary()
    local largest = math.max(-range.min, range.max)
    local BOUND = {out = 1e-4 + 2^-8 * largest, lse = 2e-5, row_max = 2e-5, probs = 5e-4}

    for _, kernel in ipairs(support.kernel_names()) do
        it("comes out of " .. kernel .. " as expected", function()
            local r = fasc.attention(q, k, v, {
                kernel = kernel, causal = true, sm_scale = 1 / 8,
                want = {"out", "lse", "row_max", "probs"}, out_dtype = "f32", scores_dtype = "f32",
            })
            for name, bound in pairs(BOUND) do
                local d = r[name]:to("cpu"):compare(expected[LAYER .. name])
                assert.equal(0, d.mismatch)
                assert(d.max_abs <= bound, ("%s: off by %.3g, more than %.3g"):format(name,
                    d.max_abs, bound))
            end
            support.agrees(fasc.check(q, k, v, r), kernel)
        end)
    end
end)
