-- random_problems_spec.lua - attention on problems drawn at random: shapes, dtypes, layouts, masks,
-- outputs and their layouts, configurations. Every kernel that serves one agrees with the
-- reference. A failure prints the problem; FASC_TEST_PROBLEMS sets how many there are (on a GPU
-- some 1000 calls of kernels), FASC_TEST_SEED where they begin.
local fasc = require "fasc"
local support = require "support"

local COUNT = tonumber(os.getenv("FASC_TEST_PROBLEMS") or support.is_cpu and 40 or 400)
local SEED = tonumber(os.getenv("FASC_TEST_SEED") or 1)
local DTYPES = {"f16", "bf16", "f32"}
local NAMES = {"out", "lse", "row_max", "logits", "masked", "probs"}

-- A generator of our own: the same problems on every machine.
local function dice(seed)
    local state = seed
    local function draw(n) -- 1 .. n
        state = (state * 1103515245 + 12345) % 2^31
        return math.floor(state / 2^8) % n + 1
    end
    return draw, function(list) return list[draw(#list)] end
end

-- A tensor of this shape and dtype, laid out in memory in one of these ways.
local LAYOUTS = {
    plain = function(shape, opts) return support.empty(shape, opts) end,
    heads_inside = function(shape, opts)
        local b, h, n, d = unpack(shape)
        return support.empty({b, n, h, d}, opts):transpose(1, 2)
    end,
    columns_first = function(shape, opts)
        local b, h, n, d = unpack(shape)
        return support.empty({b, h, d, n}, opts):transpose(2, 3)
    end,
    every_other = function(shape, opts) -- every row but one apart, columns two apart
        local b, h, n, d = unpack(shape)
        return support.empty({b, h, n, 2, d, 2}, opts):slice(nil, nil, nil, 1, nil, 0)
    end,
    off_by_one = function(shape, opts) -- no row begins where a vector could
        local b, h, n, d = unpack(shape)
        return support.empty({b, h, n, d + 3}, opts):slice(nil, nil, nil, {1, d + 1})
    end,
}
local LAYOUT_NAMES = {
    "plain", "plain", "heads_inside", "columns_first", "every_other", "off_by_one",
}

local function filled(layout, shape, dtype, seed, std)
    local t = LAYOUTS[layout](shape, {dtype = dtype})
    return t:copy_from(support.randn(shape, {dtype = dtype, seed = seed, std = std}))
end

local function draw_mask(draw, pick, b, h, nq, nk, seed)
    local shape = {pick {1, b}, pick {1, h}, pick {1, nq}, nk}
    if draw(2) == 1 then
        return support.rand(shape, {seed = seed, high = 3}):to("u8") -- two thirds are seen
    end
    return support.randn(shape, {dtype = pick(DTYPES), seed = seed})
end

local function draw_problem(seed)
    local draw, pick = dice(seed)
    local group, heads_k, b = pick {1, 1, 2, 4}, draw(3), draw(3)
    local p = {
        seed = seed, b = b, hk = heads_k, hq = heads_k * group, nq = pick {1, 2, 17, 64, draw(90)},
        nk = pick {1, 8, 33, 64, draw(150)}, d = pick {8, 16, 40, 64, 128, draw(100)},
        dtype = pick(DTYPES), q = pick(LAYOUT_NAMES), k = pick(LAYOUT_NAMES),
        v = pick(LAYOUT_NAMES), out = pick(LAYOUT_NAMES), scores = pick(LAYOUT_NAMES),
        out_dtype = pick {"same", "f32"}, scores_dtype = pick {"same", "f32"},
        causal = pick {"no", "no", "yes", "top_left"}, block_m = draw(200), std = draw(4),
        window = draw(4) == 1 and {draw(40) - 2, draw(40) - 2} or nil, mask = draw(4) == 1,
    }
    p.want = {pick(NAMES)}
    for _, name in ipairs(draw(3) > 1 and NAMES or {}) do
        if name ~= p.want[1] and draw(2) == 1 then
            p.want[#p.want + 1] = name
        end
    end
    return p
end

local function text(p)
    local parts = {}
    for name, value in pairs(p) do
        local shown = type(value) == "table" and "{" .. table.concat(value, " ") .. "}" or value
        parts[#parts + 1] = ("%s=%s"):format(name, tostring(shown))
    end
    table.sort(parts)
    return table.concat(parts, " ")
end

local function tensors_of(p)
    local q = filled(p.q, {p.b, p.hq, p.nq, p.d}, p.dtype, p.seed, p.std)
    local k = filled(p.k, {p.b, p.hk, p.nk, p.d}, p.dtype, p.seed + 1)
    local v = filled(p.v, {p.b, p.hk, p.nk, p.d}, p.dtype, p.seed + 2)
    local outputs = {}
    for _, name in ipairs(p.want) do
        local shape = {p.b, p.hq, p.nq, p.nk}
        if name == "out" then
            local dtype = p.out_dtype == "f32" and "f32" or p.dtype
            outputs.out = LAYOUTS[p.out]({p.b, p.hq, p.nq, p.d}, {dtype = dtype})
        elseif name == "lse" or name == "row_max" then
            outputs[name] = support.empty({p.b, p.hq, p.nq}, {dtype = "f32"})
        else
            local dtype = p.scores_dtype == "f32" and "f32" or p.dtype
            outputs[name] = LAYOUTS[p.scores](shape, {dtype = dtype})
        end
        outputs[name]:fill(7) -- what is not written is seen
    end
    return q, k, v, outputs
end

local function options_of(p, kernel, outputs)
    local draw, pick = dice(p.seed + 1000)
    local config = {name = kernel.name or kernel, arch = kernel.arch}
    local opts = {outputs = outputs, window = p.window, kernel = config}
    if p.causal ~= "no" then
        opts.causal = p.causal == "yes" or p.causal
    end
    if p.mask then
        opts.attn_mask = draw_mask(draw, pick, p.b, p.hq, p.nq, p.nk, p.seed + 3)
    end
    if kernel == "blas" and not support.is_cpu then
        opts.kernel.block_m = p.block_m
    end
    return opts
end

describe("random problems agree with the reference on", function()
    for _, kernel in ipairs(support.kernels()) do
        it(tostring(kernel), function()
            local served = 0
            for n = 0, COUNT - 1 do
                local p = draw_problem(SEED + 7 * n)
                local q, k, v, outputs = tensors_of(p)
                local opts = options_of(p, kernel, outputs)
                if support.serves(kernel, q, k, v, opts) then
                    served = served + 1
                    local check = fasc.check(q, k, v, fasc.attention(q, k, v, opts))
                    assert(check.ok, ("%s: %s\n%s"):format(tostring(kernel), text(p),
                        tostring(check)))
                end
            end
            assert.is_true(served > 0)
        end)
    end
end)
