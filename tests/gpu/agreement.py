#!/usr/bin/env python3
"""Do fasc's timings agree with others' on the same calls? Measures attention (output and logits, f16,
B=1, H=32) with fasc_time, with triton.testing.do_bench, and, in a process of its own, with Nsight
Compute. One JSON object a point and method goes to --output; a table to stdout. Exit status 1 when a
median is further off than 3 percent: do_bench's for calls above 50 us, ncu's above 200 us.

do_bench zeroes 256 MB before each call, ncu empties the caches: both are held against fasc's cold
timing. What is written back of do_bench's zeros is charged to the call (some microseconds).

    python3 tests/gpu/agreement.py --build build/release --output agreement.jsonl
"""
import argparse
import csv
import ctypes
import datetime
import io
import json
import os
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "scripts"))

import torch  # noqa: E402
import triton.testing  # noqa: E402

from fasc_ctypes import Fasc  # noqa: E402

POINTS = [(n, d, causal) for n in (1024, 2048, 4096, 8192) for d in (64, 128)
          for causal in (False, True)]
ATTENTION = 1  # FASC_OP_ATTENTION


def tensors_of(seqlen, head_dim):
    torch.manual_seed(1)
    def randn():
        return torch.randn(1, 32, seqlen, head_dim, device="cuda", dtype=torch.float16)
    q = randn()
    return {"q": q, "k": randn(), "v": randn(), "out": torch.empty_like(q),
            "logits": torch.empty(1, 32, seqlen, seqlen, device="cuda", dtype=torch.float16)}


def fasc_time(fasc, call, **options):
    given = fasc.new("fasc_timing_options", max_seconds=0.5, **options)
    timing = fasc.new("fasc_timing")
    fasc.check(fasc.lib.fasc_time(ATTENTION, ctypes.byref(call.keep[0]), ctypes.byref(given),
                                  ctypes.byref(timing), None, 0))
    return timing.median


def in_process(fasc):
    """{point: {method: seconds}}"""
    found = {}
    for point in POINTS:
        seqlen, head_dim, causal = point
        call, _ = fasc.attention(tensors_of(seqlen, head_dim), "flash", causal)
        call()
        torch.cuda.synchronize()
        found[point] = {
            "fasc hot": fasc_time(fasc, call),
            "fasc graph": fasc_time(fasc, call, graph=1),
            "do_bench": 1e-3 * triton.testing.do_bench(call, warmup=50, rep=200,
                                                       return_mode="median"),
            "fasc cold": fasc_time(fasc, call, cold=1),
        }
    return found


CALLS = 5


def profile_target(fasc):
    """What ncu runs: some calls of each point."""
    for seqlen, head_dim, causal in POINTS:
        call, _ = fasc.attention(tensors_of(seqlen, head_dim), "flash", causal)
        for _ in range(CALLS):
            call()
        torch.cuda.synchronize()


def with_ncu(o):
    """{point: seconds}: the median of the calls' durations; None where ncu cannot run."""
    ncu = shutil.which("ncu") or "/usr/local/cuda/bin/ncu"
    command = [ncu, "--csv", "--clock-control", "none", "--cache-control", "all", "--metrics",
               "gpu__time_duration.sum", "--kernel-name", "regex:flash", sys.executable, __file__,
               "--build", o.build, "--profile"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=o.ncu_seconds)
    lines = [line for line in ended.stdout.splitlines() if line.startswith('"')]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
    units = {"ns": 1e-9, "nsecond": 1e-9, "us": 1e-6, "usecond": 1e-6, "ms": 1e-3, "msecond": 1e-3}
    times = [float(row["Metric Value"].replace(",", "")) * units[row["Metric Unit"]]
             for row in rows]
    if len(times) != CALLS * len(POINTS):
        print(f"ncu: {len(times)} kernels, not {CALLS * len(POINTS)}:",
              "\n".join((ended.stdout + ended.stderr).splitlines()[-5:]))
        return {}
    return {point: statistics.median(times[i * CALLS:(i + 1) * CALLS])
            for i, point in enumerate(POINTS)}


def judge(times, method, least):
    """Relative distance to fasc's cold median, where that is above `least` seconds."""
    base = times["fasc cold"]
    if method in times and base > least:
        return times[method] / base - 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--output")
    parser.add_argument("--profile", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--ncu-seconds", type=float, default=120, help="0: without ncu")
    o = parser.parse_args()
    fasc = Fasc(o.build, os.path.join(ROOT, "src", "fasc.h"))
    if o.profile:
        return profile_target(fasc)
    found = in_process(fasc)
    for point, seconds in (with_ncu(o) if o.ncu_seconds > 0 else {}).items():
        found[point]["ncu"] = seconds
    off = []
    print(f"{'point':24}" + "".join(f"{m:>12}" for m in
                                    ("hot", "graph", "cold", "do_bench", "ncu")) + "   off")
    for (seqlen, head_dim, causal), times in found.items():
        distances = {m: judge(times, m, least) for m, least in (("do_bench", 50e-6),
                                                               ("ncu", 200e-6))}
        text = ", ".join(f"{m} {100 * x:+.1f}%" for m, x in distances.items() if x is not None)
        off += [abs(x) for x in distances.values() if x is not None]
        cells = [times.get(m) for m in ("fasc hot", "fasc graph", "fasc cold", "do_bench", "ncu")]
        print(f"N={seqlen} D={head_dim} {'causal' if causal else 'full':10}".ljust(24)
              + "".join(f"{1e6 * t:10.2f}us" if t else f"{'-':>12}" for t in cells) + "   " + text)
        if o.output:
            with open(o.output, "a", encoding="utf-8") as file:
                for method, seconds in times.items():
                    file.write(json.dumps({
                        "schema": 1, "sweep": "agreement", "status": "ok",
                        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(),
                        "point": {"method": method, "seqlen": seqlen, "head_dim": head_dim,
                                  "causal": causal},
                        "timing": {"median": seconds},
                        "environment": {"device": {"name": "cuda:0",
                                                   "model": torch.cuda.get_device_name()},
                                        "torch": torch.__version__,
                                        "triton": triton.__version__}}) + "\n")
    worst = max(off, default=0)
    print(f"furthest off: {100 * worst:.1f}% ({len(off)} comparisons)")
    return int(worst > 0.03)


if __name__ == "__main__":
    sys.exit(main())
