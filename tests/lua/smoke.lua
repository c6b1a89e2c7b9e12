-- smoke.lua - a little of everything, once: fasc-bench tests/lua/smoke.lua. scripts/test runs it
-- under the sanitizers, which see what the C code does when Lua drives it.
local fasc = require "fasc"

local device = fasc.device(os.getenv "FASC_TEST_DEVICE" or "cpu")
local path = os.tmpname()

local q = fasc.randn({2, 4, 33, 24}, {device = device, seed = 1})
local k = fasc.randn({2, 2, 47, 24}, {device = device, seed = 2})
local v = fasc.randn({2, 2, 47, 24}, {device = device, seed = 3})

-- Every kernel, every output, odd shapes, a mask line and a window.
for _, kernel in ipairs(fasc.kernels(device)) do
    for _, options in ipairs {{}, {causal = true}, {causal = "top_left"}, {window = {5, 2}}} do
        options.kernel = kernel.name
        options.want = {"out", "lse", "row_max", "logits", "masked", "probs"}
        local result = fasc.attention(q, k, v, options)
        assert(result.out:nan_count() == 0, kernel.name)
    end
end

-- Views, conversions, files, pictures, printing.
local probs = fasc.attention(q, k, v, {want = {"probs"}}).probs
local view = probs:slice(1, 3, {5, 20}, {0, 40})
assert(math.abs(view:to("f16"):to("f64"):sum() - view:sum()) < 0.1)
fasc.save(path .. ".safetensors", {probs = probs, q = q:to("bf16")})
assert(fasc.load(path .. ".safetensors").probs:max_abs_diff(probs:to("cpu")) == 0)
fasc.heatmap(view, {path = path .. ".png"})
io.stderr:write(tostring(view), "\n")

-- Errors, and a collector that runs while tensors come and go.
assert(not pcall(fasc.attention, q, v, k, {causal = 3}))
assert(not pcall(fasc.zeros, {-1}))
for _ = 1, 200 do
    fasc.zeros({64, 64}, {device = device})
end
collectgarbage()

for _, suffix in ipairs {"", ".safetensors", ".png"} do
    os.remove(path .. suffix)
end
