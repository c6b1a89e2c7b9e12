-- transformer_block.lua - a pre-norm Transformer block around fasc's attention: run once with
-- scaled_dot_product_attention and once with attention_with_scores. The output is the same, and the
-- second has the scores too.
--
--     fasc-bench transformer_block
--     fasc-bench --device cuda transformer_block --seqlen 1024 --dtype f16
--
--     x = x + W_o attention(W_q n, W_k n, W_v n),  n = RMSNorm(x)
--     x = x + W_2 relu(W_1 RMSNorm(x))
--
-- Products and attention run on the device; fasc has no element-wise operations, so norms, sums and
-- the activation are plain Lua, which is enough for an example and no more.
local fasc = require "fasc"
local cli = require "fasc.cli"

local parser = cli.parser("transformer_block", "A Transformer block that shows its scores.")
parser:option("--seqlen", "tokens", "128"):convert(cli.whole "--seqlen")
parser:option("--heads", "attention heads, of 32 channels", "4"):convert(cli.whole "--heads")
parser:option("--dtype", "of weights and activations", "f32"):choices {"f16", "bf16", "f32"}
local args = cli.read(parser)
local width = args.heads * 32

-- fn(x's element, y's element, the root mean square of x's row) in place of each element of x
-- (tokens, channels); y is x unless given.
local function map(fn, x, y)
    local rows, others = x:tolist(), (y or x):tolist()
    for i, row in ipairs(rows) do
        local square = 1e-6
        for _, a in ipairs(row) do
            square = square + a ^ 2 / #row
        end
        for c, a in ipairs(row) do
            row[c] = fn(a, others[i][c], math.sqrt(square))
        end
    end
    return fasc.from_table(rows, {dtype = x.dtype})
end

local function norm(a, _, rms) return a / rms end
local function add(a, b) return a + b end
local function relu(a) return math.max(a, 0) end

local function project(x, columns, seed)
    local weights = fasc.randn({x.shape[2], columns}, {dtype = x.dtype, seed = seed})
    return fasc.matmul(x, weights, {alpha = x.shape[2] ^ -0.5})
end

-- (tokens, width) as (1, heads, tokens, 32): a view, for strides are free.
local function heads(x)
    return x:reshape {1, args.seqlen, args.heads, 32}:transpose(1, 2)
end

-- attend is the line that differs; the block gives back what that gives beside its output.
local function block(x, attend)
    local n = map(norm, x)
    local out, scores = attend(heads(project(n, width, 1)), heads(project(n, width, 2)),
        heads(project(n, width, 3)))
    out = out:transpose(1, 2):contiguous():reshape {args.seqlen, width}
    x = map(add, x, project(out, width, 4))
    local hidden = map(relu, project(map(norm, x), 4 * width, 5))
    return map(add, x, project(hidden, width, 6)), scores
end

local x = fasc.randn({args.seqlen, width}, {dtype = args.dtype, seed = 7})
local plain = block(x, function(q, k, v)
    return fasc.scaled_dot_product_attention(q, k, v, {is_causal = true})
end)
local output, scores = block(x, function(q, k, v)
    return fasc.attention_with_scores(q, k, v, {causal = true, scores = "probs"})
end)

print("output", output)
print("scores", scores)
print(("the two outputs differ by at most %.3g, with elements up to %.3g"):format(
    output:max_abs_diff(plain), math.max(output:max(), -output:min())))
