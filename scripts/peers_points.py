"""The points that peers_torch.py measures with --table; names of points and contestants."""
import collections

# A case of one shape. padded: rows of scores start at multiples of 16 bytes, whatever seqlen is.
Point = collections.namedtuple(
    "Point", "case dtype head_dim seqlen causal batch heads heads_k padded")

CUDNN_OUT, CUDNN_BOTH, CUBLAS = "torch SDPA cuDNN", "torch SDPA cuDNN + baddbmm", "torch baddbmm"

# fasc's entry in each case, and all whom the verdicts need.
FASC = {"out": "fasc flash", "out_logits": "fasc flash", "out_probs": "fasc flash",
        "scores": "fasc"}
JUDGED = {*FASC.values(), CUDNN_OUT, CUDNN_BOTH, CUBLAS}


def table_points():
    def point(case, dtype, d, n, causal=False, heads_k=32, padded=False):
        return Point(case, dtype, d, n, causal, 1, 32, heads_k, padded)

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


def name_of(p):
    heads = "" if p.heads_k == p.heads else f" {p.heads}/{p.heads_k} heads"
    return (f"{p.case:11} {p.dtype:4} D={p.head_dim:<3} N={p.seqlen:<5} "
            f"{'causal' if p.causal else 'full  '}{heads}{' padded rows' if p.padded else ''}")
