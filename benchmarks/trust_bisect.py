"""Does `bisect` find a planted slowdown of 5 % among 32 commits, really measured, on this machine as busy as it is?

    python benchmarks/trust_bisect.py [--runs 10] [--seed 1] [--folder FOLDER] [--neighbours 1]

A git repository of a small model that does the same matrix product 40 times; from one commit on, drawn by chance, 42
times. A run is the real command over all of its commits, beside so many neighbours that multiply matrices all the
time, in one thread each. Exit code 1 when fewer than 9 of 10 runs find the commit in at most seven measurements.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from command import ROOT, run

COMMITS, MOST, ENOUGH = 32, 7, 0.9
PRODUCTS, SLOWER = 40, 42
NEIGHBOUR = """import torch

torch.set_num_threads(1)
matrix = torch.rand(1024, 1024)
while True:
    matrix @ matrix
"""
MODEL = """import torch


class Toy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(512, 512)

    def forward(self, x):
        for _ in range({products}):
            x = torch.tanh(self.layer(x))
        return x  # commit {number}

    def get_example_inputs(self, batch_size=64):
        return (torch.randn(batch_size, 512),)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--neighbours", type=int, default=0)
    parser.add_argument("--folder", help="where repositories and sweeps stay (default: nowhere)")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    good = 0
    with tempfile.TemporaryDirectory() as temporary, neighbours(options.neighbours):
        for number in range(options.runs):
            place = Path(options.folder or temporary).resolve() / f"run_{number}"
            culprit = chance.randrange(1, COMMITS)
            good += one_run(place, culprit)
    print(f"found in at most {MOST} measurements: {good} of {options.runs}")
    return 0 if good >= ENOUGH * options.runs else 1


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    started = [subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) for _ in range(count)]
    try:
        yield
    finally:
        for one in started:
            one.kill()
            one.wait()


def one_run(place: Path, culprit: int) -> bool:
    """Plant the slowdown in commit `culprit`, search it, and say whether it was found soon enough."""
    repository(place / "repository", culprit)
    run(place / "sweep", "suite=user", f"suite.models=[{place}/repository/model.py:Toy]", "compiler=eager",
        "measure=performance", "rounds=1", "measure.options.warmup_seconds=0.2",
        "measure.options.seconds=0.6")  # fmt: skip
    job = json.loads((place / "sweep" / "plan.json").read_text())["jobs"][0]["id"]
    start, load = time.monotonic(), os.getloadavg()[0]
    command = [sys.executable, "-m", "orchestrator", "bisect", f"{place / 'sweep'}:{job}", "--good", "c0",
               "--bad", f"c{COMMITS - 1}", "--over", f"git:{place / 'repository'}"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(place / "cache")}
    said = subprocess.run(command, cwd=place, env=environment, stdout=subprocess.PIPE, text=True).stdout
    measured = len(list((place / "outputs").glob("*/*/plan.json")))
    found = said.strip().splitlines()[-1] if said.strip() else "nothing was printed"
    right = found.endswith(f"commit {culprit}") and found.startswith("The first bad one is")
    seconds = time.monotonic() - start
    verdict = f"commit {culprit}: {'right' if right else 'WRONG'} in {measured} measurements"
    print(f"{verdict}, {seconds:.0f} s, load {load:.1f}: {found}", flush=True)
    return right and measured <= MOST


def repository(folder: Path, culprit: int) -> None:
    folder.mkdir(parents=True)
    git = ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    for number in range(COMMITS):
        products = SLOWER if number >= culprit else PRODUCTS
        (folder / "model.py").write_text(MODEL.format(products=products, number=number))
        subprocess.run([*git, "add", "--all"], check=True)
        subprocess.run([*git, "commit", "--quiet", "--message", f"commit {number}"], check=True)
        subprocess.run([*git, "tag", f"c{number}"], check=True)


if __name__ == "__main__":
    sys.exit(main())
