"""The tables of points that peers_torch.py measures; names of points and contestants."""
import collections

# A case of one shape. padded: rows of scores start at multiples of 16 bytes, whatever seqlen is.
Point = collections.namedtuple(
    "Point", "case dtype head_dim seqlen causal batch heads heads_k padded")

CUDNN_OUT, CUDNN_BOTH, CUBLAS = "torch SDPA cuDNN", "torch SDPA cuDNN + baddbmm", "torch baddbmm"
FA2_OUT, FA2_BOTH = "torch SDPA flash", "torch SDPA flash + baddbmm"
BY_HAND, PREALLOCATED = "torch by hand", "torch by hand, preallocated"

# fasc's entry in each case.
FASC = {"out": "fasc flash", "out_logits": "fasc flash", "out_probs": "fasc flash",
        "scores": "fasc", "blas_logits": "fasc blas",
        "out_sm80": "fasc flash sm_80", "out_logits_sm80": "fasc flash sm_80"}


def point(case, dtype, d, n, causal=False, heads_k=32, padded=False):
    return Point(case, dtype, d, n, causal, 1, 32, heads_k, padded)


def best_points():
    """The fastest kernel of the GPU at hand, beside cuDNN."""
    found = []
    for dtype, lengths in (("f16", (512, 1024, 2048, 4096, 8192, 16384)), ("bf16", (4096, 8192))):
        for d in (64, 128):
            for n in lengths:
                for causal in (False, True):
                    found += [point("out", dtype, d, n, causal),
                              point("out_logits", dtype, d, n, causal)]
                found.append(point("scores", dtype, d, n))
                if n >= 4096 and d == 128 or n == 8192:
                    found.append(point("out_probs", dtype, d, n))
    for d in (64, 128):
        for causal in (False, True):
            found += [point("out", "f16", d, 4096, causal, 8),
                      point("out_logits", "f16", d, 4096, causal, 8)]
            for padded in (False, True):
                found.append(point("out_logits", "f16", d, 8191, causal, padded=padded))
            found.append(point("out", "f16", d, 8191, causal))
        for padded in (False, True):
            found += [point("scores", "f16", d, 8191, padded=padded),
                      point("out_probs", "f16", d, 8191, padded=padded)]
    return found


def portable_points():
    """The kernel of every GPU from sm_80 on, beside FlashAttention-2."""
    found = []
    for dtype in ("f16", "bf16"):
        for d in (64, 128):
            for causal in (False, True):
                for n in (1024, 2048, 4096, 8192):
                    found += [point("out_sm80", dtype, d, n, causal),
                              point("out_logits_sm80", dtype, d, n, causal)]
                found.append(point("out_sm80", dtype, d, 8191, causal))
                for padded in (False, True):
                    found.append(
                        point("out_logits_sm80", dtype, d, 8191, causal, padded=padded))
    return found


def blas_points():
    """Products by cuBLAS, beside the same of PyTorch."""
    return [point(case, "f16", d, n) for case in ("blas_logits", "scores")
            for d in (64, 128) for n in (1024, 4096, 8192)]


# Points, and all whom the verdicts on them need.
TABLES = {
    "best": (best_points, {"fasc flash", "fasc", CUDNN_OUT, CUDNN_BOTH, CUBLAS}),
    "portable": (portable_points, {"fasc flash sm_80", FA2_OUT, FA2_BOTH}),
    "blas": (blas_points, {"fasc blas", "fasc", BY_HAND, PREALLOCATED, CUBLAS}),
}


def name_of(p):
    heads = "" if p.heads_k == p.heads else f" {p.heads}/{p.heads_k} heads"
    return (f"{p.case:15} {p.dtype:4} D={p.head_dim:<3} N={p.seqlen:<5} "
            f"{'causal' if p.causal else 'full  '}{heads}{' padded rows' if p.padded else ''}")
