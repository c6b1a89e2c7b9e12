-- dropout_spec.lua - the dropout mask of every kernel of the device, bit by bit: with equal scores
-- and an identity for V, out shows which pairs were kept.
local fasc = require "fasc"
local support = require "support"

local N = 128 -- keys, and the head_dim that shows them

local function identity(heads)
    local rows, all = {}, {}
    for i = 1, N do
        rows[i] = {}
        for j = 1, N do
            rows[i][j] = i == j and 1 or 0
        end
    end
    for h = 1, heads do
        all[h] = rows
    end
    return {all, all}
end

-- Batch 2, 4 query heads on 2, 37 queries.
local function inputs(dtype, device)
    local function on(t)
        return t:to(device):to(dtype)
    end
    return on(fasc.zeros({2, 4, 37, N}, {device = "cpu"})),
        on(fasc.zeros({2, 2, N, N}, {device = "cpu"})),
        on(fasc.from_table(identity(2), {device = "cpu"}))
end

-- One character a pair: kept or not.
local function mask_of(out)
    local bits = {}
    local function walk(t)
        for i = 1, #t do
            if type(t[i]) == "table" then
                walk(t[i])
            else
                bits[#bits + 1] = t[i] ~= 0 and "1" or "0"
            end
        end
    end
    walk(out:tolist())
    return table.concat(bits)
end

local function options(kernel, more)
    local opts = {kernel = kernel, dropout_p = 0.4, seed = 2 ^ 40 + 5, offset = 9}
    for name, value in pairs(more or {}) do
        opts[name] = value
    end
    return opts
end

-- Every kernel that has dropout, also with its keys split where it can.
local function kernels()
    local list = {}
    for _, kernel in ipairs(fasc.kernels(support.device)) do
        for splits = 1, 2 do
            local config = {name = kernel.name, arch = kernel.arch, splits = splits}
            for _, dtype in ipairs {"f16", "f32"} do
                local q, k, v = inputs(dtype, support.device)
                if support.serves(config, q, k, v, options(config)) then
                    list[#list + 1] = config
                    break
                end
            end
        end
    end
    return list
end

describe("the dropout mask", function()
    local q, k, v = inputs("f32", "cpu")
    local expected = mask_of(fasc.attention(q, k, v, options("reference")).out)

    it("keeps as many pairs as it should", function()
        local _, kept = expected:gsub("1", "")
        assert.near(0.6, kept / #expected, 0.01)
    end)

    for _, kernel in ipairs(kernels()) do
        local words = ("is the same in %s %s, %d splits"):format(kernel.name, kernel.arch,
            kernel.splits)
        it(words, function()
            for _, dtype in ipairs {"f16", "bf16", "f32"} do
                local a, b, c = inputs(dtype, support.device)
                for _, more in ipairs {{}, {want = {"out", "probs"}}, {want = {"out", "entropy"}},
                    {want = {"out", "lse", "logits"}}} do
                    local opts = options(kernel, more)
                    if support.serves(kernel, a, b, c, opts) then
                        local r = fasc.attention(a, b, c, opts)
                        assert(mask_of(r.out) == expected, dtype .. " " .. r.plan.config)
                        if r.probs then
                            assert.near(1 / N, r.probs:min(), 1e-6)
                        end
                    end
                end
            end
        end)
    end
end)
