"""What the GPU acceptance run looks at from inside a process, on a stub of CUDA: figures, order, and what raises.

The stub's kernels take no time but the one that spins, which sleeps when the device is waited for.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.example_records import KNOWN
from support.measuring import context as context_of

from orchestrator.compilers.eager import Eager
from orchestrator.compilers.planted import DeviceSlowdown, OutsideAllocator, StaleGraph
from orchestrator.measures import gpu_checks, neighbour
from orchestrator.measures.context import Context
from orchestrator.measures.gpu_checks import CYCLES, GpuChecks
from orchestrator.plugins import Unsupported
from orchestrator.records import EAGER_FAIL_TO_RUN, PASS, Workload
from orchestrator.suites.known import KnownModel

UUID = "5f2c1f0a-0000-1111-2222-333344445555"
HZ = 1e10  # of the stub's clock
FAKE_TORCH = """
from types import SimpleNamespace
bfloat16 = None
cuda = SimpleNamespace(synchronize=lambda: None)
class Matrix:
    def __matmul__(self, other): return self
def randn(*shape, device, dtype):
    assert device == "cuda"
    return Matrix()
"""


class Cuda:
    """The device: what was enqueued is done when somebody waits."""

    def __init__(self) -> None:
        self.queued = 0.0

    def spin(self, cycles: int) -> None:
        self.queued += cycles / HZ

    def synchronize(self, device: Any = None) -> None:
        seconds, self.queued = self.queued, 0.0
        time.sleep(seconds)


class Event:
    device: Cuda

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = self.device.queued

    def elapsed_time(self, other: Event) -> float:
        return (other.at - self.at) * 1000


class Nvml:
    NVML_CLOCK_SM = 1
    pids: tuple[int, ...] = ()

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlInit": None,
            "nvmlDeviceGetCount": 1,
            "nvmlDeviceGetHandleByIndex": "handle",
            "nvmlDeviceGetHandleByUUID": "handle",
            "nvmlDeviceGetUUID": f"GPU-{UUID}",
            "nvmlDeviceGetMaxClockInfo": 1980,
            "nvmlDeviceGetComputeRunningProcesses": [SimpleNamespace(pid=pid) for pid in self.pids],
        }
        return lambda *_: answers[name]


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A context whose device is the stub's."""
    device, nvml, ones = Cuda(), Nvml(), torch.ones
    Event.device = device
    nvml.pids = (os.getpid(),)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch, "ones", lambda *sizes, device=None, **settings: ones(*sizes, **settings))
    stub = {
        "_sleep": device.spin,
        "synchronize": device.synchronize,
        "Event": Event,
        "memory_reserved": lambda _: 300,
        "get_device_name": lambda _: "NVIDIA Stub",
        "get_device_properties": lambda _: SimpleNamespace(uuid=UUID),
    }
    for name, value in stub.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr("orchestrator.probes.gpu.process_memory", lambda _: 400)
    found = context_of(tmp_path, Eager(), "eager")
    found.device = torch.device("cuda:0")
    return found


def looked(seen: Context, name: str) -> dict[str, Any]:
    assert GpuChecks(checks=(name,)).run(seen).status == PASS
    figures: dict[str, Any] = seen.facts["gpu_checks"][name]
    return figures


def test_how_the_process_was_started(seen: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", SimpleNamespace(name="orchestrator.worker"))
    figures = looked(seen, "process")
    assert figures["computed"] == 8.0
    assert figures["started_by"] == "orchestrator.worker"
    assert figures["versions"] == {"torch": torch.__version__, "device": "NVIDIA Stub"}


def test_what_nvml_says_and_a_process_that_sees_the_device_by_its_uuid(
    seen: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os; print('noise'); print(os.environ['CUDA_VISIBLE_DEVICES'])"
    monkeypatch.setattr(gpu_checks, "DEVICE_OF_ANOTHER", code)
    monkeypatch.setattr(gpu_checks, "HELD_BYTES", 1000)
    assert looked(seen, "nvml") == {
        "listed": True,
        "process_bytes": 400,
        "reserved_bytes": 300,
        "torch_uuid": f"GPU-{UUID}",
        "nvml_uuids": [f"GPU-{UUID}"],
        "uuid_of_another": f"GPU-{UUID}",
    }
    monkeypatch.setattr(gpu_checks, "DEVICE_OF_ANOTHER", "raise SystemExit(3)")
    assert looked(seen, "nvml")["uuid_of_another"] == "exit code 3"


def test_events_and_latencies_of_a_known_kernel(seen: Context) -> None:
    figures = looked(seen, "sleep")
    assert figures["event_s"] == pytest.approx(CYCLES / HZ)
    assert figures["event_2_s"] == pytest.approx(2 * CYCLES / HZ)
    assert figures["latency_s"] >= CYCLES / HZ
    assert figures["max_sm_clock_hz"] == 1.98e9


def test_an_empty_step_does_not_have_what_was_enqueued_before_it(seen: Context) -> None:
    figures = looked(seen, "clock")
    assert 0 < figures["empty_s"] <= figures["empty_max_s"]
    assert figures["empty_s"] < CYCLES / 10 / HZ


def test_what_a_job_left_in_its_home_folder(seen: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    assert looked(seen, "home") == {"home": str(tmp_path / "none"), "files": [], "count": 0}
    (tmp_path / "home" / ".triton").mkdir(parents=True)
    (tmp_path / "home" / ".triton" / "x").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert looked(seen, "home") == {"home": str(tmp_path / "home"), "files": [".triton/x"], "count": 1}


class Probe:
    """Stands for what watches the noise: its own tests see a neighbour."""

    def __init__(self, device: torch.device) -> None:
        assert device.type == "cuda"

    def facts(self, iterations: int, latencies: list[float]) -> dict[str, Any]:
        assert iterations == len(latencies) > 0
        return {"disturbed": [f"{iterations} steps"], "noise": {"gpu": {"sm_clock_mhz": 1500}}}


@pytest.fixture
def fake_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the neighbour imports as torch."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "torch.py").write_text(FAKE_TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))


@pytest.mark.usefixtures("fake_torch")
def test_a_neighbour_that_computes_and_then_only_is_there(seen: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_checks, "NoiseProbe", Probe)
    monkeypatch.setattr(gpu_checks, "WATCHED_S", 0.05)
    figures = looked(seen, "neighbour")
    assert figures["pid"] not in (0, os.getpid())
    assert figures["busy"]["gpu"] == figures["idle"]["gpu"] == {"sm_clock_mhz": 1500}
    assert figures["busy"]["disturbed"][0].endswith(" steps")
    _wait_until_gone(figures["pid"])


@pytest.mark.usefixtures("fake_torch")
def test_a_neighbour_ends_with_whoever_started_it() -> None:
    """It is nobody's child, so nothing else would end it."""
    process = subprocess.Popen(
        [sys.executable, "-P", str(Path(neighbour.__file__)), UUID],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        pid = int(process.stdout.readline())
        assert process.wait() == 0
        assert pid != process.pid
        assert process.stdout.readline() == b"busy\n"
        process.stdin.close()
        _wait_until_gone(pid)


def _wait_until_gone(pid: int) -> None:
    """Wait for the end of a process that is not our child (a zombie, whose parent has not asked for it, has ended)."""
    while True:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.01)


def test_a_neighbour_that_does_not_start_is_an_error_of_this_check(
    seen: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "neighbour.py"
    broken.write_text("import os; print(os.getpid(), flush=True); print('no CUDA')")
    monkeypatch.setattr(neighbour, "__file__", str(broken))
    outcome = GpuChecks(checks=("neighbour", "clock")).run(seen)
    assert outcome.status == EAGER_FAIL_TO_RUN
    assert outcome.reason.startswith("neighbour: RuntimeError: the neighbour said 'no CUDA' where 'busy' was expected")
    assert seen.facts["gpu_checks"]["clock"]["empty_s"] > 0  # the others run all the same


def test_a_neighbour_that_says_nothing_is_not_waited_for_without_end(
    seen: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    silent = tmp_path / "neighbour.py"
    silent.write_text("import sys; sys.stdin.read()")
    monkeypatch.setattr(neighbour, "__file__", str(silent))
    monkeypatch.setattr(gpu_checks, "NEIGHBOUR_S", 0.05)
    assert GpuChecks(checks=("neighbour",)).run(seen).reason.startswith("neighbour: TimeoutError")


def test_on_a_cpu_there_is_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="these are checks of a CUDA device, not of cpu"):
        GpuChecks().run(context_of(tmp_path, Eager(), "eager"))


@pytest.fixture
def kernels(seen: Context, monkeypatch: pytest.MonkeyPatch) -> Cuda:
    """The stub's device, for what is planted on it."""
    assert seen.device.type == "cuda"
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext(stream))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device=None: "a stream")
    return Event.device


def on_cuda(**changes: Any) -> Workload:
    return dataclasses.replace(KNOWN, device="cuda:0", **changes)


def test_the_planted_kernel_is_a_fraction_of_the_models_own_time(kernels: Cuda) -> None:
    program = KnownModel(kind="cuda_sleep", cycles=30_000_000).build(on_cuda(), dropout=False)
    forward = DeviceSlowdown(fraction=0.5).compile(program, on_cuda())
    kernels.synchronize()
    forward(**program.inputs)
    assert kernels.queued * HZ == pytest.approx(45_000_000)


@pytest.mark.parametrize("aside", [False, True])
def test_the_kernel_that_spins_is_enqueued_once_a_step(aside: bool, kernels: Cuda) -> None:
    program = KnownModel(kind="cuda_sleep", cycles=5, aside=aside).build(on_cuda(), dropout=False)
    for _ in range(3):
        program.model(**program.inputs)
    assert kernels.queued * HZ == pytest.approx(15)
    assert program.model.kept == ("a stream" if aside else None)


def test_what_is_held_is_a_share_of_the_device_and_kept(kernels: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=2000))
    program = KnownModel(kind="hold", share=0.55).build(on_cuda(), dropout=False)
    program.model(**program.inputs)
    kept = program.model.kept
    program.model(**program.inputs)
    assert program.model.kept is kept
    assert kept.nbytes == 1100


def test_a_full_device_is_full_before_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, str]] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, device: asked.append((share, str(device)))
    )
    KnownModel(kind="matmul").load(on_cuda())
    assert asked == []
    KnownModel(kind="full").load(on_cuda())
    assert asked == [(0.0, "cuda:0")]


class Graph:
    """Replays what was called while it was recorded: nothing of what is given later."""

    def replay(self) -> None: ...


def test_a_stale_graph_is_right_once_and_wrong_ever_after(kernels: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: nullcontext(graph))
    program = KnownModel(kind="matmul", width=8, layers=1).build(KNOWN, dropout=False)
    forward = StaleGraph().compile(program, on_cuda())
    x = program.inputs["x"]
    right = program.model(x=x)["y"]
    torch.testing.assert_close(forward(x=x)["y"], right)
    torch.testing.assert_close(forward(x=x + 1)["y"], right)  # another tensor
    x.add_(1)
    torch.testing.assert_close(forward(x=x)["y"], right)  # the same tensor with other values


class Driver:
    """libcuda: gives memory out, or an error."""

    def __init__(self, code: int) -> None:
        self.code, self.asked = code, 0

    def cuMemAlloc_v2(self, _: Any, count: Any) -> int:
        self.asked += count.value
        return self.code


@pytest.mark.parametrize("code", [0, 2])
def test_memory_outside_the_allocator_is_the_drivers(code: int, kernels: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(code)
    monkeypatch.setattr("ctypes.CDLL", lambda name: driver)
    monkeypatch.setattr(torch, "zeros", lambda *_, device: device)
    program = KnownModel(kind="matmul", width=8).build(KNOWN, dropout=False)
    if code:
        with pytest.raises(RuntimeError, match="cuMemAlloc of 1000 bytes failed: CUDA driver error 2"):
            OutsideAllocator(bytes=1000).compile(program, on_cuda())
    else:
        assert OutsideAllocator(bytes=1000).compile(program, on_cuda()) is program.model
    assert driver.asked == 1000
