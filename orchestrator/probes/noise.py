"""Evidence of disturbance: what else ran while we were timing. One table of thresholds, one list of reasons.

No estimator saves a timing that a neighbour disturbed; it has to be noticed and marked (docs/measuring.md).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.capacity import throttled_s
from orchestrator.probes import gpu
from orchestrator.system import cpus_of, slot

with contextlib.suppress(ImportError):  # Windows has none, and runs no jobs (`system.need_linux`)
    import resource

if TYPE_CHECKING:
    import torch

FOREIGN_CORES = 0.1  # cores' worth of CPU that others used meanwhile
STOLEN_CORES = 0.05  # cores' worth of CPU that the hypervisor gave to others
SWITCHES_PER_S = 100.0  # involuntary; per call of 150 ms 5 on a quiet machine, 75 beside one busy neighbour
BUSY_PERCENT = 80.0  # of the time a kernel is at work: a GPU that waits more than this leaves waits for the CPU
THROTTLED = 0.01  # of the time: stopped because a CPU quota was used up (`nr_throttled`)
RELATIVE_IQR = 0.10  # spread of the steady-state samples; pyperf calls a benchmark unstable from here on

STAT = Path("/proc/stat")
QUIET_S = 0.25  # /proc/stat counts in 10 ms: a quarter of a second tells 0.04 cores
OVERLOADED_S = 1.0


@dataclass(frozen=True)
class _Reading:
    wall: float  # s
    own: float  # CPU seconds of this process and its reaped children
    busy: float  # CPU seconds of the machine, or of the slot's CPUs
    stolen: float  # CPU seconds
    switches: int
    throttled: float | None  # s, None where there is no quota


class NoiseProbe:
    """Watches the machine, and `device` when it is a CUDA device, from its creation until `facts`.

    `children` are processes that count as this one: the other ranks of the job.
    """

    def __init__(self, device: torch.device, children: Sequence[int] = ()) -> None:
        self._children = children
        self._start = _read(children)
        self._sampler = gpu.Sampler(device) if device.type == "cuda" else None

    def facts(self, iterations: int, latencies: Sequence[float], launch_bound: bool | None = None) -> dict[str, Any]:
        """Return {"noise": figures, "disturbed": reasons}; no reason means quiet. Ends the watch.

        `iterations` is the number of timed calls meanwhile; `latencies` their steady-state samples, in seconds.
        `launch_bound`: whether a step on the GPU waits for the CPU; None: judged by how busy the GPU was.
        """
        state = None if self._sampler is None else self._sampler.stop()
        if state is not None and state.get("other_processes"):
            state["other_processes"] = [one for one in state["other_processes"] if one["pid"] not in self._children]
        if state is not None and launch_bound is None and state.get("busy_percent") is not None:
            launch_bound = state["busy_percent"] < BUSY_PERCENT
        end = _read(self._children)
        wall = max(end.wall - self._start.wall, 1e-9)
        own = end.own - self._start.own
        figures: dict[str, Any] = {
            "wall_s": wall,
            "own_cpu_s": own,
            "foreign_cores": max(end.busy - self._start.busy - own, 0.0) / wall,
            "stolen_cores": (end.stolen - self._start.stolen) / wall,
            "switches_per_s": (end.switches - self._start.switches) / wall,
            "throttled": None
            if end.throttled is None or self._start.throttled is None
            else (end.throttled - self._start.throttled) / wall,
            "iterations": iterations,
            "relative_iqr": relative_iqr(latencies),
            "load_average": os.getloadavg()[0],
            "cpu_pressure": _pressure(),
            "frequency_mhz": _frequency(),
            "gpu": state,
            "launch_bound": launch_bound,
        }
        return {"noise": figures, "disturbed": reasons(figures)}


def reasons(figures: dict[str, Any]) -> list[str]:
    """Return why a timing with these figures is not to be trusted, in words with the figure and its threshold.

    What others do to the CPU disturbs a step on a GPU only where the GPU waits for it: where that is not known, not.
    """
    state = figures.get("gpu")
    found = _cpu_reasons(figures) if state is None or figures.get("launch_bound") else []
    spread = figures["relative_iqr"]
    if spread is not None and spread > RELATIVE_IQR:
        found.append(f"interquartile range {spread:.0%} of the median (over {RELATIVE_IQR:.0%})")
    return found + _gpu_reasons(state or {})


def _cpu_reasons(figures: dict[str, Any]) -> list[str]:
    found = []
    if figures["foreign_cores"] > FOREIGN_CORES:
        found.append(f"other processes used {figures['foreign_cores']:.2f} cores (over {FOREIGN_CORES})")
    if figures["stolen_cores"] > STOLEN_CORES:
        found.append(f"the hypervisor took {figures['stolen_cores']:.2f} cores (over {STOLEN_CORES})")
    switches = figures["switches_per_s"]
    if switches > SWITCHES_PER_S:
        found.append(f"{switches:.0f} involuntary context switches a second (over {SWITCHES_PER_S:.0f})")
    throttled = figures.get("throttled")
    if throttled is not None and throttled > THROTTLED:
        found.append(f"a CPU quota stopped it for {throttled:.0%} of the time (over {THROTTLED:.0%})")
    return found


def _gpu_reasons(state: dict[str, Any]) -> list[str]:
    found = []
    throttled = [name for bit, name in gpu.SLOWDOWNS.items() if (state.get("throttle_reasons") or 0) & bit]
    if throttled:
        found.append(
            f"the GPU was slowed down: {', '.join(throttled)}, at {state.get('temperature_c')} degrees Celsius"
        )
    users = [process for process in state.get("other_processes") or () if _uses(process)]
    if users:
        found.append(f"the GPU was used by other processes: {', '.join(_gpu_user(process) for process in users)}")
    return found


def _uses(process: dict[str, Any]) -> bool:
    """A context that does nothing disturbs nobody; of one of which the driver says nothing, the worst is assumed."""
    busy = process["busy_percent"]
    return busy is None or busy >= gpu.IN_USE_PERCENT


def _gpu_user(process: dict[str, Any]) -> str:
    memory, busy = process["bytes"], process["busy_percent"]
    words = [] if busy is None else [f"{busy:.0f} % of the time"]
    words += [] if memory is None else [f"{memory / 2**20:.0f} MiB"]
    return f"{process['pid']}" + (f" ({', '.join(words)})" if words else "")


def wait_for_quiet(limit: float, device: torch.device | None = None, children: Sequence[int] = ()) -> float:
    """Wait until others use less than `FOREIGN_CORES` for a quarter of a second, at most `limit` seconds.

    Of a CUDA `device`, until other processes have let it be. Returns the seconds waited. A neighbour's burst is waited
    out; one that stays is found by `NoiseProbe`: where the last minute's load (getloadavg(3)) is over the number of
    CPUs, these are waited for `OVERLOADED_S` at most.
    """
    begin = time.monotonic()
    on_gpu = gpu.find(device) if device is not None and device.type == "cuda" else None
    if on_gpu is None and os.getloadavg()[0] > (os.cpu_count() or 1):
        limit = min(limit, OVERLOADED_S)
    while time.monotonic() - begin < limit:
        if on_gpu is not None:
            since = time.time()
            time.sleep(QUIET_S)
            use = gpu.use_of_others(on_gpu, since)
            if not any(percent >= gpu.IN_USE_PERCENT for percent in (use or {}).values()):
                break
            continue
        before = _read(children)
        time.sleep(QUIET_S)
        after = _read(children)
        foreign = (after.busy - before.busy) - (after.own - before.own)
        if foreign / (after.wall - before.wall) <= FOREIGN_CORES:
            break
    return time.monotonic() - begin


def relative_iqr(values: Sequence[float]) -> float | None:
    """Return the interquartile range divided by the median; None for fewer than four values."""
    if len(values) < 4:
        return None
    import statistics

    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / middle


def _read(children: Sequence[int] = ()) -> _Reading:
    own = sum(os.times()[:4]) + sum(map(_cpu_of, children))
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    if not STAT.exists():
        return _Reading(time.monotonic(), own, own, 0.0, switches, throttled_s())
    user, nice, system, _idle, _iowait, irq, softirq, steal = _cpu_seconds()
    return _Reading(time.monotonic(), own, user + nice + system + irq + softirq, steal, switches, throttled_s())


def _cpu_seconds() -> list[float]:
    """Return the first eight columns of /proc/stat (proc_stat(5)), in seconds: of this process's slot, else of all."""
    own = {f"cpu{cpu}" for cpu in cpus_of(found)} if (found := slot().get("cpus")) else {"cpu"}
    rows = [line.split() for line in STAT.read_text().splitlines()]
    ticks = zip(*(map(int, row[1:9]) for row in rows if row and row[0] in own), strict=True)
    return [sum(column) / os.sysconf("SC_CLK_TCK") for column in ticks]


def _cpu_of(pid: int) -> float:
    """Return the CPU seconds of a running child and what it has reaped (proc_pid_stat(5)); 0 of one that is gone."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _pressure() -> float | None:
    """Return the percentage of the last 10 s in which some task waited for a CPU (PSI), where the kernel tells."""
    try:
        words = Path("/proc/pressure/cpu").read_text().split()
    except OSError:
        return None
    return float(words[1].partition("=")[2])


def _frequency() -> float | None:
    """Return the mean present frequency of the CPUs in MHz, where it can be read."""
    values = []
    for file in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"):
        try:
            values.append(int(file.read_text()) / 1000)
        except (OSError, ValueError):
            return None
    return sum(values) / len(values) if values else None
