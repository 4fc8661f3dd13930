"""Time to a verdict: ours against the plain way, on the same models, in one run; and where our seconds go.

    python benchmarks/bench_wall.py [--quick | --full] [--folder FOLDER]
    python benchmarks/bench_wall.py --against COMMIT [--quick]

Models x compilers x (performance, accuracy): one thread, float32, batch size 1, inference, CPU. Two small models and
some ten minutes; with `--full` three of the dashboard's. Ours is the real command, with rounds=1 and with its default
rounds. The plain way has the structure of PyTorch's benchmarks/dynamo (`plain.py`): a process for each model, compiler
and experiment, 30 pairs. What its command imports before it starts those processes is left out, which favours it.

Inductor's cache: of the plain way one for each command, that is compiler and experiment, which all models share; it
begins with the machine's toolchain and no graphs, as the shared folder of a user whose models are new to it. Ours are
private to each job and begin so, too. The toolchain is made beforehand and is in no figure. Wants a quiet machine:
while another sweep times, ours waits for it, and that counts as the command's own time.

Half-widths are of the 95 % interval of a speed-up, in logarithms: ours is the row's, the plain way's that of
`statistics.one_round` over its 30 pairs. Exit code 1 when a goal is missed, but not with `--quick`.

`--against` times README's main job with this checkout's code and with that of another commit, in ABBA order.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench_scheduler import make_job
from command import ROOT, SHORT, passed, run
from plain import ACCURACY, PERFORMANCE

from orchestrator.execution.budget import covered
from orchestrator.execution.environment import job_environment, worker_environment
from orchestrator.execution.toolchain import NOTE, Toolchains
from orchestrator.records import EAGER, NOT_NEEDED, REFERENCE_KIND, JobResult, JobSpec, PluginSpec
from orchestrator.samples import one_round, pair_logs
from orchestrator.store import SweepFolder

GOALS = {"ours, rounds=1": 0.40, "ours, default rounds": 0.85}
"""Of the plain way's time, at most."""
PLAIN = "plain"
EVERY = ("dtype=float32", "mode=inference", "batch_size=1", "threads=1", "device=cpu")
SHORTEST = (
    *(*SHORT, "measure.options.pairs=8", "measure.options.pair_seconds=0.2", "measure.options.extra_seconds=0"),
    "measure.options.quiet_seconds=1",
)
MAIN_JOB = ("-m", "compiler=eager,inductor", "dtype=float16")
INDUCTOR = PluginSpec(name="inductor", target="orchestrator.compilers.dynamo.TorchCompile")
Key = tuple[str, str]  # model, compiler


@dataclass(frozen=True)
class Matrix:
    """What is run. `settings` are of the measure `performance`; `rounds` stand in for the command's default."""

    suite: str
    models: Sequence[str]
    compilers: Sequence[str] = ("dynamo_eager", "aot_eager", "inductor")
    rounds: int | None = None
    settings: Sequence[str] = ()

    def words(self) -> list[str]:
        which = f"suite={self.suite}", f"suite.models=[{','.join(self.models)}]", f"compiler={','.join(self.compilers)}"
        return [*which, *EVERY, *self._measures()]

    def _measures(self) -> list[str]:
        """Both measures are the command's default; what only one of them takes needs a grid of its own."""
        if not self.settings:
            return []
        own = ",".join(setting.replace("=", ":") for setting in (f"measure={PERFORMANCE}", *self.settings))
        return [f"grids=[{{{own}}},{{measure:{ACCURACY}}}]"]


SMALL = Matrix("quick", ("bert_small", "llama_small"))
FULL = Matrix("huggingface", ("DistilBertForMaskedLM", "ElectraForCausalLM", "GoogleFnet"))
QUICK = Matrix("tiny", ("bert_tiny",), ("inductor",), rounds=2, settings=SHORTEST)


@dataclass
class Way:
    """One way: seconds of wall time, and by row the seconds of its own processes, the speed-up and its half-width."""

    wall: float = 0.0
    seconds: dict[Key, float] = field(default_factory=dict)
    speedups: dict[Key, float] = field(default_factory=dict)
    halves: dict[Key, float] = field(default_factory=dict)

    @property
    def half(self) -> float:
        return statistics.median(self.halves.values())


@dataclass(frozen=True)
class Done:
    """One job of a sweep of ours, or a process of the plain way: what it was, and the seconds of its phases."""

    title: str
    seconds: float
    phases: Mapping[str, float]

    def line(self) -> str:
        parts = {**self.phases, "other": self.seconds - sum(self.phases.values())}
        words = ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts.items() if seconds >= 0.05)
        return f"| {self.title} | {self.seconds:.1f} | {words} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a tiny model, short measurements: does it run?")
    size.add_argument("--full", action="store_true", help=", ".join(FULL.models))
    parser.add_argument("--against", metavar="COMMIT", help="README's main job of this checkout against a commit's")
    parser.add_argument("--folder", help="keep the sweeps here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        prepared = Toolchains(worker_environment()).prepare(replace(make_job(0), compiler=INDUCTOR))
        print(f"toolchain, made beforehand: {dict(prepared.facts) if prepared else 'none'}", flush=True)
        if options.against:
            against(options.against, folder, options.quick)
            return 0
        kept = both_ways(QUICK if options.quick else FULL if options.full else SMALL, folder)
    return int(not kept and not options.quick)


def both_ways(matrix: Matrix, folder: Path) -> bool:
    """Run the matrix both ways and print all figures; return whether the goals hold."""
    limit = [] if matrix.rounds is None else [f"rounds={matrix.rounds}"]
    one, default = folder / "rounds_1", folder / "rounds_default"
    ways = {"ours, rounds=1": our_way(matrix, one, ["rounds=1"])}
    plain, processes = plain_way(matrix, one, folder)
    ways |= {PLAIN: plain, "ours, default rounds": our_way(matrix, default, limit)}
    show_rows(ways)
    show_seconds(matrix, one, processes)
    for name, sweep in (("rounds=1", one), ("default rounds", default)):
        show_sweep(name, sweep, ways[f"ours, {name}"].wall)
    return judge(ways)


def our_way(matrix: Matrix, folder: Path, rounds: Sequence[str]) -> Way:
    way = Way(run(folder, *matrix.words(), *rounds))
    passed(folder, ACCURACY)
    for row in passed(folder, PERFORMANCE):
        if row["compiler"] != EAGER:
            key = row["model"], row["compiler"]
            way.speedups[key] = float(row["speedup"])
            way.halves[key] = math.log(float(row["speedup_high"]) / float(row["speedup_low"])) / 2
    for job, result in results(folder):
        if not job.is_eager and job.kind != REFERENCE_KIND:
            key = job.workload.model, job.compiler.name
            way.seconds[key] = way.seconds.get(key, 0.0) + result.ended - result.started
    return way


def results(folder: Path) -> list[tuple[JobSpec, JobResult]]:
    """Return the jobs that ran: one that a decided row had no need of has no seconds."""
    store = SweepFolder(folder)
    both = ((job, store.read_result(job.id)) for job in store.read_graph().jobs)
    return [(job, result) for job, result in both if isinstance(result, JobResult) and result.status != NOT_NEEDED]


def plain_way(matrix: Matrix, ours: Path, folder: Path) -> tuple[Way, list[Done]]:
    """Run the same models and compilers the plain way, experiment after experiment; each process is one of the list."""
    planned = SweepFolder(ours).read_graph().jobs
    found = {(job.workload.model, job.compiler.name, job.measure.name): job for job in planned}
    way, processes = Way(), []
    for experiment in (PERFORMANCE, ACCURACY):
        for compiler in matrix.compilers:
            jobs = [found[model, compiler, experiment] for model in matrix.models]
            cache = folder / f"plain_{experiment}_{compiler}"
            cache.mkdir()
            Toolchains(worker_environment()).seed(cache, jobs[0])
            for job in jobs:
                key = job.workload.model, compiler
                start = time.monotonic()
                seen = plain_process(ours, job, cache)
                seconds = time.monotonic() - start
                way.wall += seconds
                way.seconds[key] = way.seconds.get(key, 0.0) + seconds
                processes.append(Done(f"plain: {title(key, experiment)}", seconds, seen["seconds"]))
                if experiment == PERFORMANCE:
                    estimate = one_round(pair_logs(*zip(*seen["found"], strict=True)))
                    assert estimate.half is not None  # there are 30 pairs
                    way.speedups[key], way.halves[key] = estimate.value, estimate.half
                elif not seen["found"]:
                    raise SystemExit(f"the plain way finds {job.title} wrong")
    return way, processes


def plain_process(ours: Path, job: JobSpec, cache: Path) -> Any:
    command = [sys.executable, str(ROOT / "benchmarks" / "plain.py"), str(ours), job.id]
    command += [str(cache / NOTE)] if (cache / NOTE).exists() else []
    print(f"running: {' '.join(command[1:])}", file=sys.stderr, flush=True)
    temporary = cache / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = worker_environment() | job_environment(cache, temporary, job) | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def title(key: Key, what: str) -> str:
    return f"{' '.join(key)} {what}"


def table(*heads: str) -> None:
    print("\n| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")


def show_rows(ways: Mapping[str, Way]) -> None:
    """Print a line for each row; of ours the seconds are those of its own jobs, without baseline and reference."""
    table("model", "compiler", *(f"{name}: s, speed-up, half-width" for name in ways))
    for key in ways[PLAIN].halves:
        cells = (
            f"{way.seconds[key]:.1f}, {way.speedups[key]:.3f}x, {100 * way.halves[key]:.2f} %" for way in ways.values()
        )
        print("| " + " | ".join([*key, *cells]) + " |")


def show_seconds(matrix: Matrix, folder: Path, processes: Iterable[Done]) -> None:
    """Print where the seconds go of the first model's last compiler, both ways, and of what its jobs need."""
    model, compiler = matrix.models[0], matrix.compilers[-1]
    table("job or process", "s", "of them")
    for job, result in results(folder):
        if job.workload.model == model and job.compiler.name in (compiler, EAGER):
            print(done(job, result).line())
    for process in processes:
        if process.title.startswith(f"plain: {model} {compiler} "):
            print(process.line())


def done(job: JobSpec, result: JobResult) -> Done:
    what = title((job.workload.model, job.compiler.name), job.measure.name)
    phases = {**result.facts["phases_s"], "waiting for quiet": result.facts.get("waited_for_quiet_s", 0.0)}
    return Done(what, result.ended - result.started, phases)


def show_sweep(name: str, folder: Path, wall: float) -> None:
    """Print where the seconds of a sweep go; the command's own are those in which no job ran."""
    table(f"ours, {name}: jobs", "how many", "s", "of them")
    kinds: dict[str, list[Done]] = {}
    found = results(folder)
    for job, result in found:
        kind = job.measure.name if not job.is_eager or job.kind == REFERENCE_KIND else f"{EAGER} {job.measure.name}"
        kinds.setdefault(kind, []).append(done(job, result))
    for kind, jobs in kinds.items():
        phases: dict[str, float] = {}
        for one in jobs:
            for phase, seconds in one.phases.items():
                phases[phase] = phases.get(phase, 0.0) + seconds
        total = Done(f"{kind} | {len(jobs)}", sum(one.seconds for one in jobs), phases)
        print(total.line())
    busy = covered((result.started, result.ended) for _, result in found)
    print(f"| the command itself, while no job ran | | {wall - busy:.1f} | of {wall:.1f} |", flush=True)


def judge(ways: Mapping[str, Way]) -> bool:
    """Print the totals and, last, whether the goals hold; return that."""
    plain = ways[PLAIN]
    table("way", "wall time, s", "of the plain way", "goal", "half-width, median")
    for name, way in ways.items():
        goal = f"{GOALS[name]:.2f}" if name in GOALS else ""
        print(f"| {name} | {way.wall:.1f} | {way.wall / plain.wall:.2f} | {goal} | {100 * way.half:.2f} % |")
    missed = [f"{name}: {way.wall / plain.wall:.2f} of its time" for name, way in ways.items()
              if way.wall > GOALS.get(name, math.inf) * plain.wall]  # fmt: skip
    missed += [f"{name}: half-widths {way.half / plain.half:.2f} times as wide" for name, way in ways.items()
               if way.half > plain.half]  # fmt: skip
    print(f"\nthe goals hold: {'no, ' + '; '.join(missed) if missed else 'yes'}")
    return not missed


def against(commit: str, folder: Path, quick: bool) -> None:
    """Time the main job of this checkout (A) and of a commit (B) in the order A B B A; print both and their ratio."""
    words = [*MAIN_JOB, *(["suite=tiny", "suite.models=[bert_tiny]", "rounds=1"] if quick else [])]
    walls: dict[str, list[float]] = {"this checkout": [], commit: []}
    halves: dict[str, list[float]] = {"this checkout": [], commit: []}
    with checked_out(commit) as other:
        places = {"this checkout": ROOT, commit: other}
        for number, name in enumerate([*places, *reversed(places)]):
            sweep = folder / f"main_job_{number}"
            walls[name].append(run(sweep, *words, checkout=places[name]))
            passed(sweep, ACCURACY)
            halves[name] += [
                math.log(float(row["speedup_high"]) / float(row["speedup_low"])) / 2
                for row in passed(sweep, PERFORMANCE)
                if row["compiler"] != EAGER
            ]
    table(f"orchestrator {' '.join(words)}", "wall time, s, of each run", "mean", "half-width, median")
    for name, seconds in walls.items():
        each = ", ".join(f"{one:.1f}" for one in seconds)
        print(f"| {name} | {each} | {statistics.fmean(seconds):.1f} | {100 * statistics.median(halves[name]):.2f} % |")
    ours, theirs = walls["this checkout"], walls[commit]
    wider = statistics.median(halves["this checkout"]) / statistics.median(halves[commit])
    print(
        f"\nthis checkout / {commit}: {sum(ours) / sum(theirs):.2f} of the time, half-widths {wider:.2f} times as wide"
    )


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Give a git worktree of a commit, in a temporary folder."""
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary) / "tree"
        subprocess.run(
            ["git", "-C", str(ROOT), "worktree", "add", "--quiet", "--detach", str(tree), commit], check=True
        )
        try:
            yield tree
        finally:
            subprocess.run(["git", "-C", str(ROOT), "worktree", "remove", "--force", str(tree)], check=True)


if __name__ == "__main__":
    sys.exit(main())
