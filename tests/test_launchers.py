"""Sweeps that Hydra's launchers run, each for real; Slurm's commands are those of `support.slurm`."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from chaos import invariants
from hydra.errors import MissingConfigException
from support import slurm
from support.command import ENVIRONMENT, FAKES, ROOT, latest, orchestrator, run, table
from support.plans import planned

from orchestrator.errors import UsageError
from orchestrator.execution import launched
from orchestrator.execution.interrupts import ask, asked, withdraw
from orchestrator.execution.launched import State
from orchestrator.planning.compose import explained
from orchestrator.planning.shards import comparison, cost, cut
from orchestrator.store import SweepFolder

PLUGINS = {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit", "ray": "ray"}
LAUNCHERS = list(PLUGINS)
SWEEP = (*FAKES, "suite=perceptrons", "suite.models=[one,two]", "compiler=eager,identity", "measure=glance")
PLACE = ("device=cpu", "threads=1")
LATEST_S, LONG_S = 300.0, 1800.0


def shards(launcher: str, count: int = 2) -> list[str]:
    """Return the words that run a sweep in so many shards; skips where there is no such launcher."""
    for module in ("hydra_plugins", f"hydra_plugins.hydra_{PLUGINS[launcher]}_launcher", PLUGINS[launcher]):
        if importlib.util.find_spec(module) is None:  # not importorskip: joblib sets a variable of this process
            pytest.skip(f"{module} is not installed")
    words = [f"hydra/launcher={launcher}", f"execution.shards={count}", *PLACE]
    return [*words, "+hydra.launcher.ray.init.num_cpus=2"] if launcher == "ray" else words


class Launched:
    """A sweep that a launcher runs in the folder `cwd`, as a command of a terminal of its own."""

    def __init__(self, cwd: Path, *arguments: str, latest_s: float = LATEST_S) -> None:
        self.cwd, self.output, self.latest_s = cwd, cwd / "output.txt", latest_s
        self._before = self._results()
        slurm.install(cwd / "slurm")
        environment = {**ENVIRONMENT, **slurm.environment(cwd / "slurm")}
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator", *arguments],
                **{"cwd": cwd, "env": environment, "stdout": output, "stderr": output},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace")

    @property
    def folder(self) -> SweepFolder:
        return latest(self.cwd)

    def until(self, come: Callable[[], bool]) -> None:
        end = time.monotonic() + self.latest_s
        while not come():
            assert time.monotonic() < end, self.said
            assert self.process.poll() is None, self.said
            time.sleep(0.1)

    def _results(self) -> set[Path]:
        return set(self.cwd.glob("outputs/*/*/jobs/*/result.json"))

    def under_way(self, count: int = 2) -> None:
        """Wait until so many shards run, and a job has ended."""
        self.until(lambda: self._results() > self._before)
        self.until(lambda: sum(state.is_alive for state in self.states().values()) >= count)

    def states(self) -> dict[int, State]:
        found = {shard: launched.state(self.folder, shard) for shard in range(10)}
        return {shard: state for shard, state in found.items() if state is not None}

    def ends(self) -> int:
        """Wait for the command; return its exit code. No shard is left, and nothing was said as a traceback."""
        code = self.process.wait(self.latest_s)
        alive = [state for state in self.states().values() if state.is_alive]
        assert not alive, self.said
        assert "Traceback" not in self.said
        return code


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    """Starts sweeps; what a failing test leaves of them is killed."""
    found: list[Launched] = []

    def start(*arguments: str, cwd: Path = tmp_path, latest_s: float = LATEST_S) -> Launched:
        found.append(Launched(cwd, *arguments, latest_s=latest_s))
        return found[-1]

    yield start
    for one in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [*psutil.Process(one.process.pid).children(recursive=True), one.process]:
                process.kill()
        one.process.wait()
        for state in one.states().values():
            if state.is_alive:
                os.kill(state.process, signal.SIGKILL)


def statuses(cwd: Path) -> dict[str, str]:
    return dict(zip(table(cwd, "jobs")["job"], table(cwd, "jobs")["status"], strict=True))


# -- what needs no launcher


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("submitit_slurm", "hydra/launcher=submitit_slurm is not installed: pip install hydra-submitit-launcher"),
        ("submitit_local", "hydra/launcher=submitit_local is not installed: pip install hydra-submitit-launcher"),
        ("ray", "hydra/launcher=ray is not installed: pip install hydra-ray-launcher"),
        ("jobllib", r"unknown hydra/launcher 'jobllib': did you mean 'joblib'\?"),
        ("slurm", r"did you mean 'submitit_slurm'\?.*submitit_slurm \(pip install hydra-submitit-launcher\)"),
    ],
)
def test_a_launcher_that_is_not_there_is_named_with_its_package(name: str, told: str) -> None:
    with pytest.raises(UsageError, match=told), explained():
        raise MissingConfigException("", missing_cfg_file=f"hydra/launcher/{name}", options=["basic"])


def test_there_are_no_more_shards_than_comparisons() -> None:
    graph = planned("suite=tiny", "compiler=inductor", "device=cpu", "threads=1")
    units = {comparison(job.workload) for job in graph.jobs}
    found = cut(graph, 100_000, empty=False)
    assert len(found) == len(units)
    assert all(found)
    assert sorted(job.id for shard in found for job in shard) == sorted(job.id for job in graph.jobs)
    assert cut(graph, 2, empty=False) == cut(graph, 2)


def test_all_of_the_main_suite_is_in_eight_shards_that_are_alike_in_size() -> None:
    graph = planned("suite=huggingface", "compiler=inductor", "device=cpu", "threads=1")
    found = cut(graph, 8, empty=False)
    assert Counter(job.id for shard in found for job in shard) == Counter(job.id for job in graph.jobs)
    of = [{comparison(job.workload) for job in shard} for shard in found]
    assert sum(map(len, of)) == len(set().union(*of)) > 40
    costs = [cost(shard) for shard in found]
    assert max(costs) < 1.1 * sum(costs) / len(costs)


def test_the_file_stop_asks_for_one_end_or_the_other(tmp_path: Path) -> None:
    store = SweepFolder(tmp_path)
    assert asked(store) == 0
    store.stop.touch()
    assert asked(store) == 1
    ask(store, at_once=True)
    assert asked(store) == 2
    withdraw(store)
    assert asked(store) == 0


# -- with joblib, and no sweep


def test_a_launched_sweep_asks_what_the_other_machines_have(tmp_path: Path) -> None:
    words = [word for word in shards("joblib") if word not in PLACE]
    told = orchestrator(tmp_path, *SWEEP, *words, "dry_run=true", code=2)
    assert "hydra/launcher=joblib" in told
    assert "device=cuda threads=8" in told


def test_the_plan_has_the_shards_and_their_longest_and_says_where_that_is_too_long(tmp_path: Path) -> None:
    limit = ["rounds=300", "hydra.launcher.timeout_min=1"]
    told = orchestrator(tmp_path, *SWEEP, *shards("submitit_slurm", 100_000), *limit, "dry_run=true")
    assert re.search(r"one after the other; in 2 shards, the longest \d+ min", told)
    assert re.search(r"longest shard takes about \d+ min, and hydra.launcher.timeout_min=1 ends it", told)


def documented() -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```", (ROOT / "docs" / "cluster.md").read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if "hydra/launcher=" in line]


@pytest.mark.slow
@pytest.mark.parametrize("command", documented())
def test_the_documented_lines_are_plans(command: str, tmp_path: Path) -> None:
    (launcher,) = re.findall(r"hydra/launcher=(\w+)", command)
    shards(launcher)
    told = orchestrator(tmp_path, *shlex.split(command)[3:], "suite=tiny", "compiler=eager")
    assert re.search(r"; in \d+ shards, the longest ", told)


# -- sweeps


@pytest.mark.long
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launched_sweep_shows_what_happens_and_is_that_of_one_process(
    launcher: str, started: Callable[..., Launched], tmp_path: Path
) -> None:
    sweep = started(*SWEEP, "rounds=1", *shards(launcher))
    assert sweep.ends() == 0, sweep.said
    assert re.search(r"^4/4 · (one|two) ", sweep.said, re.MULTILINE)
    assert [state.failure for state in sweep.states().values()] == ["", ""]
    alone = tmp_path / "alone"
    alone.mkdir()
    run(alone, *SWEEP, "rounds=1", *PLACE)
    assert statuses(tmp_path) == statuses(alone)
    if launcher == "submitit_slurm":
        assert "#SBATCH --array=0-1%2" in slurm.submitted(tmp_path / "slurm")


@pytest.mark.long
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_shard_that_is_killed_is_named_the_others_go_on_and_resume_does_the_rest(
    launcher: str, started: Callable[..., Launched], tmp_path: Path
) -> None:
    sweep = started(*SWEEP, "rounds=4", "rounds_min=4", *shards(launcher))
    sweep.under_way()
    os.kill(sweep.states()[0].process, signal.SIGKILL)
    assert sweep.ends() == 1, sweep.said
    (told,) = re.findall(r"^.*shard \d/2.*$", sweep.said, re.MULTILINE)
    assert re.match(r"shard 1/2 on \S+: its process ended with SIGKILL; \d+ jobs? of 8 not run; its log: ", told)
    assert sweep.said.index(told) < sweep.said.index("results  ")
    found = statuses(tmp_path)
    theirs = [found[job.id] for job in cut(sweep.folder.read_graph(), 2)[1]]
    assert set(theirs) == {"pass"}, "tables were made before the other had ended"
    rest = started("resume=latest")
    assert rest.ends() == 0, rest.said
    assert set(statuses(tmp_path).values()) == {"pass"}


@pytest.mark.long
@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("how", ["int", "int int", "term", "hup", "stop"])
def test_what_ends_the_command_ends_the_shards(launcher: str, how: str, started: Callable[..., Launched]) -> None:
    sweep = started(*SWEEP, "rounds=30", "rounds_min=30", *shards(launcher))
    sweep.under_way()
    if how == "stop":
        sweep.folder.stop.touch()
    for name in how.split() if how != "stop" else ():
        sweep.process.send_signal(signal.Signals[f"SIG{name.upper()}"])
        sweep.until(lambda: "Interrupted" in sweep.said)
    assert sweep.ends() == 130, sweep.said
    assert "resume=" in sweep.said
    assert set(statuses(sweep.cwd).values()) == {"pass", "not_run"}
    assert not [state.failure for state in sweep.states().values() if state.failure]


@pytest.mark.long
def test_a_launcher_that_loses_its_own_process_ends_with_a_word_on_each_shard(started: Callable[..., Launched]) -> None:
    """joblib then kills all that it has started."""
    sweep = started(*SWEEP, "rounds=30", "rounds_min=30", *shards("joblib"))
    sweep.under_way()
    psutil.Process(psutil.Process(sweep.states()[0].process).ppid()).kill()
    assert sweep.ends() == 1, sweep.said
    told = re.findall(r"^shard (\d)/2 on \S+: (.*?); ", sweep.said, re.MULTILINE)
    assert ("1", "the process of the launcher's that it belonged to has died") in told
    assert len(told) == 2


@pytest.mark.long
def test_shards_that_wait_in_the_queue_are_cancelled(started: Callable[..., Launched], tmp_path: Path) -> None:
    words = [*shards("submitit_slurm"), "hydra.launcher.array_parallelism=1"]
    sweep = started(*SWEEP, "rounds=30", "rounds_min=30", *words)
    sweep.under_way(1)
    sweep.process.send_signal(signal.SIGINT)
    assert sweep.ends() == 130, sweep.said
    assert "#SBATCH --array=0-1%1" in slurm.submitted(tmp_path / "slurm")
    assert list(sweep.states()) == [0]


@pytest.mark.long
def test_a_shard_that_slurm_ends_is_named_and_the_other_goes_on(started: Callable[..., Launched]) -> None:
    sweep = started(*SWEEP, "rounds=4", "rounds_min=4", *shards("submitit_slurm"))
    sweep.under_way()
    environment = {**ENVIRONMENT, **slurm.environment(sweep.cwd / "slurm")}
    subprocess.run(["scancel", "1_0"], env=environment, check=True)
    assert sweep.ends() == 1, sweep.said
    assert re.search(r"^shard 1/2 on \S+: it was told to end by a signal; ", sweep.said, re.MULTILINE)
    assert "shard 2/2" not in sweep.said
    found = statuses(sweep.cwd)
    assert {found[job.id] for job in cut(sweep.folder.read_graph(), 2)[1]} == {"pass"}


TINY = (*FAKES, "suite=tiny", "compiler=eager,identity", "measure=glance,accuracy", "mode=inference,training")
HUGGINGFACE = (
    *(*FAKES, "suite=huggingface", "++suite.common.build.shrunk=true", "batch_size=1", "sequence_length=64"),
    *("compiler=eager,identity", "measure=accuracy"),
)
"""All 52 models of the main suite, small."""


@pytest.mark.long
@pytest.mark.parametrize(("words", "at_once"), [(TINY, 3), (HUGGINGFACE, 4)], ids=["tiny", "huggingface"])
def test_parts_on_slurm_one_shard_killed_merged_and_resumed_are_the_sweep_of_one_machine(
    words: Sequence[str], at_once: int, started: Callable[..., Launched], tmp_path: Path
) -> None:
    words = [*words, "rounds=1", *PLACE]
    for part in (1, 2):
        place = f"hydra.sweep.dir=outputs/1/part{part}"
        sweep = started(*words, *shards("submitit_slurm", at_once), f"shard={part}/2", place, latest_s=LONG_S)
        if part == 2:
            sweep.under_way(at_once)
            os.kill(sweep.states()[1].process, signal.SIGKILL)
        assert sweep.ends() == part - 1, sweep.said
    orchestrator(tmp_path, "merge", "outputs/1/part1", "outputs/1/part2", "--into", "outputs/2/merged", code=1)
    rest = started("resume=outputs/2/merged", latest_s=LONG_S)
    assert rest.ends() == 0, rest.said
    assert rest.folder.root == tmp_path / "outputs/2/merged"
    alone = tmp_path / "alone"
    alone.mkdir()
    assert started(*words, cwd=alone, latest_s=LONG_S).ends() == 0
    quiet, now = (invariants.tables(SimpleNamespace(folder=folder)) for folder in (latest(alone), rest.folder))
    assert not list(invariants.differences(quiet, now))
