"""What a job of several ranks can be: said when planning, before any process is started."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from orchestrator.errors import UsageError
from orchestrator.planning.machine import Machine
from orchestrator.planning.quantized import parts
from orchestrator.plugin_classes import option_names
from orchestrator.plugins import instantiate, resolve
from orchestrator.records import JobSpec, PluginSpec
from orchestrator.typed_json import Json
from orchestrator.words import plural

MOST_RANKS = 64


def check_mode(options: Json, target: str, name: str) -> None:
    """Raise UsageError where a mode is asked to run as several ranks that knows nothing of them."""
    if "parallel" in options and "parallel" not in option_names(target):
        raise UsageError(
            f"parallel={options['parallel']} with mode={name}: this mode runs in one process; mode=training and "
            "mode=inference run in several"
        )


def with_ranks(mode: PluginSpec, ranks: int | None) -> PluginSpec:
    """Return the mode with as many ranks as were asked for. Raises UsageError for a number that is not legal."""
    if ranks is None:
        return mode
    if not mode.options.get("parallel"):
        raise UsageError(f"ranks={ranks}: say how they work together: parallel=ddp, fsdp2 or tensor")
    return dataclasses.replace(mode, options={**mode.options, "ranks": ranks})


def check_ranks(mode: PluginSpec, compiler: PluginSpec, measure: PluginSpec, execution: Json) -> None:
    """Raise UsageError for what cannot be done in several ranks."""
    if not (how := mode.options.get("parallel")):
        return
    said, ranks = f"parallel={how}", mode.options.get("ranks", 1)
    if not 1 <= ranks <= MOST_RANKS:
        raise UsageError(f"ranks={ranks}: it must be at least 1, and at most {MOST_RANKS}")
    if not getattr(resolve(measure.target), "several_ranks", False):
        raise UsageError(
            f"{said} with measure={measure.name}: it looks at one process; measure=performance and measure=accuracy "
            "look at several"
        )
    _, quantization = parts(compiler)
    if quantization is not None:
        raise UsageError(f"{said} with quantization={quantization.name}: it is not asked of a quantised model")
    plugin = instantiate(compiler)
    if getattr(plugin, "fixed_inputs", False):
        raise UsageError(
            f"{said} with compiler={compiler.name}: it traces the model ahead of time, and what ranks send each other "
            "is no part of a trace; compilers that go through torch.compile can do it"
        )
    if plugin.changes_model and not how.startswith("ddp"):
        raise UsageError(
            f"{said} with compiler={compiler.name}: it changes the parameters, which the ranks have in parts"
        )
    if ranks > 1 and execution["devices"] is not None:
        raise UsageError(
            f"{said} with execution.devices={execution['devices']}: each of its jobs has one GPU, and {ranks} ranks "
            "need as many: leave out execution.devices"
        )


def check_devices(jobs: Sequence[JobSpec], machine: Machine) -> None:
    """Raise UsageError where this machine has GPUs, and fewer than the ranks of a job need."""
    for job in jobs:
        kind, _, index = job.workload.device.partition(":")
        needed = int(index or 0) + job.workload.ranks
        if kind == "cuda" and job.workload.ranks > 1 and 0 < machine.cuda_devices < needed:
            said = f"ranks={job.workload.ranks} on {job.workload.device}"
            raise UsageError(f"{said}: this machine has {plural(machine.cuda_devices, 'CUDA device')}: fewer ranks")
