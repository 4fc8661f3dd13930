"""Does a speed-up come out the same again? Ours against the plain way, at equal wall time, in turn, in one run.

    python benchmarks/trust_repeatability.py [--quick] [--sweeps 10] [--rounds 3] [--folder FOLDER]

Inductor on a small BERT, float32. One sweep is one command: fresh processes, a cold compilation in round 0, warm ones
after it. Right after each sweep the plain way gets the same time: one fresh process that builds and compiles (cold)
the same model and then times one eager and one compiled call in turn, as PyTorch's benchmarks/dynamo does: not 30
times, but until it has used as much wall time, from its start to its last pair, as the whole sweep from its start to
its end. It reports the ratio of the medians. What its first 30 pairs alone say is printed too.

Our standard deviation over the sweeps must be at most the plain one's, and a sweep's interval should cover the mean of
the other sweeps about as often as it claims. Exit code 1 when it is larger, but not with `--quick` (2 sweeps).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from command import SHORT, sweep
from plain import PAIRS, Plain, seconds

from orchestrator.execution.environment import job_environment, worker_environment
from orchestrator.records import EAGER, JobSpec
from orchestrator.store import SweepFolder

WARM_UP = 3


def main() -> int:
    options = arguments()
    ours: list[tuple[float, float, float]] = []
    plain: list[dict[str, float]] = []
    walls: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(options.sweeps):
            start = time.monotonic()
            ours.append(our_way(folder / f"sweep_{number}", options.rounds))
            walls.append(time.monotonic() - start)
            plain.append(plain_way(folder / f"sweep_{number}", time.monotonic() + walls[-1]))
            print(f"ours {ours[-1][0]:.4f}, plain {plain[-1]}, {walls[-1]:.1f} s each", file=sys.stderr, flush=True)
    return report(ours, plain, walls, options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="2 sweeps: does it run?")
    parser.add_argument("--sweeps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes per sweep")
    parser.add_argument("--folder", help="keep the sweeps here")
    options = parser.parse_args()
    if options.quick:
        options.sweeps = 2
    return options


def our_way(folder: Path, rounds: int) -> tuple[float, float, float]:
    """Run one sweep; return its speed-up and the ends of its interval."""
    model = ("suite=tiny", "suite.models=[bert_tiny]", "dtype=float32", "device=cpu")
    rows = sweep(folder, *model, "compiler=inductor", f"rounds={rounds}", *SHORT)
    row = next(row for row in rows if row["compiler"] == "inductor")
    return float(row["speedup"]), float(row["speedup_low"]), float(row["speedup_high"])


def plain_way(folder: Path, until: float) -> dict[str, float]:
    """Time the same workload the plain way in a fresh process, with a cold cache, until `until` (monotonic, s)."""
    with tempfile.TemporaryDirectory() as cache:
        environment = worker_environment() | job_environment(Path(cache), Path(cache), compiled_job(folder))
        command = [sys.executable, __file__, "--plain", str(folder), str(until)]
        result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return found


def plain_process(folder: str, until: float) -> None:
    """The plain way itself: print the ratio of medians of all pairs, and of the first 30, as JSON."""
    plain = Plain(compiled_job(folder), None)
    program = plain.build()
    eager, compiled = plain.eager(program), plain.compiled(program)
    for _ in range(WARM_UP):
        eager()
        compiled()
    pairs: list[tuple[float, float]] = []
    while len(pairs) < PAIRS or time.monotonic() < until:
        pairs.append((seconds(eager), seconds(compiled)))
    print(json.dumps({"all": ratio(pairs), "first": ratio(pairs[:PAIRS]), "pairs": len(pairs)}))


def compiled_job(folder: str | Path) -> JobSpec:
    """Return the first compiled job of a sweep: the workload, with its seed and threads, that the sweep measured."""
    store = SweepFolder(folder)
    jobs = (store.read_job(path.name) for path in sorted((Path(folder) / "jobs").iterdir()))
    return next(job for job in jobs if job.compiler.name != EAGER)


def ratio(pairs: Sequence[tuple[float, float]]) -> float:
    return statistics.median(eager for eager, _ in pairs) / statistics.median(compiled for _, compiled in pairs)


def report(
    ours: Sequence[tuple[float, float, float]],
    plain: Sequence[dict[str, float]],
    walls: Sequence[float],
    options: argparse.Namespace,
) -> int:
    """Print the table and how the limit was kept; return the exit code."""
    speedups = [value for value, _, _ in ours]
    pairs = statistics.median(p["pairs"] for p in plain)
    lines = {
        f"ours: {options.rounds} fresh processes, pairs of blocks": speedups,
        f"plain: one process, {pairs:.0f} pairs, as long as ours": [p["all"] for p in plain],
        f"plain: its first {PAIRS} pairs": [p["first"] for p in plain],
    }
    print("| way | runs | wall time of each, s | speed-up, mean | its standard deviation, % |\n|---|---|---|---|---|")
    for title, values in lines.items():
        wall = "" if "first" in title else f"{statistics.fmean(walls):.0f}"
        print(
            f"| {title} | {len(values)} | {wall} | {statistics.geometric_mean(values):.3f} | {deviation(values):.2f} |"
        )
    own, other, first = (deviation(values) for values in lines.values())
    covered = 0
    for number, (_, low, high) in enumerate(ours):
        covered += low <= statistics.geometric_mean([*speedups[:number], *speedups[number + 1 :]]) <= high
    print(
        f"\nour standard deviation / plain: {own / other:.2f} (limit 1); / its first {PAIRS} pairs: {own / first:.2f}"
    )
    print(f"intervals that cover the mean of the other sweeps: {covered} of {len(ours)} (claimed: 95 %)")
    print(f"load average: {os.getloadavg()[0]:.2f}; wall time: {2 * sum(walls) / 60:.1f} min")
    return int(not options.quick and own > other)


def deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of the logarithms, in percent."""
    return 100 * statistics.stdev(math.log(value) for value in values)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--plain"]:
        plain_process(sys.argv[2], float(sys.argv[3]))
    else:
        sys.exit(main())
