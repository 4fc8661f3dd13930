"""Which ready job starts next, beside what runs. Knows the agenda, cores and memory; no processes, no files.

What times something runs alone. What times nothing (`orchestrator.execution.agenda.is_shareable`) runs side by side, as
far as there is room (`Room`), and in batches: each change between the two waits for the slowest job that still runs.
So it is on each slot of the machine (`Lane`); some jobs wait for all slots, and these for them (`Lanes`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from orchestrator import capacity
from orchestrator.execution.agenda import PEAK, Agenda, is_shareable
from orchestrator.execution.death import Attempt
from orchestrator.execution.devices import Turn
from orchestrator.execution.slots import Slot
from orchestrator.execution.toolchain import Preparation
from orchestrator.records import JobResult, JobSpec, fingerprint

BATCH_S = 600.0
"""So long a job that times something, and is ready and first in the plan, waits for those that time nothing."""
SEEN_MARGIN = 1.5
"""What a job may take of what another of the same workload was seen to take: a judged one also holds the reference."""
COMPILER_BYTES = 0.45 * 2**30
"""Of a process that compiles: g++ with inductor's headers."""
UNKNOWN_BYTES = 2.0 * 2**30
"""Of a job of which nothing is known: the plan of an earlier version has no estimate."""

Bytes = Callable[[], int]
Held = Callable[[JobSpec], int]


class Room:
    """How many jobs fit side by side on this machine.

    parallel: `execution.parallel`. available: the memory that is left now, in bytes; held: what a running job, with all
    that it started, has of it. is_part: of a slot that is only a part of the machine, which has so many `cores`.
    """

    def __init__(
        self,
        parallel: int | str,
        held: Held,
        available: Bytes = capacity.available_memory,
        cores: int | None = None,
        is_part: bool = False,
    ) -> None:
        self._parallel, self._held, self._available = parallel, held, available
        self._cores = capacity.cores() if cores is None else cores
        self._is_part = is_part
        self._seen: dict[str, int] = {}  # workload -> the most that a job of it was seen to take, in bytes

    def slots(self, job: JobSpec) -> int:
        """Return how many jobs like this one run side by side, as far as cores go.

        `auto`: as many as have cores for their threads, and one on a GPU: nobody knows what of its memory they take.
        """
        if isinstance(self._parallel, int):
            return self._parallel
        return 1 if _gpu(job) else max(1, self._cores // (job.workload.threads * job.workload.ranks))

    def compile_threads(self, job: JobSpec) -> int | None:
        """Return the processes or threads with which a job may compile, None for the compiler's own number.

        Inductor takes one for each core it sees, up to 32: as many in every job that runs beside others.
        """
        slots = self.slots(job) if is_shareable(job) else 1
        return None if slots == 1 and not self._is_part else max(1, self._cores // slots)

    def has(self, job: JobSpec, running: Sequence[JobSpec], elsewhere: Sequence[JobSpec] = ()) -> bool:
        """Return whether a job fits beside those that run, here and on other slots. Alone each does."""
        if running and not self._has_cores(job, running):
            return False
        return not (running or elsewhere) or self.has_memory(job, [*running, *elsewhere])

    def saw(self, job: JobSpec, result: JobResult) -> None:
        """Note the memory that a job took, by the gist of its result."""
        peak = result.facts.get(PEAK)
        if peak is not None:
            workload = fingerprint(job.workload)
            self._seen[workload] = max(peak, self._seen.get(workload, 0))

    def _has_cores(self, job: JobSpec, running: Sequence[JobSpec]) -> bool:
        if isinstance(self._parallel, int):
            return len(running) < self._parallel
        if _gpu(job) and any(job.workload.device == one.workload.device for one in running):
            return False
        return sum(one.workload.threads * one.workload.ranks for one in (job, *running)) <= self._cores

    def has_memory(self, job: JobSpec, running: Sequence[JobSpec]) -> bool:
        """Return whether there is memory for a job beside those that run: what they have not taken yet is not free."""
        to_come = sum(max(0.0, self._bytes(one) - self._held(one)) for one in running)
        return self._bytes(job) + to_come <= self._available()

    def _bytes(self, job: JobSpec) -> float:
        """Return what a job will take: by what another of its workload was seen to take, else as it was planned."""
        compilers = 0.0 if job.is_eager else COMPILER_BYTES * (self.compile_threads(job) or 1)
        seen = self._seen.get(fingerprint(job.workload))
        return compilers + (job.memory_bytes or UNKNOWN_BYTES if seen is None else seen * SEEN_MARGIN)


class Policy:
    """Chooses among the ready jobs.

    urgency: with a budget, how much a timed job matters (`Evidence.urgency`): first comes round 0 of everything, then
    the round that matters most; nothing is put off until it fills a batch. None: in plan order.
    slot: whose jobs it chooses.
    """

    def __init__(
        self,
        room: Room,
        clock: Callable[[], float] = time.monotonic,
        urgency: Callable[[JobSpec], float] | None = None,
        slot: int = 0,
    ) -> None:
        self.room, self._clock, self._urgency, self._slot = room, clock, urgency, slot
        self._batch_began = 0.0

    def choose(self, agenda: Agenda, running: Sequence[JobSpec], elsewhere: Sequence[JobSpec] = ()) -> JobSpec | None:
        """Return the job that starts now; None to wait for one of those that run, or because nothing is ready.

        running: on this slot; elsewhere: on the others.
        """
        job = self._next(agenda, running)
        return job if job is not None and self.room.has(job, running, elsewhere) else None

    def _next(self, agenda: Agenda, running: Sequence[JobSpec]) -> JobSpec | None:
        shareable, alone = agenda.first(shareable=True, slot=self._slot), self._first_alone(agenda)
        if not running:
            self._batch_began = self._clock()
            if shareable is None or alone is None:
                return shareable or alone
            first = min(shareable, alone, key=self._key(agenda))
            fills = agenda.fills(self.room.slots(shareable), self._slot)
            return first if self._urgency is not None or fills else alone
        if shareable is None or not all(map(agenda.shares, running)):
            return None
        is_over = self._clock() - self._batch_began >= BATCH_S
        if is_over and alone is not None and agenda.place(alone) < agenda.place(shareable):
            return None
        return shareable

    def _first_alone(self, agenda: Agenda) -> JobSpec | None:
        if self._urgency is None:
            return agenda.first(shareable=False, slot=self._slot)
        return min(agenda.ready_alone(self._slot), key=self._key(agenda), default=None)

    def _key(self, agenda: Agenda) -> Callable[[JobSpec], tuple[int, float, int]]:
        urgency = self._urgency
        if urgency is None:
            return lambda job: (0, 0.0, agenda.place(job))
        return lambda job: (int(job.round > 0), -urgency(job) if job.round else 0.0, agenda.place(job))


@dataclass
class Lane:
    """One slot: what chooses its jobs, and the job that is to start and waits for its device and its toolchain."""

    slot: Slot
    policy: Policy
    next: tuple[JobSpec, Turn, Preparation] | None = None

    def leave(self) -> None:
        """Give up the job that is to start."""
        if self.next is not None:
            for way in self.next[1:]:
                way.leave()
            self.next = None


class Lanes:
    """All of them. `attempts` has at any time what runs; `ready` returns whether a job's toolchain is there."""

    def __init__(
        self,
        slots: Sequence[Slot],
        agenda: Agenda,
        attempts: Collection[Attempt],
        ready: Callable[[JobSpec], bool],
        *,
        parallel: int | str,
        held: Held,
        urgency: Callable[[JobSpec], float] | None,
    ) -> None:
        self._agenda, self._attempts, self._ready = agenda, attempts, ready
        self._whole: Lane | None = None  # whose next job has the machine to itself
        self.all = []
        for slot in slots:
            cores = capacity.cores(slot.cpus) // (1 if slot.cpus else len(slots))
            room = Room(parallel, held, cores=max(1, cores), is_part=slot.is_part)
            self.all.append(Lane(slot, Policy(room, urgency=urgency, slot=slot.number)))

    @property
    def wait(self) -> bool:
        """Whether a job is to start, and waits."""
        return any(lane.next for lane in self.all)

    def choose(self, lane: Lane) -> JobSpec | None:
        """Return the job that a slot starts now, None to wait."""
        here = [attempt.job for attempt in self._attempts if attempt.slot == lane.slot.number]
        elsewhere = [attempt.job for attempt in self._attempts if attempt.slot != lane.slot.number]
        return lane.policy.choose(self._agenda, here, elsewhere)

    def must_wait(self, lane: Lane) -> bool:
        """Return whether a slot starts nothing now, because of what must be alone on the machine.

        That runs, or is to run: then what waits for its device already goes first, and nothing new is chosen.
        """
        if self._whole is None or self._whole.next is None:
            self._whole = next((one for one in self.all if one.next and self._needs_all(one.next[0])), None)
        if any(self._agenda.lonely(attempt.job) for attempt in self._attempts):
            return True
        if lane.next is None:
            return self._whole is not None
        return self._needs_all(lane.next[0]) and (lane is not self._whole or bool(self._attempts))

    def saw(self, job: JobSpec, seen: JobResult) -> None:
        """Note the memory that a job took, by the gist of its result."""
        for lane in self.all:
            lane.policy.room.saw(job, seen)

    def _needs_all(self, job: JobSpec) -> bool:
        """How long a toolchain takes is measured, and what failed beside others is run again alone."""
        return not self._ready(job) or self._agenda.lonely(job)


def _gpu(job: JobSpec) -> bool:
    return job.workload.device != "cpu"
