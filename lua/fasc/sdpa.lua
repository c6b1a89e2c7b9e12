-- sdpa.lua - attention under PyTorch's name, arguments and rules, for code that is being carried
-- over: torch.nn.functional.scaled_dot_product_attention.
local attention = require "fasc.attention"
local errors = require "fasc.errors"
local options = require "fasc.options"
local tensors = require "fasc.tensor"

local M = {}

local RULES = {
    attn_mask = {is = "tensor"},
    dropout_p = {is = "number", default = 0},
    is_causal = {is = "boolean", default = false},
    scale = {is = "number"},
    enable_gqa = {is = "boolean", default = false},
    kernel = {is = "string|table"},
}

local CALL = "scaled_dot_product_attention"

---@class fasc.SdpaOptions
---@field attn_mask fasc.Tensor? broadcastable to (B, Hq, Nq, Nk): u8 (nonzero = takes part, as
---       PyTorch's bool) or floating (added)
---@field dropout_p number?   0 <= p < 1; the mask is drawn from the library's generator
---@field is_causal boolean?  aligned to the top left: query i sees keys j <= i
---@field scale number?       default 1/sqrt(D)
---@field enable_gqa boolean? allows fewer key and value heads than query heads
---@field kernel string|fasc.KernelConfig|nil fasc's own; default: the best that can

--- PyTorch's scaled_dot_product_attention: softmax(q k^T * scale + attn_mask) v. As in PyTorch,
--- attn_mask together with is_causal is an error, and so are unequal heads without enable_gqa.
--- Unlike PyTorch's, a row that sees no key gives 0.
---@param q fasc.Tensor (B, Hq, Nq, D)
---@param k fasc.Tensor (B, Hk, Nk, D)
---@param v fasc.Tensor (B, Hk, Nk, D)
---@param opts fasc.SdpaOptions?
---@return fasc.Tensor out as q
function M.scaled_dot_product_attention(q, k, v, opts)
    opts = options.check(CALL, opts, RULES)
    tensors.argument(CALL, "q", q)
    tensors.argument(CALL, "k", k)
    tensors.argument(CALL, "v", v)
    if opts.attn_mask and opts.is_causal then
        errors.usage("%s: attn_mask: must not be given together with is_causal", CALL)
    end
    if not opts.enable_gqa and q.rank == 4 and k.rank == 4 and q.shape[2] ~= k.shape[2] then
        errors.usage("%s: k: %.0f heads differ from q's %.0f; enable_gqa = true allows it", CALL,
            k.shape[2], q.shape[2])
    end
    return attention.attention(q, k, v, {
        causal = opts.is_causal and "top_left" or false,
        sm_scale = opts.scale,
        attn_mask = opts.attn_mask,
        dropout_p = opts.dropout_p,
        kernel = opts.kernel,
    }).out
end

return M
