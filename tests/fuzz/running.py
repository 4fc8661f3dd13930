"""One case in a forked process, with limits; and what it must never do."""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from support.golden_sweeps import CREATED, finished, small

from orchestrator.cli import VERBS

CPU_S, WALL_S, MEMORY_MIB = 10, 600, 1024 - 128
"""Limits of a case. Memory is what it adds to that with which it begins, as a fork: some 120 MiB."""
MESSAGE = 8_000
"""Characters of a message about bad input, at most."""
CODES = (0, 1, 2, 4)
"""Fine, failed jobs or a worse row, usage, cannot tell (`rerun`)."""
BEFORE, AFTER = "outputs/before", "outputs/after"


@dataclass(frozen=True)
class Case:
    """A command line in a folder with two small sweeps (`BEFORE`, `AFTER`), after `files` were written there."""

    kind: str
    words: Sequence[str]
    files: Mapping[str, str] = field(default_factory=dict)

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=True) + "\n")

    @classmethod
    def read(cls, file: Path) -> Case:
        return cls(**json.loads(file.read_text()))


@dataclass(frozen=True)
class Ended:
    """How a case ended. `code`: of the process, negative for a signal; `memory_mib`: what memory it added."""

    code: int
    said: str
    cpu_s: float
    memory_mib: float
    new: Sequence[str]  # what lies in the folder now and did not before

    def wrong(self) -> str:
        """Return what must not be, or ""."""
        if -self.code in (signal.SIGXCPU, signal.SIGALRM):
            return f"it hung: over {CPU_S} s of CPU, or {WALL_S} s"
        if self.code not in CODES:
            return f"exit code {self.code}"
        if "Traceback (most recent call last)" in self.said:
            return "a traceback"
        if self.memory_mib > MEMORY_MIB:
            return f"{self.memory_mib:.0f} MiB"
        if self.code == 2 and len(self.said) > MESSAGE:
            return f"a message of {len(self.said)} characters"
        if self.code == 2 and self.new:
            return f"left behind: {', '.join(self.new)}"
        return ""


class Runner:
    """Runs cases in copies of the folder `begin`. What commands import is imported here, once."""

    def __init__(self, folder: Path) -> None:
        self.begin = folder / "begin"
        for name, created in ((BEFORE, CREATED), (AFTER, CREATED + 3600)):
            finished(small(self.begin / name), created, {})
        for module in ("orchestrator.__main__", "orchestrator.cli.running", "pandas", "hydra._internal.hydra"):
            importlib.import_module(module)
        for module, _ in VERBS.values():
            importlib.import_module(module)

    def run(self, case: Case) -> Ended:
        with tempfile.TemporaryDirectory(dir=self.begin.parent) as temporary:
            folder = Path(temporary, "here")
            shutil.copytree(self.begin, folder)
            for name, text in case.files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
            before = _names(folder)
            said, resident = Path(temporary, "said"), Path(temporary, "resident")
            pid = os.fork()
            if pid == 0:
                resident.write_text(str(psutil.Process().memory_info().rss))  # less than its parent has
                _become(folder, said, case.words)
            _, status, used = os.wait4(pid, 0)
            return Ended(
                os.waitstatus_to_exitcode(status),
                said.read_text(errors="replace"),
                used.ru_utime + used.ru_stime,
                used.ru_maxrss / 1024 - int(resident.read_text()) / 2**20,
                sorted(_names(folder) - before),
            )


def _become(folder: Path, said: Path, words: Sequence[str]) -> None:
    """Do the command in this process, a child, and end."""
    code = 70
    try:
        os.chdir(folder)
        output = os.open(said, os.O_WRONLY | os.O_CREAT)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = (open(number, "w", errors="surrogateescape") for number in (1, 2))  # noqa: SIM115 - not a test's
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 5))
        signal.alarm(WALL_S)
        os.environ["TMPDIR"] = str(folder.parent)
        tempfile.tempdir = None
        sys.argv = ["orchestrator", *words]
        from orchestrator.__main__ import command

        try:
            code = command()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - it is what is looked for: a traceback
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _names(folder: Path) -> set[str]:
    return {str(Path(where, name).relative_to(folder)) for where, _, names in os.walk(folder) for name in names}
