"""A sweep between planning and running: what is known of it, and how its folder is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.execution import space
from orchestrator.execution.ownership import claim, is_own
from orchestrator.execution.settings import Settings
from orchestrator.planning import provenance
from orchestrator.records import INFRASTRUCTURE, NOT_RUN, JobResult, JobSpec
from orchestrator.store import JobGraph, Sweep, SweepFolder, own_jobs


@dataclass(frozen=True)
class PlannedSweep:
    """A plan and the folder that is, or will be, its home. Nothing is written yet."""

    folder: SweepFolder
    graph: JobGraph
    header: Sweep
    conf: Sequence[tuple[str, Path]]  # provider and folder of the configuration that was composed
    dry_run: bool
    resumed: bool
    cautions: Sequence[str] = ()  # what the machine that it was planned on lacks
    slots: int = 1  # of the machine that it is run on
    shards: Sequence[Sequence[JobSpec]] = ()  # that a launcher runs elsewhere; (): all is run in this process

    def pending(self) -> JobGraph:
        """Return the jobs that have no valid result yet: all of them, unless the sweep is resumed."""
        return JobGraph(tuple(job for job in self.own.jobs if not self._has_result(job.id)))

    @property
    def own(self) -> JobGraph:
        """The jobs that are run here: with shard= those of its part."""
        return own_jobs(self.graph, self.header)

    def _has_result(self, job_id: str) -> bool:
        result = self.folder.read_result(job_id)
        return isinstance(result, JobResult) and result.status not in (INFRASTRUCTURE, NOT_RUN)

    def write(self) -> None:
        """Write plan, header and a copy of the configuration.

        Raises UsageError when that is not possible, or when the disk has surely too little room for the sweep.
        """
        own = not self.resumed or is_own(self.folder)
        settings = Settings.of(self.header.points)
        space.check(
            self.folder, self.pending().jobs, settings.disk_reserve_mib, keep_references=settings.keep_references
        )
        try:
            self.folder.root.mkdir(parents=True, exist_ok=True)
            header = self.header
            if not self.resumed:
                copied = provenance.copy_conf(self.conf, self.folder.conf)
                header = replace(header, environment={**header.environment, "conf": copied})
            self.folder.write_plan(header, self.graph)
        except OSError as error:
            raise UsageError(f"the sweep folder {self.folder} cannot be written: {error}") from error
        if own:
            claim(self.folder)
