-- tune.lua - a search for configurations on a GPU, where each is compiled first: what can serve is
-- timed, the winner agrees with the reference, and what is kept serves a later call that says so.
--
--     XDG_CONFIG_HOME=$(mktemp -d) fasc-bench tests/gpu/tune.lua
local fasc = require "fasc"
local tuned = require "fasc.tuned"

local q = fasc.randn({1, 16, 2048, 64}, {dtype = "f16", device = "cuda", seed = 1})
local k, v = fasc.randn_like(q), fasc.randn_like(q)
local opts = {causal = true, want = {"out", "lse"}}

local tuning = fasc.tune(q, k, v, {causal = true, want = {"out", "lse"}, kernels = {"flash"},
    max_seconds = 0.02})
print(tuning)
local timed = 0
for _, row in ipairs(tuning.rows) do
    timed = timed + (row.time and 1 or 0)
    assert(not (row.failed or ""):find "^WRONG", row.failed)
end
assert(timed >= 3, "only " .. timed .. " configurations were timed")

-- Another than the library's choice, so that its use shows.
local other
for _, row in ipairs(tuning.rows) do
    other = other or row ~= tuning.default and row.time and row
end
tuning.best = other
print("kept in " .. tuning:save())
tuned.reload()
local result = fasc.attention(q, k, v, opts)
print(result.plan)
assert(result.plan.config == other.plan.config and result.plan.reason:find "^tuned: ")
print(fasc.check(q, k, v, result))
assert(fasc.check(q, k, v, result).ok)
