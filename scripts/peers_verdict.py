#!/usr/bin/env python3
"""Is fasc fast enough? The points that the kernels are judged by, and the verdict on each.

    python3 scripts/peers_verdict.py RECORDS.jsonl

reads what `peers_torch.py --table --output RECORDS.jsonl` wrote. Each line has a ratio and two
limits, `must` and `aim`. What a ratio is taken against:

    O            cuDNN's attention
    O + S        the bound: what a perfect fusion into a kernel of cuDNN's class would take. The
                 longest of cuDNN's time for O, the products at the rate of a large cuBLAS product,
                 and writing S at the rate of stores. Causal masks hide half of P V, and of Q K^T
                 only where no S is wanted: cuDNN's causal time and the hidden half of Q K^T.
    O + S, pair  cuDNN, then cuBLAS for S: a speed-up, larger is better
    O + P        the faster of both times for O, or writing P
    S            cuBLAS
    odd length   N = 8191 against N = 8192
    portable     FlashAttention-2, with S: then cuBLAS for S; speed-ups
    blas         product, softmax, product in PyTorch: as one writes it, and without allocations
"""
import json
import sys

from peers_points import (BY_HAND, CUBLAS, CUDNN_BOTH, CUDNN_OUT, FA2_BOTH, FA2_OUT, FASC,
                          PREALLOCATED, Point, name_of)

# Measured on an H200: cuBLAS 8192^3 products on random data, and bulk stores from shared memory.
# Where a run beats them, its own rates count.
PRODUCT_RATE = {"f16": 704e12, "bf16": 769e12}
STORE_RATE = 4.41e12


class Run:
    """The records of a run, by point and contestant."""

    def __init__(self, records):
        self.seconds = {}
        for r in records:
            point = Point(*(r[field] for field in Point._fields))
            self.seconds[point, r["contestant"]] = r["seconds"]
        self.points = sorted({point for point, _ in self.seconds})

    def of(self, p, contestant, **changes):
        return self.seconds.get((p._replace(**changes), contestant))

    def rates(self, p):
        """FLOP/s and bytes/s for the bound."""
        product, store = PRODUCT_RATE[p.dtype], STORE_RATE
        for q, contestant in self.seconds:
            if q.case == "scores" and q.dtype == p.dtype:
                pairs = q.batch * q.heads * q.seqlen ** 2
                t = self.seconds[q, contestant]
                product = max(product, 2 * pairs * q.head_dim / t)
                if q.seqlen >= 4096:  # shorter ones may end in the L2 cache
                    store = max(store, 2 * pairs / t)
        return product, store

    def bound(self, p):
        """Of O + S; None without cuDNN's time."""
        cudnn = self.of(p, CUDNN_OUT, case="out", padded=False)
        if cudnn is None:
            return None
        product, store = self.rates(p)
        pairs = p.batch * p.heads * p.seqlen ** 2
        qk = 2 * pairs * p.head_dim / product
        if p.causal:
            return max(cudnn + qk / 2, 2 * pairs / store)
        return max(cudnn, 2 * qk, 2 * pairs / store)


def ratio_of(run, p):
    """(what it is taken against, ratio, must, aim, whether larger is better), several a point."""
    t = run.of(p, FASC[p.case])
    if t is None:
        return
    wide = p.head_dim == 128
    if p.seqlen == 8191:
        even = run.of(p, FASC[p.case], seqlen=8192, padded=False)
        if even:
            yield "N = 8192", t / even, 1.3, 1.1, False
        return
    if p.case == "blas_logits":
        for name, peer in ("by hand", BY_HAND), ("preallocated", PREALLOCATED):
            if run.of(p, peer):
                yield name, t / run.of(p, peer), 1.0, None, False
    if p.case == "out_sm80" and run.of(p, FA2_OUT):
        yield "FlashAttention2", run.of(p, FA2_OUT) / t, 0.9, 1.2, True
    if p.case == "out_logits_sm80" and run.of(p, FA2_BOTH):
        yield "FA2 + cuBLAS", run.of(p, FA2_BOTH) / t, 1.05 if p.causal else 1.2, None, True
    long = p.seqlen >= 4096
    cudnn = run.of(p, CUDNN_OUT, case="out")
    if p.case == "out" and cudnn:
        yield ("cuDNN", t / cudnn, *((1.15, 1.0 if wide else 0.97) if long else (None, None)),
               False)
    if p.case == "out_logits":
        bound, pair = run.bound(p), run.of(p, CUDNN_BOTH)
        if bound and long:
            must = 1.25 if wide else 1.40 if p.causal else 1.35
            yield "bound", t / bound, must, 1.10 if wide else 1.15, False
        if pair:
            yield ("cuDNN + cuBLAS", pair / t, *((1.4, 1.7) if long else
                                                 (1.0, 1.5) if p.seqlen <= 1024 else (None, None)),
                   True)
    if p.case == "out_probs" and cudnn:
        pairs = p.batch * p.heads * p.seqlen ** 2
        base = max(min(cudnn, run.of(p, "fasc flash", case="out")), 2 * pairs / run.rates(p)[1])
        yield "O, or writing P", t / base, *((1.75, 1.5) if wide else (None, None)), False
    if p.case == "scores" and run.of(p, CUBLAS):
        yield "cuBLAS", t / run.of(p, CUBLAS), *((0.95, 0.80) if long else (None, None)), False


def verdict(ratio, must, aim, larger):
    if must is None:
        return "-"

    def meets(limit):
        return ratio >= limit if larger else ratio <= limit

    return "aim" if aim and meets(aim) else "must" if meets(must) else "TOO SLOW"


def table(records):
    run, lines, count = Run(records), [], {}
    for p in run.points:
        for against, ratio, must, aim, larger in ratio_of(run, p):
            word = verdict(ratio, must, aim, larger)
            count[word] = count.get(word, 0) + 1
            limits = "" if must is None else f"must {must:.2f}"
            limits += f" aim {aim:.2f}" if aim else ""
            lines.append(f"{name_of(p):60} {run.of(p, FASC[p.case]) * 1e3:9.4f} ms "
                         f"{against:15} {ratio:5.2f}  {limits:19} {word}")
    lines.append(", ".join(f"{word}: {n}" for word, n in sorted(count.items())))
    return "\n".join(lines)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        print(table([json.loads(line) for line in file]))


if __name__ == "__main__":
    main()
