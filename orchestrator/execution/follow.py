"""The command that launched shards, while they run: it draws what the folder shows, and passes on that they shall end.

Hydra's launchers block, and know nothing of each other's ways. So one is left alone in a thread, and what is seen and
asked goes through the folder: results, `shards/<n>.json` and `stop` (`orchestrator.execution.launched`, `.interrupts`).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator.errors import UsageError, first_sentence
from orchestrator.execution import launched
from orchestrator.execution.interrupts import LOOK_S, Interrupts, ask, withdraw
from orchestrator.execution.lock import InUse, holder
from orchestrator.execution.observer import Onlooker
from orchestrator.records import INFRASTRUCTURE, JobResult, JobSpec
from orchestrator.store import SweepFolder
from orchestrator.words import plural, some

SHARE = 0.02
"""Looking may cost so much of the time: where that is measured which is looked at, it must not disturb."""
ENDING_S = 40.0
"""For shards that were told to end at once. A network file system shows a new file half a minute later."""
QUEUE = ".submitit"
"""Folder in which submitit's launchers have one of each job, named as the batch system names it."""
QUEUE_S = 10.0
"""Between questions to the batch system."""


def follow(
    store: SweepFolder,
    pending: Sequence[JobSpec],
    shards: Sequence[Sequence[JobSpec]],
    launch: Callable[[], object],
    observer: Onlooker,
    *,
    slurm: bool,
) -> None:
    """Call `launch` in a thread; return when it and all shards have ended, whatever they ended of.

    `pending` are the jobs to tell `observer` of, `shards` those of each shard; slurm: it submits to Slurm.

    Raises InUse when someone else runs the sweep, and UsageError when the launcher fails before any shard begins.
    """
    if running := holder(store):
        raise InUse(f"{store} is in use by {running}; wait until that has ended, or stop it, then run this again")
    try:
        withdraw(store)
        for shard in range(len(shards)):
            launched.state_file(store, shard).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"the sweep folder {store} cannot be written: {error}") from error
    _Following(store, pending, shards, observer, slurm=slurm).run(launch)


class _Following:
    def __init__(
        self,
        store: SweepFolder,
        pending: Sequence[JobSpec],
        shards: Sequence[Sequence[JobSpec]],
        observer: Onlooker,
        *,
        slurm: bool,
    ) -> None:
        self._store, self._shards, self._observer = store, shards, observer
        self._results = _Results(store, pending, observer)
        self._told: set[int] = set()  # shards of which it was said that they failed
        self._cautioned: set[str] = set()
        self._queue = _Queue(store) if slurm else None
        self._error: BaseException | None = None

    def run(self, launch: Callable[[], object]) -> None:
        thread = threading.Thread(target=self._launch, args=(launch,), daemon=True)
        wake, alarm = os.pipe()
        for end in (wake, alarm):
            os.set_blocking(end, False)
        heard, until = 0, 0.0
        with Interrupts(alarm, self._store) as interrupts:
            thread.start()
            while True:
                began = time.monotonic()
                interrupts.hear()  # Ray's own way is to abort the process
                told = min(interrupts.count, 2)
                if told > heard:
                    heard = told
                    self._pass_on(at_once=told > 1)
                    until = began + ENDING_S
                self._results.look()
                self._tell_of_shards()
                if not thread.is_alive() and not self._run_on():
                    break
                if heard > 1 and time.monotonic() > until and not self._kill():
                    break
                ready, _, _ = select.select([wake], [], [], max(LOOK_S, (time.monotonic() - began) / SHARE))
                if ready:
                    os.read(wake, 4096)
        for end in (wake, alarm):
            os.close(end)
        for process in multiprocessing.active_children():  # joblib keeps its, and the end of this one waits for them
            process.terminate()
        self._results.look(last=True)
        self._tell_of_shards(last=True)

    def _launch(self, launch: Callable[[], object]) -> None:
        """Ctrl-C in a terminal goes to all that a launcher starts there, but for those that have it blocked."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            launch()
        except BaseException as error:  # noqa: BLE001 - of whoever wrote the launcher
            self._error = error

    def _run_on(self) -> bool:
        """Return whether shards still run, or wait in a queue, after the launcher has given up."""
        if self._error is None:
            return False
        if self._alive() or holder(self._store) is not None:
            return True
        return self._queue is not None and self._queue.has_any()

    def _pass_on(self, *, at_once: bool) -> None:
        if at_once or not self._store.stop.exists():
            with contextlib.suppress(OSError):  # a full disk: the batch system's commands are left, and `_kill`
                ask(self._store, at_once=at_once)
        self._observer.interrupted(at_once=at_once)
        if self._queue is not None:
            self._queue.cancel(waiting=not at_once)

    def _kill(self) -> bool:
        """Kill the shards of this machine that did not end when they were told to; return whether there were any."""
        alive = self._alive()
        for process in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return bool(alive)

    def _alive(self) -> list[int]:
        """Return the processes of shards that are seen to run on this machine."""
        found = [launched.state(self._store, shard) for shard in range(len(self._shards))]
        return [state.process for state in found if state is not None and state.is_alive]

    # -- what became of shards

    def _tell_of_shards(self, *, last: bool = False) -> None:
        """Say of each shard that failed, once, why; at last of those, too, of which only the launcher knows."""
        absent, begun = [], 0
        for shard in range(len(self._shards)):
            state = launched.state(self._store, shard)
            begun += state is not None
            if state is None:
                absent.append(shard)
                continue
            name = f"shard {shard + 1}/{len(self._shards)} on {state.host}"
            for caution in state.cautions:
                if caution not in self._cautioned:
                    self._cautioned.add(caution)
                    self._observer.of_shard(f"{name}: {caution}", ())
            if state.failure or (last and not state.ended):
                self._lost(shard, name, state.failure or self._ended_with())
        if last and self._error is not None and not begun:
            raise UsageError(f"the launcher failed: {_words(self._error)}") from self._error
        if last and self._error is not None and absent:
            names = some([f"{shard + 1}/{len(self._shards)}" for shard in absent], 5)
            self._observer.of_shard(f"not begun, for the launcher ended before: shard {names}", ())

    def _lost(self, shard: int, name: str, why: str) -> None:
        if shard in self._told:
            return
        self._told.add(shard)
        left = [job for job in self._shards[shard] if not self._store.result_file(job.id).exists()]
        if left:
            log = launched.log_file(self._store, shard)
            text = f"{name}: {why}; {plural(len(left), 'job')} of {len(self._shards[shard])} not run; its log: {log}"
            self._observer.of_shard(text, left)

    def _ended_with(self) -> str:
        if self._error is None:
            return "it has not ended, as far as can be seen"
        return f"the launcher ended it: {_words(self._error)}"


def _words(error: BaseException) -> str:
    return first_sentence(str(error)).rstrip(".") or type(error).__name__


class _Results:
    """Tells an observer what the folder shows of jobs: that one was started, and its result, once."""

    def __init__(self, store: SweepFolder, jobs: Sequence[JobSpec], observer: Onlooker) -> None:
        self._store, self._observer = store, observer
        self._open = {job.id: job for job in jobs}
        names = self._names()
        self._started = {name: _stamp(store.job_file(name)) for name in names}
        self._before = {name: _stamp(store.result_file(name)) for name in names}

    def look(self, *, last: bool = False) -> None:
        """A result that says `infrastructure` may be replaced by that of another attempt: it is told at last."""
        for name in self._names():
            job = self._open[name]
            begun = _stamp(self._store.job_file(name))
            if begun is not None and begun != self._started.get(name):
                self._started[name] = begun
                self._observer.started(job)
            written = _stamp(self._store.result_file(name))
            if written is None or written == self._before.get(name):
                continue
            result = self._store.read_result(name)
            if isinstance(result, JobResult) and (last or result.status != INFRASTRUCTURE):
                del self._open[name]
                self._observer.finished(job, result)

    def _names(self) -> list[str]:
        try:
            return [name for name in os.listdir(self._store.jobs) if name in self._open]
        except OSError:
            return []


def _stamp(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None


class _Queue:
    """The jobs that submitit gives to Slurm, from now on."""

    def __init__(self, store: SweepFolder) -> None:
        self._folder = store.root / QUEUE
        self._earlier = set(self._jobs())
        self._asked, self._any = 0.0, False

    def _jobs(self) -> list[str]:
        try:
            return [name for name in os.listdir(self._folder) if name[:1].isdigit()]
        except OSError:
            return []

    def _ids(self) -> list[str]:
        return sorted(set(self._jobs()) - self._earlier)

    def has_any(self) -> bool:
        """Return whether Slurm has one that runs or waits."""
        if time.monotonic() - self._asked > QUEUE_S:
            self._asked = time.monotonic()
            self._any = bool(self._say("squeue", "--noheader", f"--jobs={','.join(self._ids())}"))
        return self._any

    def cancel(self, *, waiting: bool) -> None:
        """Cancel them; `waiting`: only those that have not begun."""
        self._say("scancel", *(["--state=PENDING"] if waiting else []), *self._ids())

    def _say(self, command: str, *arguments: str) -> str:
        """Return what a command of Slurm's prints; nothing where there is no job, or no such command."""
        if not self._ids() or shutil.which(command) is None:
            return ""
        told = subprocess.run([command, *arguments], capture_output=True, text=True, check=False, timeout=60)
        return told.stdout.strip() if told.returncode == 0 else ""
