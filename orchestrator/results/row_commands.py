"""The one shell command that plans a row again, with today's configuration: jobs with the same ids, and no others.

Every job knows the grid point that asked for it, or for what needs it, and the sweep's header has the overrides of each
point, one value a key. So the command is the point's overrides, narrowed to the row: its model, its compiler, its
measure. (`rerun` needs no configuration at all.)
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.planning.model_lists import is_file
from orchestrator.planning.overrides import key_of, path_in, value
from orchestrator.planning.quantized import NONE, parts
from orchestrator.records import OWN_BATCH, REFERENCE_MEASURE, JobSpec, PluginSpec, Workload
from orchestrator.results.load import fact
from orchestrator.results.naming import measure_kind
from orchestrator.store import Sweep

REPLACED = frozenset(
    {"suite", "compiler", "quantization", "dtype", "mode", "device", "measure", "batch_size", "sequence_length", "seed"}
    | {"suite.models", "suite.filter", "suite.exclude", "device.index", "threads"}
    | {"exclude", "zip", "grids", "shard", "resume", "dry_run", "execution.shards"}
)
"""Keys of the sweep's own overrides that the row answers itself, or that choose among rows."""
NEUTRAL: Mapping[str, tuple[Any, str]] = {
    "grids": ([], "[]"),
    "zip": ([], "[]"),
    "exclude": ([], "[]"),
    "shard": (None, "null"),
    "execution.shards": (1, "1"),
}
"""Keys that shape a sweep -> the value that shapes nothing, and how it is written."""
JUDGED = ("accuracy", REFERENCE_MEASURE)
"""Kinds of measures that have one round, whatever is asked for; of others one may say it needlessly."""
OF_A_MEASURE = ("measure", "batch_size", "rounds")
"""What may differ between the measures of one command."""

Words = dict[str, str]
"""Key -> its override, in the order in which they are written."""


def run_commands(sweep: Sweep, jobs: Iterable[JobSpec]) -> list[str]:
    """Return the command of each row of a plan, in its order. References have none of their own."""
    commands, rows = Commands(sweep), dict[str, list[JobSpec]]()
    for job in jobs:
        if job.measure.name != REFERENCE_MEASURE:
            rows.setdefault(job.family, []).append(job)
    return list(dict.fromkeys(commands.of([rounds]) for rounds in rows.values()))


class Commands:
    """The commands of one sweep's rows."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._flags = flags(sweep)
        self._points = list(zip(sweep.points, sweep.grid, strict=True)) if len(sweep.points) == len(sweep.grid) else []

    def of(self, measured: Sequence[Sequence[JobSpec]]) -> str:
        """Return the command of a row: its jobs (all rounds), for each of its measures, quoted for a POSIX shell.

        Two commands, where no one command could run both measures. Where jobs do not know their grid point (they were
        imported), what was swept besides the row's names is left out.
        """
        points = [max(jobs, key=lambda job: job.round).point for jobs in measured]
        if not self._points or any(point is None or point >= len(self._points) for point in points):
            job = measured[0][0]
            differ = len({jobs[0].workload.batch_size for jobs in measured}) > 1
            names = [jobs[0].measure.name for jobs in measured]
            return command(job.workload, job.compiler, names, self._sweep.overrides, own_batch_sizes=differ)
        lines = [self._words(jobs) for jobs in measured]
        return "; ".join(
            shlex.join(["python", "-m", "orchestrator", *self._flags, *words.values()]) for words in _merged(lines)
        )

    def _words(self, jobs: Sequence[JobSpec]) -> Words:
        """Return the words that plan these rounds of one job.

        A baseline, or what a gate asked for, was planned for the sake of another job. It is asked for by its own name;
        but where an experiment file may set options of the other's compiler, the other one is run too. So is one that
        needs a reference: no name asks for that.
        """
        job = max(jobs, key=lambda job: job.round)
        assert job.point is not None
        conf, overrides = self._points[job.point]
        given = {key_of(override): override for override in overrides}
        if path := path_in(self._sweep.argv, given.get("experiment", "").partition("=")[2]):
            given["experiment"] = f"experiment={value(path)}"
        fixed = "experiment" in given or "--config-name" in self._flags
        plugins = _names(job.compiler, job.measure)
        asked = {key: fact(conf, key, "name") for key in plugins}
        foreign = {key for key, own in plugins.items() if own != asked[key]}
        as_needed = bool(foreign) and (fixed or job.measure.name == REFERENCE_MEASURE)
        w = job.workload
        words = _models(w, conf)
        for key, own in {"suite": w.suite, "dtype": w.dtype, "mode": w.mode.name}.items():
            words |= _group(key, own, given, fixed)
        for key, own in plugins.items():
            own = asked[key] if as_needed else own
            if own != asked[key]:
                words[key] = f"{key}={value(own)}"
            elif key != "quantization" or key in given or own != NONE:  # nothing is quantised unless asked for
                words |= _group(key, own, given, fixed)
        words |= _of_workload(w)
        if as_needed or "suite.filter" in words:
            words.pop("batch_size", None)
            words |= {"batch_size": given["batch_size"]} if "batch_size" in given else {}
        dropped = () if as_needed else tuple(f"{key}." for key in foreign)
        words |= {
            key: override
            for key, override in given.items()
            if key not in REPLACED and not key.startswith(("hydra", *dropped))
        }
        timed = job.verdict is None and measure_kind(job.measure) not in JUDGED
        if timed and fact(conf, "rounds") != job.round + 1:
            words["rounds"] = f"rounds={job.round + 1}"
        return words | _neutral(conf, given, fixed)


def _models(w: Workload, conf: Mapping[str, Any]) -> Words:
    """Return what chooses the model, as `suite.models` names it: a row of an open suite has the short name of a file or
    a module. Where files name the models, and their batch sizes, the row is chosen among these.
    """
    asked, model = fact(conf, "suite", "models") or (), w.builder.options.get("model")
    if any(is_file(str(one), fact(conf, "suite", "catalog") or ()) for one in asked):
        names = ",".join(value(str(one)) for one in asked)
        return {"suite.models": f"suite.models=[{names}]", "suite.filter": f"suite.filter=^{re.escape(w.model)}$"}
    name = w.model if model is None or not asked or w.model in asked else str(model)
    return {"suite.models": f"suite.models=[{value(name)}]"}


def flags(sweep: Sweep) -> list[str]:
    """Return what of a sweep's command line says where configuration is: as flags, or an override of Hydra's."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--config-name", "-cn")
    try:
        asked, others = parser.parse_known_args(list(sweep.argv))
    except argparse.ArgumentError:  # the header was edited
        return []
    folders = fact(sweep.environment, "conf") or {}
    stored = next((fact(copied, "path") for name, copied in folders.items() if name.endswith("-command-line")), None)
    found = []
    if stored or asked.config_dir:
        found += ["--config-dir", str(stored or asked.config_dir)]
    if asked.config_name:
        found += ["--config-name", asked.config_name]
    return found + [word for word in others if word.startswith("hydra.searchpath=")]


def _names(compiler: PluginSpec, measure: PluginSpec) -> Words:
    """Return the names of a job's plug-ins by their groups on the command line."""
    base, quantization = parts(compiler)
    return {
        "compiler": base.name,
        "quantization": quantization.name if quantization is not None else NONE,
        "measure": measure.name,
    }


def _group(key: str, own: str, given: Mapping[str, str], fixed: bool) -> Words:
    """Return the choice of a group: as the sweep wrote it; else by name, unless a file of the user's may choose it."""
    if key in given:
        return {key: given[key]}
    return {} if fixed else {key: f"{key}={value(own)}"}


def _neutral(conf: Mapping[str, Any], given: Mapping[str, str], fixed: bool) -> Words:
    """Return overrides that take back what an experiment or another file says about the whole sweep."""
    words = {}
    for key, (nothing, text) in NEUTRAL.items():
        stored = fact(conf, *key.split("."))
        if stored not in (nothing, None) and (fixed or key not in given):
            words[key] = f"{key}={text}"
    return words


def _merged(lines: Sequence[Words]) -> Sequence[Words]:
    """Return one line for all measures where the lines differ in nothing else that was asked for."""
    first = lines[0]
    rest = [{key: word for key, word in words.items() if key not in OF_A_MEASURE} for words in lines]
    sizes = {words.get("batch_size") for words in lines}
    if len(lines) == 1 or any(other != rest[0] for other in rest):
        return lines
    measures = dict.fromkeys(words["measure"].partition("=")[2] for words in lines if "measure" in words)
    merged = {**first, "measure": f"measure={','.join(measures)}"}
    if len(sizes) > 1:  # each takes the suite's
        merged.pop("batch_size", None)
    return [merged]


def command(
    workload: Workload,
    compiler: PluginSpec,
    measures: Iterable[str],
    overrides: Iterable[str] = (),
    *,
    own_batch_sizes: bool = False,
) -> str:
    """Return the command line, quoted for a POSIX shell, in Hydra's grammar.

    `measures` are the names of the measures; with `own_batch_sizes` each takes the suite's batch size for it, not the
    workload's. Of the sweep's own `overrides` those are kept that fix one value of something else (an option of
    the compiler, the number of rounds): without them other numbers would come out.
    """
    base, quantization = parts(compiler)
    w = workload
    words = {
        "suite": f"suite={value(w.suite)}",
        "suite.models": f"suite.models=[{value(w.model)}]",
        "compiler": f"compiler={value(base.name)}",
        **({"quantization": f"quantization={value(quantization.name)}"} if quantization is not None else {}),
        "measure": f"measure={','.join(value(name) for name in measures)}",
        "dtype": f"dtype={value(w.dtype)}",
        "mode": f"mode={value(w.mode.name)}",
        **_of_workload(w),
    }
    if own_batch_sizes:
        words.pop("batch_size", None)
    others = [override for override in overrides if _fixes_something_else(override)]
    return shlex.join(["python", "-m", "orchestrator", *words.values(), *others])


def _of_workload(w: Workload) -> Words:
    device, _, index = w.device.partition(":")
    return {
        "device": f"device={value(device)}",
        **({"device.index": f"device.index={index}"} if index else {}),
        **({"batch_size": f"batch_size={w.batch_size}"} if w.batch_size != OWN_BATCH else {}),
        **({"sequence_length": f"sequence_length={w.sequence_length}"} if w.sequence_length is not None else {}),
        "seed": f"seed={w.seed}",
        "threads": f"threads={w.threads}",
    }


def _fixes_something_else(override: str) -> bool:
    key, separator, chosen = override.partition("=")
    name = key.lstrip("+~")
    swept = "," in _outside_brackets(chosen) or chosen.startswith(("glob(", "range(", "choice("))
    return bool(separator) and name not in REPLACED and not name.startswith("hydra") and not swept


def _outside_brackets(text: str) -> str:
    """Return the characters that stand in no bracket: a comma among them means a sweep over values."""
    depth = 0
    kept = []
    for character in text:
        depth += (character in "[{(") - (character in "]})")
        if depth == 0:
            kept.append(character)
    return "".join(kept)
