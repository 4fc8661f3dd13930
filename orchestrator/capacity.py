"""What of the machine this process may have, by affinity and control groups (cgroups(7)): cores, caches, memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

import psutil

THROTTLED = (("throttled_usec", 1e-6), ("throttled_time", 1e-9))
OWN_GROUPS, GROUPS, CPUS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"), Path("/sys/devices/system/cpu")
GROUP_MEMORY = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Of a control group, version 2 and 1: what it may have, what it has, and the line of its memory.stat with what of that
is only cache."""
OOM_FILES = ("memory.events", "memory.oom_control")
"""Files of a memory group that have an `oom_kill` line, version 2 and 1."""


def cores(cpus: Collection[int] = ()) -> int:
    """Return how many physical cores this process may use, at least 1: by its affinity, and its control group's quota.

    Two hyper-threads of a core are one core; a quota of 2.5 CPUs is two. With `cpus`: how many those are.
    """
    if cpus or hasattr(os, "sched_getaffinity"):
        physical = len({core_of(cpu) for cpu in cpus or os.sched_getaffinity(0)})
    else:
        physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return max(1, min([physical, *map(int, _quotas())]))


def core_of(cpu: int) -> str:
    """Return what the hyper-threads of one core have in common."""
    try:
        return (CPUS / f"cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:  # a kernel that does not tell: each is taken for a core
        return str(cpu)


def last_level_cache(threads: int) -> int | None:
    """Return the bytes of the last-level caches that so many threads of this process can use; None if it is not told.

    Where the CPU has several, each thread may have one of its own: the largest, as many as there are threads.
    """
    found: dict[str, tuple[int, int]] = {}  # CPUs that share a cache -> level, bytes; of several the highest level
    for cpu in os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ():
        for folder in Path(CPUS, f"cpu{cpu}", "cache").glob("index*"):
            with contextlib.suppress(OSError, ValueError):  # a file that this kernel or machine does not have
                level = int(Path(folder, "level").read_text())
                size = 1024 * int(Path(folder, "size").read_text().strip().removesuffix("K"))
                sharing = Path(folder, "shared_cpu_list").read_text().strip()
                found[sharing] = max(found.get(sharing, (0, 0)), (level, size))
    last = max((level for level, _ in found.values()), default=0)
    return sum(sorted((size for level, size in found.values() if level == last), reverse=True)[:threads]) or None


def _quotas() -> list[float]:
    """Return the CPUs that each control group around this process may use, of those that have a limit."""
    found = []
    for group in _groups("cpu"):
        with contextlib.suppress(OSError, ValueError):  # it has none ("max")
            if (group / "cpu.max").exists():
                quota, period = map(int, (group / "cpu.max").read_text().split())
            else:
                quota, period = (int((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
            if quota > 0:  # version 1 says -1 for none
                found.append(quota / period)
    return found


def throttled_s() -> float | None:
    """Return the seconds for which a CPU quota has stopped a control group around this process; None without one.

    `cpu.stat` (cgroups(7)): `throttled_usec` of version 2, `throttled_time` of version 1, in nanoseconds, of all CPUs.
    """
    found = []
    for group in _groups("cpu"):
        with contextlib.suppress(OSError, ValueError):
            seen = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
            found += [int(seen[key]) * unit for key, unit in THROTTLED if key in seen]
    return max(found, default=None)


def available_memory() -> int:
    """Return the bytes that could be allocated now without swapping: by the machine, or a control group if less."""
    free = [int(psutil.virtual_memory().available)]
    for group in _groups("memory"):
        for limit, used, cache in GROUP_MEMORY:
            with contextlib.suppress(OSError, ValueError):  # no such files, or no limit ("max")
                statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
                taken = int((group / used).read_text()) - int(statistics.get(cache, 0))
                free.append(int((group / limit).read_text()) - taken)
    return max(min(free), 0)


def oom_kills() -> int:
    """Return how often the kernel's out-of-memory killer has acted, as far as this machine tells; only ever rises."""
    own = _groups("memory", around=False)
    total = 0
    for file in (Path("/proc/vmstat"), *(group / name for group in own for name in OOM_FILES)):
        with contextlib.suppress(OSError):
            for line in file.read_text().splitlines():
                name, _, value = line.partition(" ")
                total += int(value) if name == "oom_kill" else 0
    return total


def _groups(controller: str, *, around: bool = True) -> list[Path]:
    """Return the folder of this process's control group (cgroups(7), version 2 or 1), and of those `around` it.

    A container sees its own as the topmost, whatever its path is outside.
    """
    found: list[Path] = []
    with contextlib.suppress(OSError):
        for line in OWN_GROUPS.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "" or controller in controllers.split(","):
                top = GROUPS / controller if controllers else GROUPS
                own = top / path.lstrip("/")
                found += [own, *(one for one in own.parents if around and one.is_relative_to(top))]
    return found
