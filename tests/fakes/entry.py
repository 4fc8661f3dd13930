"""A torch-free stand-in for `orchestrator.worker.run`: the job's compiler option `does` says how it behaves."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fakes.behaviour import behave
from orchestrator.batons import Baton
from orchestrator.records import INFRASTRUCTURE, OUT_OF_MEMORY, PASS, JobResult, JobSpec, Samples
from orchestrator.store import SweepFolder
from orchestrator.system import slot


def run_job(folder: str, job_id: str) -> None:
    started = time.time()
    first = time.monotonic()
    store = SweepFolder(folder)
    job = store.read_job(job_id)
    with (store.root / "starts.txt").open("a") as file:
        file.write(f"{job_id}\n")
    store.phase_file(job_id).write_text("compile")
    does = str(job.compiler.options.get("does", "pass"))
    if job.measure.name == "reference":
        store.reference(job_id).mkdir(parents=True)
        (store.reference(job_id) / "tensors").write_text("1 2 3")
    cache = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    facts = {
        "first_instruction": first,
        "cache": "warm" if cache.exists() else "cold",
        "references": [store.reference(need.job).is_dir() for need in job.needs if need.kind == "reference"],
        "environment": dict(os.environ),
        "affinity": sorted(os.sched_getaffinity(0)),
        "slot": slot(),
        "group": [os.getpid(), os.getpgid(0), os.getsid(0)],
        "inherited": _inherited(),
        "threads": len(os.listdir("/proc/self/task")),
        "descriptors": sorted(os.readlink(f"/proc/self/fd/{name}") for name in _descriptors()),
    }
    cache.mkdir(parents=True, exist_ok=True)
    status = PASS
    if does == "infrastructure_once" and not (store.job(job_id) / "tried").exists():
        (store.job(job_id) / "tried").touch()
        status = INFRASTRUCTURE
    word, _, name = does.partition(" ")
    if does == "out_of_memory":
        status = OUT_OF_MEMORY
    if does == "once out_of_memory" and not (store.job(job_id) / "tried").exists():
        (store.job(job_id) / "tried").touch()
        time.sleep(0.5)  # until the others are there
        status = OUT_OF_MEMORY
    elif does == "hang_beside" and not (store.job(job_id) / "tried").exists():
        (store.job(job_id) / "tried").touch()
        behave("hang")
    elif word == "once" and not (store.job(job_id) / "tried").exists():
        # "once SIGTERM": sent to itself, the first time
        (store.job(job_id) / "tried").touch()
        os.kill(os.getpid(), signal.Signals[name])
        time.sleep(0.5)
    baton = Baton.of_environment()
    if baton is not None:
        baton.begin()
    if word == "turns":
        facts["steps"] = _steps(baton, float(name.split()[0]))
        behave(name.partition(" ")[2])
    if not does.startswith("result_then "):
        behave(does)
    samples = _pairs(float(job.compiler.options["speedup"]), job.round) if "speedup" in job.compiler.options else ()
    time.sleep(float(job.compiler.options.get("lasts", 0)))
    result = JobResult(job_id=job_id, status=status, samples=samples, facts=facts, started=started, ended=time.time())
    store.write_result(result)
    if does.startswith("result_then "):
        behave(does.removeprefix("result_then "))
    if baton is not None:
        baton.leave()


def _steps(baton: Baton | None, seconds: float) -> list[tuple[float, float]]:
    """Return when steps of 5 ms began and ended, of so many seconds in all, each in this process's turn."""
    found = []
    while sum(end - start for start, end in found) < seconds:
        if baton is not None:
            baton.take()
        start = time.monotonic()
        time.sleep(0.005)
        found.append((start, time.monotonic()))
    return found


def _pairs(speedup: float, round: int) -> tuple[Samples, ...]:
    """Return twenty pairs whose rounds differ by half a per cent."""
    compiled = [(1 + 0.001 * (number % 3)) * (1 + 0.005 * (round % 2)) for number in range(20)]
    values = {"pair_eager_latency": [speedup] * 20, "pair_latency": compiled}
    return tuple(Samples(metric=name, unit="s", better="lower", values=tuple(v)) for name, v in values.items())


def preloads(job: JobSpec) -> tuple[str, ...]:
    preload = job.compiler.options.get("preload")
    return (str(preload),) if preload else ()


def _inherited() -> dict[str, object]:
    """Return what of this process another could have changed."""
    umask = os.umask(0)
    os.umask(umask)
    torch: Any = sys.modules.get("torch")
    settings = torch and [torch.get_default_dtype(), torch.initial_seed(), torch.are_deterministic_algorithms_enabled()]
    return {
        "cwd": os.getcwd(),
        "umask": umask,
        "temporary": os.listdir(tempfile.gettempdir()),
        "environment": sorted(os.environ),
        "home": os.environ.get("HOME"),
        "torch": settings and list(map(str, settings)),
    }


def _descriptors() -> list[str]:
    return [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
