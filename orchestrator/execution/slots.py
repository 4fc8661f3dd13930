"""Parts of a machine that run jobs at the same time: a GPU (`execution.devices`), CPUs (`execution.cpu_sets`), or both.

All jobs that are compared with each other run on one slot, so that their figures are of the same physical device. A
slot's jobs see its GPU only, under the logical name that they were planned with, and run on its CPUs only. Without
either key the whole machine is one slot.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator import capacity, system
from orchestrator.errors import UsageError
from orchestrator.records import JobSpec
from orchestrator.typed_json import Json
from orchestrator.words import plural, some

ALL = "all"
VISIBLE = "CUDA_VISIBLE_DEVICES"
PINS = ("GOMP_CPU_AFFINITY", "KMP_AFFINITY", "OMP_PLACES", "OMP_PROC_BIND")
"""Variables that bind threads to CPUs of their own."""
LOGICAL = ("cpu", "cuda:0")
"""What a job's device is called where the slot says which GPU that is."""


@dataclass(frozen=True)
class Slot:
    """cpus: those of its jobs, () for all that this process may use; gpu: the UUID of its GPU, "" for the jobs' own."""

    number: int = 0
    cpus: tuple[int, ...] = ()
    gpu: str = ""

    @property
    def is_part(self) -> bool:
        """Whether it is less than the whole machine."""
        return bool(self.cpus or self.gpu)

    def facts(self) -> Json:
        """Return what a result says of it (`orchestrator.system.slot`)."""
        return {"number": self.number, "cpus": system.cpu_ranges(self.cpus), "gpu": self.gpu}

    def environment(self) -> dict[str, str]:
        """Return the variables of its jobs."""
        if not self.is_part:
            return {}
        return {system.SLOT: json.dumps(self.facts()), **({VISIBLE: self.gpu} if self.gpu else {})}


def slots_of(
    devices: Any, cpu_sets: Sequence[str] | None, environment: Mapping[str, str] = os.environ
) -> tuple[Slot, ...]:
    """Return the slots of this machine. Raises UsageError for what it does not have, or what overlaps.

    devices: `execution.devices`, cpu_sets: `execution.cpu_sets`.
    """
    sets = _cpu_sets(cpu_sets, environment) if cpu_sets is not None else []
    gpus = _gpus(devices, environment) if devices is not None else []
    if sets and gpus and len(sets) != len(gpus):
        raise UsageError(
            f"execution.cpu_sets has {plural(len(sets), 'set')} and execution.devices {plural(len(gpus), 'GPU')}: "
            "write one set for each GPU"
        )
    pairs = itertools.zip_longest(sets, gpus)
    return tuple(Slot(number, cpus or (), gpu or "") for number, (cpus, gpu) in enumerate(pairs)) or (Slot(),)


def check_jobs(slots: Sequence[Slot], jobs: Sequence[JobSpec]) -> None:
    """Raise UsageError for a job that names a GPU itself."""
    if any(slot.gpu for slot in slots):
        for job in jobs:
            if job.workload.device not in LOGICAL:
                raise UsageError(
                    f"execution.devices says which GPUs, and so does device={job.workload.device}: "
                    "leave out device.index"
                )
            if VISIBLE in job.env:
                raise UsageError(
                    f"execution.devices says which GPUs, and so does execution.env.{VISIBLE}: leave out one"
                )


def cautions(slots: Sequence[Slot]) -> list[str]:
    """Return what makes slots disturb each other: a sentence each."""
    owner: dict[str, tuple[int, int]] = {}
    for slot in slots:
        for cpu in slot.cpus:
            number, other = owner.setdefault(capacity.core_of(cpu), (slot.number, cpu))
            if number != slot.number:
                return [
                    f"CPUs {other} and {cpu} are two threads of one core, in different sets of execution.cpu_sets: "
                    "what runs on one slows down the other"
                ]
    return []


def _cpu_sets(texts: Sequence[str], environment: Mapping[str, str]) -> list[tuple[int, ...]]:
    """Return the CPUs of each set; none is empty, and none has one of another's."""
    said = f"execution.cpu_sets={list(texts)}"
    try:
        sets = [system.cpus_of(str(text).replace(" ", "")) for text in texts]
    except ValueError as error:
        raise UsageError(f"{said}: {error}") from None
    if not sets:
        raise UsageError(f'{said}: write a set for each slot, as in \'["0-7","8-15"]\', or leave it out')
    if twice := _twice(cpu for own in sets for cpu in own):
        raise UsageError(f"{said}: CPU {some(list(map(str, twice)), 4)} in more than one set; a CPU has one slot")
    here = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if absent := sorted({cpu for own in sets for cpu in own} - here):
        raise UsageError(
            f"{said}: there is no CPU {some(list(map(str, absent)), 4)} for this process, which may use "
            f"{system.cpu_ranges(here)}"
        )
    if bound := [name for name in PINS if environment.get(name)]:
        raise UsageError(f"{said}: {bound[0]} binds threads to CPUs, too; unset it")
    return sets


def _gpus(devices: Any, environment: Mapping[str, str]) -> list[str]:
    """Return the UUIDs of the GPUs that `devices` names, as this process sees them."""
    said = f"execution.devices={devices}"
    found = _visible_gpus(environment)
    wanted = list(range(len(found))) if devices == ALL else devices
    if not isinstance(wanted, list) or not all(type(number) is int and number >= 0 for number in wanted):
        raise UsageError(f"{said}: write all, or a list of numbers as in [0,1]")
    if twice := _twice(wanted):
        raise UsageError(f"{said}: GPU {twice[0]} is named twice")
    there = f"{plural(len(found), 'GPU')} here" if found else "no GPU here"
    if absent := [number for number in wanted if number >= len(found)]:
        raise UsageError(f"{said}: there is no GPU {absent[0]}, and {there}")
    if not wanted:
        raise UsageError(f"{said}: there is {there}" if devices == ALL else f"{said}: it names none")
    kinds = {found[number][1] for number in wanted}
    if len(kinds) > 1:
        raise UsageError(
            f"{said}: they are of several kinds ({some(sorted(kinds), 3)}), whose figures are no row of one table; "
            "name those of one kind"
        )
    return [found[number][0] for number in wanted]


def _visible_gpus(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return UUID and kind of the GPUs that a process with this environment may use, none without a driver.

    In the driver's order (nvidia-smi's), or in that of CUDA_VISIBLE_DEVICES, which ends at the first that is none.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
        present = [(str(pynvml.nvmlDeviceGetUUID(one)), str(pynvml.nvmlDeviceGetName(one))) for one in handles]
    except pynvml.NVMLError:
        return []
    if VISIBLE not in environment:
        return present
    chosen: list[tuple[str, str]] = []
    for name in map(str.strip, environment[VISIBLE].split(",")):
        if name.startswith("MIG-"):
            same = [(name, "MIG slice")]
        elif name.isdecimal():
            same = present[int(name) : int(name) + 1]
        else:
            same = [gpu for gpu in present if name and gpu[0].startswith(name)]
        if len(same) != 1:
            break
        chosen += same
    return chosen


def _twice(values: Iterable[int]) -> list[int]:
    return sorted(value for value, count in Counter(values).items() if count > 1)
