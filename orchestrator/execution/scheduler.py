"""Runs the jobs of a sweep folder: each in a fresh process, as the edges and the machine allow, whatever they do.

Every job that is taken up ends with exactly one result file: the worker's, or one written here that says what became
of the process. Jobs with a valid result are not run again, so running a folder twice is how a sweep is resumed.

Which job starts next, and beside which others, is the policy's to say (`orchestrator.execution.policy`). A job that
times something has its slot to itself (`orchestrator.execution.slots`: the machine, or a part of it), and its device
even if others run a sweep on this machine (`orchestrator.execution.devices`). The scheduler blocks while jobs run, but
for a look once a second whether it shall stop: it costs them nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from orchestrator import capacity, system
from orchestrator.batons import Pipes
from orchestrator.errors import UsageError
from orchestrator.execution import space
from orchestrator.execution.agenda import Agenda, gist
from orchestrator.execution.budget import Budget
from orchestrator.execution.builds import Interpreter
from orchestrator.execution.death import (
    Attempt,
    may_be_chance,
    may_be_neighbours,
    may_starve,
    result_of_death,
    verdict_result,
)
from orchestrator.execution.devices import Devices, Turn
from orchestrator.execution.environment import job_environment, worker_environment
from orchestrator.execution.evidence import Evidence
from orchestrator.execution.interrupts import LOOK_S, Interrupts
from orchestrator.execution.observer import Observer
from orchestrator.execution.policy import Lane, Lanes
from orchestrator.execution.processes import Event, Launch, Processes
from orchestrator.execution.scratch import Scratch, Temporary, clear
from orchestrator.execution.settings import Settings
from orchestrator.execution.slots import check_jobs, slots_of
from orchestrator.execution.standing import standing_results
from orchestrator.execution.toolchain import Preparation, Toolchains
from orchestrator.records import (
    HARMLESS,
    INFRASTRUCTURE,
    TIMED,
    Build,
    JobResult,
    JobSpec,
)
from orchestrator.store import SweepFolder

CODE = {"PYTHONPATH"}  # with it alone, jobs are forks of a server that finds code there, too
DUMP_S = 0.2  # for a process that is killed for its time-out to write its stacks into its log
KILL_S = 30.0  # for a killed process group to be gone; then its server is killed too
OUT_OF_TIME = "budget"  # why a process was killed: the sweep's budget was over
POLL_S = 0.1  # between looks at a device that somebody else has: the kernel tells nobody that it is free


class Scheduler:
    """Runs `jobs` (in plan order, each behind those it needs) of the folder `store`; `builds`: all that they name."""

    def __init__(
        self,
        store: SweepFolder,
        jobs: Sequence[JobSpec],
        settings: Settings,
        observer: Observer,
        processes: Processes,
        builds: Mapping[Build, Interpreter] = MappingProxyType({}),
    ) -> None:
        self._store, self._settings, self._observer, self._processes = store, settings, observer, processes
        results = standing_results(store, jobs)
        pending = [job for job in jobs if job.id not in results]
        space.check(store, pending, settings.disk_reserve_mib, keep_references=settings.keep_references)
        slots = slots_of(settings.devices, settings.cpu_sets)
        check_jobs(slots, pending)
        self._agenda = Agenda(jobs, results, len(slots))
        with _writing(store, "what an earlier run left cannot be removed from"):
            self._scratch = Scratch(
                store, jobs, pending, keep_caches=settings.keep_caches, keep_references=settings.keep_references
            )
        self._temporary = Temporary(store, jobs)
        self._builds = {build: found.variables for build, found in builds.items()}
        self._toolchains = Toolchains(worker_environment(settings.online), builds=self._builds)
        self._devices = Devices(store, enabled=settings.device_lock)
        self._evidence = Evidence(jobs, settings.rounds_min, settings.effect_threshold)
        self._budget = Budget(settings.budget_s, results.values())
        self._attempts: dict[str, Attempt] = {}
        self._lanes = Lanes(
            slots,
            self._agenda,
            self._attempts.values(),
            self._toolchains.has,
            parallel=settings.parallel,
            held=lambda job: processes.memory(job.id),
            urgency=None if settings.budget is None else self._evidence.urgency,
        )
        for job in jobs:
            if job.id in results:
                self._lanes.saw(job, results[job.id])
                found = store.read_result(job.id) if job.kind == TIMED else None  # with its samples
                if isinstance(found, JobResult):
                    self._evidence.saw(job, found)
                    self._budget.saw(job, found)
                    for slot in slots:
                        if slot.facts() == found.facts.get("slot"):  # the rest is compared with it
                            self._agenda.open(job, slot.number)
        self._open = -1
        self._tried: dict[str, int] = {}  # of jobs that are to be run again alone: how often they were
        self._stopping = False
        self._shortage: str | None = None

    def run(self) -> None:
        """Run until nothing is left or an interrupt says stop. Jobs that were not run then have no result.

        Raises UsageError when results cannot be written, or when the disk is nearly full.
        """
        with Interrupts(self._processes.alarm, self._store) as interrupts, contextlib.ExitStack() as leaving:
            leaving.callback(self._leave)
            self._tell_open()
            while True:
                told = interrupts.count
                if told > 1:
                    self._observer.interrupted(at_once=True)
                    return
                if told == 1 and not self._stopping:
                    self._stopping = True
                    self._observer.interrupted(at_once=False)
                self._start_ready()
                if not self._attempts and not self._lanes.wait:
                    break
                for event in self._processes.wait(self._time_left()):
                    self._handle(event)
                self._expire()
        if self._shortage is not None:
            raise UsageError(self._shortage)

    # -- starting

    def _start_ready(self) -> None:
        while not self._stopping and any(self._advance(lane) for lane in self._lanes.all):
            pass
        if self._stopping:
            self._leave_next()

    def _advance(self, lane: Lane) -> bool:
        """Start the next job of a slot, or settle one that needs no process; return whether there was one."""
        if self._stopping or self._lanes.must_wait(lane):
            return False
        if lane.next is None:
            job = self._lanes.choose(lane)
            if job is None:
                return False
            self._agenda.take(job, lane.slot.number)
            result = self._known(job)
            if result is not None:
                self._write(result)
                self._finish(job, result)
                return True
            if not self._budget.fits(job):
                self._observer.out_of_time(job)
                return True
            lane.next = job, self._devices.turn(job, lane.slot), Preparation(self._toolchains, job)
            if self._lanes.must_wait(lane):
                return False
        job, turn, preparation = lane.next
        if not (self._has_come(job, turn) and self._has_come(job, preparation)):
            return False
        other = self._in_turns_with(job, lane)
        if other is not None and not self._toolchains.has(other):
            lane.next = job, turn, Preparation(self._toolchains, other)
            return False
        lane.next = None
        if other is None:
            self._start(job, self._tried.get(job.id, 0) + 1, turn, lane.slot.number)
        else:
            self._start_in_turns((job, other), turn, lane.slot.number)
        return True

    def _in_turns_with(self, job: JobSpec, lane: Lane) -> JobSpec | None:
        """Return the job that takes turns with one that is to start, where it can start now, too."""
        other = self._agenda.in_turns_with(job, lane.slot.number)
        if other is None or self._known(other) is not None or not self._budget.fits(other):
            return None
        return other if lane.policy.room.has_memory(other, [job]) else None

    def _start_in_turns(self, jobs: tuple[JobSpec, JobSpec], turn: Turn, slot: int) -> None:
        """Start two jobs, of which one runs while the other waits; only the first where there can be no pipes."""
        names = (jobs[0].id, jobs[1].id)
        try:
            pipes = Pipes(self._temporary.fresh("-".join(names)), names)
        except OSError:
            self._start(jobs[0], 1, turn, slot)
            return
        self._agenda.take(jobs[1], slot)
        for job, way in zip(jobs, (turn, turn.shared()), strict=True):
            self._start(job, 1, way, slot, pipes)

    def _known(self, job: JobSpec) -> JobResult | None:
        """Return the result of a job for which no process is started; None of one that has to run."""
        if job.verdict:
            return verdict_result(job)
        return self._evidence.not_needed(job) or self._agenda.hopeless(job)

    def _tell_open(self) -> None:
        still_open = self._evidence.open_rows()
        if still_open != self._open:
            self._open = still_open
            self._observer.verdicts(still_open)

    def _has_come(self, job: JobSpec, way: Turn | Preparation) -> bool:
        """Return whether a job has its device, or its toolchain; say what it waits for."""
        before = way.reason
        has_come = way.come()
        if not has_come and way.reason != before:
            self._observer.waiting(job, way.reason)
        return has_come

    def _leave_next(self) -> None:
        for lane in self._lanes.all:
            lane.leave()

    def _start(self, job: JobSpec, number: int, turn: Turn, slot: int, pipes: Pipes | None = None) -> None:
        self._shortage = space.shortage(self._store, self._settings.disk_reserve_mib)
        if self._shortage is not None:
            turn.leave()
            self._pass_on(job, pipes)
            self._stopping = True
            return
        self._observer.started(job)
        now = time.monotonic()
        attempt = Attempt(
            job=job,
            number=number,
            turn=turn,
            began=time.time(),
            clock=now,
            deadline=now + self._settings.hang_s,
            log_start=0,
            oom_kills=capacity.oom_kills(),
            slot=slot,
            pipes=pipes,
        )
        for other in self._attempts.values():
            attempt.beside |= may_starve(attempt, other)
            other.beside |= may_starve(other, attempt)
        self._attempts[job.id] = attempt
        limit = self._settings.memory_limit_gib
        try:
            launch = Launch(
                job=job.id,
                folder=str(self._store),
                env=self._prepare(attempt),
                log=str(self._store.log_file(job.id)),
                memory_limit=None if limit is None else int(limit * 2**30),
                cpus=self._lanes.all[slot].slot.cpus,
            )
            variables = dict(self._builds[job.workload.build]) if job.workload.build else {}
            launcher = job.launcher
            if job.env.keys() <= CODE and number == 1:
                variables |= job.env
            elif job.env:  # torch has read its variables in the server; and what has killed a server would do so again
                launcher = "subprocess"
            self._processes.start(launcher, launch, variables, one_layout=self._agenda.takes_turns(job))
        except OSError as error:  # disk full, no process, ...
            self._end(attempt, None, f"could not be started: {error}")

    def _prepare(self, attempt: Attempt) -> dict[str, str]:
        """Leave nothing of an earlier attempt but its log; return the job's environment."""
        job = attempt.job
        clear(self._store, job)
        with contextlib.suppress(FileNotFoundError):
            attempt.log_start = self._store.log_file(job.id).stat().st_size
        cache = self._scratch.fresh_cache(job)
        self._toolchains.seed(cache, job)
        lane = self._lanes.all[attempt.slot]
        threads, artifacts = lane.policy.room.compile_threads(job), self._store.artifacts(job.id)
        temporary = self._temporary.fresh(job.id)
        environment = job_environment(cache, temporary, job, threads, artifacts, lane.slot.environment())
        if attempt.pipes is not None:
            environment |= attempt.pipes.environment(job.id)
        fraction = self._settings.memory_fraction
        return environment if fraction is None else {**environment, system.MEMORY_FRACTION: str(fraction)}

    # -- while they run

    def _time_left(self) -> float:
        deadlines = [attempt.deadline for attempt in self._attempts.values()]
        left = max(0.0, min(deadlines, default=math.inf) - time.monotonic())
        return min(left, POLL_S if self._lanes.wait else LOOK_S)

    def _handle(self, event: Event) -> None:
        attempt = self._attempts[event.job]
        if event.kind == "running":
            attempt.running = True
            most = attempt.job.timeout_s * (1 if attempt.pipes is None else 2)  # of which it waits for half
            attempt.deadline = min(time.monotonic() + most, self._budget.end or math.inf)
        elif event.kind in ("exited", "refused", "lost"):
            self._end(attempt, event.code, event.message)

    def _expire(self) -> None:
        now = time.monotonic()
        for attempt in [attempt for attempt in self._attempts.values() if attempt.deadline <= now]:
            if attempt.killed:
                self._processes.kill_server(attempt.job.id)
                attempt.deadline = math.inf
                continue
            if self._budget.is_over:
                attempt.killed = OUT_OF_TIME
            elif attempt.running:
                attempt.killed = "stopped" if self._processes.stopped(attempt.job.id) else "timeout"
            else:
                attempt.killed = "hang"
            attempt.deadline = now + KILL_S
            if attempt.killed == "timeout":
                self._processes.dump(attempt.job.id)
                time.sleep(DUMP_S)
            self._processes.kill(attempt.job.id)

    # -- ending

    def _end(self, attempt: Attempt, code: int | None, message: str) -> None:
        """A worker's result stands, whatever became of the process after it; `infrastructure` is tried again, and alone
        what others may have caused that ran beside it.
        """
        job = attempt.job
        del self._attempts[job.id]
        self._pass_on(job, attempt.pipes)
        found = self._store.read_result(job.id)
        if isinstance(found, JobResult):
            result, chance = found, found.status == INFRASTRUCTURE
        elif attempt.killed == OUT_OF_TIME:
            attempt.turn.leave()
            self._temporary.finished(job.id)
            self._observer.out_of_time(job)
            return
        else:
            result = result_of_death(self._store, attempt, code, message, found)
            chance = result.status == INFRASTRUCTURE or may_be_chance(attempt, code)
        again = chance and attempt.number <= self._settings.retries
        if (again or may_be_neighbours(attempt, result.status)) and not self._stopping:
            if not attempt.beside and attempt.pipes is None:
                self._start(job, attempt.number + 1, attempt.turn, attempt.slot)
                return
            attempt.turn.leave()
            self._store.result_file(job.id).unlink(missing_ok=True)  # whoever stops the run now must not find it
            self._temporary.finished(job.id)
            self._tried[job.id] = attempt.number
            self._agenda.again(job)
            return
        attempt.turn.leave()
        result = dataclasses.replace(result, attempt=attempt.number)
        if result != found:
            self._write(result)
        self._finish(job, result)

    def _finish(self, job: JobSpec, result: JobResult) -> None:
        seen = gist(result)
        self._agenda.done(job, seen)
        self._lanes.saw(job, seen)
        self._evidence.saw(job, result)
        self._budget.saw(job, result)
        self._tell_open()
        with _writing(self._store, f"the shared folders of job {job.id} cannot be removed from"):
            self._scratch.finished(job)
        self._temporary.finished(job.id)
        self._observer.finished(job, result)
        if self._settings.stop_on_failure and result.status not in HARMLESS:
            self._stopping = True

    def _leave(self) -> None:
        """Give back the devices of what still runs, or waits, when the run is broken off."""
        for attempt in self._attempts.values():
            self._processes.kill(attempt.job.id)
            attempt.turn.leave()
            self._pass_on(attempt.job, attempt.pipes)
            self._temporary.finished(attempt.job.id)
        self._leave_next()

    def _pass_on(self, job: JobSpec, pipes: Pipes | None) -> None:
        """Leave the rest of the time to the job that took turns with one that is gone."""
        if pipes is not None and pipes.ended(job.id):
            self._temporary.finished(pipes.folder.name)

    def _write(self, result: JobResult) -> None:
        with _writing(self._store, f"the result of job {result.job_id} cannot be written into"):
            self._store.write_result(result)


@contextlib.contextmanager
def _writing(store: SweepFolder, what: str) -> Iterator[None]:
    """Turn what a full or read-only disk raises into a UsageError that begins with `what`."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{what} {store}: {error}. What is there stays valid: repair this, then resume the sweep"
        ) from error
