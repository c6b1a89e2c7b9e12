-- check.lua - do all kernels agree on real attention tensors? Compares every kernel on every layer
-- of a file with the float64 reference, and the reference with values computed elsewhere.
--
--     fasc-bench check gpt.qkv.safetensors --expected gpt.expected.safetensors
--
-- The file holds LAYER.q, LAYER.k and LAYER.v, each (batch, heads, seqlen, head_dim) unless
-- --layout says otherwise; the expected file any of LAYER.out, .lse, .row_max, .logits, .masked,
-- .probs, .entropy, .col_sum_probs, .row_sum, .col_sum_logits (those of a causal mask may end in
-- _causal). One layer is in memory at a time. The table has the largest errors as shares of what is
-- allowed: 1 is the most. For kernels that is the bound of fasc.check, for the reference the
-- rounding to the stored dtype (see verify.stored). Exit status 1 on a disagreement.
local fasc = require "fasc"
local agreement = require "fasc.agreement"
local cli = require "fasc.cli"
local layers = require "fasc.layers"
local verify = require "fasc.verify"

local parser = cli.parser("check", "Compares kernels with the float64 reference on real tensors.")
parser:argument("file", "a .safetensors file with LAYER.q, LAYER.k and LAYER.v")
parser:option("--expected", "a file with expected values: LAYER.out and so on"):argname "FILE"
parser:option("--kernel", "check this kernel alone"):argname "NAME"
parser:option("--layout", "how q, k and v lie (default: bhnd)"):choices {"bhnd", "bnhd"}
parser:option("--device", "whose kernels are checked"):argname "NAME"
parser:option("--mask", "default: causal"):choices {"causal", "full"}:default "causal"
local args = cli.read(parser)
local device = fasc.device(args.device)
local inputs = layers.find(fasc.open(args.file))
local expected = args.expected and fasc.open(args.expected)

local causal = args.mask == "causal"
local OUTPUTS = {
    "out", "lse", "row_max", "logits", "masked", "probs", "entropy", "col_sum_probs", "row_sum",
    "col_sum_logits",
}
local ALSO = {row_sum = "row_sum_logits"} -- other names in files of expected values
local errors = agreement.new(OUTPUTS, print)

local function check_kernel(layer, kernel)
    local q, k, v = layer:read {device = device, layout = args.layout}
    local want = {}
    for i, name in ipairs(OUTPUTS) do -- the first alone tells whether the kernel can at all
        local serves = pcall(fasc.plan, q, k, v, {kernel = kernel, causal = causal, want = name})
        want[#want + 1] = (i == 1 or serves) and name or nil
    end
    local ok, check = pcall(fasc.check, q, k, v, {kernel = kernel, causal = causal, want = want})
    if ok then
        return errors:row(layer.name, kernel, function(name) return check[name] end)
    end
    assert(not args.kernel and check.status == "EUNSUPPORTED", check)
    errors:row(layer.name, kernel, function() end, "unsupported: " .. check.message)
end

local function check_reference(layer)
    local q, k, v = layer:read {dtype = "f64", layout = args.layout}
    local reference = fasc.attention(q, k, v,
        {kernel = "reference", causal = causal, want = OUTPUTS})
    errors:row(layer.name, "reference vs expected", function(name)
        for _, stored in ipairs {name, (ALSO[name] or name) .. (causal and "_causal" or "")} do
            stored = layer.name .. "." .. stored
            if expected:has(stored) then
                return verify.stored(reference[name], expected:read(stored))
            end
        end
    end)
end

for _, layer in ipairs(inputs) do
    for _, kernel in ipairs(args.kernel and {{name = args.kernel}} or fasc.kernels(device)) do
        fasc.scope(check_kernel, layer, kernel.name)
    end
    if args.expected then
        fasc.scope(check_reference, layer)
    end
end
print(errors.disagreements == 0 and "all agree" or errors.disagreements .. " rows differ")
os.exit(errors.disagreements == 0 and 0 or 1)
