"""The records that flow between the layers: frozen, JSON from their fields, nothing derived in them.

A record says *what* to run or *what was seen*. Speed-ups, ratios and flags exist only where tables are made
(`orchestrator.results`). Absent is `None`; there is no 0 that means "failed".

Every record survives `from_json(to_json(record))` (`orchestrator.typed_json`). `SCHEMA_VERSION` is written into every
file by `orchestrator.store`; raise it when a reader of the old files would misread the new ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from orchestrator.typed_json import OMITTED, Json, to_json

SCHEMA_VERSION = 1
Derived = TypeVar("Derived")

REFERENCE_MEASURE = "reference"
EAGER = "eager"

# Kinds of measures: what a job of theirs is planned with.
TIMED = "timed"  # rounds in fresh processes, a baseline in each, the device to itself
JUDGED = "judged"  # once, against the reference of its workload
OBSERVED = "observed"  # once, alone, with nothing to compare with
REFERENCE_KIND = "reference"  # planned for the judged ones
KINDS = (TIMED, JUDGED, OBSERVED, REFERENCE_KIND)

# Status of a result. The words of PyTorch's benchmarks/dynamo where they are sound.
PASS = "pass"
PASS_DUE_TO_SKIP = "pass_due_to_skip"  # the suite says, with a reason, that this is not judged
FAIL_ACCURACY = "fail_accuracy"  # the compiled outputs are wrong
FAIL_TO_RUN = "fail_to_run"  # compiling, or the compiled code, raised
EAGER_FAIL_TO_RUN = "eager_fail_to_run"  # the model raises without any compiler
EAGER_TWO_RUNS_DIFFER = "eager_two_runs_differ"  # there is no stable reference
MODEL_FAIL_TO_LOAD = "model_fail_to_load"  # building the model or its inputs raised
COMPARISON_ERROR = "comparison_error"  # outputs cannot be compared (structure, shape, dtype)
OUT_OF_MEMORY = "out_of_memory"
TIMEOUT = "timeout"
CRASH = "crash"  # the process ended by a signal or an exit code, without a result
RANDOM = "random"  # depends on random numbers of which the compiler draws others: cannot be judged
UNSUPPORTED = "unsupported"  # cannot be done here, with the reason and what to install
INFRASTRUCTURE = "infrastructure"  # not the job's fault: fork failed, disk full, server lost
NOT_NEEDED = "not_needed"  # a round that was not run, because its row was decided before (execution/evidence.py)
NOT_RUN = "not_run"  # planned, no result yet (only collectors write this word, never a worker)

# What was timed, where it is not what the row says: keys of the fact `measured`, each with the reason.
RAN_EAGER = "eager"  # a compiler's row, and no compiled code ran while it was timed
RAN_PARTLY_EAGER = "partly eager"  # dynamo has given up on some of the model's functions
NOT_FINITE = "not finite"  # results with NaN or infinities
OTHER_THREADS = "other threads"  # not as many as the row says
INPUTS_SET_BACK = "inputs set back"  # each call writes into them; no fault
COMPILES_ITSELF = "compiles itself"  # the model calls torch.compile; eager ran it as plain Python; no fault
MEASURED = (RAN_EAGER, RAN_PARTLY_EAGER, NOT_FINITE, OTHER_THREADS, INPUTS_SET_BACK, COMPILES_ITSELF)
MARKED = frozenset(MEASURED[:4])

TIMED_CODE, TWIN = "the timed code", "a twin"
"""What an accuracy job has judged: the callable that was timed, or the model compiled once more."""

LAUNCH_BOUND = 0.8
"""Share of a step's latency that the host needs to enqueue it, over which the device waits for the host."""

FIRST_RUN = "first_run"
COMPILE_PHASES = (
    *("dynamo", "backend", "aot_autograd", "joint_graph", "post_grad", "lowering", "scheduling", "code_generation"),
    *("autotuning", "kernel_compilation", "compile_cache", FIRST_RUN),
)
"""Parts of a first call that do not overlap, in the order of the work; what no event of torch's names is the last."""

STATUSES = (
    CRASH,
    FAIL_ACCURACY,
    FAIL_TO_RUN,
    TIMEOUT,
    OUT_OF_MEMORY,
    COMPARISON_ERROR,
    EAGER_TWO_RUNS_DIFFER,
    EAGER_FAIL_TO_RUN,
    MODEL_FAIL_TO_LOAD,
    INFRASTRUCTURE,
    NOT_RUN,
    RANDOM,
    UNSUPPORTED,
    PASS_DUE_TO_SKIP,
    PASS,
    NOT_NEEDED,
)
"""The worst first, which is what a row of several rounds shows: what the compiler does wrong before what nobody has
tried."""
SUCCESSES = frozenset({PASS, PASS_DUE_TO_SKIP})
HARMLESS = SUCCESSES | {UNSUPPORTED, RANDOM, NOT_NEEDED}
"""Statuses that do not make a sweep exit with 1."""


@dataclass(frozen=True, kw_only=True)
class PluginSpec:
    """One configured plug-in: a compiler, mode, measure or model builder.

    `target` is the dotted path of a dataclass inside an allowed package (`orchestrator.plugins`), `options`
    are its keyword arguments, `name` is what tables show.
    """

    name: str
    target: str
    options: Json = field(default_factory=dict)


BASE = "base"
"""What the environment of the command itself is called, beside builds."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """A Python environment that jobs run in instead of that of the command. What it is made of, not where it lies.

    `python`: path of its interpreter, None for the command's; `requirements`: what pip installs over it, each so that
    it names the same thing later (a file has its hash, a branch is a commit); `setup`: a command that `sh` runs then.
    """

    name: str
    python: str | None = None
    requirements: tuple[str, ...] = ()
    setup: str | None = None


def build_name(build: Build | None) -> str:
    """Return what a build is called, or the command's own environment beside builds."""
    return BASE if build is None else build.name


OWN_BATCH = 0
"""Batch size of a workload for which none is asked: the model's own. How many samples that is its builder says."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is run, whatever the compiler: the unit of comparison.

    `device` is "cpu" or "cuda:<index>"; `dtype` one of `DTYPES`; `sequence_length` is None for models without one;
    `batch_size` is `OWN_BATCH` where it is left to the model (and of imported rows that do not tell it);
    `threads` is the number of intra-op threads (`torch.set_num_threads`); `build` is None for the command's own
    environment, and then in no JSON: ids are those of sweeps without builds.
    """

    suite: str
    builder: PluginSpec  # its name is the model's name
    mode: PluginSpec
    dtype: str
    device: str
    batch_size: int
    sequence_length: int | None
    seed: int
    threads: int
    build: Build | None = field(default=None, metadata={OMITTED: True})

    @property
    def model(self) -> str:
        return self.builder.name

    @property
    def parallel(self) -> Parallel | None:
        """How the processes of a job work together, one of `Parallel`; None: it is one process."""
        found: Parallel | None = self.mode.options.get("parallel")
        return found

    @property
    def ranks(self) -> int:
        """Processes of a job, each with `threads` threads, and on CUDA a device from `device` on."""
        return int(self.mode.options.get("ranks", 1)) if self.parallel else 1


DEFAULT_PRECISION: Final = "default"
"""Of products, where a mode has no option `precision`: what torch does by itself (`orchestrator.precision`)."""
Parallel = Literal["ddp", "ddp_outside", "fsdp2", "fsdp2_outside", "tensor"]
"""How ranks share a model (`orchestrator.measures.parallelism`): DistributedDataParallel or fully_shard inside of what
is compiled or around it, or tensor parallelism. Option of a mode."""
DTYPES = ("float32", "bfloat16", "float16", "amp_bfloat16", "amp_float16", "float64")


IN_TURNS = "in_turns"


@dataclass(frozen=True, kw_only=True)
class Need:
    """An edge of the job graph: the job that has it starts after `job` has finished, and of kind "in_turns" with it.

    kind "reference" and "gate" and "round" also ask that it finished well (`NEED_REQUIRES_SUCCESS`); the others only
    order: "baseline"; "series", from a timed job to the reference whose calls it makes after its timing; "timed", from
    a judged job to the one whose code it judges. "in_turns": while the one runs the other waits (`batons`).
    """

    job: str
    kind: str


NEED_REQUIRES_SUCCESS: Mapping[str, bool] = {
    **dict.fromkeys(("reference", "round", "gate"), True),
    **dict.fromkeys(("baseline", "series", "timed", IN_TURNS), False),
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A result that is known when planning (a skip, a model that is gone): no process is started for it."""

    status: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """One fresh process, one result, one row.

    `id` is a hash of everything that can change the numbers (`job_id`); `launcher` is "fork" or "subprocess";
    `env` are environment variables added to the worker's; `timeout_s` bounds the whole process, in seconds;
    `cost_s` is the planner's estimate, in seconds; `point` is the grid point of the sweep that asked for it, or for
    what needs it (its place among `store.Sweep.points`); `kind` is one of `KINDS`, None where it was imported;
    `disk_bytes` is what it leaves on the disk for the jobs that need it, at least, in the planner's estimate;
    `memory_bytes` is what its process takes of the machine's memory, in the planner's estimate, 0 where there is none;
    `keep_outputs`: what a judged job's calls leave stays beside its result; `compare_outputs`: the folder in which a
    job of another sweep has kept its own, to be compared with. They change no figure, and are in no id;
    `training` says whether its mode differentiates the model, None where nobody has asked its class.
    """

    id: str
    workload: Workload
    compiler: PluginSpec
    measure: PluginSpec
    round: int
    launcher: str
    env: Mapping[str, str]
    needs: tuple[Need, ...]
    timeout_s: float
    cost_s: float
    verdict: Verdict | None = None
    point: int | None = None
    kind: str | None = None
    disk_bytes: float = 0.0
    memory_bytes: float = 0.0
    training: bool | None = None
    keep_outputs: bool = False
    compare_outputs: str | None = None

    @property
    def is_training(self) -> bool:
        """Whether its mode trains: as planned, or by its name; who reads a sweep imports nothing of it."""
        return self.workload.mode.name.startswith("training") if self.training is None else self.training

    @property
    def is_eager(self) -> bool:
        """Whether it is the baseline's compiler. One of another name that calls the model itself (A/A) is none."""
        return self.compiler.name == EAGER

    @property
    def family(self) -> str:
        """What the rounds of one job share: everything but the round. Names its compile cache."""
        prints = (fingerprint(self.workload), fingerprint(self.compiler), fingerprint(self.measure))
        return job_id(*prints, round=-1, launcher=self.launcher, env=self.env)

    @property
    def title(self) -> str:
        w = self.workload
        precision = f"+{w.mode.options['precision']}" if "precision" in w.mode.options else ""
        ranks = f" {w.parallel}x{w.ranks}" if w.parallel else ""
        what = f"{w.model} {w.mode.name}{precision}{ranks} {w.dtype} {w.device}"
        what += f" {w.build.name}" if w.build is not None else ""
        return f"{what} {self.compiler.name} {self.measure.name} #{self.round}"


def fingerprint(record: Any) -> str:
    """Return the SHA-256, in hexadecimal, of a record's canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(to_json(record), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def once_a_record(read: Callable[[Any], Derived]) -> Callable[[Any], Derived]:
    """Derive something of each record once: 10,000 jobs share a few hundred, and a `fingerprint` is slow.

    They are known again by identity, and kept: else another could get what is that of one that is gone.
    """
    known: dict[int, tuple[Any, Derived]] = {}

    def kept(record: Any) -> Derived:
        if id(record) not in known:
            known[id(record)] = (record, read(record))
        return known[id(record)][1]

    return kept


def job_id(workload: str, compiler: str, measure: str, *, round: int, launcher: str, env: Mapping[str, str]) -> str:
    """Return a job's id, 16 hexadecimal digits: a hash of everything that can change the job's numbers.

    `workload`, `compiler` and `measure` are the `fingerprint`s of those records.
    """
    parts = [workload, compiler, measure, round, launcher, sorted(env.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Raw samples of one metric in time order.

    `unit` is "s", "bytes" or "1"; `better` is "lower", "higher" or "none". Metric names: see docs/measuring.md.
    """

    metric: str
    unit: str
    better: str
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a job has no good result.

    kind: out_of_memory, timeout, crash, unsupported, wrong_result, error, infrastructure or dependency;
    phase: the worker's phase when it happened (import, build, compile, ...), "" when unknown;
    message: one line; detail: traceback, end of the log, signal.
    """

    kind: str
    phase: str
    message: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What one job saw. `facts` are named figures and texts that are not samples; times are seconds since the epoch."""

    job_id: str
    status: str
    samples: tuple[Samples, ...] = ()
    facts: Json = field(default_factory=dict)
    failure: Failure | None = None
    environment: Json = field(default_factory=dict)
    started: float
    ended: float
    attempt: int = 1

    def sample(self, metric: str) -> Samples | None:
        for samples in self.samples:
            if samples.metric == metric:
                return samples
        return None
