"""How the shards of a sweep are run: one in this process, or several in other places, by one of Hydra's launchers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, read_write

from orchestrator.errors import UsageError
from orchestrator.execution import launched
from orchestrator.execution import shard as shards
from orchestrator.execution.follow import follow
from orchestrator.execution.observer import Observer, Onlooker, PlainObserver
from orchestrator.execution.planned import PlannedSweep
from orchestrator.execution.settings import Settings
from orchestrator.planning.overrides import quoted
from orchestrator.planning.points import Point
from orchestrator.planning.shards import cost, cut
from orchestrator.records import JobSpec
from orchestrator.store import JobGraph, SweepFolder

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
SLURM = "SlurmLauncher"
"""What the class of a launcher is called that submits to Slurm by submitit."""


@dataclass(frozen=True)
class Launching:
    """The launcher that a sweep's configuration names. Raises UsageError for shards that it cannot run."""

    config: DictConfig

    def __post_init__(self) -> None:
        count = self.config.execution.shards
        if count < 1:
            raise UsageError(f"execution.shards={count}: it must be at least 1")
        if count > 1 and self.is_here:
            raise UsageError(
                f"execution.shards={count} needs a launcher that runs shards elsewhere, as hydra/launcher=joblib does; "
                "by hand, run the same command with shard=1/2 and shard=2/2 on two machines"
            )

    @property
    def is_here(self) -> bool:
        """True when the launcher runs its one shard in this process."""
        return bool(self.config.hydra.launcher._target_ == BASIC_LAUNCHER)

    def ask_for_machine(self, points: Sequence[Point]) -> None:
        """Raise UsageError where a shard's device or threads would be those of this machine, which does not run it."""
        unsaid = ["device=cuda" for point in points if point.device == "auto"][:1]
        unsaid += ["threads=8" for point in points if point.threads is None][:1]
        if unsaid:
            name = self.config.hydra.runtime.choices["hydra/launcher"]
            raise UsageError(
                f"hydra/launcher={name}: jobs will run in other places than this, and what is not said would "
                f"be as it is here; say what they have there, as in {' '.join(unsaid)} (docs/cluster.md)"
            )

    def shards(self, graph: JobGraph) -> tuple[Sequence[Sequence[JobSpec]], list[str]]:
        """Return the jobs of each shard, and where a launcher's limit of time is shorter than the longest of them.

        The limit is submitit's, an hour by default.
        """
        made = cut(graph, self.config.execution.shards, empty=False)
        limit, longest = self.config.hydra.launcher.get("timeout_min"), max(map(cost, made)) / 60
        if not isinstance(limit, (int, float)) or longest <= limit:
            return made, []
        return made, [
            f"the longest shard takes about {longest:.0f} min, and hydra.launcher.timeout_min={limit} ends it: ask for "
            "more, or for more shards"
        ]

    def launch(
        self, planned: PlannedSweep, context: HydraContext, observer: Onlooker | None = None
    ) -> Sequence[JobReturn]:
        """Run the shards of a written plan and return when all have ended. Raises UsageError, and what a job of this
        process raised; what became of shards that ran elsewhere is told.

        `observer` is told of every job, and of shards that failed.
        """
        count = max(len(planned.shards), 1)
        with read_write(self.config.hydra.sweep):
            self.config.hydra.sweep.dir = str(planned.folder)
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context,
            task_function=functools.partial(run_shard, observer=observer) if self.is_here else run_elsewhere,
            config=self.config,
        )
        folder = quoted(str(planned.folder))
        place = f"hydra.sweep.dir={folder}"  # Hydra composes anew for each: it would make up another folder
        batch = [[place, f"shard_job={{folder:{folder},index:{index},of:{count}}}"] for index in range(count)]
        returns: list[JobReturn] = []

        def launch() -> None:
            returns.extend(launcher.launch(batch, initial_job_idx=0))
            for done in returns:
                if done.status == JobStatus.FAILED:
                    raise done._return_value  # `.return_value` would print to stderr and raise as well

        if self.is_here:
            launch()
        else:
            slurm = self.config.hydra.launcher._target_.endswith(f".{SLURM}")
            pending = planned.pending().jobs
            follow(planned.folder, pending, planned.shards, launch, observer or PlainObserver(), slurm=slurm)
        return returns


def run_shard(config: DictConfig, observer: Observer | None = None) -> None:
    """The Hydra task: run one shard of a sweep folder, with the settings that its sweep.json has."""
    job = config.shard_job
    settings = Settings.of(SweepFolder(job.folder).read_sweep().points)
    shards.run_shard(job.folder, job.index, job.of, settings, observer)


def run_elsewhere(config: DictConfig) -> None:
    """The Hydra task of launchers that start other processes: run one shard, however it ends."""
    job = config.shard_job
    launched.run(SweepFolder(job.folder), job.index, job.of)
