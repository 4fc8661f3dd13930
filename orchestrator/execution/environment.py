"""The environment of a worker: what it has of the shell's, what is set, and why (docs/measuring.md)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from orchestrator import system
from orchestrator.errors import UsageError
from orchestrator.plugins import resolve
from orchestrator.records import JUDGED, OBSERVED, REFERENCE_KIND, JobSpec

DEFAULTS: Mapping[str, str] = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait give their core away: a busy neighbour costs 2x instead of 3x
    "TOKENIZERS_PARALLELISM": "false",  # no thread pool besides torch's, and no warning about forks
}
"""Set unless the user's environment has them."""

ALWAYS: Mapping[str, str] = {
    "LC_ALL": "C.UTF-8",  # messages of compilers are in one language, numbers have one decimal point
    "PYTHONHASHSEED": "0",  # sets have one order in all processes, so a compiler sees one order of nodes
    "PYTHONUNBUFFERED": "1",  # what was printed is in the log when a worker is killed
    "PYTHONUTF8": "1",  # the log is UTF-8 whatever the locale of the machine
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",  # what libraries tell their makers unasked
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # torch.cuda.is_available() must not initialise CUDA before a fork
}

OFFLINE = "HF_HUB_OFFLINE"
"""Hugging Face's libraries ask the network unless it is "1": models are built from configs, and a forgotten name must
fail at once. Only `online=true` takes it away, whatever the user's environment says."""


def worker_environment(online: bool = False) -> dict[str, str]:
    """Return the environment in which servers are started; their workers get it with `job_environment` on top.

    online: jobs may use the network.
    """
    return {**DEFAULTS, **system.inherited(os.environ), **ALWAYS, OFFLINE: "0" if online else "1"}


NOTHING: Mapping[str, str] = {}

JUDGED_ON_CUDA: Mapping[str, str] = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Of jobs on CUDA whose results are compared, unless the user's environment has them: cuBLAS is deterministic with it,
and reads it once, before anything that a measure could set (torch's notes on randomness)."""


def job_environment(
    cache: Path,
    temporary: Path,
    job: JobSpec,
    compile_threads: int | None = None,
    artifacts: Path | None = None,
    slot: Mapping[str, str] = NOTHING,
) -> dict[str, str]:
    """Return the variables of one job: its compile caches in the folder `cache`, its temporary files, its own `env`.

    compile_threads: with how many threads or processes inductor compiles, None for its own number. artifacts: where
    torch's files for debugging go, unless the user's environment says where. slot: the variables of its slot.
    """
    folders = {
        "TORCHINDUCTOR_CACHE_DIR": cache / "inductor",
        "TRITON_CACHE_DIR": cache / "triton",
        "TMPDIR": temporary,
    }
    if artifacts is not None and system.DEBUG_FOLDER not in os.environ:
        folders[system.DEBUG_FOLDER] = artifacts
    judged = job.workload.device.startswith("cuda") and _compares(job)
    if job.workload.device.startswith("cuda"):  # the driver's cache of kernels, and torch's of those it makes itself
        folders |= {"CUDA_CACHE_PATH": cache / "cuda", "PYTORCH_KERNEL_CACHE_PATH": temporary}  # the one must be there
    own = {name: value for name, value in JUDGED_ON_CUDA.items() if judged and name not in os.environ}
    if compile_threads is not None:
        own[system.COMPILE_THREADS] = str(compile_threads)
    return {**own, **{name: str(path) for name, path in folders.items()}, **job.env, **slot}


def _compares(job: JobSpec) -> bool:
    """Return whether the job compares results: by its kind, or because its measure says so."""
    if job.kind != OBSERVED:
        return job.kind in (JUDGED, REFERENCE_KIND)
    try:
        return bool(getattr(resolve(job.measure.target), "deterministic", False))
    except UsageError:
        return False  # a package that is not allowed here: the job's own result will say so
