"""python -m chaos.moments [--tries 8] [--seed 1] [--only VERB]     (with the folder tests/ on PYTHONPATH)

Sends SIGTERM, SIGINT and SIGHUP to each verb and to a small sweep, at random moments of the time that it takes, and
looks at how it ends: with 130 or as if nothing had come, or by the signal itself where Python has not begun or has
come to its end; without a traceback; and nothing half-written and no process is left. Exit code 1 when it is not so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from fakes.leftovers import MARK
from support.golden_sweeps import CREATED, CSV_FILES, finished, small

TESTS = Path(__file__).parent.parent
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
BEFORE, PART, AFTER, RAN = "outputs/before", "outputs/part", "outputs/after", "outputs/ran"
FAKES = ("--config-dir", str(TESTS / "fakes" / "conf"))
SWEEP = (*FAKES, "suite=perceptrons", "suite.models=[one]", "compiler=eager", "measure=glance", "rounds=1")
COMMANDS: Mapping[str, Sequence[str]] = {
    "help": ("--help",),
    "version": ("--version",),
    "options": ("options", "compiler"),
    "ls": ("ls",),
    "show": ("show", AFTER),
    "report": ("report", AFTER),
    "csv": ("export", "csv", AFTER, "-o", "exported"),
    "plots": ("export", "plots", AFTER, "-o", "plots"),
    "diff": ("diff", BEFORE, AFTER),
    "history": ("history",),
    "gate": ("gate", AFTER, "--against", BEFORE),
    "import": ("import", "dynamobench", *map(str, sorted(CSV_FILES.glob("*.csv"))), "--into", "outputs/imported"),
    "merge": ("merge", BEFORE, PART, "--into", "outputs/merged"),
    "cfg": (*SWEEP, "--cfg", "job"),
    "plan": (*SWEEP, "dry_run=true"),
    "sweep": (*SWEEP, "hydra.sweep.dir=outputs/sweep"),
    "rerun": ("rerun", RAN),
}
HALF = re.compile(r"\.half-|\.tmp$|\.removed$|\.traceback$")
GONE_S = 10.0
OURS = f"{os.sep}orchestrator{os.sep}"
"""Stands in each traceback that is not of Python alone, which has not found the command yet."""
SITE = "Fatal Python error: init_import_site"
"""What Python says of Ctrl-C while it begins."""
EDGE_S = 1.0
"""Within this a signal ends what it ends by itself, before Python is there or after it, on a busy machine, too."""
OVER_S = 300.0
CANNOT_TELL = 4
"""How `rerun` ends where it was too noisy."""


@dataclass(frozen=True)
class Ended:
    """How a command ended, `late` s after it was sent a signal, what it said, and what it has left."""

    code: int
    late: float
    said: str
    left: Sequence[str]

    def wrong(self, number: signal.Signals, quiet: int) -> str:
        """Return what must not be, or "". `quiet`: how it ends when nothing comes."""
        if ("Traceback (most recent call last)" in self.said and OURS in self.said) or "Exception ignored" in self.said:
            return "a traceback"
        if self.left:
            return f"left: {', '.join(self.left)}"
        if self.code == -number:
            handled = "Interrupted." in self.said or self.late > EDGE_S
            return f"ended by the signal, {self.late:.2f} s later" if handled else ""
        fine = self.code in (quiet, CANNOT_TELL, 130) or SITE in self.said
        return "" if fine else f"exit code {self.code}"


class Moments:
    """Runs commands in copies of a folder, made in `base`, with sweeps that have been run."""

    def __init__(self, base: Path) -> None:
        self.base, self.begin = base, base / "begin"
        for name, created in ((BEFORE, CREATED), (PART, CREATED), (AFTER, CREATED + 3600)):
            finished(small(self.begin / name), created, {})
        done = subprocess.run(
            _line(*SWEEP, f"hydra.sweep.dir={RAN}"),
            cwd=self.begin,
            env=self._environment(""),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(f"the sweep failed: {done.stdout}{done.stderr}")

    def run(self, name: str, number: signal.Signals | None = None, after: float = 0.0) -> Ended:
        """Run a command, which is sent a signal `after` s."""
        with tempfile.TemporaryDirectory(dir=self.base) as temporary:
            cwd, mark = Path(temporary, "here"), uuid.uuid4().hex
            shutil.copytree(self.begin, cwd)
            (cwd / "tmp").mkdir()
            process = subprocess.Popen(
                _line(*COMMANDS[name]),
                cwd=cwd,
                env={**self._environment(mark), "TMPDIR": str(cwd / "tmp")},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                preexec_fn=_heard,
            )
            if number is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(after)
                process.send_signal(number)
            sent = time.monotonic()
            said, _ = process.communicate(timeout=OVER_S)
            return Ended(process.returncode, time.monotonic() - sent, said, list(_left(cwd, mark)))

    def _environment(self, mark: str) -> dict[str, str]:
        return {
            **os.environ,
            MARK: mark,
            "HF_HUB_OFFLINE": "1",
            "ORCHESTRATOR_PLUGIN_PACKAGES": "fakes",
            "ORCHESTRATOR_LOCKS": str(self.base),
            "PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS))),
        }


def _line(*words: str) -> list[str]:
    return [sys.executable, "-m", "orchestrator", *words]


def _heard() -> None:
    for number in SIGNALS:  # a shell starts what runs in its background with SIGINT ignored, nohup with SIGHUP
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _left(cwd: Path, mark: str) -> Iterator[str]:
    """Yield what is half-written, and processes that live."""
    for where, folders, files in os.walk(cwd):
        yield from (os.path.relpath(os.path.join(where, name), cwd) for name in (*folders, *files) if HALF.search(name))
    yield from (f"tmp/{path.name}" for path in (cwd / "tmp").iterdir() if not HALF.search(path.name))
    end = time.monotonic() + GONE_S
    while (alive := [one for one in psutil.process_iter() if _mark(one) == mark]) and time.monotonic() < end:
        time.sleep(0.05)
    yield from (f"process {one.pid}: {' '.join(one.cmdline())}" for one in alive)


def _mark(process: psutil.Process) -> str:
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else process.environ().get(MARK, "")
    except (psutil.Error, OSError):
        return ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.moments", description=__doc__)
    parser.add_argument("--tries", type=int, default=8, help="moments of each command and signal")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=COMMANDS, help="this command")
    asked = parser.parse_args()
    chance, wrong, count = random.Random(asked.seed), 0, 0
    with tempfile.TemporaryDirectory(prefix="moments-") as temporary:
        moments = Moments(Path(temporary).resolve())
        for name in asked.only or COMMANDS:
            moments.run(name)  # what it reads is in memory now
            quiet = moments.run(name)
            if quiet.code not in (0, 1, CANNOT_TELL) or quiet.left:
                raise AssertionError(f"{name} ended with {quiet.code}, left {quiet.left}: {quiet.said}")
            codes: Counter[int] = Counter()
            for number in SIGNALS * asked.tries:
                after = chance.uniform(0.0, quiet.late)
                ended = moments.run(name, number, after)
                codes[ended.code] += 1
                count += 1
                if why := ended.wrong(number, quiet.code):
                    wrong += 1
                    print(f"{name}, {number.name} after {after:.3f} s: {why}\n{ended.said[-2000:]}", flush=True)
            ends = ", ".join(f"{code}: {number}" for code, number in sorted(codes.items()))
            print(f"{name:<8} {quiet.late:5.2f} s  {ends}", flush=True)
    print(f"seed {asked.seed}: {count} signals, {wrong} wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
