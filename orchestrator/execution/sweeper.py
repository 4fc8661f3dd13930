"""The Hydra sweeper: from a command line to a planned sweep folder, and from there to Hydra's launcher.

`sweep` is what Hydra calls. It is three steps that can be had one by one, because a person wants to see the plan
between them, and the layer that shows things stands above this one: `plan`, `write`, `launch`.
"""

from __future__ import annotations

import functools
import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, ListConfig, OmegaConf, read_write

from orchestrator.capacity import cores
from orchestrator.errors import UsageError
from orchestrator.execution import launched
from orchestrator.execution import shard as shards
from orchestrator.execution.follow import follow
from orchestrator.execution.observer import Observer, Onlooker, PlainObserver
from orchestrator.execution.planned import PlannedSweep
from orchestrator.execution.settings import Settings
from orchestrator.execution.slots import Slot, cautions, check_jobs, slots_of
from orchestrator.planning import grid, machine, provenance
from orchestrator.planning.compose import compose, explained_values
from orchestrator.planning.composer import FEW, Composer
from orchestrator.planning.outputs import as_stored, with_outputs
from orchestrator.planning.overrides import quoted
from orchestrator.planning.plan import plan
from orchestrator.planning.points import RANDOMIZE, Point, PointReader
from orchestrator.planning.resume import expect_same
from orchestrator.planning.selection import check_values
from orchestrator.planning.shards import by_hand, cost, cut
from orchestrator.records import JobSpec
from orchestrator.store import MODELS, Sweep, SweepFolder, check_size, find_sweep, own_jobs

OUTPUTS = Path("outputs")
SILENT_POINTS = 2000
"""More grid points take long enough to compose that it is said."""
BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
SLURM = "SlurmLauncher"
"""What the class of a launcher is called that submits to Slurm by submitit."""


class GraphSweeper(Sweeper):
    """Plans a job graph and gives its shards to the configured launcher.

    params: axes that are swept when nothing else is said (hydra.sweeper.params). `argv` is what the person wrote,
    kept in the sweep's header.
    """

    def __init__(self, params: DictConfig) -> None:
        super().__init__()
        self.params = _plain(params)
        self.argv: Sequence[str] = ()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config
        HydraConfig.instance().set_config(config)  # what ${hydra:...} in a configuration refers to

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        planned = self.plan(arguments)
        if planned.dry_run:
            return []
        planned.write()
        return self.launch(planned)

    @explained_values()
    def plan(self, arguments: Sequence[str]) -> PlannedSweep:
        """Return what the overrides ask for. Writes nothing; raises UsageError for anything that is not right."""
        here = machine.detect()
        self._check_shards()
        self._check_search_path()
        reader = PointReader()
        overrides = self._grid(arguments)
        composer = Composer(self._loader, self._config, in_pieces=len(overrides) > FEW)
        if len(overrides) > SILENT_POINTS:
            print(f"Composing {len(overrides):,} grid points, at about 1,000 a second", file=sys.stderr)
        confs = [composer.point(own) for own in overrides]
        points = [reader.read(conf) for conf in confs]
        settings = Settings.of(confs[:1])
        slots = slots_of(settings.devices, settings.cpu_sets) if self.runs_here else (Slot(),)
        here = replace(here, cores=min([here.cores, *(cores(slot.cpus) for slot in slots if slot.cpus)]))
        known = self._known_names(confs, points)
        for rules in {id(point.exclude): point.exclude for point in points}.values():
            check_values(rules, known)
        config = self._config
        graph = plan(points, here)
        if any(conf[RANDOMIZE] for conf in confs) and not any(job.measure.options.get(RANDOMIZE) for job in graph.jobs):
            raise UsageError(f"{RANDOMIZE}=true: no job of this sweep times a step; measure=performance does")
        if config.resume is None:
            other = None if config.compare_outputs is None else find_sweep(config.compare_outputs, OUTPUTS)
            graph = with_outputs(graph, bool(config.keep_outputs), other)
        check_jobs(slots, graph.jobs)
        shard: tuple[int, ...] = ()
        parts: tuple[int, ...] = ()
        if self._config.shard is not None:
            nobodys = [replace(point, device="cpu", threads=1) for point in points]
            shard, parts = by_hand(graph, self._config.shard, plan(nobodys, here))
        on_cuda = any(job.workload.device.startswith("cuda") for job in graph.jobs)
        if config.execution.memory_fraction is not None and not on_cuda:
            raise UsageError(
                "execution.memory_fraction: no job of this sweep runs on CUDA; execution.memory_limit_gib limits a "
                "process on the CPU"
            )
        header = Sweep(
            argv=tuple(self.argv),
            overrides=tuple(arguments),
            points=tuple(_without_catalog(conf) for conf in confs),
            created=time.time(),
            environment=provenance.environment(here),
            grid=tuple(overrides),
            shard=shard,
            parts=parts,
        )
        check_size(header, graph)
        folder, old = self._folder()
        if old is not None:
            expect_same(folder, graph)
            graph = as_stored(graph, folder.read_graph())
            if (shard, parts) != (old.shard, old.parts):
                raise UsageError(f"{folder} is another part of this plan: say shard= as then, or not at all")
            # execution.* may be new: it changes no figure
            header = replace(old, points=header.points, grid=header.grid)
        elsewhere: Sequence[Sequence[JobSpec]] = ()
        if self.runs_here:
            warned = [*here.cautions(graph.jobs), *cautions(slots)]
        else:
            if old is None:
                self._ask_for_machine(points)
            elsewhere = cut(own_jobs(graph, header), self._config.execution.shards, empty=False)
            warned = self._too_short(elsewhere)
        dry_run, conf = bool(self._config.dry_run), self._conf_folders()
        return PlannedSweep(folder, graph, header, conf, dry_run, old is not None, warned, len(slots), elsewhere)

    def launch(self, planned: PlannedSweep, observer: Onlooker | None = None) -> Sequence[JobReturn]:
        """Run the shards of a written plan and return when all have ended. Raises UsageError, and what a job of this
        process raised; what became of shards that ran elsewhere is told.

        `observer` is told of every job, and of shards that failed.
        """
        here, count = self.runs_here, max(len(planned.shards), 1)
        with read_write(self._config.hydra.sweep):
            self._config.hydra.sweep.dir = str(planned.folder)
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self._context,
            task_function=functools.partial(run_shard, observer=observer) if here else run_elsewhere,
            config=self._config,
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

        if here:
            launch()
        else:
            slurm = self._config.hydra.launcher._target_.endswith(f".{SLURM}")
            pending = planned.pending().jobs
            follow(planned.folder, pending, planned.shards, launch, observer or PlainObserver(), slurm=slurm)
        return returns

    @property
    def runs_here(self) -> bool:
        """True when the launcher runs its one shard in this process."""
        return bool(self._config.hydra.launcher._target_ == BASIC_LAUNCHER)

    @property
    def _config(self) -> DictConfig:
        assert self.config is not None
        return self.config

    @property
    def _context(self) -> HydraContext:
        assert self.hydra_context is not None
        return self.hydra_context

    @property
    def _loader(self) -> Any:
        return self._context.config_loader

    def _known_names(self, confs: Sequence[dict[str, Any]], points: Sequence[Point]) -> dict[str, set[str]]:
        """Return what can be named: options of the groups, what they call themselves, and models."""
        groups = ("suite", "compiler", "measure", "mode", "dtype")
        known = {group: set(self._loader.get_group_options(group)) for group in groups}
        for conf in confs:
            for group in groups:
                known[group].add(conf[group]["name"])
        for conf in confs:
            known["compiler"].add(f"{conf['compiler']['name']}+{conf['quantization']['name']}")
        known["mode"] |= {"inference", "training"}
        known["build"] = {conf["build"] for conf in confs}
        known["model"] = {model for conf in confs for model in conf["suite"]["catalog"]}
        known["model"] |= {model.name for point in points for model in point.suite.models}  # of open suites
        return known

    def _check_search_path(self) -> None:
        for place in self._config.hydra.searchpath:
            scheme, _, folder = str(place).rpartition("://")
            if scheme in ("", "file") and not Path(folder).is_dir():
                raise UsageError(f"hydra.searchpath: there is no folder {folder}")

    def _check_shards(self) -> None:
        count = self._config.execution.shards
        if count < 1:
            raise UsageError(f"execution.shards={count}: it must be at least 1")
        if count > 1 and self.runs_here:
            raise UsageError(
                f"execution.shards={count} needs a launcher that runs shards elsewhere, as hydra/launcher=joblib does; "
                "by hand, run the same command with shard=1/2 and shard=2/2 on two machines"
            )

    def _ask_for_machine(self, points: Sequence[Point]) -> None:
        """Raise UsageError where a shard's device or threads would be those of this machine, which does not run it."""
        unsaid = ["device=cuda" for point in points if point.device == "auto"][:1]
        unsaid += ["threads=8" for point in points if point.threads is None][:1]
        if unsaid:
            raise UsageError(
                f"hydra/launcher={self._launcher}: jobs will run in other places than this, and what is not said would "
                f"be as it is here; say what they have there, as in {' '.join(unsaid)} (docs/cluster.md)"
            )

    def _too_short(self, elsewhere: Sequence[Sequence[JobSpec]]) -> list[str]:
        """Say where a launcher's limit of time (submitit's, an hour by default) is shorter than the longest shard."""
        limit, longest = self._config.hydra.launcher.get("timeout_min"), max(map(cost, elsewhere)) / 60
        if not isinstance(limit, (int, float)) or longest <= limit:
            return []
        return [
            f"the longest shard takes about {longest:.0f} min, and hydra.launcher.timeout_min={limit} ends it: ask for "
            "more, or for more shards"
        ]

    @property
    def _launcher(self) -> str:
        return str(self._config.hydra.runtime.choices["hydra/launcher"])

    def _grid(self, arguments: Sequence[str]) -> Sequence[tuple[str, ...]]:
        """Return the distinct points; `experiment=a,b` is one sweep after the other, each with its own axes."""
        names = grid.swept_values(arguments, "experiment", self._loader)
        if not names:
            return grid.expand(arguments, self.params, *self._shape(self._config), self._loader)
        others = [argument for argument in arguments if not argument.startswith("experiment=")]
        points: dict[tuple[str, ...], None] = {}
        for name in names:
            own = [*others, f"experiment={name}"]
            hydra = as_written(self._config.hydra.overrides.hydra)
            config = compose(self._loader, self._config.hydra.job.config_name, [*hydra, *own])
            params = _plain(config.hydra.sweeper.params)
            points |= dict.fromkeys(grid.expand(own, params, *self._shape(config), self._loader))
        return list(points)

    @staticmethod
    def _shape(config: DictConfig) -> tuple[Any, Any]:
        return _list_of(config, "grids"), _list_of(config, "zip")

    def _folder(self) -> tuple[SweepFolder, Sweep | None]:
        """Return the folder of this sweep, and the header that it has when it is resumed."""
        if self._config.resume is not None:
            folder = find_sweep(self._config.resume, OUTPUTS)
            return folder, folder.read_sweep()
        wanted = Path(self._config.hydra.sweep.dir).absolute()
        free = (wanted.with_name(f"{wanted.name}-{n}") if n else wanted for n in itertools.count())
        return SweepFolder(next(path for path in free if _is_free(path))), None

    def _conf_folders(self) -> list[tuple[str, Path]]:
        """Return the folders of configuration files, and last the files that are named by their path."""
        sources = self._loader.get_search_path().get_path()
        found = [
            (source.provider, Path(source.path.partition("://")[2]))
            for source in sources
            if source.path.startswith(("file://", "experiments://"))
        ]
        return sorted(found, key=lambda source: source[1].is_file())


def run_shard(config: DictConfig, observer: Observer | None = None) -> None:
    """The Hydra task: run one shard of a sweep folder, with the settings that its sweep.json has."""
    job = config.shard_job
    settings = Settings.of(SweepFolder(job.folder).read_sweep().points)
    shards.run_shard(job.folder, job.index, job.of, settings, observer)


def run_elsewhere(config: DictConfig) -> None:
    """The Hydra task of launchers that start other processes: run one shard, however it ends."""
    job = config.shard_job
    launched.run(SweepFolder(job.folder), job.index, job.of)


def as_written(overrides: ListConfig) -> list[str]:
    """Return overrides as they were given: a "${...}" in one belongs to the points, and means nothing by itself."""
    return [str(override) for override in OmegaConf.to_container(overrides) or ()]


def _is_free(path: Path) -> bool:
    """Return whether a sweep can have this folder: there is none, or one that was made for it, with `models/` alone."""
    return not path.exists() or (path.is_dir() and [entry.name for entry in path.iterdir()] == [MODELS])


def _list_of(config: DictConfig, key: str) -> Any:
    """Return the list that a key has. Raises UsageError where an interpolation has made it something else."""
    value = config[key]
    if not isinstance(value, ListConfig):
        raise UsageError(f"{key} is {value!r}: it must be a list")
    return OmegaConf.to_container(value)


def _plain(params: DictConfig) -> dict[str, Any]:
    return {
        str(axis): OmegaConf.to_container(values) if OmegaConf.is_config(values) else values
        for axis, values in params.items()
    }


def _without_catalog(conf: dict[str, Any]) -> dict[str, Any]:
    """A hundred points with the same catalog would be a hundred copies: conf/ has the file, the plan what was used."""
    suite = {key: value for key, value in conf["suite"].items() if key not in ("catalog", "common")}
    return {**conf, "suite": suite}
