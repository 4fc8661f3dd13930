"""Energy of the CPU while something runs, from counters that only ever rise: reading them twice disturbs nothing.

These are the RAPL counters of all packages, where the kernel lets us read them (Linux powercap; since 2020 root alone):
whatever runs on the machine is in them. Most virtual machines have none. A GPU's counter is read by
`orchestrator.probes.noise`, with its clocks and power.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Package:
    """The counter of one CPU package: µJ since some moment, from 0 again at `wraps_at`."""

    file: Path
    wraps_at: int

    def read(self) -> int:
        return int(self.file.read_text())


class EnergyProbe:
    """Reads the counters at its creation, and once more in `facts`."""

    def __init__(self) -> None:
        self._packages = packages()
        self._started = time.monotonic()
        self._before = [package.read() for package in self._packages]

    def facts(self, steps: int) -> dict[str, Any]:
        """Return {"energy": {"joules", "seconds", "steps", "source"}}; nothing where there is no counter.

        steps: how many steps ran meanwhile. A phase of minutes may not be longer than the counters' range.
        """
        if not self._packages:
            return {}
        seconds = time.monotonic() - self._started
        joules = 0.0
        for package, before in zip(self._packages, self._before, strict=True):
            risen = package.read() - before
            joules += (risen if risen >= 0 else risen + package.wraps_at) / 1e6
        return {"energy": {"joules": joules, "seconds": seconds, "steps": steps, "source": "RAPL"}}


def packages() -> list[Package]:
    """Return the packages, none where one of them cannot be read; what is below a package is counted in it."""
    found = []
    for folder in sorted(POWERCAP.glob("intel-rapl:*")):  # AMD's too
        if folder.name.count(":") > 1:
            continue
        try:
            if not (folder / "name").read_text().startswith("package"):
                continue
            package = Package(folder / "energy_uj", int((folder / "max_energy_range_uj").read_text()))
            package.read()
        except OSError:  # not for us
            return []
        found.append(package)
    return found
