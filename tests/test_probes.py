"""Probes against known quantities: an allocation of a known size, a sleep of a known length, a busy neighbour."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from orchestrator.probes import counters, energy, noise
from orchestrator.probes.clock import stopwatch
from orchestrator.probes.energy import EnergyProbe
from orchestrator.probes.memory import MemoryProbe

MB = 1_000_000
CPU = torch.device("cpu")


@pytest.mark.parametrize("seconds", [0.005, 0.05, 0.5])
def test_peak_of_a_known_allocation(seconds: float) -> None:
    probe = MemoryProbe(CPU)
    with probe.phase("warm"):
        np.ones(1000)
    with probe.phase("known"):
        block = np.ones(100 * MB)  # 800 MB, touched
        time.sleep(seconds)
        del block
    phase = probe.phases["known"]
    assert probe.source == "VmHWM"
    assert phase["peak"] - phase["start"] == pytest.approx(800 * MB, rel=0.01)
    assert phase["end"] - phase["start"] < 8 * MB


def test_each_phase_has_its_own_peak() -> None:
    probe = MemoryProbe(CPU)
    with probe.phase("big"):
        np.ones(20 * MB).sum()
    with probe.phase("small"):
        np.ones(MB).sum()
    small = probe.phases["small"]
    assert small["peak"] - small["start"] < 20 * MB
    assert probe.phases["big"]["peak"] - probe.phases["big"]["start"] == pytest.approx(160 * MB, rel=0.02)


def test_a_phase_that_raises_is_measured() -> None:
    probe = MemoryProbe(CPU)
    with pytest.raises(ValueError, match="planted"), probe.phase("raises"):
        raise ValueError("planted")
    assert "raises" in probe.phases


def test_children_are_measured_apart() -> None:
    probe = MemoryProbe(CPU)
    code = "import time; block = bytearray(200_000_000); time.sleep(0.5)"
    with probe.phase("children", children=True):
        subprocess.run([sys.executable, "-c", code], check=True)
    assert probe.children["children"] == pytest.approx(210 * MB, rel=0.05)
    own = probe.phases["children"]
    assert own["peak"] - own["start"] < 50 * MB


def test_stopwatch_measures_a_known_sleep() -> None:
    seconds = stopwatch(CPU)(lambda: time.sleep(0.05))
    assert 0.05 <= seconds < 0.5


def test_a_busy_neighbour_is_noticed() -> None:
    neighbour = multiprocessing.get_context("spawn").Process(target=_burn, args=(30.0,), daemon=True)
    neighbour.start()
    time.sleep(0.5)
    probe = noise.NoiseProbe(CPU)
    time.sleep(1.5)
    seen = probe.facts(1, [1.0, 1.0, 1.0, 1.0])
    waited = noise.wait_for_quiet(0.6)
    neighbour.kill()
    neighbour.join()
    assert seen["noise"]["foreign_cores"] > 0.5
    assert any("other processes" in reason for reason in seen["disturbed"])
    assert waited >= 0.6


def _burn(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_reasons_name_figure_and_threshold() -> None:
    quiet = {"foreign_cores": 0.01, "stolen_cores": 0.0, "switches_per_s": 33.0, "relative_iqr": 0.03}
    assert noise.reasons(quiet) == []
    noisy = {"foreign_cores": 0.5, "stolen_cores": 0.2, "switches_per_s": 167.0, "relative_iqr": 0.25}
    assert [reason.split(" (over ")[1] for reason in noise.reasons(noisy)] == ["0.1)", "0.05)", "100)", "10%)"]


def test_relative_iqr_of_known_values() -> None:
    assert noise.relative_iqr([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2.0 / 3.0)
    assert noise.relative_iqr([1.0, 2.0, 3.0]) is None


def test_a_slowed_or_shared_gpu_is_noticed() -> None:
    figures = {"foreign_cores": 0.0, "stolen_cores": 0.0, "switches_per_s": 0.0, "relative_iqr": None}
    users = [{"pid": 4711, "bytes": 3 << 30}, {"pid": 4712, "bytes": None}]
    gpu = {"throttle_reasons": 0x1 | 0x40, "temperature_c": 92, "other_processes": users}
    assert noise.reasons({**figures, "gpu": gpu}) == [
        "the GPU was slowed down: hardware thermal slowdown, at 92 degrees Celsius",
        "the GPU was used by other processes: 4711 (3072 MiB), 4712",
    ]
    assert noise.reasons({**figures, "gpu": {"throttle_reasons": 0x1 | 0x4, "other_processes": []}}) == []


def test_another_users_work_on_the_gpu_is_seen_and_marked_even_if_it_ended_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A driver with known answers: this process, a child of it, one that leaves, and one that comes."""
    import pynvml

    class Process:
        def __init__(self, pid: int, memory: int | None) -> None:
            self.pid, self.usedGpuMemory = pid, memory

    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    own = [Process(os.getpid(), 1 << 30), Process(child.pid, 1 << 20)]
    running = [*own, Process(4711, 3 << 30)]
    answers: dict[str, object] = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": lambda uuid: "handle",
        "nvmlDeviceGetClockInfo": lambda handle, clock: 1410,
        "nvmlDeviceGetTemperature": lambda handle, sensor: 55,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: 0,
        "nvmlDeviceGetComputeRunningProcesses": lambda handle: list(running),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    properties = type("Properties", (), {"uuid": "GPU-a"})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    try:
        probe = noise.NoiseProbe(torch.device("cuda", 0))
        running[:] = [*own, Process(4712, None)]
        seen = probe.facts(1, [1.0])
    finally:
        child.kill()
        child.wait()
    assert seen["noise"]["gpu"]["other_processes"] == [{"pid": 4711, "bytes": 3 << 30}, {"pid": 4712, "bytes": None}]
    assert "the GPU was used by other processes: 4711 (3072 MiB), 4712" in seen["disturbed"]


def test_recompilations_are_counted_beyond_what_torch_remembers_by_itself() -> None:
    """Of itself torch keeps the last 64 compilations: a model with many graph breaks has more."""
    import torch._dynamo.utils as dynamo

    dynamo.clear_compilation_metrics()
    dynamo.set_compilation_metrics_limit(3)
    counters.reset()
    compiled = torch.compile(lambda x: x + 1, backend="eager", dynamic=False)
    for size in range(2, 8):
        compiled(torch.ones(size))
    assert counters.read()["counters"]["recompiles"] == 5
    torch._dynamo.reset()


def test_what_a_step_needs_to_return_is_a_part_of_its_time() -> None:
    returned: list[float] = []
    timed = stopwatch(CPU, returned)
    seconds = timed(lambda: time.sleep(0.02))
    assert len(returned) == 1
    assert 0.02 <= returned[0] <= seconds


def rapl(folder: Path, name: str, start: int, wraps_at: int = 1000_000_000) -> Path:
    """Make the files of one RAPL zone; return its counter."""
    zone = folder / name
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n" if name.count(":") == 1 else "core\n")
    (zone / "max_energy_range_uj").write_text(f"{wraps_at}\n")
    (zone / "energy_uj").write_text(f"{start}\n")
    return zone / "energy_uj"


def test_energy_of_all_packages_and_of_no_part_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    files = [rapl(tmp_path, "intel-rapl:0", 100), rapl(tmp_path, "intel-rapl:1", 999_999_000)]
    part = rapl(tmp_path, "intel-rapl:0:0", 0)
    probe = EnergyProbe()
    files[0].write_text("2000100\n")
    files[1].write_text("499000\n")  # it has begun again from 0
    part.write_text("77777777\n")
    found = probe.facts(steps=5)["energy"]
    assert found["joules"] == pytest.approx(2.0 + 0.5)
    assert (found["steps"], found["source"]) == (5, "RAPL")


def test_without_counters_that_can_be_read_there_is_no_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    assert EnergyProbe().facts(steps=5) == {}
    rapl(tmp_path, "intel-rapl:0", 100)
    hidden = rapl(tmp_path, "intel-rapl:1", 100)
    hidden.unlink()  # as for one that may not be read: half of the energy would be a wrong figure
    assert EnergyProbe().facts(steps=5) == {}
