#!/usr/bin/env python3
"""fasc beside PyTorch, on the same tensors, in the same run.

    python3 scripts/peers_torch.py --table [best|portable|blas] [--rounds 20] [--output FILE]
    python3 scripts/peers_torch.py [--case NAME ...] [--seqlen 1024,4096,8192]
        [--head-dim 64,128] [--causal no,yes] [--dtype f16,bf16] [--batch 1] [--heads 32]
        [--heads-k 32] [--build build/release] [--rounds 10] [--seconds 60] [--output FILE]

--table runs the points that the kernels are judged by and says for each whether it is fast enough:
the GPU's best kernel beside cuDNN, the portable one beside FlashAttention-2, or `blas` beside products
by hand. See peers_verdict.py.

Rounds: each visits every contestant of every point, in an order of its own, so that all meet the
GPU in the same state: long runs of one kernel are slowed by the power limit, others are not. A
visit is three calls, each after the L2 cache was flushed by reading; the first is dropped. The
number kept is the median. Points with a call under 100 microseconds are replayed from CUDA graphs
instead, all contestants of them: so that none pays for its launches. Inputs and outputs then go
round as many sets as pass three times the L2 cache.

A line of JSON for each contestant goes to --output (default: stdout), tables to stderr. The error
is the largest difference from float64 attention on the same inputs, over 8 rows.
"""
import argparse
import concurrent.futures
import json
import math
import os
import random
import statistics
import sys
import time

import torch

import peers_verdict
from fasc_ctypes import Fasc, FascError
from peers_cases import CASES, DTYPES, Arena, Problem, error_of, score_bytes
from peers_points import TABLES, Point, name_of

GRAPH_BELOW = 100e-6
GRAPH_SECONDS = 1e-3
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# ---- time -----------------------------------------------------------------------------------


def event():
    return torch.cuda.Event(enable_timing=True)


class Flush:
    """Reads more than the L2 cache holds; nothing dirty stays behind."""

    def __init__(self):
        l2 = torch.cuda.get_device_properties(0).L2_cache_size
        self.data = torch.zeros(10 * l2 // 4, device="cuda")  # long enough to queue a call under

    def __call__(self):
        self.data.sum()


def time_calls(calls, flush):
    marks = [(event(), event()) for _ in calls]
    for call, (start, end) in zip(calls, marks):
        flush()
        start.record()
        call()
        end.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) * 1e-3 for start, end in marks]


class Contestant:
    """One who solves a point; calls are the same call on different sets."""

    def __init__(self, point, name, calls, error):
        self.point, self.name, self.calls, self.error = point, name, calls, error
        self.samples, self.graph, self.count = [], None, 0
        self.plan = getattr(calls[0], "plan", None)

    def capture(self, estimate):
        self.count = len(self.calls) * max(1, round(GRAPH_SECONDS / estimate / len(self.calls)))
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            for i in range(self.count):
                self.calls[i % len(self.calls)]()

    def visit(self, flush):
        if not self.graph:
            self.samples += time_calls([self.calls[0]] * 3, flush)[1:]
            return
        self.graph.replay()
        start, end = event(), event()
        start.record()
        self.graph.replay()
        end.record()
        end.synchronize()
        self.samples.append(start.elapsed_time(end) * 1e-3 / self.count)

    def record(self):
        low, _, high = statistics.quantiles(self.samples, n=4)
        return {
            **self.point._asdict(), "contestant": self.name,
            "seconds": statistics.median(self.samples), "quartiles": [low, high],
            "samples": len(self.samples), "method": "graph" if self.graph else "events",
            "sets": len(self.calls), "max_error": self.error, "plan": self.plan,
        }


# ---- the run --------------------------------------------------------------------------------


def sets_of(point):
    """How many sets of inputs and outputs pass three times the L2 cache."""
    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    size = DTYPES[point.dtype].itemsize * point.batch * point.seqlen * point.head_dim
    size *= 2 * (point.heads + point.heads_k)
    size += score_bytes(point) if CASES[point.case].scores else 0
    return max(1, min(64, math.ceil(3 * l2 / size)))


def enter(fasc, arena, point, names, flush):
    """The contestants of a point, of these names if any are given, warm and checked."""
    problem, entered = Problem(arena, point, 0), []
    for name, prepare in CASES[point.case].contestants.items():
        if names and name not in names:
            continue
        try:
            call = prepare(fasc, problem)
        except (FascError, torch.cuda.OutOfMemoryError) as refusal:
            print(f"{point.case} {name}: {refusal}", file=sys.stderr)
            continue
        if call:
            entered.append(Contestant(point, name, [call], error_of(call, problem)))
    estimates = [min(time_calls([c.calls[0]] * 4, flush)) for c in entered]
    if not estimates or min(estimates) >= GRAPH_BELOW:
        return entered
    for c, estimate in zip(entered, estimates):
        problems = [Problem(arena, point, i) for i in range(1, sets_of(point))]
        prepare = CASES[point.case].contestants[c.name]
        c.calls += [prepare(fasc, p) for p in problems]
        c.capture(estimate)
    return entered


def compile_kernels(fasc, arena, points):
    """One call of all that is fasc's, on all cores: kernels are compiled when first used."""
    def call(point, prepare):
        with torch.no_grad():
            try:
                prepare(fasc, Problem(arena, point, 0))()
            except FascError:  # enter says it
                pass

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        calls = [pool.submit(call, point, prepare) for point in points
                 for name, prepare in CASES[point.case].contestants.items()
                 if name.startswith("fasc")]
    for done in calls:
        done.result()
    torch.cuda.synchronize()


def run(fasc, points, names, rounds, seconds):
    arena, flush, contestants = Arena(), Flush(), []
    arena.reserve(max(score_bytes(p) * sets_of(p) for p in points))
    for point in points:
        arena.tensors(point, 0)
    compile_kernels(fasc, arena, points)
    for point in points:
        contestants += enter(fasc, arena, point, names, flush)
    order, begin = random.Random(1), time.monotonic()
    for done in range(rounds):
        if done >= 2 and time.monotonic() - begin > seconds:
            print(f"{done} rounds of {rounds} in {seconds} seconds", file=sys.stderr)
            break
        for c in order.sample(contestants, len(contestants)):
            c.visit(flush)
    return [c.record() for c in contestants]


def show(records):
    last = None
    for r in records:
        error = "-" if r["max_error"] is None else f"{r['max_error']:.1e}"
        point = Point(*(r[field] for field in Point._fields))
        if point != last:
            print(name_of(point), file=sys.stderr)
        last = point
        print(f"    {r['contestant']:28} {r['seconds'] * 1e3:9.4f} ms  {r['method']:6} "
              f"error {error}", file=sys.stderr)


def parse():
    def words(text):
        return text.split(",")

    def numbers(text):
        return [int(word) for word in words(text)]

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"))
    parser.add_argument("--table", nargs="?", choices=TABLES, const="best")
    parser.add_argument("--case", nargs="+", choices=CASES, default=["blas_logits", "scores"])
    parser.add_argument("--seqlen", type=numbers, default=[1024, 4096, 8192])
    parser.add_argument("--head-dim", type=numbers, default=[64, 128])
    parser.add_argument("--causal", type=words, default=["no"], help="no, yes or no,yes")
    parser.add_argument("--dtype", type=words, default=["f16"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--heads-k", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=60, help="no new round after so long")
    parser.add_argument("--output", default=None)
    o = parser.parse_args()
    o.heads_k = o.heads_k or o.heads
    return o


def points_of(o):
    return [Point(case, dtype, head_dim, seqlen, causal == "yes", o.batch, o.heads, o.heads_k,
                  False)
            for case in o.case for dtype in o.dtype for head_dim in o.head_dim
            for causal in o.causal for seqlen in o.seqlen]


def main():
    o = parse()
    fasc = Fasc(o.build, os.path.join(ROOT, "src", "fasc.h"))
    output = open(o.output, "w", encoding="utf-8") if o.output else sys.stdout
    with torch.no_grad(), torch.cuda.stream(torch.cuda.Stream()):
        table_points, judged = TABLES.get(o.table, (lambda: points_of(o), None))
        records = run(fasc, table_points(), judged, o.rounds, o.seconds)
    versions = {"device": torch.cuda.get_device_name(), "torch": torch.__version__,
                "cudnn": torch.backends.cudnn.version(), "cuda": torch.version.cuda,
                "date": time.strftime("%Y-%m-%d"), **fasc.versions()}
    for record in records:
        print(json.dumps({**record, **versions}), file=output, flush=True)
    show(records)
    if o.table:
        print(peers_verdict.table(records), file=sys.stderr)


if __name__ == "__main__":
    main()
