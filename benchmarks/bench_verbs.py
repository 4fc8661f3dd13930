"""Seconds that verbs take to answer: on a sweep of 200 jobs (limit 1 s) and on sweeps of 10,000 jobs (limit 5 s).

    python benchmarks/bench_verbs.py [--jobs 200,10000] [--folder FOLDER]

The sweeps are synthetic (`tests/support/synthetic.py`), with as many samples as real ones of slow models; the commands
are real, from the start of the interpreter to their exit. Prints the median of three; exit code 1: a limit is not kept.
`report` for people prints its tables as fast, and then writes the page, which has a benchmark of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support import synthetic  # noqa: E402 - it lies beside the tests

from orchestrator.probes.environment import environment  # noqa: E402

LIMITS = {200: 1.0, 10_000: 5.0}
COMPILERS, ROUNDS, SAMPLES, PAIRS = 4, 2, 30, 30
REPEATS = 3
VERBS = {
    "report --json": ("report", "{b}", "--json"),
    "diff": ("diff", "{a}", "{b}"),
    "gate": ("gate", "{b}", "--against", "{a}"),
    "history": ("history", "--root", "{root}"),
    "ls": ("ls", "--root", "{root}"),
    "show": ("show", "{b}"),
    "rerun": ("rerun", "{b}", "--dry-run"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", default="200,10000", help="sizes of the sweeps")
    parser.add_argument("--folder", help="keep the sweeps here")
    options = parser.parse_args()
    kept = True
    print("| verb | jobs | seconds, median | limit |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for jobs in map(int, options.jobs.split(",")):
            root = Path(options.folder or temporary) / str(jobs)
            places = {"root": root, "a": write(root, 0, jobs), "b": write(root, 1, jobs)}
            for verb, words in VERBS.items():
                seconds = timed([word.format(**places) for word in words], root)
                limit = LIMITS.get(jobs)
                kept = kept and (limit is None or seconds < limit)
                print(f"| {verb} | {jobs} | {seconds:.2f} | {limit} |", flush=True)
    return int(not kept)


def write(root: Path, number: int, jobs: int) -> Path:
    """Write a sweep of about `jobs` jobs: models x (eager and compilers) x rounds, all pass, with 1 % of noise."""
    chance = random.Random(number)
    sweep = synthetic.SyntheticSweep(root / "2026-01-01" / f"00-00-0{number}")

    def latencies(seconds: float, count: int) -> list[float]:
        return [seconds * chance.gauss(1, 0.01) for _ in range(count)]

    for model in range(jobs // (COMPILERS * ROUNDS)):
        for round in range(ROUNDS):
            eager = sweep.performance(f"Model{model}", "eager", round, latency=latencies(0.1, SAMPLES))
            for compiler in range(COMPILERS - 1):
                pairs = list(zip(latencies(0.1, PAIRS), latencies(0.08, PAIRS), strict=True))
                sweep.performance(
                    f"Model{model}",
                    f"compiler{compiler}",
                    round,
                    baseline=eager,
                    latency=latencies(0.08, SAMPLES),
                    pairs=pairs,
                )
    told = environment()
    sweep.results = [dataclasses.replace(result, environment=told) for result in sweep.results]
    return sweep.write().root


def timed(words: list[str], cwd: Path) -> float:
    """Return the median seconds of the command. Its exit code may be 1 (a regression by chance), never another."""
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        command = [sys.executable, "-m", "orchestrator", *words]
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        taken.append(time.perf_counter() - start)
        if done.returncode not in (0, 1):
            raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return statistics.median(taken)


if __name__ == "__main__":
    sys.exit(main())
