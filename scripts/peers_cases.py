"""What peers_torch.py compares: problems on the GPU, and who can solve them.

A point is one case of one shape. Its contestants are functions that take a problem and return a
call: fasc through its own launch path, PyTorch's libraries through PyTorch.
"""
import collections
import math

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from peers_points import (BY_HAND, CUBLAS, CUDNN_BOTH, CUDNN_OUT, FA2_BOTH, FA2_OUT,
                          PREALLOCATED)

DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}

# ---- the data -------------------------------------------------------------------------------


class Arena:
    """Inputs by shape, and one buffer that all scores share: the largest matrix has to fit once."""

    def __init__(self):
        self.inputs, self.scores = {}, torch.empty(0, dtype=torch.uint8, device="cuda")

    def reserve(self, size):
        if self.scores.numel() < size:
            self.scores = torch.empty(0, dtype=torch.uint8, device="cuda")
            self.scores = torch.empty(size, dtype=torch.uint8, device="cuda")

    def tensors(self, point, index):
        """q, k, v, out of a shape, the index-th set."""
        key = (point.dtype, point.head_dim, point.seqlen, point.batch, point.heads, point.heads_k,
               index)
        if key not in self.inputs:
            generator = torch.Generator("cuda").manual_seed(index + 1)

            def randn(heads):
                return torch.randn(point.batch, heads, point.seqlen, point.head_dim,
                                   device="cuda", generator=generator).to(DTYPES[point.dtype])

            q = randn(point.heads)
            self.inputs[key] = q, randn(point.heads_k), randn(point.heads_k), torch.empty_like(q)
        return self.inputs[key]


def row_pitch(point):
    size = DTYPES[point.dtype].itemsize
    return -(-point.seqlen * size // 16) * 16 // size if point.padded else point.seqlen


def score_bytes(point):
    return (point.batch * point.heads * point.seqlen * row_pitch(point) *
            DTYPES[point.dtype].itemsize)


class Problem:
    """One set of inputs and outputs."""

    def __init__(self, arena, point, index):
        self.causal, self.scale = point.causal, 1 / math.sqrt(point.head_dim)
        self.q, self.k, self.v, self.out = arena.tensors(point, index)
        self.scores = None
        if CASES[point.case].scores:
            size, pitch = score_bytes(point), row_pitch(point)
            begin = -(-size // 256) * 256 * index
            buffer = arena.scores[begin:begin + size].view(DTYPES[point.dtype])
            rows = buffer.view(point.batch, point.heads, point.seqlen, pitch)
            self.scores = rows[..., :point.seqlen]

    def keys(self):
        """K with its heads repeated, as a batched product wants them."""
        groups = self.q.shape[1] // self.k.shape[1]
        return self.k if groups == 1 else self.k.repeat_interleave(groups, dim=1)

    def values(self):
        groups = self.q.shape[1] // self.v.shape[1]
        return self.v if groups == 1 else self.v.repeat_interleave(groups, dim=1)


# ---- contestants ----------------------------------------------------------------------------
# Each takes the library and a problem and returns a function that runs one call; None = it cannot.


def flat(t):
    return t.flatten(0, 1)


def fasc_kernel(kernel, *wanted, arch=None):
    """fasc; kernel None = the library's choice, arch None = the device's best."""
    def prepare(fasc, p):
        tensors = {"q": p.q, "k": p.k}
        if "out" in wanted:
            tensors.update(v=p.v, out=p.out)
        for name in set(wanted) - {"out"}:
            tensors[name] = p.scores
        call, plan = fasc.attention(tensors, kernel, p.causal, arch)
        call.plan = f"{plan.kernel.decode()} {plan.arch.decode()}: {plan.config.decode()}"
        return call

    return prepare


def fasc_product(fasc, p):
    return fasc.matmul(p.q, p.k.transpose(-2, -1), p.scores, p.scale)


def torch_scores(_, p):
    """Q K^T with the scale folded into the product, into a tensor made before."""
    q, k, out = flat(p.q), flat(p.keys()).transpose(-2, -1), flat(p.scores)
    return lambda: torch.baddbmm(out, q, k, beta=0, alpha=p.scale, out=out)


def causal_bias(p):
    if not p.causal:
        return None
    n = p.q.shape[-2]
    return torch.full((n, n), -math.inf, dtype=p.q.dtype, device="cuda").triu(1)


def torch_by_hand(_, p):
    """What one writes first: matmul, scale, mask, softmax, matmul."""
    k, v, bias = p.keys(), p.values(), causal_bias(p)

    def call():
        scores = torch.matmul(p.q, k.transpose(-2, -1)) * p.scale
        weights = torch.softmax(scores if bias is None else scores + bias, dim=-1)
        return torch.matmul(weights, v)

    return call


def torch_by_hand_preallocated(_, p):
    """The same with the scale in the product and no allocation; scores are kept."""
    q, k, scores = flat(p.q), flat(p.keys()).transpose(-2, -1), flat(p.scores)
    bias, v = causal_bias(p), flat(p.values())
    weights, out = torch.empty_like(scores), flat(p.out)

    def call():
        torch.baddbmm(scores, q, k, beta=0, alpha=p.scale, out=scores)
        torch.softmax(scores if bias is None else scores + bias, dim=-1, out=weights)
        torch.bmm(weights, v, out=out)

    return call


def sdpa(backend):
    def prepare(_, p):
        def call():
            with sdpa_kernel(backend):
                return F.scaled_dot_product_attention(
                    p.q, p.k, p.v, is_causal=p.causal, enable_gqa=p.q.shape[1] != p.k.shape[1])

        try:
            call()
        except RuntimeError:
            return None
        return call

    return prepare


def sdpa_and_scores(backend):
    def prepare(fasc, p):
        attend, score = sdpa(backend)(fasc, p), torch_scores(fasc, p)
        if attend is None:
            return None

        def call():
            score()
            return attend()

        return call

    return prepare


FLASH, CUDNN = SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION

Case = collections.namedtuple("Case", "scores contestants")

# Whether scores are stored, and who solves it; those of fasc come first.
CASES = {
    # O and the whole S, by products around a softmax
    "blas_logits": Case(True, {
        "fasc blas": fasc_kernel("blas", "out", "logits"),
        BY_HAND: torch_by_hand,
        PREALLOCATED: torch_by_hand_preallocated,
    }),
    # S alone
    "scores": Case(True, {
        "fasc": fasc_kernel(None, "logits"),
        "fasc blas": fasc_kernel("blas", "logits"),
        CUBLAS: torch_scores,
    }),
    # the same S as a matrix product
    "product": Case(True, {
        "fasc matmul": fasc_product,
        CUBLAS: torch_scores,
    }),
    # O alone
    "out": Case(False, {
        "fasc flash": fasc_kernel("flash", "out"),
        FA2_OUT: sdpa(FLASH),
        CUDNN_OUT: sdpa(CUDNN),
    }),
    # O and the whole S
    "out_logits": Case(True, {
        "fasc flash": fasc_kernel("flash", "out", "logits"),
        FA2_BOTH: sdpa_and_scores(FLASH),
        CUDNN_BOTH: sdpa_and_scores(CUDNN),
    }),
    # both by the portable kernel, beside FlashAttention-2, which uses the same instructions
    "out_sm80": Case(False, {
        "fasc flash sm_80": fasc_kernel("flash", "out", arch="sm_80"),
        FA2_OUT: sdpa(FLASH),
    }),
    "out_logits_sm80": Case(True, {
        "fasc flash sm_80": fasc_kernel("flash", "out", "logits", arch="sm_80"),
        FA2_BOTH: sdpa_and_scores(FLASH),
    }),
    # O and the masked S
    "out_masked": Case(True, {
        "fasc flash": fasc_kernel("flash", "out", "masked"),
        CUDNN_BOTH: sdpa_and_scores(CUDNN),
    }),
    # O and P
    "out_probs": Case(True, {
        "fasc flash": fasc_kernel("flash", "out", "probs"),
        PREALLOCATED: torch_by_hand_preallocated,
    }),
}

# ---- errors ---------------------------------------------------------------------------------


def error_of(call, p):
    """The largest difference from float64 attention on the same inputs, over 8 rows of every head:
    of out, or of the scores where no out is made."""
    p.out.fill_(math.nan)
    result = call()
    out = result if isinstance(result, torch.Tensor) and result.shape == p.q.shape else p.out
    n = p.q.shape[-2]
    rows = torch.linspace(0, n - 1, 8, device="cuda").long()
    s = p.q[:, :, rows].double() @ p.keys().double().transpose(-2, -1) * p.scale
    if torch.isnan(out).any():
        if p.scores is None:
            return None
        return (s - p.scores[:, :, rows].double()).abs().max().item()
    if p.causal:
        s.masked_fill_(torch.arange(n, device="cuda")[None, :] > rows[:, None], -math.inf)
    exact = torch.softmax(s, -1) @ p.values().double()
    return (exact - out[:, :, rows].double()).abs().max().item()
