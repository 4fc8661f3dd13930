"""The Hydra sweeper: from a command line to a planned sweep folder, and from there to Hydra's launcher.

`sweep` is what Hydra calls. It is three steps that can be had one by one, because a person wants to see the plan
between them, and the layer that shows things stands above this one: `plan`, `write`, `launch`.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, ListConfig, OmegaConf

from orchestrator.capacity import cores
from orchestrator.errors import UsageError
from orchestrator.execution.launching import Launching
from orchestrator.execution.observer import Onlooker
from orchestrator.execution.planned import PlannedSweep
from orchestrator.execution.settings import Settings
from orchestrator.execution.slots import Slot, cautions, check_jobs, slots_of
from orchestrator.planning import grid, machine, provenance
from orchestrator.planning.compose import compose, explained_values
from orchestrator.planning.composer import FEW, Composer
from orchestrator.planning.outputs import as_stored, with_outputs
from orchestrator.planning.plan import plan
from orchestrator.planning.points import RANDOMIZE, Point, PointReader
from orchestrator.planning.resume import expect_same
from orchestrator.planning.selection import check_values
from orchestrator.planning.shards import by_hand
from orchestrator.records import JobSpec
from orchestrator.store import MODELS, Sweep, SweepFolder, check_size, find_sweep, own_jobs

OUTPUTS = Path("outputs")
SILENT_POINTS = 2000
"""More grid points take long enough to compose that it is said."""


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
        launching = Launching(self._config)
        self._check_search_path()
        reader = PointReader()
        overrides = self._grid(arguments)
        composer = Composer(self._loader, self._config, in_pieces=len(overrides) > FEW)
        if len(overrides) > SILENT_POINTS:
            print(f"Composing {len(overrides):,} grid points, at about 1,000 a second", file=sys.stderr)
        confs = [composer.point(own) for own in overrides]
        points = [reader.read(conf) for conf in confs]
        settings = Settings.of(confs[:1])
        slots = slots_of(settings.devices, settings.cpu_sets) if launching.is_here else (Slot(),)
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
        if launching.is_here:
            warned = [*here.cautions(graph.jobs), *cautions(slots)]
        else:
            if old is None:
                launching.ask_for_machine(points)
            elsewhere, warned = launching.shards(own_jobs(graph, header))
        dry_run, conf = bool(self._config.dry_run), self._conf_folders()
        return PlannedSweep(folder, graph, header, conf, dry_run, old is not None, warned, len(slots), elsewhere)

    def launch(self, planned: PlannedSweep, observer: Onlooker | None = None) -> Sequence[JobReturn]:
        """Run the shards of a written plan (`orchestrator.execution.launching.Launching.launch`)."""
        return Launching(self._config).launch(planned, self._context, observer)

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
