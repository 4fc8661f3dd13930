"""Seconds to plan 100 grid points x 100 models = 10,000 jobs: composition by Hydra, and our own planner.

Run from anywhere: `python benchmarks/bench_planning.py`. Limits: 15 s in total, 1 s for the planner.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig

from orchestrator.execution.hydra_plugin import register, search_path
from orchestrator.planning.compose import compose
from orchestrator.planning.composer import Composer
from orchestrator.planning.grid import expand
from orchestrator.planning.machine import Machine
from orchestrator.planning.plan import plan
from orchestrator.planning.points import PointReader

MODELS = 100
AXES = (
    "compiler=eager,dynamo_eager,aot_eager,inductor,inductor_dynamic",
    "dtype=float32,bfloat16,float16,amp_bfloat16,amp_float16",
    "mode=inference,training",
    "batch_size=1,8",
)
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


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        user = Path(folder)
        (user / "suite").mkdir()
        entries = "".join(ENTRY.format(index=index, layers=1 + index % 12) for index in range(MODELS))
        (user / "suite" / "hundred.yaml").write_text(SUITE + entries)
        figures(str(user))
        command = [sys.executable, "-m", "orchestrator", "--config-dir", str(user), "suite=hundred"]
        command += [*AXES, "measure=performance", "rounds=1", "dry_run=true"]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=user)
        print(f"the whole command with dry_run=true: {time.perf_counter() - start:.2f} s (limit 15)")


def figures(user: str) -> None:
    """Print the seconds of each step, in this process."""
    version.setbase("1.3")
    register()
    loader = Hydra.create_main_hydra2(task_name="bench", config_search_path=search_path(user)).config_loader
    arguments = ["suite=hundred", *AXES, "measure=performance", "rounds=1"]
    master = compose(loader, "config", arguments)
    HydraConfig.instance().set_config(master)
    start = time.perf_counter()
    overrides = expand(arguments, {}, [], [], loader)
    assert isinstance(loader, ConfigLoaderImpl)  # Hydra declares less than it makes
    composer = Composer(loader, master)
    confs = [composer.point(point) for point in overrides]
    composed = time.perf_counter()
    reader = PointReader()
    points = [reader.read(conf) for conf in confs]
    read = time.perf_counter()
    graph = plan(points, Machine(cores=8, cuda_devices=0))
    planned = time.perf_counter()
    print(f"{len(points)} points, {len(graph.jobs)} jobs")
    print(f"composition by Hydra: {composed - start:.2f} s, {(composed - start) / len(points) * 1e3:.0f} ms per point")
    print(f"our planner: {planned - composed:.2f} s (limit 1): {read - composed:.2f} read, {planned - read:.2f} plan")


if __name__ == "__main__":
    main()
