"""Whose fault a failure is: the job's, or of what is around it. In the worker itself, and in what it leaves behind."""

from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from fakes.sweeps import make_job
from support.command import ENVIRONMENT, FAKES, command

from orchestrator import precision
from orchestrator.cli.running import run_and_finish
from orchestrator.columns import TableSpec, memory
from orchestrator.errors import UsageError, first_line, in_one_line, is_disk_failure, remedy, says_out_of_memory
from orchestrator.execution.lock import InUse, locked
from orchestrator.execution.scratch import Temporary
from orchestrator.measures.context import Context
from orchestrator.plugins import PACKAGES_VARIABLE, Outcome
from orchestrator.records import (
    CRASH,
    EAGER_FAIL_TO_RUN,
    FAIL_TO_RUN,
    INFRASTRUCTURE,
    OBSERVED,
    OUT_OF_MEMORY,
    PASS,
    UNSUPPORTED,
    JobResult,
    JobSpec,
    PluginSpec,
)
from orchestrator.store import SweepFolder
from orchestrator.worker.run import classify, modules, preloads, run_job


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("", ""),
        ("one\ntwo", "one"),
        ("one,\ntwo,\nthree", "one, two,"),
        ("\x1b[31mone:\x1b[0m\n\ntwo:\nthree\nfour", "one: two: three"),
        (
            "Tracer cannot infer type of {'a': tensor([[ 9.4, 1.7],\n        [-3.1, 4.2]])}\n:Found str and int\nmore",
            "Tracer cannot infer type of {'a': tensor([[ 9.4, 1.7], …:Found str and int",
        ),
        (
            "The following operation failed in the TorchScript interpreter.\nTraceback\nRuntimeError: x",
            "The following operation failed in the TorchScript interpreter. RuntimeError: x",
        ),
    ],
)
def test_the_line_that_explains_is_not_lost(message: str, told: str) -> None:
    assert in_one_line(ValueError(message)) == f"ValueError: {told or 'no message'}"
    line = classify(ValueError(message), "compile", "jit_trace")[1].message
    assert line == (f"ValueError: {told}" if told else "ValueError")


def test_the_first_line_of_an_error_that_says_nothing_is_its_type() -> None:
    assert first_line(AttributeError()) == "AttributeError"
    assert first_line(ValueError("\n  what\nmore")) == "what"


def wrapped(cause: BaseException) -> RuntimeError:
    """Wrap an exception as inductor does: in one of its own, that says the words of the other."""
    error = RuntimeError(f"backend='inductor' raised:\n{type(cause).__name__}: {cause}")
    error.__cause__ = cause
    return error


def test_an_exception_among_its_own_causes_has_an_end() -> None:
    """Raised again out of what it caused, as the reference does: walking its causes ate all memory."""
    error = ValueError("missing")

    def raised_again() -> None:
        try:
            raise RuntimeError("wrapped") from error
        except RuntimeError:
            raise error from None

    with pytest.raises(ValueError, match="missing") as again:
        raised_again()
    assert again.value.__context__ is not None
    assert again.value.__context__.__cause__ is again.value
    assert remedy(again.value, training=False) == ""


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EROFS, "Read-only file system"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.EFBIG, "File too large"),
        ImportError("libx.so: cannot open shared object file: Too many open files"),
        wrapped(OSError(errno.ENOSPC, "No space left on device")),
        RuntimeError("C++ compile error: fatal error: error writing to /tmp/cc1.s: No space left on device"),
    ],
    ids=str,
)
def test_a_disk_that_fails_is_not_the_jobs_fault(error: Exception) -> None:
    status, failure = classify(error, "compile", "inductor")
    assert status == failure.kind == INFRASTRUCTURE
    assert failure.phase == "compile"


@pytest.mark.parametrize(
    "error", [ValueError("wrong"), RuntimeError("wrong"), FileNotFoundError(errno.ENOENT, "No such file", "x")], ids=str
)
def test_any_other_failure_is(error: Exception) -> None:
    assert not is_disk_failure(wrapped(error))
    assert classify(wrapped(error), "compile", "inductor")[0] == FAIL_TO_RUN


def test_what_fails_in_a_phase_of_eagers_is_not_the_compilers_fault() -> None:
    error = RuntimeError("wrong")
    for phase in ("fp64_run", "eager_1st_run", "eager_batch_8", "eager"):
        assert classify(error, phase, "inductor")[0] == EAGER_FAIL_TO_RUN
    assert classify(error, "batch_8", "inductor")[0] == FAIL_TO_RUN


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "GET was unable to find an engine to execute this computation",
        "[ONNXRuntimeError] : bfc_arena.cc: Failed to allocate memory for requested buffer of size 12582912",
        "Requested amount of GPU memory (1073741824 bytes) could not be allocated.",
        "CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY",
        "[Errno 12] Cannot allocate memory",
    ],
)
def test_memory_that_ends_is_known_by_one_list_of_words_in_messages_and_in_logs(message: str) -> None:
    status, failure = classify(wrapped(RuntimeError(message)), "steady", "inductor")
    assert status == failure.kind == OUT_OF_MEMORY
    assert says_out_of_memory(f"Traceback (most recent call last):\n{message}\n")


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "CUDA error: all CUDA-capable devices are busy or unavailable",
        "CUDA error: uncorrectable ECC error encountered",
        "CUDA error: initialization error",
        "The NVIDIA driver on your system is too old; CUDA driver version is insufficient for CUDA runtime version",
    ],
)
def test_a_gpu_that_fails_is_not_the_jobs_fault(message: str) -> None:
    status, failure = classify(wrapped(RuntimeError(message)), "compile", "inductor")
    assert status == failure.kind == INFRASTRUCTURE


@pytest.mark.parametrize(
    "message",
    ["CUDA error: an illegal memory access was encountered", "CUDA error: device-side assert triggered", "is lost"],
)
def test_what_a_compilers_kernels_do_to_a_gpu_is(message: str) -> None:
    assert classify(RuntimeError(message), "steady", "inductor")[0] == FAIL_TO_RUN


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("\"addmm_cuda\" not implemented for 'Float8'"), UNSUPPORTED),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling cublasGemmEx"), UNSUPPORTED),
        (TypeError("Trying to convert Float64 to the MPS backend"), UNSUPPORTED),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB."), OUT_OF_MEMORY),
        (RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable"), INFRASTRUCTURE),
        (RuntimeError("CUDA error: unspecified launch failure"), INFRASTRUCTURE),
        (RuntimeError("CUDA error: unsupported display driver / cuda driver combination"), INFRASTRUCTURE),
    ],
    ids=str,
)
def test_only_a_missing_dtype_is_unsupported_when_the_device_is_tried(
    error: Exception, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch, "ones", fails)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its class is what is asked
        precision.check(make_job("m").workload)
    assert classify(caught.value, "import", "inductor")[0] == status


def test_a_jobs_device_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What says "cuda" without a number means it: libraries' streams, kernels of users, TorchBench's builders."""
    chosen: list[torch.device] = []
    ones = torch.ones
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch, "ones", lambda *shape, device, **options: ones(*shape, **options))
    precision.check(dataclasses.replace(make_job("m").workload, device="cuda:1"))
    assert chosen == [torch.device("cuda", 1)]


def run(store: SweepFolder, job: JobSpec) -> JobResult:
    store.write_job(job)
    run_job(str(store), job.id)
    result = store.read_result(job.id)
    assert isinstance(result, JobResult)
    return result


@dataclasses.dataclass(frozen=True)
class Misspelt:
    """Leaves two rows, one of them with a key that its table does not have."""

    kind: ClassVar[str] = OBSERVED
    TABLES: ClassVar[dict[str, TableSpec]] = {"parameter_memory": TableSpec((memory("buffers_mib", "of buffers"),))}

    status: str = PASS

    def run(self, context: Context) -> Outcome:
        context.find("parameter_memory", buffer_bytes=1)
        context.find("parameter_memory", buffers_bytes=2)
        return Outcome(self.status, "" if self.status == PASS else "its own reason")


def test_a_value_that_no_table_would_show_fails_the_job_and_its_rows_are_kept(
    store: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PACKAGES_VARIABLE, f"fakes,{__name__}")
    told = "parameter_memory: no column takes 'buffer_bytes': did you mean 'buffers_bytes'?"
    for status in (PASS, CRASH):
        measure = PluginSpec(name="m", target=f"{__name__}.Misspelt", options={"status": status})
        result = run(store, replace(make_job(f"m_{status}"), measure=measure))
        assert result.failure is not None
        if status == PASS:
            assert result.status == FAIL_TO_RUN
            assert result.failure.message.startswith(told)
        else:
            assert (result.status, result.failure.message) == (CRASH, "its own reason")
            assert result.facts["notes"][0].startswith(told)
        assert result.facts["findings"]["parameter_memory"] == [{"buffer_bytes": 1}, {"buffers_bytes": 2}]


def test_a_job_whose_cache_or_folder_was_removed_is_run_again_and_not_blamed(
    store: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PACKAGES_VARIABLE, "fakes")
    job = make_job("m", "lose_cache")
    cache = store.cache(job.family)
    cache.mkdir(parents=True)
    monkeypatch.setenv("FAKES_CACHE", str(cache))
    lost = run(store, job)
    assert lost.status == INFRASTRUCTURE
    assert lost.failure is not None
    assert "was removed while it ran (FileNotFoundError" in lost.failure.message
    monkeypatch.setenv("FAKES_CACHE", str(store.job(job.id)))
    lost = run(store, job)
    assert lost.status == INFRASTRUCTURE
    assert lost.failure is not None
    assert f"{store.job(job.id)} was removed while it ran (" in lost.failure.message
    cache.mkdir(exist_ok=True)
    blamed = run(store, make_job("m", "raise"))
    assert blamed.status == FAIL_TO_RUN


MODEL = """
import sys, torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def get_example_inputs(self):
        return torch.randn(1, 4)

    def forward(self, x):
        {body}
"""


def of_model(
    folder: Path, body: str, compiler: str = "eager", mode: str = "inference", dtype: str = "float32"
) -> JobSpec:
    """Return the performance job of a model whose `forward` has this body."""
    (folder / "net.py").write_text(MODEL.format(body=body))
    target = "eager.Eager" if compiler == "eager" else "dynamo.TorchCompile"
    options = {} if compiler == "eager" else {"backend": "eager"}
    job = make_job(
        "Net",
        builder=PluginSpec(
            name="Net",
            target="orchestrator.suites.user.UserModel",
            options={"model": f"{folder / 'net.py'}:Net"},
        ),
        compiler=PluginSpec(name=compiler, target=f"orchestrator.compilers.{target}", options=options),
    )
    steps = PluginSpec(name=mode, target=f"orchestrator.modes.{mode}.{mode.title()}")
    return replace(job, workload=replace(job.workload, mode=steps, dtype=dtype))


@pytest.mark.parametrize(
    ("body", "compiler", "status", "message"),
    [
        (
            "sys.exit(0)",
            "eager",
            EAGER_FAIL_TO_RUN,
            "the model called sys.exit(0) in its forward (net.py:13, in forward)",
        ),
        (
            "sys.exit('no licence')",
            "eager",
            EAGER_FAIL_TO_RUN,
            "the model called sys.exit('no licence') in its forward",
        ),
        (
            "return self.layer(x) if x.sum().item() > 1e9 else sys.exit()",
            "dynamo",
            FAIL_TO_RUN,
            "called sys.exit(None)",
        ),
    ],
)
def test_a_model_that_ends_the_process_is_named(
    store: SweepFolder, tmp_path: Path, body: str, compiler: str, status: str, message: str
) -> None:
    result = run(store, of_model(tmp_path, body, compiler))
    assert result.status == status
    assert result.failure is not None
    assert message in result.failure.message
    assert "net.py" in str(result.failure.detail)


def test_ctrl_c_is_no_result_of_the_job(store: SweepFolder, tmp_path: Path) -> None:
    job = of_model(tmp_path, "raise KeyboardInterrupt")
    store.write_job(job)
    with pytest.raises(KeyboardInterrupt):
        run_job(str(store), job.id)
    assert store.read_result(job.id) is None


@pytest.mark.parametrize(
    ("body", "asked", "advice"),
    [
        ("return torch.autograd.grad(self.layer(x.requires_grad_()).sum(), x)[0]", {}, "torch.enable_grad()"),
        ("return torch.autograd.grad(self.layer(x).sum(), x)[0]", {"compiler": "dynamo"}, "torch.enable_grad()"),
        ("return self.layer(torch.ones(1, 4))", {"dtype": "bfloat16"}, "dtype=x.dtype"),
        ("return torch.linalg.cholesky(x.T @ x)", {"dtype": "float16"}, "in float32"),
        (
            "self.kept = getattr(self, 'kept', 0) + self.layer(x).sum(); return self.kept",
            {"mode": "training"},
            "detach()",
        ),
    ],
)
def test_a_known_failure_of_torch_comes_with_what_to_do(
    store: SweepFolder, tmp_path: Path, body: str, asked: dict[str, str], advice: str
) -> None:
    result = run(store, of_model(tmp_path, body, **asked))
    assert result.failure is not None
    assert advice in result.failure.message


def test_a_loss_without_a_gradient_is_no_matter_of_inference(store: SweepFolder, tmp_path: Path) -> None:
    result = run(store, of_model(tmp_path, "return x.sum()", mode="training"))
    assert result.failure is not None
    assert "does not require grad" in result.failure.message
    assert "no_grad" not in result.failure.message


@pytest.mark.slow
def test_a_job_lasts_as_long_as_it_does_whatever_happens_to_the_clock(
    store: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PACKAGES_VARIABLE, "fakes")
    real, begun = time.time, time.time()
    monkeypatch.setattr(time, "time", lambda: real() - 7200.0 if real() > begun + 0.2 else real())
    result = run(store, make_job("m", "sleep 0.5"))
    assert 0.0 < result.ended - result.started < 60.0


@dataclass(frozen=True)
class NeedsMuch:
    PRELOAD: ClassVar[tuple[str, ...]] = ("torch._dynamo", "json.tool")


def test_the_server_imports_only_what_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PACKAGES_VARIABLE, "test_faults")
    job = make_job("m", compiler=PluginSpec(name="needs much", target="test_faults.NeedsMuch"))
    monkeypatch.setenv(PACKAGES_VARIABLE, "test_faults,fakes")
    assert set(modules(job)) >= {"torch._dynamo", "json.tool"}
    assert "json.tool" not in preloads(job)
    assert "torch._dynamo" in preloads(job)


# -- temporary files


def test_each_job_has_a_folder_for_temporary_files_that_goes_with_it(
    store: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    jobs = [make_job("a"), make_job("b")]
    temporary = Temporary(store, jobs)
    first, second = (temporary.fresh(job.id) for job in jobs)
    assert first != second
    (first / "left").write_text("x")
    temporary.finished(jobs[0].id)
    assert not first.exists()
    assert second.exists()
    # killed here: the next run of the folder removes what is left, and finds the same name
    (second / "left").write_text("x")
    again = Temporary(store, jobs)
    assert list(place.iterdir()) == []
    assert again.fresh(jobs[1].id) == second
    again.finished(jobs[1].id)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("trap", ["link", "open to all"])
def test_a_folder_that_somebody_else_has_prepared_is_not_used(
    trap: str, store: SweepFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    jobs = [make_job("a")]
    expected = Temporary(store, jobs).fresh(jobs[0].id).parent
    expected.joinpath(jobs[0].id).rmdir()
    expected.rmdir()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    if trap == "link":
        os.symlink(precious, expected)
    else:
        expected.mkdir()
        expected.chmod(0o777)
        (expected / "file").write_text("x")
    folder = Temporary(store, jobs).fresh(jobs[0].id)
    assert folder.parent != expected
    assert (expected / "file").read_text() == "x"


# -- the folder


def test_a_lock_that_cannot_be_opened_is_one_message(store: SweepFolder) -> None:
    store.lock.mkdir(parents=True)
    message = r"lock in it cannot be opened for writing \(Is a directory\)"
    with pytest.raises(UsageError, match=message), locked(store, 0, 1):
        pass


def test_a_file_system_without_locks_is_told_of_once_and_runs(tmp_path: Path) -> None:
    source, library = tmp_path / "flock.c", tmp_path / "flock.so"
    source.write_text("#include <errno.h>\nint flock(int fd, int kind) { errno = ENOLCK; return -1; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    words = (*FAKES, "suite=perceptrons", "suite.models=[one]", "compiler=eager", "measure=glance", "rounds=2")
    done = command(*words, cwd=tmp_path, **{**ENVIRONMENT, "LD_PRELOAD": str(library)})
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("has no locks (No locks available)") == 2  # of the sweep's folder, and of the devices'


def test_who_is_refused_shows_no_tables_of_another_run(store: SweepFolder) -> None:
    """`finish` would say that this is no sweep folder."""

    def refused() -> bool:
        raise InUse("in use by process 17")

    with pytest.raises(InUse, match="process 17"):
        run_and_finish(store, refused)


def test_a_result_that_a_cuda_graph_overwrites_is_told_with_what_to_take_instead() -> None:
    """The message is torch's own, of the version that is installed."""
    from torch._inductor.cudagraph_trees import CUDAGraphTreeManager

    message = CUDAGraphTreeManager.format_dealloc_msg("model.py:3")
    _, failure = classify(wrapped(RuntimeError(message)), "steady", "inductor_reduce_overhead", training=False)
    assert "mode.options.cache=static" in failure.message
