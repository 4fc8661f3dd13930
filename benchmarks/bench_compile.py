"""Is a cold compilation cold? Compile latency of a model alone, and after others that would have left it their kernels.

    python benchmarks/bench_compile.py [--quick] [--repeats 3]

Inductor on a small BERT at batch size 3: in a sweep of its own, and in one that compiles the same model at batch size 2
and a GPT-2 before it, in the same server. With a cache that jobs share the second would find most of its work done.
What the machine pays once (its toolchain) is made in a folder of this run's own, and its seconds are printed. Limits:
the median of the cold latencies after others is within 10 % of that alone; warm is under 3/4 of cold. Ratios of medians
over sweeps that alternate. Exit code 1 when a limit is not kept, but not with `--quick` (one of each).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from command import SHORT, sweep

from orchestrator.execution.builds import CACHE_VARIABLE
from orchestrator.execution.toolchain import NOTE

MODEL, BATCH = "bert_tiny", "3"
SAME, WARM = 0.10, 0.75
COMMON = ("suite=tiny", "compiler=inductor", "dtype=float32", "device=cpu", "rounds=2", *SHORT)
ALONE = (f"suite.models=[{MODEL}]", f"batch_size={BATCH}")
AFTER = (f"suite.models=[gpt2_tiny,{MODEL}]", f"batch_size=2,{BATCH}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="one sweep of each kind: does it run?")
    parser.add_argument("--repeats", type=int, default=3, help="sweeps of each kind")
    options = parser.parse_args()
    cold: dict[str, list[float]] = {"alone": [], "after others": []}
    warm: dict[str, list[float]] = {"alone": [], "after others": []}
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE_VARIABLE] = str(Path(folder) / "cache")
        for number in range(1 if options.quick else options.repeats):
            for kind, models in (("alone", ALONE), ("after others", AFTER)):
                row = compiled(Path(folder) / f"{kind.replace(' ', '_')}_{number}", *models)
                cold[kind].append(float(row["compile_latency_cold_s"]))
                warm[kind].append(float(row["compile_latency_warm_s"]))
        notes = Path(folder).glob(f"cache/orchestrator/toolchain/*/{NOTE}")
        toolchain = " ".join(" ".join(file.read_text().split()) for file in notes)
    print("| inductor, small BERT | cold, s | warm, s | sweeps |\n|---|---|---|---|")
    for kind in cold:
        print(f"| {kind} | {median(cold[kind])} | {median(warm[kind])} | {len(cold[kind])} |")
    ratio = statistics.median(cold["after others"]) / statistics.median(cold["alone"])
    warmth = max(statistics.median(warm[kind]) / statistics.median(cold[kind]) for kind in cold)
    print(f"\nof the machine, once: {toolchain}")
    print(f"cold after others / cold alone: {ratio:.3f} (limit {1 - SAME:.2f} to {1 + SAME:.2f})")
    print(f"warm / cold: {warmth:.3f} (limit {WARM})")
    return int(not (abs(ratio - 1) <= SAME and warmth <= WARM) and not options.quick)


def compiled(folder: Path, *arguments: str) -> dict[str, str]:
    rows = sweep(folder, *COMMON, *arguments)
    return next(row for row in rows if (row["model"], row["batch_size"], row["compiler"]) == (MODEL, BATCH, "inductor"))


def median(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({', '.join(f'{s:.2f}' for s in sorted(seconds))})"


if __name__ == "__main__":
    sys.exit(main())
