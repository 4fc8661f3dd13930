"""What the processes of a test have really done: imports, code that ran, files, other processes, the network.

An `Audit` gives the environment that makes every Python process tell (`fakes/audit/sitecustomize.py`), and reads it.
"""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate")


@dataclass(frozen=True)
class Audit:
    """`log` is where the events go."""

    log: Path

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a process that is watched, and of all that it starts."""
        path = os.pathsep.join(
            [str(TESTS / "fakes" / "audit"), str(TESTS.parent), str(TESTS), more.pop("PYTHONPATH", "")]
        )
        own = {"AUDIT_LOG": str(self.log), "PYTHONPATH": path.rstrip(os.pathsep), "PYTHONDONTWRITEBYTECODE": "1"}
        return {**os.environ, "COLUMNS": "120", **own, **more}

    def events(self, *kinds: str) -> list[tuple[str, tuple[Any, ...]]]:
        """Return the events of these kinds (all), in order: (kind, arguments). What is no literal is its text."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            kind, _, text = line.partition("\t")
            if not kinds or kind in kinds:
                try:
                    arguments = ast.literal_eval(text)
                except (ValueError, SyntaxError):
                    arguments = (text,)
                found.append((kind, arguments))
        return found

    def code_run_from(self, folder: Path) -> list[str]:
        """Return the files below `folder` of which code was run, compiled or imported."""
        seen = [str(part) for _, arguments in self.events("exec", "compile", "import") for part in arguments]
        return sorted({text for text in seen if str(folder) in text})

    def imported(self, beginning: str) -> list[str]:
        """Return the modules whose names begin so and that an import statement has asked for."""
        names = [str(arguments[0]) for _, arguments in self.events("import")]
        return sorted({name for name in names if name.startswith(beginning)})

    def written(self) -> list[str]:
        """Return the paths that were opened for writing, made, removed or renamed.

        Not what was reached through an open folder (the last argument is its descriptor): so `shutil.rmtree` removes
        what is in a folder that it has opened by its path.
        """
        paths = []
        for _, arguments in self.events("open"):
            if len(arguments) == 3 and isinstance(arguments[0], str) and arguments[2] & WRITING:
                paths.append(arguments[0])
        for _, arguments in self.events(*CHANGES):
            if arguments[-1] == -1:
                paths += [part for part in arguments if isinstance(part, str)]
        return sorted(set(paths))
