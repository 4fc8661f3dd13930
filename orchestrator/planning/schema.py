"""The typed root of the configuration: every key that a command line or an experiment file may set.

OmegaConf checks keys and types of what is declared here while it composes. Maps that belong to a plug-in (`options`,
a suite's `catalog` and `common`) are open here and checked against the plug-in when planning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class SuiteConf:
    """Which models: `models` by name, `filter` and `exclude` by regular expression; null = all, no filter, none.

    open: `models` may name what is in no catalog: its builder says what a name means, `common` has the rest.
    """

    name: str = MISSING
    target: str = MISSING
    models: list[str] | None = None
    filter: str | None = None
    exclude: str | None = None
    open: bool = False
    common: dict[str, Any] = field(default_factory=dict)
    catalog: dict[str, Any] = field(default_factory=dict)


@dataclass
class PluginConf:
    """A compiler or a mode: `options` are the fields of the class `target`; `name` is what tables show."""

    name: str = MISSING
    target: str = MISSING
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class QuantizationConf:
    """What is made of the weights before the compiler gets the model; `target` null: nothing.

    An accuracy job of a quantised model is judged by the cosine, with these limits (`orchestrator.measures.compare`).
    """

    name: str = "none"
    target: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    cosine_limit: float | None = None
    norm_tolerance: float | None = None


@dataclass
class MeasureConf(PluginConf):
    """A measure; `timeout_s` replaces execution.timeout_s for its jobs."""

    timeout_s: float | None = None


@dataclass
class DtypeConf:
    name: str = MISSING  # one of records.DTYPES


@dataclass
class DeviceConf:
    type: str = MISSING  # auto, cpu, cuda
    index: int | None = None  # which CUDA device


@dataclass
class ExecutionConf:
    """How jobs are run; of all this only `launcher` and `env` can change a figure."""

    launcher: str = "fork"  # fork: child of a server that has imported torch; subprocess: a new interpreter, 5 s dearer
    shards: int = 1  # parts that hydra/launcher gets to run (joblib, submitit, Ray); the basic launcher runs one
    parallel: int | str = "auto"  # jobs that time nothing at a time; auto: as cores and memory allow
    devices: Any = None  # all, or numbers of GPUs ([0,1]): a slot for each, and the sweep runs on all at once
    cpu_sets: list[str] | None = None  # ["0-7","8-15"]: a slot for each, whose jobs stay on these CPUs
    timeout_s: float = 1800.0  # for a whole job
    retries: int = 1  # of jobs that failed for reasons of the infrastructure, never of others
    memory_limit_gib: float | None = None  # of a job's private memory (RLIMIT_DATA)
    memory_fraction: float | None = None  # of a CUDA device's memory, which torch's allocator may have in a job
    env: dict[str, str] = field(default_factory=dict)  # added to the jobs' environment; makes launcher=subprocess
    keep_caches: bool = False
    keep_references: bool = False
    stop_on_failure: bool = False  # start nothing more after the first job that failed
    device_lock: bool = True  # no timing job while another sweep on this machine times on the same device
    disk_reserve_mib: float = 100.0  # start no job when the disk has less room than this


@dataclass
class BuildConf:
    """A Python environment for jobs, made once in the user's cache; what is not given is the command's own."""

    python: str | None = None  # path of an interpreter, instead of the command's
    requirements: list[str] = field(default_factory=list)  # what pip installs over it: transformers==5.20.0, a wheel
    setup: str | None = None  # shell command that is run then, in the new environment's folder


@dataclass
class ShardJob:
    """Set by the sweeper for the Hydra jobs that it launches, not by people: which part of which sweep to run."""

    folder: str | None = None
    index: int = 0
    of: int = 1


@dataclass
class Config:
    suite: SuiteConf = MISSING
    compiler: PluginConf = MISSING
    quantization: QuantizationConf = field(default_factory=QuantizationConf)
    dtype: DtypeConf = MISSING
    mode: PluginConf = MISSING
    device: DeviceConf = MISSING
    measure: MeasureConf = MISSING

    batch_size: int | None = None  # null: the suite's, per model, device and measure
    sequence_length: int | None = None  # null: the suite's
    rounds: int = 3  # fresh processes per performance job: round 0 compiles cold, later rounds warm
    rounds_min: int = 2  # so many each row gets; a later one is left out where the verdict stands before it
    budget: str | None = None  # 20min, 90s, 1h30min: the whole sweep ends by then; open verdicts get the rounds first
    build: str = "base"  # environment of the jobs: base is the command's own, others are in `builds`, or a requirement
    builds: dict[str, Any] = field(default_factory=dict)  # name -> an environment that jobs can run in (BuildConf)
    seed: int = 1337  # of weights, inputs and the order of compilers
    threads: int | None = None  # null: one less than the physical cores (planning/machine.py says why), over the ranks
    ranks: int | None = None  # processes of a job that parallel=ddp makes one of several of; null: two

    exclude: list[Any] = field(default_factory=list)  # maps like {compiler: inductor, dtype: [float16, amp_*]}
    zip: list[Any] = field(default_factory=list)  # axes paired instead of multiplied: [dtype, batch_size], or several
    grids: list[Any] = field(default_factory=list)  # several sweeps in one: maps of axis -> "a,b"
    effect_threshold: float = 0.01  # relative; smaller effects are called "within noise" however narrow the interval
    tag: str | None = None  # a label of the sweep, for people: in no job's id
    randomize_input: bool = False  # measures that time: each repeat has other inputs (an option of theirs)
    keep_outputs: bool = False  # what judged calls leave stays in the folder, for compare_outputs of other sweeps
    compare_outputs: str | None = None  # latest, or a sweep folder that kept its outputs: equal to the bit?
    gate: str | None = None  # accuracy: what is wrong is not timed
    shard: str | None = None  # "2/5": plan and run only the second fifth, by cost
    dry_run: bool = False  # show the plan, run nothing, write nothing
    online: bool = False  # jobs may use the network: models by their id on a hub
    resume: str | None = None  # latest, or a sweep folder: run what has no valid result there
    execution: ExecutionConf = field(default_factory=ExecutionConf)
    shard_job: ShardJob = field(default_factory=ShardJob)


@dataclass
class GraphSweeperConf:
    _target_: str = "hydra_plugins.orchestrator.GraphSweeper"
    params: dict[str, Any] = field(default_factory=dict)  # axes by default: what experiment files set


def register() -> None:
    """Make the schema known to Hydra, under the names that conf/config.yaml uses."""
    store = ConfigStore.instance()
    store.store(name="schema", node=Config, provider="orchestrator")
    store.store(group="hydra/sweeper", name="graph", node=GraphSweeperConf, provider="orchestrator")
