#!/usr/bin/env python3
"""fasc beside PyTorch, on the same tensors, in the same run.

    python3 scripts/peers_torch.py [--build build/release] [--case NAME ...] [--output FILE]
        [--seqlen 1024,4096,8192] [--head-dim 64,128] [--causal no,yes] [--dtype f16]
        [--batch 1] [--heads 32] [--heads-k 32] [--rounds 3]

Every contestant of a case runs on PyTorch's tensors and stream. Inputs and outputs are rotated
among as many sets as it takes to pass three times the L2 cache, so no call finds its data there.
Calls under 100 microseconds are captured in a CUDA graph (both sides) and replayed, so that neither
pays for its launches; longer ones are timed by events, one by one. Rounds alternate between the
contestants; the number kept is the median of all samples. A line of JSON for each contestant goes
to --output (default: stdout), a table to stderr.

The error is the largest difference from float64 attention on the same inputs, over 8 rows.
"""
import argparse
import json
import math
import os
import statistics
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from fasc_ctypes import Fasc, FascError

GRAPH_BELOW = 100e-6
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}

# ---- the data -------------------------------------------------------------------------------


class Problem:
    """One set of inputs and outputs."""

    def __init__(self, o, seqlen, head_dim, causal, seed):
        self.causal, self.scale = causal, 1 / math.sqrt(head_dim)
        generator = torch.Generator("cuda").manual_seed(seed)

        def randn(heads):
            return torch.randn(o.batch, heads, seqlen, head_dim, device="cuda",
                               generator=generator).to(DTYPES[o.dtype])

        self.q, self.k, self.v = randn(o.heads), randn(o.heads_k), randn(o.heads_k)
        self.out = torch.empty_like(self.q)
        self.scores = None

    def with_scores(self):
        """(B, H, N, N) scores of q's dtype, for cases that store them."""
        b, h, n, _ = self.q.shape
        self.scores = torch.empty(b, h, n, n, dtype=self.q.dtype, device="cuda")
        return self

    def bytes(self):
        tensors = [self.q, self.k, self.v, self.out, self.scores]
        return sum(t.numel() * t.element_size() for t in tensors if t is not None)

    def keys(self):
        """K with its heads repeated, as a batched product wants them."""
        groups = self.q.shape[1] // self.k.shape[1]
        return self.k if groups == 1 else self.k.repeat_interleave(groups, dim=1)


# ---- contestants ----------------------------------------------------------------------------
# Each takes a problem and returns a function that runs one call; None = it cannot.


def flat(t):
    return t.reshape(-1, t.shape[-2], t.shape[-1])


def fasc_kernel(kernel, *wanted):
    def prepare(fasc, p):
        tensors = {"q": p.q, "k": p.k}
        if "out" in wanted:
            tensors.update(v=p.v, out=p.out)
        for name in set(wanted) - {"out"}:
            tensors[name] = p.scores
        call, plan = fasc.attention(tensors, kernel, p.causal)
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
    k, bias = p.keys(), causal_bias(p)
    groups = p.q.shape[1] // p.v.shape[1]
    v = p.v if groups == 1 else p.v.repeat_interleave(groups, dim=1)

    def call():
        scores = torch.matmul(p.q, k.transpose(-2, -1)) * p.scale
        weights = torch.softmax(scores if bias is None else scores + bias, dim=-1)
        return torch.matmul(weights, v)

    return call


def torch_by_hand_preallocated(_, p):
    """The same with the scale in the product and no allocation; scores are kept."""
    q, k, scores = flat(p.q), flat(p.keys()).transpose(-2, -1), flat(p.scores)
    groups, bias = p.q.shape[1] // p.v.shape[1], causal_bias(p)
    v = flat(p.v if groups == 1 else p.v.repeat_interleave(groups, dim=1))
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

# name: (what it holds, needs scores, {contestant: prepare}); those of fasc come first.
CASES = {
    "blas_logits": ("O and the whole S, by products around a softmax", True, {
        "fasc blas": fasc_kernel("blas", "out", "logits"),
        "torch by hand": torch_by_hand,
        "torch by hand, preallocated": torch_by_hand_preallocated,
    }),
    "scores": ("S alone", True, {
        "fasc blas": fasc_kernel("blas", "logits"),
        "torch baddbmm": torch_scores,
    }),
    "product": ("the same S as a matrix product", True, {
        "fasc matmul": fasc_product,
        "torch baddbmm": torch_scores,
    }),
    "out": ("O alone", False, {
        "fasc flash": fasc_kernel("flash", "out"),
        "torch SDPA flash": sdpa(FLASH),
        "torch SDPA cuDNN": sdpa(CUDNN),
    }),
    "out_logits": ("O and the whole S", True, {
        "fasc flash": fasc_kernel("flash", "out", "logits"),
        "torch SDPA flash + baddbmm": sdpa_and_scores(FLASH),
        "torch SDPA cuDNN + baddbmm": sdpa_and_scores(CUDNN),
    }),
    "out_masked": ("O and the masked S", True, {
        "fasc flash": fasc_kernel("flash", "out", "masked"),
        "torch SDPA cuDNN + baddbmm": sdpa_and_scores(CUDNN),
    }),
    "out_probs": ("O and P", True, {
        "fasc flash": fasc_kernel("flash", "out", "probs"),
        "torch by hand, preallocated": torch_by_hand_preallocated,
    }),
}

# ---- time -----------------------------------------------------------------------------------


def event():
    return torch.cuda.Event(enable_timing=True)


def time_one_by_one(calls, count):
    marks = [(event(), event()) for _ in range(count)]
    for i, (start, end) in enumerate(marks):
        start.record()
        calls[i % len(calls)]()
        end.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) * 1e-3 for start, end in marks]


def capture(calls, count):
    """A graph of `count` calls that go round the sets."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for i in range(count):
            calls[i % len(calls)]()
    return graph


def time_graph(graph, count, replays):
    graph.replay()
    samples = []
    for _ in range(replays):
        start, end = event(), event()
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        samples.append(start.elapsed_time(end) * 1e-3 / count)
    return samples


class Contestant:
    def __init__(self, name, calls):
        self.name, self.calls, self.samples = name, calls, []
        for call in calls:  # compile, load, allocate
            call()
        torch.cuda.synchronize()
        self.estimate = statistics.median(time_one_by_one(calls, 10))
        self.graph, self.count = None, 0
        self.plan = getattr(calls[0], "plan", None)

    def use_graph(self):
        self.count = max(len(self.calls), math.ceil(2e-3 / max(self.estimate, 1e-6)))
        self.graph = capture(self.calls, self.count)

    def run_round(self):
        if self.graph:
            self.samples += time_graph(self.graph, self.count, 10)
        else:
            count = min(50, max(5, math.ceil(0.2 / self.estimate)))
            self.samples += time_one_by_one(self.calls, count)


# ---- errors ---------------------------------------------------------------------------------


def error_of(call, p):
    """Largest |out - float64 attention| over 8 rows of every head; None where no out is made."""
    p.out.fill_(math.nan)
    result = call()
    out = result if isinstance(result, torch.Tensor) and result.shape == p.q.shape else p.out
    if torch.isnan(out).any():
        return None
    n = p.q.shape[-2]
    rows = torch.linspace(0, n - 1, 8, device="cuda").long()
    groups = p.q.shape[1] // p.k.shape[1]
    k = p.k.double().repeat_interleave(groups, dim=1)
    v = p.v.double().repeat_interleave(groups, dim=1)
    s = p.q[:, :, rows].double() @ k.transpose(-2, -1) * p.scale
    if p.causal:
        s.masked_fill_(torch.arange(n, device="cuda")[None, :] > rows[:, None], -math.inf)
    return (torch.softmax(s, -1) @ v - out[:, :, rows].double()).abs().max().item()


# ---- the run --------------------------------------------------------------------------------


def sets_of(o, needs_scores, seqlen, head_dim, causal):
    def make(seed):
        p = Problem(o, seqlen, head_dim, causal, seed)
        return p.with_scores() if needs_scores else p

    first = make(1)
    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    count = max(1, min(64, math.ceil(3 * l2 / first.bytes())))
    return [first] + [make(seed) for seed in range(2, count + 1)]


def run_point(o, fasc, case, seqlen, head_dim, causal):
    _, needs_scores, table = CASES[case]
    sets = sets_of(o, needs_scores, seqlen, head_dim, causal)
    contestants, rows = [], []
    for name, prepare in table.items():
        try:
            calls = [prepare(fasc, p) for p in sets]
        except (FascError, torch.cuda.OutOfMemoryError) as problem:
            print(f"{case} {name}: {problem}", file=sys.stderr)
            continue
        if None not in calls:
            contestants.append(Contestant(name, calls))
    by_graph = any(c.estimate < GRAPH_BELOW for c in contestants)
    for c in contestants:
        if by_graph:
            c.use_graph()
    for _ in range(o.rounds):
        for c in contestants:
            c.run_round()
    for c in contestants:
        low, _, high = statistics.quantiles(c.samples, n=4)
        rows.append({
            "case": case, "contestant": c.name, "batch": o.batch, "heads": o.heads,
            "heads_k": o.heads_k, "seqlen": seqlen, "head_dim": head_dim, "causal": causal,
            "dtype": o.dtype, "seconds": statistics.median(c.samples), "quartiles": [low, high],
            "samples": len(c.samples), "method": "graph" if by_graph else "events",
            "sets": len(sets), "max_error": error_of(c.calls[0], sets[0]), "plan": c.plan,
            "device": torch.cuda.get_device_name(), "torch": torch.__version__,
        })
    return rows


def show(rows):
    ours = [r["seconds"] for r in rows if r["contestant"].startswith("fasc")]
    peers = [r["seconds"] for r in rows if not r["contestant"].startswith("fasc")]
    for r in rows:
        error = "-" if r["max_error"] is None else f"{r['max_error']:.2e}"
        print(f"{r['case']:12} D={r['head_dim']:<4} N={r['seqlen']:<6} "
              f"{'causal' if r['causal'] else 'full':7} {r['contestant']:28} "
              f"{r['seconds'] * 1e3:9.4f} ms  {r['method']:6} error {error}", file=sys.stderr)
    if ours and peers:
        print(f"{'':12} fasc / best peer: {min(ours) / min(peers):.3f}", file=sys.stderr)


def parse():
    def numbers(text):
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--case", nargs="+", choices=CASES, default=["blas_logits", "scores"])
    parser.add_argument("--seqlen", type=numbers, default=[1024, 4096, 8192])
    parser.add_argument("--head-dim", type=numbers, default=[64, 128])
    parser.add_argument("--causal", default="no", help="no, yes or no,yes")
    parser.add_argument("--dtype", choices=DTYPES, default="f16")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--heads-k", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", default=None)
    o = parser.parse_args()
    o.heads_k = o.heads_k or o.heads
    o.causal = [word == "yes" for word in o.causal.split(",")]
    return o


def main():
    o = parse()
    fasc = Fasc(o.build, os.path.join(ROOT, "src", "fasc.h"))
    output = open(o.output, "w", encoding="utf-8") if o.output else sys.stdout
    with torch.no_grad(), torch.cuda.stream(torch.cuda.Stream()):
        for case in o.case:
            for head_dim in o.head_dim:
                for causal in o.causal:
                    for seqlen in o.seqlen:
                        rows = run_point(o, fasc, case, seqlen, head_dim, causal)
                        for row in rows:
                            print(json.dumps(row), file=output, flush=True)
                        show(rows)
                        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
