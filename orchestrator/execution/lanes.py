"""The slots of a machine while a sweep runs on them: what each starts next, and when it has to wait for the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from orchestrator import capacity
from orchestrator.execution.agenda import Agenda
from orchestrator.execution.death import Attempt
from orchestrator.execution.devices import Turn
from orchestrator.execution.policy import Held, Policy, Room
from orchestrator.execution.slots import Slot
from orchestrator.execution.toolchain import Preparation
from orchestrator.records import JobResult, JobSpec


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
    """All of them. `attempts` returns what runs, `ready` whether a job's toolchain is there."""

    def __init__(
        self,
        slots: Sequence[Slot],
        agenda: Agenda,
        attempts: Callable[[], Iterable[Attempt]],
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
        here = [attempt.job for attempt in self._attempts() if attempt.slot == lane.slot.number]
        elsewhere = [attempt.job for attempt in self._attempts() if attempt.slot != lane.slot.number]
        return lane.policy.choose(self._agenda, here, elsewhere)

    def must_wait(self, lane: Lane) -> bool:
        """Return whether a slot starts nothing now, because of what must be alone on the machine.

        That runs, or is to run: then what waits for its device already goes first, and nothing new is chosen.
        """
        if self._whole is None or self._whole.next is None:
            self._whole = next((one for one in self.all if one.next and self._needs_all(one.next[0])), None)
        running = list(self._attempts())
        if any(self._agenda.lonely(attempt.job) for attempt in running):
            return True
        if lane.next is None:
            return self._whole is not None
        return self._needs_all(lane.next[0]) and (lane is not self._whole or bool(running))

    def saw(self, job: JobSpec, seen: JobResult) -> None:
        """Note the memory that a job took, by the gist of its result."""
        for lane in self.all:
            lane.policy.room.saw(job, seen)

    def _needs_all(self, job: JobSpec) -> bool:
        """How long a toolchain takes is measured, and what failed beside others is run again alone."""
        return not self._ready(job) or self._agenda.lonely(job)
