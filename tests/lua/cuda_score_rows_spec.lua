-- cuda_score_rows_spec.lua - scores whose rows begin anywhere, long enough that the Hopper kernel
-- sorts them into classes (sm90_classes.cuh), between guards and beside the reference.
local fasc = require "fasc"
local gpu = require "gpu"
local guarded = require "guarded"
local support = require "support"

local on_gpu = gpu.tests(it, pending)

local WANTS = {
    {"out", "lse", "logits"}, {"out", "probs"}, {"out", "masked", "lse"}, {"logits"}, {"probs"},
    {"masked", "lse"},
}
local MASKS = {{}, {causal = true}, {window = {500, 90}}}

-- {batch, heads of q, of k}, queries, keys, where scores start, from row to row.
local LAYOUTS = {
    {{1, 2, 1}, 2040, 1001, 0}, {{2, 2, 2}, 2048, 1022, 1}, {{1, 2, 2}, 2049, 2044, 5},
    {{1, 1, 1}, 4100, 77, 0}, {{1, 2, 2}, 2100, 2040, 7, 2048}, {{1, 3, 3}, 3073, 4, 3},
}

local function try(layout, dtype, head_dim, want, mask)
    local heads, nq, nk, base, pitch = unpack(layout, 1, 5)
    local q, k, v = support.qkv({heads[1], heads[2], heads[3], nq, nk, head_dim}, dtype, 3)
    local made, outputs = {}, {}
    for _, name in ipairs(want) do
        local shape = {heads[1], heads[2], nq, name == "out" and head_dim or nk}
        if name == "lse" then
            made[name] = guarded.tensor({heads[1], heads[2], nq}, "f32")
        elseif name == "out" then
            made[name] = guarded.tensor(shape, dtype)
        else
            made[name] = guarded.tensor(shape, dtype, {base = base, pitch = pitch})
        end
        outputs[name] = made[name].view
    end
    local r = fasc.attention(q, k, v, {kernel = "flash", outputs = outputs, causal = mask.causal,
        window = mask.window})
    local what = ("%s D=%d %s nq %d nk %d base %d: %s"):format(dtype, head_dim,
        table.concat(want, "+"), nq, nk, base, r.plan.config)
    assert.truthy(r.plan.arch ~= "sm_90a" or r.plan.config:find("rows %d+ apart"), what)
    support.agrees(fasc.check(q, k, v, r, {rows = "edges"}), what)
    for name, g in pairs(made) do
        assert.equal(0, g.view:nan_count(), what .. ": " .. name .. " has elements left out")
        guarded.check(g, what .. ": " .. name)
    end
end

describe("rows of scores that begin anywhere", function()
    for _, head_dim in ipairs {64, 128, 256} do
        on_gpu(("are written whole, and nothing else, at head_dim %d"):format(head_dim), function()
            for w, want in ipairs(WANTS) do
                for n, layout in ipairs(LAYOUTS) do
                    try(layout, (w + n) % 2 == 0 and "f16" or "bf16", head_dim, want,
                        MASKS[(w + n) % 3 + 1])
                end
            end
        end)
    end
end)
