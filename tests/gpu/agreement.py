#!/usr/bin/env python3
"""Do fasc's timings agree with others' on the same calls? Measures attention (output and logits, f16,
B=1, H=32) with fasc_time, with triton.testing.do_bench, and, in a process of its own, with Nsight
Compute. One JSON object a point and method goes to --output; a table to stdout. Exit status 1 when a
median is further off than 3 percent.

Like is held against like. do_bench empties the caches before each call, as fasc's cold timing does;
but it does so by zeroing 256 MB, and what is written back of the zeros is charged to the call (some
microseconds): besides as it comes ("do_bench", judged above 200 us) it is measured with a cache
emptied by reading ("do_bench read", judged above 50 us). ncu runs single calls between long pauses,
so the clock never sinks under the power limit: it is held against cold timings of a device that
rests when it holds its clock down, as sweeps measure ("fasc rested", judged above 200 us). The loops
take turns, for some rounds.

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

ATTENTION = 1  # FASC_OP_ATTENTION


def points_of(o):
    return [(n, d, causal) for n in (2048, 4096, 8192) for d in o.head_dim
            for causal in (False, True)]


def tensors_of(seqlen, head_dim):
    torch.manual_seed(1)
    def randn():
        return torch.randn(1, 32, seqlen, head_dim, device="cuda", dtype=torch.float16)
    q = randn()
    return {"q": q, "k": randn(), "v": randn(), "out": torch.empty_like(q),
            "logits": torch.empty(1, 32, seqlen, seqlen, device="cuda", dtype=torch.float16)}


def fasc_time(fasc, call, **options):
    given = fasc.new("fasc_timing_options", **{"max_seconds": 0.15, **options})
    timing = fasc.new("fasc_timing")
    fasc.check(fasc.lib.fasc_time(ATTENTION, ctypes.byref(call.keep[0]), ctypes.byref(given),
                                  ctypes.byref(timing), None, 0))
    return timing.median


def do_bench(call):
    return 1e-3 * triton.testing.do_bench(call, warmup=25, rep=100, return_mode="median")


def do_bench_read(call):
    """do_bench whose cache is emptied by reading the buffer that it would zero."""
    driver = triton.runtime.driver.active
    original = driver.clear_cache
    driver.clear_cache = torch.max
    try:
        return do_bench(call)
    finally:
        driver.clear_cache = original


def rested(fasc, call):
    """As sweeps measure."""
    return fasc_time(fasc, call, cold=1, rest_seconds=0.1, max_seconds=1)


METHODS = {
    "fasc hot": lambda fasc, call: fasc_time(fasc, call),
    "fasc graph": lambda fasc, call: fasc_time(fasc, call, graph=1),
    "fasc cold": lambda fasc, call: fasc_time(fasc, call, cold=1),
    "do_bench": lambda fasc, call: do_bench(call),
    "do_bench read": lambda fasc, call: do_bench_read(call),
    "fasc rested": rested,
}
# method: (what it is held against, above how many seconds)
JUDGED = {"do_bench": ("fasc cold", 200e-6), "do_bench read": ("fasc cold", 50e-6),
          "ncu": ("fasc rested", 200e-6)}


def in_process(fasc, o):
    """{point: {method: seconds}}: the median of the rounds' medians."""
    found = {}
    for point in points_of(o):
        seqlen, head_dim, causal = point
        call, _ = fasc.attention(tensors_of(seqlen, head_dim), "flash", causal)
        call()
        torch.cuda.synchronize()
        rounds = [{name: measure(fasc, call) for name, measure in METHODS.items()}
                  for _ in range(o.rounds)]
        found[point] = {name: statistics.median(r[name] for r in rounds) for name in METHODS}
    return found


CALLS = 5


def profile_target(fasc, o):
    """What ncu runs: some calls of each point."""
    for seqlen, head_dim, causal in points_of(o):
        call, _ = fasc.attention(tensors_of(seqlen, head_dim), "flash", causal)
        for _ in range(CALLS):
            call()
        torch.cuda.synchronize()


def with_ncu(o):
    """{point: seconds}: the median of the calls' durations; None where ncu cannot run."""
    ncu = shutil.which("ncu") or "/usr/local/cuda/bin/ncu"
    command = [ncu, "--csv", "--clock-control", "none", "--cache-control", "all", "--metrics",
               "gpu__time_duration.sum", "--kernel-name", "regex:flash", sys.executable, __file__,
               "--build", o.build, "--profile", "--head-dim", *map(str, o.head_dim)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=o.ncu_seconds)
    lines = [line for line in ended.stdout.splitlines() if line.startswith('"')]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines))))
    units = {"ns": 1e-9, "nsecond": 1e-9, "us": 1e-6, "usecond": 1e-6, "ms": 1e-3, "msecond": 1e-3}
    times = [float(row["Metric Value"].replace(",", "")) * units[row["Metric Unit"]]
             for row in rows]
    points = points_of(o)
    if len(times) != CALLS * len(points):
        print(f"ncu: {len(times)} kernels, not {CALLS * len(points)}:",
              "\n".join((ended.stdout + ended.stderr).splitlines()[-5:]))
        return {}
    return {point: statistics.median(times[i * CALLS:(i + 1) * CALLS])
            for i, point in enumerate(points)}


def judge(times, method):
    """Relative distance to what the method is held against, where that takes long enough."""
    name, least = JUDGED[method]
    if method in times and times[name] > least:
        return times[method] / times[name] - 1
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--output")
    parser.add_argument("--head-dim", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--ncu-seconds", type=float, default=120, help="0: without ncu")
    o = parser.parse_args()
    fasc = Fasc(o.build, os.path.join(ROOT, "src", "fasc.h"))
    if o.profile:
        return profile_target(fasc, o)
    found = in_process(fasc, o)
    for point, seconds in (with_ncu(o) if o.ncu_seconds > 0 else {}).items():
        found[point]["ncu"] = seconds
    off = []
    shown = list(METHODS) + ["ncu"]
    print(f"{'microseconds':22}" + "".join(f"{m:>14}" for m in shown) + "   off")
    for (seqlen, head_dim, causal), times in found.items():
        distances = {m: judge(times, m) for m in JUDGED}
        text = ", ".join(f"{m} {100 * x:+.1f}%" for m, x in distances.items() if x is not None)
        off += [abs(x) for x in distances.values() if x is not None]
        cells = [times.get(m) for m in shown]
        print(f"N={seqlen} D={head_dim} {'causal' if causal else 'full'}".ljust(22)
              + "".join(f"{1e6 * t:14.2f}" if t else f"{'-':>14}" for t in cells) + "   " + text)
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
