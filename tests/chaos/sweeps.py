"""One sweep of the campaign: the real command, in a folder of its own, with its resumes and its processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from fakes.leftovers import MARK

from chaos.disk import FlakyDisk
from chaos.schedule import BUDGETED, BUILT, COMPILED, LAUNCHED, PARTED, QUICK, SHARDED, SMALL, TIMED
from orchestrator.records import INFRASTRUCTURE, JobResult
from orchestrator.store import JobGraph, SweepFolder, own_jobs

TESTS = Path(__file__).parent.parent
FAKES = ("--config-dir", str(TESTS / "fakes" / "conf"))
COMMON = ("rounds=1", "measure=glance,accuracy", "execution.disk_reserve_mib=20")
TINY = (*FAKES, "suite=tiny", "suite.models=[bert_tiny,gpt2_tiny]", "compiler=eager,identity", "execution.timeout_s=15")
COMMANDS = {
    QUICK: (*TINY, *COMMON),
    SHARDED: (*TINY, *COMMON),
    COMPILED: (
        *FAKES,
        "suite=perceptrons",
        "suite.models=[one]",
        "compiler=inductor",
        "execution.timeout_s=90",
        *COMMON,
    ),
    SMALL: (*FAKES, "suite=perceptrons", "compiler=eager,identity", "execution.timeout_s=15", *COMMON),
    PARTED: (*TINY, *COMMON),
    BUILT: (
        *(*FAKES, "suite=perceptrons", "suite.models=[one]", "compiler=eager,identity", "execution.timeout_s=15"),
        *("build=base,made", "builds.made.setup=sleep 0.5; echo made > said.txt", *COMMON),
    ),
    BUDGETED: (*TINY, *COMMON, "budget=1h"),
    LAUNCHED: (*TINY, *COMMON, "hydra/launcher=joblib", "execution.shards=2", "device=cpu", "threads=1"),
    TIMED: (
        *(*FAKES, "suite=perceptrons", "suite.models=[one]", "compiler=eager,identity", "execution.timeout_s=120"),
        *("rounds=2", "measure=performance,accuracy", *COMMON[2:]),
    ),
}
PARTS = 2
OVER_S = 600.0  # for one run of a command, on a busy machine, too; then it hangs, which is a finding


class Hangs(Exception):
    """A run that has not ended by itself."""


@dataclass
class Run:
    """One process, or one per shard, that runs the sweep; `ended` keeps exit codes, in the order of the starts."""

    processes: list[subprocess.Popen[bytes]]

    @property
    def alive(self) -> bool:
        return any(process.poll() is None for process in self.processes)


@dataclass
class ChaosSweep:
    """A sweep of a kind (`COMMANDS`) in the folder `cwd`; all of its processes bear a mark in their environment."""

    kind: str
    cwd: Path
    locks: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    library: Path | None = None  # of the flaky disk
    runs: int = 0

    def __post_init__(self) -> None:
        self.outputs = self.cwd / "outputs"
        self.outputs.mkdir(parents=True, exist_ok=True)
        self.folder = SweepFolder(self.outputs / "sweep")
        self.parts = (
            [SweepFolder(self.outputs / f"part{n}") for n in range(1, PARTS + 1)] if self.kind == PARTED else []
        )
        self.cache = self.outputs / "cache"  # of a user who has builds
        self.clock = self.cwd / "clock.txt"
        self.clock.write_text("0")
        self.disk = None if self.library is None else FlakyDisk(self.library, self.cwd / "disk.bin", self.outputs)
        self.run = Run([])
        self.codes: list[int] = []  # of all processes of earlier runs

    # -- running

    def start(self) -> None:
        """Start the command, or resume what is there; a folder that was not planned to its end is begun again."""
        psutil.wait_procs(self.shards(), OVER_S)  # which go on when the command that launched them is killed
        self.runs += 1
        self.codes += [process.returncode for process in self.run.processes]
        if self.parts and not self.folder.sweep_file.exists():
            merge = ["merge", *(f"outputs/{part.root.name}" for part in self.parts), "--into", "outputs/sweep"]
            self.run = Run(list(self._started_parts()) or [self._command(*merge)])
        elif not self.folder.sweep_file.exists():
            shutil.rmtree(self.folder.root, ignore_errors=True)
            self.run = Run([self._command(*COMMANDS[self.kind], "hydra.sweep.dir=outputs/sweep")])
        elif self.kind == SHARDED and self.runs < 4:
            shard = "import sys; from chaos.shard import main; sys.exit(main())"
            self.run = Run(
                [self._python("-c", shard, str(self.folder), str(index), "2") for index in range(2)],
            )
        else:
            self.run = Run([self._command("resume=outputs/sweep")])

    def _started_parts(self) -> Iterator[subprocess.Popen[bytes]]:
        """Start, or resume, each part that is not complete."""
        for number, part in enumerate(self.parts, 1):
            place = f"outputs/{part.root.name}"
            if not part.sweep_file.exists():
                shutil.rmtree(part.root, ignore_errors=True)
                shard = (f"shard={number}/{PARTS}", f"hydra.sweep.dir={place}")
                yield self._command(*COMMANDS[self.kind], *shard, log=f"run{self.runs}-{number}")
            elif not _is_complete(part):
                yield self._command(f"resume={place}", log=f"run{self.runs}-{number}")

    def plan(self) -> None:
        """Have the folder of a sharded sweep planned: by a command that is killed as soon as it is."""
        self.start()
        while self.run.alive and not self.folder.sweep_file.exists():
            self.wait(0.02)
        self.kill()

    def kill(self) -> None:
        """Kill the run as if it had never been."""
        for process in self.run.processes:
            process.kill()
        self.wait()
        self.run = Run([])

    def wait(self, seconds: float = OVER_S) -> None:
        """Wait until the run has ended; with `seconds` no longer than that. Raises Hangs."""
        for process in self.run.processes:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                if seconds == OVER_S:
                    self.end()
                    raise Hangs(f"run {self.runs} of {self.cwd} had not ended after {OVER_S:g} s") from None

    def await_end(self, pid: int, seconds: float) -> None:
        """Wait until one process of the run has ended, at most `seconds`."""
        for process in self.run.processes:
            if process.pid == pid:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(seconds)

    def second(self) -> tuple[int, str]:
        """Run the command on the same folder beside the present run; return exit code and output."""
        process = self._command("resume=outputs/sweep", log="second")
        code = process.wait(OVER_S)
        return code, self.log("second").read_text(errors="replace")

    def end(self) -> None:
        """Kill everything."""
        for process in self.marked():
            process.kill()
        for process in self.run.processes:
            process.wait()

    def _command(self, *arguments: str, log: str = "") -> subprocess.Popen[bytes]:
        return self._python("-m", "orchestrator", *arguments, log=log)

    def _python(self, *arguments: str, log: str = "") -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            MARK: self.mark,
            "HF_HUB_OFFLINE": "1",
            "ORCHESTRATOR_PLUGIN_PACKAGES": "fakes",
            "ORCHESTRATOR_LOCKS": str(self.locks),
            **({"XDG_CACHE_HOME": str(self.cache)} if self.kind == BUILT else {}),
            "CHAOS_CLOCK": str(self.clock),
            "PYTHONPATH": os.pathsep.join(map(str, (TESTS / "chaos" / "clock", TESTS.parent, TESTS))),
            **({} if self.disk is None else self.disk.environment()),
        }
        with self.log(log or f"run{self.runs}").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    def log(self, name: str) -> Path:
        return self.cwd / f"{name}.log"

    # -- what is there

    def finished(self) -> dict[str, bytes]:
        """Return the bytes of the results that stand, by job."""
        found = {}
        for path in [path for folder in self.folders for path in folder.jobs.glob("*/result.json")]:
            try:
                data = path.read_bytes()
                status = json.loads(data)["status"]
            except (OSError, ValueError, KeyError):
                continue
            if status != INFRASTRUCTURE:
                found[path.parent.name] = data
        return found

    @property
    def folders(self) -> list[SweepFolder]:
        """Those that are planned: of the parts, and last, where it is there, of the whole sweep."""
        return [folder for folder in (*self.parts, self.folder) if folder.sweep_file.exists()]

    def graph(self) -> JobGraph:
        """Return the whole plan."""
        return self.folders[-1].read_graph()

    def result_file(self, job: str) -> Path:
        """Return where the result of a job is that counts."""
        having = [folder for folder in self.folders if folder.result_file(job).exists()]
        return (having or self.folders)[-1].result_file(job)

    def is_complete(self) -> bool:
        """Return whether every planned job has a result that needs no other run."""
        return self.folder.sweep_file.exists() and _is_complete(self.folder)

    # -- processes

    def marked(self) -> list[psutil.Process]:
        """Return the living processes that were started with this sweep's mark."""
        return [process for process in psutil.process_iter() if _environment(process).get(MARK) == self.mark]

    def runners(self) -> list[psutil.Process]:
        """Return the orchestrator, or the shard runners, that live."""
        return [psutil.Process(one.pid) for one in self.run.processes if one.poll() is None]

    def shards(self) -> list[psutil.Process]:
        """Return the processes of shards that a launcher runs."""
        return [one for one in self.marked() if "orchestrator.execution.launched" in _line(one)]

    def servers(self) -> list[psutil.Process]:
        return [
            one
            for runner in (*self.runners(), *self.shards())
            for one in _children(runner)
            if "orchestrator.worker.server" in _line(one)
        ]

    def helpers(self) -> list[psutil.Process]:
        """Return the other processes that the orchestrator has started."""
        started = [one for runner in self.runners() for one in _children(runner)]
        return [one for one in started if one not in self.servers()]

    def workers(self) -> dict[str, psutil.Process]:
        """Return the workers that run a job now, by the job: their output goes into its log."""
        found = {}
        for server in self.servers():
            for child in _children(server):
                try:
                    log = os.readlink(f"/proc/{child.pid}/fd/1")
                except OSError:
                    continue
                job = re.search(r"/jobs/(\w+)/log\.txt", log)
                if job:
                    found[job[1]] = child
        return found

    def compile_workers(self) -> dict[str, psutil.Process]:
        """Return one process, by the job, of those that a worker has started."""
        found = {}
        for job, worker in self.workers().items():
            try:
                below = worker.children(recursive=True)
            except psutil.Error:
                continue
            if below:
                found[job] = below[-1]
        return found


def _is_complete(folder: SweepFolder) -> bool:
    jobs = own_jobs(folder.read_graph(), folder.read_sweep()).jobs
    results = [folder.read_result(job.id) for job in jobs]
    return all(isinstance(result, JobResult) and result.status != INFRASTRUCTURE for result in results)


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return {} if process.status() == psutil.STATUS_ZOMBIE else process.environ()
    except (psutil.Error, OSError):
        return {}


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.Error:
        return []


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
