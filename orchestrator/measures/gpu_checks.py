"""What only a look from inside a process on the GPU can tell: facts for `orchestrator.results.acceptance.gpu`.

Nothing is judged here. Each check leaves its figures under its name, or what it raised: the others run all the same.
"""

from __future__ import annotations

import importlib.util
import os
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

from orchestrator.errors import did_you_mean
from orchestrator.measures import neighbour
from orchestrator.measures.context import Context
from orchestrator.plugins import Outcome, Unsupported
from orchestrator.probes.clock import stopwatch
from orchestrator.probes.noise import NoiseProbe
from orchestrator.records import EAGER_FAIL_TO_RUN, OBSERVED, PASS

CYCLES = 20_000_000
"""Of a kernel that spins: 10 ms at 2 GHz."""
REPEATS = 15
HELD_BYTES = 256 * 2**20
NEIGHBOUR_S = 45.0
WATCHED_S = 2.0
FILES = 20
DEVICE_OF_ANOTHER = "import torch; torch.ones(8, device='cuda'); print(torch.cuda.get_device_properties(0).uuid)"


@dataclass(frozen=True)
class GpuChecks:
    """checks: names of `CHECKS`, in the order in which they run."""

    kind: ClassVar[str] = OBSERVED
    PRELOAD: ClassVar[tuple[str, ...]] = ("transformers.modeling_utils",)  # what may import torchao, and that CUDA

    checks: Sequence[str] = ("process", "nvml", "sleep", "clock")

    def __post_init__(self) -> None:
        for name in self.checks:
            if name not in CHECKS:
                raise ValueError(f"unknown check '{name}': {did_you_mean(name, CHECKS)}")

    def run(self, context: Context) -> Outcome:
        """Leave `facts["gpu_checks"][name]` of each check: its figures, or {"error": what it raised}."""
        if context.device.type != "cuda":
            raise Unsupported(f"these are checks of a CUDA device, not of {context.device}: take device=cuda")
        found: dict[str, Any] = {}
        context.facts["gpu_checks"] = found
        for name in self.checks:
            with context.phase(name):
                try:
                    found[name] = CHECKS[name](context)
                except Exception as error:  # noqa: BLE001 - told, and judged as a failure of this check
                    found[name] = {"error": f"{type(error).__name__}: {error}"}
        failed = [f"{name}: {figures['error']}" for name, figures in found.items() if "error" in figures]
        return Outcome(EAGER_FAIL_TO_RUN, "; ".join(failed)) if failed else Outcome(PASS)


def _process(context: Context) -> dict[str, Any]:
    """How this process was started, and what its parent had imported."""
    import torch

    started = getattr(sys.modules["__main__"], "__spec__", None)
    return {
        "started_by": None if started is None else started.name,
        "torchao": importlib.util.find_spec("torchao") is not None,
        "computed": float(torch.ones(8, device=context.device).sum()),
        "versions": {"torch": torch.__version__, "device": torch.cuda.get_device_name(context.device)},
    }


def _nvml(context: Context) -> dict[str, Any]:
    """What NVML says of this process and device, and a process that sees the device by its UUID alone."""
    import pynvml
    import torch

    from orchestrator.probes.gpu import process_memory

    held = torch.ones(HELD_BYTES, dtype=torch.uint8, device=context.device)
    torch.cuda.synchronize(context.device)
    uuid = _uuid(context)
    pynvml.nvmlInit()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    running = [process.pid for handle in handles for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)]
    figures = {
        "listed": os.getpid() in running,
        "process_bytes": process_memory(context.device),
        "reserved_bytes": torch.cuda.memory_reserved(context.device),
        "torch_uuid": uuid,
        "nvml_uuids": [str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles],
    }
    del held
    other = subprocess.run(
        [sys.executable, "-c", DEVICE_OF_ANOTHER],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": uuid},
        capture_output=True,
        text=True,
        timeout=NEIGHBOUR_S,
        check=False,
    )
    printed = (other.stdout or other.stderr).strip().splitlines()
    return {**figures, "uuid_of_another": printed[-1] if printed else f"exit code {other.returncode}"}


def _sleep(context: Context) -> dict[str, Any]:
    """Seconds of kernels that spin for `CYCLES` and twice that: by CUDA events, and by the clock of all latencies."""
    import pynvml
    import torch

    timed = stopwatch(context.device)
    events: dict[int, list[float]] = {1: [], 2: []}
    latencies: dict[int, list[float]] = {1: [], 2: []}
    for repeat in range(3 + REPEATS):
        for times in (1, 2):

            def step(cycles: int = times * CYCLES) -> None:
                torch.cuda._sleep(cycles)

            event_s, latency_s = _event_s(context, step), timed(step)
            if repeat >= 3:
                events[times].append(event_s)
                latencies[times].append(latency_s)
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByUUID(_uuid(context))
    return {
        "cycles": CYCLES,
        "event_s": statistics.median(events[1]),
        "event_2_s": statistics.median(events[2]),
        "latency_s": statistics.median(latencies[1]),
        "max_sm_clock_hz": 1e6 * pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM),
    }


def _clock(context: Context) -> dict[str, Any]:
    """Seconds of an empty step by the clock of all latencies, right after a kernel that nobody has waited for."""
    import torch

    timed = stopwatch(context.device)

    def after_sleep() -> float:
        torch.cuda._sleep(CYCLES // 10)
        return timed(lambda: None)

    seconds = [after_sleep() for _ in range(3 + REPEATS)][3:]
    return {"empty_s": statistics.median(seconds), "empty_max_s": max(seconds)}


def _neighbour(context: Context) -> dict[str, Any]:
    """What the marks say beside another process that computes on the device, and beside one that only holds it."""
    process = subprocess.Popen(
        [sys.executable, "-P", str(Path(neighbour.__file__)), _uuid(context)],  # -P: its folder has a profile.py
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,  # or a line that was read ahead would be missed by select
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        pid = int(_line(process.stdout))
        process.wait()  # the one that has only forked
        _expect(process.stdout, "busy")
        busy = _watched(context)
        process.stdin.write(b"\n")
        _expect(process.stdout, "idle")
        idle = _watched(context)
    return {"pid": pid, "busy": busy, "idle": idle}


def _watched(context: Context) -> dict[str, Any]:
    """Time a kernel that spins for a millisecond again and again, and return what the marks say of that time."""
    import torch

    timed = stopwatch(context.device)
    probe = NoiseProbe(context.device)
    end = time.perf_counter() + WATCHED_S
    latencies = []
    while time.perf_counter() < end:
        latencies.append(timed(lambda: torch.cuda._sleep(CYCLES // 10)))
    seen = probe.facts(len(latencies), latencies)
    return {"disturbed": list(seen["disturbed"]), "gpu": seen["noise"]["gpu"]}


def _home(context: Context) -> dict[str, Any]:
    """What is in the home folder that the job was given."""
    home = Path(os.environ["HOME"])
    files = (
        sorted(str(file.relative_to(home)) for file in home.rglob("*") if not file.is_dir()) if home.exists() else []
    )
    return {"home": str(home), "files": files[:FILES], "count": len(files)}


def _event_s(context: Context, step: Callable[[], None]) -> float:
    import torch

    torch.cuda.synchronize(context.device)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    step()
    end.record()
    torch.cuda.synchronize(context.device)
    return float(start.elapsed_time(end)) / 1000


def _uuid(context: Context) -> str:
    import torch

    uuid = str(torch.cuda.get_device_properties(context.device).uuid)
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"


def _expect(stream: IO[bytes], word: str) -> None:
    found = _line(stream)
    if found != word:
        raise RuntimeError(f"the neighbour said {found!r} where '{word}' was expected: its output is in the job's log")


def _line(stream: IO[bytes]) -> str:
    """Return the next line, "" at the end. Raises TimeoutError when there is none for `NEIGHBOUR_S`."""
    if not select.select([stream], [], [], NEIGHBOUR_S)[0]:
        raise TimeoutError(f"the neighbour said nothing for {NEIGHBOUR_S:.0f} s: its output is in the job's log")
    return stream.readline().decode().strip()


CHECKS: Mapping[str, Callable[[Context], dict[str, Any]]] = {
    "process": _process,
    "nvml": _nvml,
    "sleep": _sleep,
    "clock": _clock,
    "neighbour": _neighbour,
    "home": _home,
}
