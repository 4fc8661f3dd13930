"""What `report` takes of sweeps of 1,000, 10,000 and 100,000 jobs, and `ls` of 1,000 sweeps: seconds, memory.

    python benchmarks/bench_report.py [--jobs 1000,10000,100000] [--sweeps 1000] [--folder FOLDER]

The sweeps are those of `bench_verbs.py`, the commands are real, their output goes into a file. Limits: 60 s and 600 MiB
for 100,000 jobs, whatever the form; 1 s for `ls`. Seconds are of CPU, since other work on the machine lengthens any
other. Exit code 1: a limit is not kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench_verbs import ROOT, write

SECONDS, MIB, JOBS = 60.0, 600.0, 100_000
LS_SECONDS, LS_JOBS = 1.0, 56
FORMS = {"report": (), "report --json": ("--json",), "report --csv": ("--csv",)}
LISTS = {"ls": (), "ls --all": ("--all",), "ls --json": ("--json",)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", default="1000,10000,100000", help="sizes of the sweeps that are reported")
    parser.add_argument("--sweeps", type=int, default=1000, help="how many sweeps are listed")
    parser.add_argument("--folder", help="keep the sweeps here")
    options = parser.parse_args()
    kept = True
    print("| command | of | seconds of CPU | seconds | peak, MiB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for jobs in map(int, options.jobs.split(",")):
            root = Path(options.folder or temporary) / str(jobs)
            sweep = root / "2026-01-01" / "00-00-00"
            if not sweep.exists():
                write(root, 0, jobs)
            for name, words in FORMS.items():
                used, peak = shown(name, f"{jobs:,} jobs", ["report", str(sweep), *words], root)
                kept = kept and (jobs > JOBS or (used <= SECONDS and peak <= MIB))
        root = Path(options.folder or temporary) / "many"
        if not root.exists():
            many(root, options.sweeps)
        for name, words in LISTS.items():
            used, _ = shown(name, f"{options.sweeps:,} sweeps", ["ls", "--root", str(root), *words], root)
            kept = kept and (name != "ls" or used <= LS_SECONDS)
    return int(not kept)


def many(root: Path, count: int) -> None:
    """Write so many sweeps of a few dozen jobs, as people make them, a hundred a day."""
    first = write(root / "first", 0, LS_JOBS)
    for number in range(count):
        day, minute, second = number // 100, number % 100 // 60, number % 60
        place = root / f"2026-{1 + day // 28:02}-{1 + day % 28:02}" / f"00-{minute:02}-{second:02}"
        shutil.copytree(first, place, copy_function=os.link)
    shutil.rmtree(root / "first")


def shown(name: str, of: str, words: Sequence[str], cwd: Path) -> tuple[float, float]:
    """Run a command and print its line; return the seconds of CPU and the MiB that it took."""
    start = time.perf_counter()
    with (cwd / "said").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *words],
            cwd=cwd,
            stdout=output,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        _, status, usage = os.wait4(process.pid, 0)
    wall, code = time.perf_counter() - start, os.waitstatus_to_exitcode(status)
    if code not in (0, 1):
        raise SystemExit(f"{' '.join(words)} ended with {code}")
    used, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(f"| {name} | {of} | {used:.1f} | {wall:.1f} | {peak:.0f} |", flush=True)
    return used, peak


if __name__ == "__main__":
    sys.exit(main())
