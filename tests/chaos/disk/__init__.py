"""A file system that fails every n-th call, or has no locks, for the processes of a sweep: `flaky.c`, preloaded."""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("flaky.c")


def built(folder: Path) -> Path | None:
    """Return the library, compiled into `folder` unless it is there; None without a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    library = folder / "flaky.so"
    if not library.exists():
        options = ["-shared", "-fPIC", "-O2", "-Wall", "-Werror"]
        subprocess.run([compiler, *options, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


@dataclass(frozen=True)
class FlakyDisk:
    """What the library is told, in the file `control`; `root`: the files below it are meant."""

    library: Path
    control: Path
    root: Path

    def __post_init__(self) -> None:
        self.tell()

    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "CHAOS_DISK": str(self.control), "CHAOS_DISK_ROOT": str(self.root)}

    def tell(self, every: int = 0, error: int = 0) -> None:
        """Let every n-th call fail with an errno from now on; 0: none. Locks stay as they are."""
        locks = self._read()[2] if self.control.exists() else 0
        self._write(every, error, locks)

    def without_locks(self, error: int) -> None:
        """Let flock fail with an errno from now on."""
        every, now, _, _ = self._read()
        self._write(every, now, error)

    @property
    def has_locks(self) -> bool:
        return self._read()[2] == 0

    def _read(self) -> tuple[int, int, int, int]:
        found: tuple[int, int, int, int] = struct.unpack("4i", self.control.read_bytes())
        return found

    def _write(self, every: int, error: int, locks: int) -> None:
        """In place: the processes have this very file mapped."""
        with self.control.open("r+b" if self.control.exists() else "wb") as file:
            file.write(struct.pack("4i", every, error, locks, 0))
