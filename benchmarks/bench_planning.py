"""Seconds to plan 1,000 grid points: 10,000 jobs, or 100,000 with --full; and how dear Hydra alone would be.

Run from anywhere: `python benchmarks/bench_planning.py [--full]`. Limits, of CPU time, since other work on the machine
lengthens any other: 10 s for 10,000 jobs; 60 s and 2 GiB for 100,000. A point put together from pieces (docs/sweep.md)
must be 5 times cheaper than one that Hydra composes whole, in the same run.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig

from orchestrator.execution.hydra_plugin import register, search_path, started
from orchestrator.execution.ownership import STATE_VARIABLE, claim
from orchestrator.planning.compose import compose
from orchestrator.planning.composer import Composer
from orchestrator.planning.grid import expand
from orchestrator.planning.machine import Machine
from orchestrator.planning.plan import plan
from orchestrator.planning.points import PointReader
from orchestrator.store import Sweep, SweepFolder

MODELS, MODELS_FULL = 10, 100
WHOLE = 30  # points that are composed whole, for the ratio
CPU_LIMIT, CPU_LIMIT_FULL, GIB_LIMIT = 10, 60, 2
RATIO = 5
AXES = (
    "compiler=eager,dynamo_eager,aot_eager,inductor,inductor_dynamic",
    "dtype=float32,bfloat16,float16,amp_bfloat16,amp_float16",
    "mode=inference,training",
    "batch_size=1,2,4,8,16",
    "seed=1,2,3,4",
)
Result = TypeVar("Result")

SUITE = """\
name: hundred
target: orchestrator.suites.huggingface.HuggingFaceModel
models: null
filter: null
exclude: null
common:
  sequence_length: 128
  batch_size: {cpu: 32, cuda: 32, accuracy: 1}
  tolerance: {inference: 1e-3, training: 1e-2}
catalog:
"""
ENTRY = """\
  model_{index}:
    build: {{class_name: BertForMaskedLM, config: {{num_hidden_layers: {layers}}}}}
    divisor: 4
    params_m: {layers}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help=f"{MODELS_FULL} models, and so 100,000 jobs")
    full = parser.parse_args().full
    models, limit = (MODELS_FULL, CPU_LIMIT_FULL) if full else (MODELS, CPU_LIMIT)
    with tempfile.TemporaryDirectory() as folder:
        user = Path(folder)
        (user / "suite").mkdir()
        entries = "".join(ENTRY.format(index=index, layers=1 + index % 12) for index in range(models))
        (user / "suite" / "hundred.yaml").write_text(SUITE + entries)
        os.environ[STATE_VARIABLE] = str(user / "state")
        ratio = steps(user)
        return int(not command(user, limit) or ratio > 1 / RATIO)


def steps(user: Path) -> float:
    """Print the seconds of each step, in this process; return the cost of a point, in points that Hydra composes."""
    version.setbase("1.3")
    register()
    loader = started(search_path(str(user))).config_loader
    assert isinstance(loader, ConfigLoaderImpl)  # Hydra declares less than it makes
    arguments = ["suite=hundred", *AXES, "measure=performance", "rounds=1"]
    master = compose(loader, "config", arguments)
    HydraConfig.instance().set_config(master)
    overrides, _ = timed("expand the grid", lambda: expand(arguments, {}, [], [], loader))
    composer, reader = Composer(loader, master), PointReader()
    confs, pieces = timed("compose in pieces", lambda: [composer.point(point) for point in overrides])
    points, _ = timed("check", lambda: [reader.read(conf) for conf in confs])
    graph, _ = timed("plan", lambda: plan(points, Machine(cores=8, cuda_devices=0)))
    folder = SweepFolder(user / "outputs" / "sweep")
    header = Sweep(argv=(), overrides=tuple(arguments), points=(), created=time.time(), grid=tuple(overrides))
    timed("write plan.json", lambda: folder.write_plan(header, graph))
    timed("sign", lambda: claim(folder))
    chosen = random.Random(0).sample(range(len(overrides)), WHOLE)
    alone = Composer(loader, master, in_pieces=False)
    alone.point(overrides[0])  # the catalog, which is composed once in any case
    whole, seconds = timed(f"compose {WHOLE} whole", lambda: [alone.point(overrides[number]) for number in chosen])
    assert whole == [confs[number] for number in chosen]
    each, each_whole = pieces / len(overrides) * 1000, seconds / WHOLE * 1000
    print(f"{len(points):,} points, {len(graph.jobs):,} jobs")
    print(
        f"1,000 points: {each:.2f} s in pieces, {each_whole:.1f} s whole: {each / each_whole:.3f} (limit {1 / RATIO})"
    )
    return each / each_whole


def timed(what: str, work: Callable[[], Result]) -> tuple[Result, float]:
    """Print and return the CPU seconds of some work, with its result."""
    start, clock = time.process_time(), time.perf_counter()
    result = work()
    seconds = time.process_time() - start
    print(f"  {what:<20} {seconds:6.2f} s CPU, {time.perf_counter() - clock:6.2f} s in all")
    return result, seconds


def command(user: Path, limit: float) -> bool:
    """Print what the whole command takes in a process of its own; return whether that is within the limits."""
    words = ["--config-dir", str(user), "suite=hundred", *AXES, "measure=performance", "rounds=1", "dry_run=true"]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "orchestrator", *words], check=True, stdout=subprocess.DEVNULL, cwd=user)
    wall, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu, gib = used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20
    print(f"the command with dry_run=true: {cpu:.2f} s CPU (limit {limit}), {wall:.2f} s in all, {gib:.2f} GiB")
    return cpu <= limit and gib <= GIB_LIMIT


if __name__ == "__main__":
    sys.exit(main())
