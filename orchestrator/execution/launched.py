"""Shards that a Hydra launcher runs: each in a process of its own, known by what it leaves in the sweep folder.

A launcher (joblib, submitit, Ray) calls `run` in a process of its own, which starts `python -m
orchestrator.execution.launched` and waits for it. So what kills a shard does not kill what the launcher needs, and no
launcher has to hand over an exception. The command that launched them watches the folder
(`orchestrator.execution.follow`).

A shard says in `shards/<n>.json` that it has begun, and how it ended; what it prints is in `shards/<n>.log`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from orchestrator.errors import UsageError, in_one_line
from orchestrator.execution.interrupts import asked
from orchestrator.execution.observer import PlainObserver
from orchestrator.execution.settings import Settings
from orchestrator.execution.shard import jobs_of, run_shard
from orchestrator.exits import exit_words
from orchestrator.files import read_json, write_json
from orchestrator.planning import machine
from orchestrator.store import SweepFolder
from orchestrator.typed_json import from_json, to_json

MODULE = "orchestrator.execution.launched"
ENDING_S = 20.0
"""For a shard that is told to end at once to kill its jobs."""


@dataclass(frozen=True)
class State:
    """What a shard says of itself: where it runs, whether it has ended and why it failed, what its machine lacks."""

    host: str
    process: int
    ended: bool = False
    failure: str = ""
    cautions: tuple[str, ...] = ()

    @property
    def is_alive(self) -> bool:
        """Whether its process is seen to run; on another machine nobody can see it."""
        if self.ended or self.host != socket.gethostname():
            return False
        try:
            return MODULE in psutil.Process(self.process).cmdline()
        except psutil.Error:
            return False


def state_file(store: SweepFolder, shard: int) -> Path:
    return store.shards / f"{shard + 1}.json"


def log_file(store: SweepFolder, shard: int) -> Path:
    return store.shards / f"{shard + 1}.log"


def state(store: SweepFolder, shard: int) -> State | None:
    """Return what a shard has said of itself, None where it has not begun."""
    try:
        return from_json(State, read_json(state_file(store, shard)))
    except (OSError, ValueError):
        return None


def run(store: SweepFolder, shard: int, of: int) -> None:
    """Run a shard in a process of its own; return when that has ended, however it did.

    Called by a launcher, in a process of its: a signal or an exception there (a batch system's limit) ends the shard.
    """
    store.shards.mkdir(exist_ok=True)
    with open(log_file(store, shard), "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, str(store), str(shard), str(of)],
            stdin=subprocess.PIPE,  # closed by whatever ends this process, which tells the shard
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    why = ""
    try:
        with _passed_on(process):
            process.wait()
    except Exception as error:  # noqa: BLE001 - submitit raises what its handlers of signals have to say
        why = f"{in_one_line(error)}"
    finally:
        process.terminate()
        try:
            process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    found = state(store, shard)
    if found is None or not found.ended or why:
        host = socket.gethostname()
        why = why or f"its process ended with {exit_words(process.returncode)}"
        _write(store, shard, State(host, process.pid, ended=True, failure=why))


@contextlib.contextmanager
def _passed_on(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Pass SIGTERM on to the process: submitit ignores it, and others end without a word."""
    if threading.current_thread() is not threading.main_thread():  # there signals are somebody else's
        yield
        return

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    before: Any = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Observer(PlainObserver):
    """Of a shard: knows whether it was told to end."""

    told = False

    def interrupted(self, *, at_once: bool) -> None:
        self.told = True
        super().interrupted(at_once=at_once)


def main(argv: Sequence[str]) -> int:
    """Run the shard `argv` names: folder, number from 0, of how many. Returns 0, or 1 where it says why it failed."""
    store, shard, of = SweepFolder(argv[0]), int(argv[1]), int(argv[2])
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which `follow` blocked for the launcher
    orphaned = threading.Event()
    threading.Thread(target=_end_with, args=(sys.stdin.fileno(), orphaned), daemon=True).start()
    here, failure, observer = State(socket.gethostname(), os.getpid()), "", _Observer()
    _write(store, shard, here)
    try:
        cautions = machine.detect().cautions(jobs_of(store, shard, of))
        here = State(here.host, here.process, cautions=tuple(cautions))
        for caution in cautions:
            print(f"caution: {caution}", file=sys.stderr)
        _write(store, shard, here)
        run_shard(str(store), shard, of, Settings.of(store.read_sweep().points), observer)
    except UsageError as error:
        failure = str(error)
    except Exception as error:  # noqa: BLE001 - the process border
        traceback.print_exc()
        failure = f"{in_one_line(error)} (a defect of orchestrator: the traceback is in its log)"
    if orphaned.is_set():
        failure = "the process of the launcher's that it belonged to has died"
    elif observer.told and not asked(store):
        failure = failure or "it was told to end by a signal"
    if failure:
        print(failure, file=sys.stderr)
    _write(store, shard, State(here.host, here.process, ended=True, failure=failure, cautions=here.cautions))
    return int(bool(failure))


def _end_with(pipe: int, orphaned: threading.Event) -> None:
    """End this process, as SIGTERM does, when nobody has the pipe's other end any more."""
    while os.read(pipe, 1):
        pass
    orphaned.set()
    os.kill(os.getpid(), signal.SIGTERM)


def _write(store: SweepFolder, shard: int, what: State) -> None:
    with contextlib.suppress(OSError):  # a full disk: the results say so, too
        write_json(state_file(store, shard), to_json(what))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
