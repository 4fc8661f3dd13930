"""One job, from job.json to result.json, in a process that does nothing else.

The process border: whatever is raised becomes a result with a status, a phase and a traceback. What cannot be
caught here (signals, the kernel's OOM killer, a hang) the scheduler sees from outside.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import columns
from orchestrator.batons import Baton
from orchestrator.errors import first_sentence, is_device_failure, is_disk_failure, is_out_of_memory, remedy
from orchestrator.plugins import Outcome, Unsupported, check_inputs, instantiate, trains
from orchestrator.plugins import preloads as preloads_of
from orchestrator.records import (
    EAGER,
    EAGER_FAIL_TO_RUN,
    FAIL_ACCURACY,
    FAIL_TO_RUN,
    HARMLESS,
    INFRASTRUCTURE,
    MODEL_FAIL_TO_LOAD,
    OUT_OF_MEMORY,
    UNSUPPORTED,
    Failure,
    JobResult,
    JobSpec,
    Samples,
)
from orchestrator.store import SweepFolder
from orchestrator.system import COMPILE_THREADS, DEBUG_FOLDER, MEMORY_FRACTION, slot
from orchestrator.worker.process import BY_EXEC
from orchestrator.worker.ranks import Crew, joined, of_rank
from orchestrator.worker.toolchain import enter

if TYPE_CHECKING:
    from orchestrator.measures.context import Context

LOADING = ("import", "build")
SHARED = ("torch", "transformers")
EAGER_PHASES = re.compile(r"fp64_run|eager(_.*)?")


@dataclass
class _Seen:
    """What a job has seen so far: kept when it raises."""

    phase: str = "import"
    samples: list[Samples] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)


def run_job(folder: str, job_id: str, *, reraise: bool = False) -> None:
    """Run the job `job_id` of a sweep folder and write its result; returns whatever happens to the job.

    With `reraise` what the job raised is raised again once its result is written: for a debugger.
    """
    store = SweepFolder(folder)
    job = store.read_job(job_id)
    started, clock = time.time(), time.monotonic()  # the one may be set back meanwhile
    held = [(folder, _hold(folder)) for folder in (store.job(job.id), store.cache(job.family))]
    seen = _Seen()
    if why := os.environ.pop(BY_EXEC, ""):
        seen.facts["notes"] = [f"started by exec, not as a fork: {why}"]
    failure: Failure | None = None
    raised: Exception | SystemExit | None = None

    def write(status: str, failure: Failure | None) -> None:
        for facts in (seen.facts, {}):  # a rank's death may be told while this process adds to them
            with contextlib.suppress(RuntimeError):
                store.write_result(
                    JobResult(
                        job_id=job.id,
                        status=status,
                        samples=tuple(seen.samples),
                        facts=facts,
                        failure=failure,
                        environment=seen.environment if facts else {},
                        started=started,
                        ended=started + time.monotonic() - clock,
                    )
                )
                return

    baton = Baton.of_environment()
    crew = Crew(job, store, write) if job.workload.parallel else None
    if crew is not None:
        crew.start()
    try:
        outcome = _run(job, store, seen, crew, baton)
        status = outcome.status
        if status not in HARMLESS or outcome.reason:
            kind = "wrong_result" if status == FAIL_ACCURACY else "error"
            failure = Failure(kind=kind, phase=seen.phase, message=outcome.reason)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the process border
        status, failure = classify(error, seen.phase, job.compiler.name, training=trains(job.workload.mode))
        if removed := [str(folder) for folder, now in held if now is not None and _was_removed(folder, now)]:
            message = f"{' and '.join(removed)} was removed while it ran ({failure.message})"
            status, failure = INFRASTRUCTURE, replace(failure, kind=INFRASTRUCTURE, message=message)
        raised = error if reraise else None
        if not reraise:
            with contextlib.suppress(OSError):  # the log's disk is full: the result has the traceback too
                traceback.print_exc()
        if crew is not None:
            crew.fail(status, failure)
    if crew is not None:
        crew.end()
    if baton is not None:
        seen.facts["turns"] = baton.facts()
    write(status, failure)
    if baton is not None:
        baton.leave()
    if raised is not None:
        raise raised


def _hold(folder: Path) -> int | None:
    """Open a folder: while it is open no other can have its inode. None where it is not there."""
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _was_removed(folder: Path, descriptor: int) -> bool:
    """Return whether `folder` is no longer the one that was opened as `descriptor`."""
    try:
        return not os.path.samestat(os.stat(folder), os.fstat(descriptor))
    except FileNotFoundError:
        return True


def _run(job: JobSpec, store: SweepFolder, seen: _Seen, crew: Crew | None, baton: Baton | None) -> Outcome:
    phase_file = store.phase_file(job.id) if crew is None else crew.phase_file
    own_folder = ""  # of one that is not the job's own process
    if crew is not None and crew.rank:
        own_folder = f"rank{crew.rank}"
        job = of_rank(job, crew.rank)

    def entered(phase: str) -> None:
        seen.phase = phase
        phase_file.write_text(phase)

    began = time.monotonic()
    entered("import")
    import torch

    from orchestrator import precision
    from orchestrator.measures.context import Context, seed_all
    from orchestrator.measures.group import InTurns
    from orchestrator.probes.environment import environment, gpu_environment
    from orchestrator.probes.memory import MemoryProbe

    torch.set_num_threads(job.workload.threads)
    _share_cores()
    seed_all(job.workload.seed)
    device = torch.device(job.workload.device)
    seen.environment.update(environment())
    if own := slot():
        seen.facts["slot"] = own
    builder, mode, compiler, measure = (
        instantiate(spec) for spec in (job.workload.builder, job.workload.mode, job.compiler, job.measure)
    )
    tables = columns.to_json(getattr(measure, "TABLES", {}))
    on_device = not getattr(measure, "works_in_children", False)
    if on_device and device.type == "cuda" and MEMORY_FRACTION in os.environ:
        torch.cuda.set_per_process_memory_fraction(float(os.environ[MEMORY_FRACTION]), device)
    if on_device:
        seen.environment.update(gpu_environment(device))
    for module in modules(job):
        importlib.import_module(module)
    if baton is not None:
        baton.begin()
    group = joined(crew, mode, device) if baton is None else InTurns(baton)
    if own_folder:
        group.meet()  # rank 0 enters first: what it loads is there then
    toolchain, seeded = enter(store.seed(job.family))
    if not own_folder:
        group.meet()
    if toolchain is not None:
        seen.environment["toolchain"] = toolchain
    if hasattr(builder, "load"):
        builder.load(job.workload)
    if on_device:
        precision.use(job.workload)
        precision.check(job.workload)
        compiler.check(job.workload)
    check_inputs(mode, compiler, job.workload)
    context = Context(
        job=job,
        device=device,
        builder=builder,
        mode=mode,
        compiler=compiler,
        folder=store.job(job.id),
        reference=store.reference(job.id) / own_folder,
        references=[
            store.reference(need.job) / own_folder for need in job.needs if need.kind in ("reference", "series")
        ],
        timed=next((store.reference(need.job) for need in job.needs if need.kind == "timed"), None),
        memory=MemoryProbe(device if on_device else torch.device("cpu")),
        entered=entered,
        samples=seen.samples,
        facts=seen.facts,
        group=group,
        seeded=seeded,
    )
    seen.facts["phases_s"] = {"import": time.monotonic() - began}
    try:
        with _among_its_artifacts(store.artifacts(job.id), remove=not own_folder):
            outcome = group.conclude(context, measure.run(context))
            return _complete(outcome, getattr(measure, "TABLES", {}), context)
    finally:  # of the tables that it left rows of: whoever reads them need not have the measure's package
        declared = {name: tables[name] for name in seen.facts.get("findings", {}) if name in tables}
        if declared:
            seen.facts["tables"] = declared | seen.facts.get("tables", {})


@contextlib.contextmanager
def _among_its_artifacts(folder: Path, *, remove: bool) -> Iterator[None]:
    """Run in the job's own folder: what torch and compilers write where they are run belongs to the job.

    remove: the folder, where it is empty in the end.

    Models are imported and built where the command runs (`Context.build`): they may read files there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dynamo: Any = sys.modules.get("torch._dynamo.config")
    if dynamo is not None and DEBUG_FOLDER in os.environ:  # it may have been imported in the server
        dynamo.debug_dir_root = dynamo.default_debug_dir_root()
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        with contextlib.suppress(OSError):  # something is in it, or it was removed
            if remove:
                folder.rmdir()


def _share_cores() -> None:
    """Let inductor compile with as many threads as this job was given: it may have read a server's environment."""
    config: Any = sys.modules.get("torch._inductor.config")
    if config is not None and COMPILE_THREADS in os.environ:
        config.compile_threads = int(os.environ[COMPILE_THREADS])


def _complete(outcome: Outcome, tables: Mapping[str, columns.TableSpec], context: Context) -> Outcome:
    """Return a measure's verdict, or that it failed, where a row has a value that no table would ever show.

    All rows are kept. What failed anyway keeps its own reason, and has a note.
    """
    wrong = "; ".join(columns.without_a_column(tables, context.facts.get("findings", {})))
    if not wrong:
        return outcome
    if outcome.status in HARMLESS:
        return Outcome(FAIL_TO_RUN, wrong)
    context.note(wrong)
    return outcome


def preloads(job: JobSpec) -> tuple[str, ...]:
    """Return those of `modules` that the fork server imports, once for all jobs: torch's and transformers' own.

    What another package changes when it is imported (torch's settings, back-ends, threads) would be in every job that
    comes later: it is imported in the jobs that name it, and nowhere else.
    """
    return tuple(module for module in modules(job) if module.partition(".")[0] in SHARED)


def modules(job: JobSpec) -> tuple[str, ...]:
    """Return the modules that this job's plug-ins name: `PRELOAD`, and `preload_modules(workload)` where they have it.

    They are imported before anything is measured, under both launchers: their import is neither compile latency nor
    the model's memory.
    """
    from orchestrator.suites.torchvision_operators import define_when_imported

    define_when_imported()
    found: list[str] = []
    for spec in (job.workload.builder, job.workload.mode, job.compiler, job.measure):
        found += preloads_of(instantiate(spec), job.workload)
    return tuple(dict.fromkeys(found))


def classify(error: Exception | SystemExit, phase: str, compiler: str, *, training: bool = True) -> tuple[str, Failure]:
    """Return the status and failure of a job that raised `error` in `phase`. `training`: with gradients."""
    message = f"{type(error).__name__}: {str(error).strip()}" if str(error).strip() else type(error).__name__
    detail = "".join(traceback.format_exception(error))
    line = _exit(error) if isinstance(error, SystemExit) else first_sentence(message)
    if advice := remedy(error, training=training):
        line = f"{line} ({advice})"
    if isinstance(error, Unsupported):
        return UNSUPPORTED, Failure(kind="unsupported", phase=phase, message=str(error))
    if is_disk_failure(error):
        return INFRASTRUCTURE, Failure(kind=INFRASTRUCTURE, phase=phase, message=line, detail=detail)
    if is_out_of_memory(error):
        return OUT_OF_MEMORY, Failure(kind="out_of_memory", phase=phase, message=line, detail=detail)
    if is_device_failure(error):
        return INFRASTRUCTURE, Failure(kind=INFRASTRUCTURE, phase=phase, message=line, detail=detail)
    if phase in LOADING:
        status = MODEL_FAIL_TO_LOAD
    elif EAGER_PHASES.fullmatch(phase) or compiler == EAGER:
        status = EAGER_FAIL_TO_RUN
    else:
        status = FAIL_TO_RUN
    return status, Failure(kind="error", phase=phase, message=line, detail=detail)


def _exit(error: SystemExit) -> str:
    """Return who called `sys.exit`, and where: the model, or other code of the job."""
    import torch

    frames = list(traceback.walk_tb(error.__traceback__))
    frame, line = frames[-1]
    place = f"{os.path.basename(frame.f_code.co_filename)}:{line}, in {frame.f_code.co_name}"
    called = f"called sys.exit({error.code!r})"
    if any(
        one.f_code.co_name == "forward" and isinstance(one.f_locals.get("self"), torch.nn.Module) for one, _ in frames
    ):
        return f"the model {called} in its forward ({place})"
    return f"the job's code {called} ({place})"
