-- transformer_block.lua - a pre-norm Transformer block around fasc's attention: run once with
-- scaled_dot_product_attention and once with attention_with_scores. The output is the same, and the
-- second has the scores too.
--
--     fasc-bench transformer_block
--     fasc-bench transformer_block --seqlen 1024 --dtype f16 --device cuda
--
--     x = x + W_o attention(W_q n, W_k n, W_v n),  n = RMSNorm(x)
--     x = x + W_2 relu(W_1 RMSNorm(x))
--
-- The products run on the device. fasc has no element-wise operations: norms, sums and the
-- activation are plain Lua on the host, which is enough for an example and no more.
local fasc = require "fasc"
local cli = require "fasc.cli"

local parser = cli.parser("transformer_block", "A Transformer block that shows its scores.")
parser:option("--seqlen", "tokens", "128"):convert(cli.whole "--seqlen")
parser:option("--heads", "attention heads, of 32 channels", "4"):convert(cli.whole "--heads")
parser:option("--dtype", "of weights and activations", "f32"):choices {"f16", "bf16", "f32"}
parser:option("--device", "where products and attention run"):argname "NAME"
local args = cli.read(parser)

local like = {dtype = args.dtype, device = fasc.device(args.device)}
local width = args.heads * 32

local function random(rows, columns, seed)
    return fasc.randn({rows, columns}, {dtype = like.dtype, device = like.device, seed = seed})
end

-- fn(row, first) on every row of x (tokens, channels), in place, on the host.
local function rowwise(x, fn)
    local host = x:to {dtype = "f32", device = "cpu"}:clone()
    for first = 0, host:numel() - 1, x.shape[2] do
        fn(host:data() + first, first)
    end
    return host:to(like)
end

local function rms_norm(x)
    return rowwise(x, function(row)
        local sum = 0
        for c = 0, x.shape[2] - 1 do
            sum = sum + row[c] ^ 2
        end
        for c = 0, x.shape[2] - 1 do
            row[c] = row[c] / math.sqrt(sum / x.shape[2] + 1e-6)
        end
    end)
end

local function add(x, y)
    local other = y:to {dtype = "f32", device = "cpu"}:contiguous()
    return rowwise(x, function(row, first)
        for c = 0, x.shape[2] - 1 do
            row[c] = row[c] + other:data()[first + c]
        end
    end)
end

local function relu(x)
    return rowwise(x, function(row)
        for c = 0, x.shape[2] - 1 do
            row[c] = math.max(row[c], 0)
        end
    end)
end

local function project(x, columns, seed)
    return fasc.matmul(x, random(x.shape[2], columns, seed), {alpha = x.shape[2] ^ -0.5})
end

-- (tokens, width) as (1, heads, tokens, 32): a view, for strides are free.
local function heads(x)
    return x:reshape {1, args.seqlen, args.heads, 32}:transpose(1, 2)
end

-- attend is the line that differs; the block gives back what that gives beside its output.
local function block(x, attend)
    local n = rms_norm(x)
    local out, scores = attend(heads(project(n, width, 1)), heads(project(n, width, 2)),
        heads(project(n, width, 3)))
    out = out:transpose(1, 2):contiguous():reshape {args.seqlen, width}
    x = add(x, project(out, width, 4))
    return add(x, project(relu(project(rms_norm(x), 4 * width, 5)), width, 6)), scores
end

local x = random(args.seqlen, width, 7)
local plain = block(x, function(q, k, v)
    return fasc.scaled_dot_product_attention(q, k, v, {is_causal = true})
end)
local output, scores = block(x, function(q, k, v)
    return fasc.attention_with_scores(q, k, v, {causal = true, scores = "probs"})
end)

print("output", output)
print("scores", scores)
local apart, largest = output:max_abs_diff(plain), math.max(output:max(), -output:min())
print(("the two outputs differ by at most %.3g, with elements up to %.3g"):format(apart, largest))
if apart > largest * ({f16 = 2^-6, bf16 = 2^-3, f32 = 2^-18})[args.dtype] then
    error("transformer_block: that is more than rounding", 0)
end
