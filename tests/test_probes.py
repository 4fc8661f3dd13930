"""Probes against known quantities: an allocation of a known size, a sleep of a known length, a busy neighbour."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fakes import nvml

from orchestrator.probes import counters, energy, gpu, noise
from orchestrator.probes.clock import overhead, stopwatch
from orchestrator.probes.energy import EnergyProbe
from orchestrator.probes.environment import gpu_environment
from orchestrator.probes.lines import level_of
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
    seconds = [stopwatch(CPU)(lambda: time.sleep(0.05)) for _ in range(5)]
    assert 0.05 <= min(seconds) < 0.1  # the least: a busy machine makes some longer


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


@pytest.mark.parametrize(("over", "expected"), [(0.0, 5.0), (0.1, 1.0)])
def test_a_machine_that_was_overloaded_for_a_minute_is_waited_for_a_second(
    over: float, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)

    def sleep(seconds: float) -> None:
        clock.now += seconds

    reading = noise._read()
    monkeypatch.setattr(noise, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    monkeypatch.setattr(noise, "_read", lambda children: replace(reading, wall=clock.now, busy=2 * clock.now, own=0.0))
    monkeypatch.setattr(noise.os, "getloadavg", lambda: ((os.cpu_count() or 1) + over, 0.0, 0.0))
    assert noise.wait_for_quiet(5.0) == expected


def _burn(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_reasons_name_figure_and_threshold() -> None:
    quiet = {"foreign_cores": 0.01, "stolen_cores": 0.0, "switches_per_s": 33.0, "relative_iqr": 0.03}
    assert noise.reasons(quiet) == []
    noisy = {"foreign_cores": 0.5, "stolen_cores": 0.2, "switches_per_s": 167.0, "relative_iqr": 0.25, "throttled": 0.3}
    assert [reason.split(" (over ")[1] for reason in noise.reasons(noisy)] == ["0.1)", "0.05)", "100)", "1%)", "10%)"]


def test_relative_iqr_of_known_values() -> None:
    assert noise.relative_iqr([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2.0 / 3.0)
    assert noise.relative_iqr([1.0, 2.0, 3.0]) is None


GPU = torch.device("cuda", 0)
CALM = {"foreign_cores": 0.0, "stolen_cores": 0.0, "switches_per_s": 0.0, "relative_iqr": None}


def test_a_slowed_or_shared_gpu_is_noticed() -> None:
    users = [
        {"pid": 4711, "bytes": 3 << 30, "busy_percent": 40.0},
        {"pid": 4712, "bytes": None, "busy_percent": None},
        {"pid": 4713, "bytes": 1 << 30, "busy_percent": 0.0},
    ]
    state = {"throttle_reasons": 0x1 | 0x40, "temperature_c": 92, "other_processes": users}
    assert noise.reasons({**CALM, "gpu": state}) == [
        "the GPU was slowed down: hardware thermal slowdown, at 92 degrees Celsius",
        "the GPU was used by other processes: 4711 (40 % of the time, 3072 MiB), 4712",
    ]
    assert noise.reasons({**CALM, "gpu": {"throttle_reasons": 0x1 | 0x4, "other_processes": []}}) == []
    assert noise.reasons({**CALM, "gpu": {"throttle_reasons": None, "other_processes": None}}) == []


@pytest.mark.parametrize(("launch_bound", "marked"), [(True, True), (False, False), (None, False)])
def test_neighbours_on_the_cpu_disturb_a_gpu_only_where_it_waits_for_the_cpu(
    launch_bound: bool | None, marked: bool
) -> None:
    busy = {**CALM, "foreign_cores": 30.0, "switches_per_s": 500.0, "stolen_cores": 1.0}
    assert bool(noise.reasons({**busy, "gpu": {"other_processes": []}, "launch_bound": launch_bound})) is marked
    assert len(noise.reasons({**busy, "gpu": None, "launch_bound": None})) == 3


@pytest.mark.parametrize(("busy", "launch_bound"), [(97, False), (30, True)])
def test_a_gpu_that_is_idle_half_of_the_time_waits_for_the_cpu(
    busy: int, launch_bound: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml.Driver(nvml.own(), busy=busy).install(monkeypatch)
    assert noise.NoiseProbe(GPU).facts(1, [1.0])["noise"]["launch_bound"] is launch_bound
    assert noise.NoiseProbe(GPU).facts(1, [1.0], launch_bound=True)["noise"]["launch_bound"]


def test_another_users_work_on_the_gpu_is_seen_and_marked_even_if_it_ended_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """This process, a child of it, one that leaves, one that comes, and one that holds memory and does nothing."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    own = {**nvml.own(), child.pid: 1 << 20}
    driver = nvml.Driver({**own, 4711: 3 << 30, 4713: 1 << 30}, use={os.getpid(): 90, 4711: 50, 4712: 20})
    driver.install(monkeypatch)
    try:
        probe = noise.NoiseProbe(GPU)
        driver.processes = {**own, 4712: None, 4713: 1 << 30}
        seen = probe.facts(1, [1.0])
    finally:
        child.kill()
        child.wait()
    assert sorted(seen["noise"]["gpu"]["other_processes"], key=lambda process: process["pid"]) == [
        {"pid": 4711, "bytes": 3 << 30, "busy_percent": 50.0},
        {"pid": 4712, "bytes": None, "busy_percent": 20.0},
        {"pid": 4713, "bytes": 1 << 30, "busy_percent": 0.0},
    ]
    (reason,) = seen["disturbed"]
    assert "4711 (50 % of the time, 3072 MiB)" in reason
    assert "4713" not in reason


def test_an_idle_neighbours_context_is_no_disturbance_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = nvml.Driver({**nvml.own(), 4711: 3 << 30}, use={os.getpid(): 90, 4711: 2})
    driver.install(monkeypatch)
    assert noise.NoiseProbe(GPU).facts(1, [1.0])["disturbed"] == []
    assert noise.wait_for_quiet(5.0, GPU) < 5.0
    driver.use[4711] = 60
    assert noise.wait_for_quiet(0.3, GPU) >= 0.3


def test_the_state_of_the_gpu_is_that_of_the_timed_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters are read before and after; what a sample sees meanwhile is kept, though the GPU is idle at the end."""
    driver = nvml.Driver(nvml.own(), reasons=[0x4, 0x44, 0x1], energy_mj=[1000, 701_000], capped_ns=[5, 10**12])
    driver.install(monkeypatch)
    sampler = gpu.Sampler(GPU)
    while len(sampler._samples) < 3:
        time.sleep(0.01)
    state = sampler.stop()
    assert state["throttle_reasons"] == 0x45
    assert state["power_capped_share"] == 1.0
    assert state["energy_j"] == 700.0
    assert (state["sm_clock_mhz"], state["temperature_c"]) == (1410, 55)
    driver = nvml.Driver(nvml.own(), reasons=[0x4, 0x0], unsupported={"nvmlDeviceGetViolationStatus"})
    driver.install(monkeypatch)
    sampler = gpu.Sampler(GPU)
    while len(sampler._samples) < 3:
        time.sleep(0.01)
    assert 0.0 < sampler.stop()["power_capped_share"] <= 1 / 3


def test_a_query_that_a_device_does_not_support_costs_its_own_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {"nvmlDeviceGetTemperature", "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetProcessUtilization"}
    nvml.Driver({**nvml.own(), 4711: None}, unsupported=refused).install(monkeypatch)
    state = noise.NoiseProbe(GPU).facts(1, [1.0])["noise"]["gpu"]
    assert (state["temperature_c"], state["energy_j"], state["sm_clock_mhz"]) == (None, None, 1410)
    assert state["other_processes"] == [{"pid": 4711, "bytes": None, "busy_percent": None}]


def test_a_slice_of_a_gpu_is_found_and_has_its_gpus_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.Driver(nvml.own(3 << 30), is_slice=True).install(monkeypatch)
    assert gpu.process_memory(GPU) == 3 << 30
    state = noise.NoiseProbe(GPU).facts(1, [1.0])["noise"]["gpu"]
    assert (state["sm_clock_mhz"], state["other_processes"]) == (1410, [])
    assert state["busy_percent"] is None  # of the whole GPU: says nothing of a slice


SET = {"power_limit_w": 700.0, "max_sm_clock_mhz": 1980, "max_memory_clock_mhz": 2619, "ecc": True, "mig": False}


@pytest.mark.parametrize(
    ("unsupported", "lost"),
    [
        (set(), {}),
        ({"nvmlDeviceGetEccMode", "nvmlDeviceGetMigMode"}, {"ecc": None, "mig": None}),
        ({"nvmlDeviceGetEnforcedPowerLimit"}, {"power_limit_w": None}),
    ],
)
def test_what_an_administrator_has_set_is_a_part_of_the_environment(
    unsupported: set[str], lost: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml.Driver(unsupported=unsupported).install(monkeypatch)
    properties = SimpleNamespace(uuid=nvml.UUID, name="H100", total_memory=80 << 30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    seen = gpu_environment(GPU)["gpu"]
    assert {name: seen[name] for name in SET} == SET | lost
    assert (seen["uuid"], seen["name"], seen["capability"]) == (f"GPU-{nvml.UUID}", "H100", "9.0")
    assert gpu_environment(torch.device("cuda", 1)) == {}, "there is no second one"


def test_a_device_that_nvml_does_not_know_has_no_settings_and_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.Driver(is_slice=True).install(monkeypatch)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="another"))
    assert gpu.settings(GPU) == {}
    assert gpu.process_memory(GPU) is None
    assert noise.NoiseProbe(GPU).facts(1, [1.0])["noise"]["gpu"] == {"unreadable": "NVML does not know this device"}


def test_without_a_driver_or_the_right_to_see_processes_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.Driver({4711: 1 << 30}, unsupported={"nvmlDeviceGetComputeRunningProcesses"}).install(monkeypatch)
    assert gpu.process_memory(GPU) is None
    seen = noise.NoiseProbe(GPU).facts(1, [1.0])
    assert (seen["noise"]["gpu"]["other_processes"], seen["disturbed"]) == (None, [])
    nvml.Driver(unsupported={"nvmlInit"}).install(monkeypatch)
    assert gpu.find(GPU) is None


class OtherBooks:
    """Stands in for torch.xpu, of which no device is at hand: books like torch's, and what was asked in order."""

    def __init__(self) -> None:
        self.now = self.peak = 100
        self.asked: list[str] = []

    def use(self, size: int) -> None:
        self.now += size
        self.peak = max(self.peak, self.now)

    def synchronize(self, device: torch.device) -> None:
        self.asked.append("synchronize")

    def empty_cache(self) -> None:
        self.asked.append("empty_cache")

    def reset_peak_memory_stats(self, device: torch.device) -> None:
        self.peak = self.now

    def memory_allocated(self, device: torch.device) -> int:
        assert device == torch.device("xpu", 1)
        return self.now

    def max_memory_allocated(self, device: torch.device) -> int:
        return self.peak

    def max_memory_reserved(self, device: torch.device) -> int:
        return 2 * self.peak


def test_a_device_is_waited_for_before_and_after_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    for device, module in ((GPU, torch.cuda), (torch.device("xpu", 1), torch.accelerator)):
        seen: list[object] = []
        monkeypatch.setattr(module, "synchronize", seen.append)
        stopwatch(device)(lambda: seen.append("step"))  # noqa: B023
        assert seen == [device, "step", device]


def test_the_memory_of_another_gpu_is_that_of_its_allocator_by_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    books, device = OtherBooks(), torch.device("xpu", 1)
    monkeypatch.setattr(torch, "get_device_module", lambda asked: books if asked == device else None)
    probe = MemoryProbe(device)
    probe.mark_base()
    with probe.phase("first"):
        books.use(50)
        books.use(-50)
    with probe.phase("second", keep_cache=True):
        books.use(20)
    facts = probe.facts()
    assert facts["cuda_base"] == {"allocated": 100, "reserved": 200, "end": 100, "peak": 100}
    assert facts["cuda"]["first"] == {"start": 100, "allocated": 150, "reserved": 300, "end": 100, "peak": 150}
    assert facts["cuda"]["second"] == {"start": 100, "allocated": 120, "reserved": 240, "end": 120, "peak": 120}
    assert books.asked.count("empty_cache") == 2  # not where the allocator keeps what it has
    level = level_of(device)
    assert (level.read(), level.source) == (120, "XPU allocator")


@pytest.mark.parametrize(
    ("processes", "memory", "others"),
    [
        ({}, None, []),  # the driver tells nothing
        ({90001: 2 << 30}, 2 << 30, []),  # an id from outside of the container: the only one must be ours
        ({90001: 2 << 30, 90002: 1 << 30}, None, None),  # which of them is ours nobody can tell
        ({90001: 0}, None, []),
    ],
)
def test_in_a_container_a_process_may_not_find_itself(
    processes: dict[int, int | None], memory: int | None, others: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml.Driver(processes).install(monkeypatch)
    assert gpu.process_memory(GPU) == memory
    seen = noise.NoiseProbe(GPU).facts(1, [1.0])
    assert seen["noise"]["gpu"]["other_processes"] == others
    assert seen["disturbed"] == []
    assert noise.wait_for_quiet(5.0, GPU) < 5.0


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


def test_the_clock_knows_its_own_overhead() -> None:
    assert 0.0 <= overhead(stopwatch(CPU)) < 1e-3
    assert overhead(lambda step: 1.0 if step() is None else 0.0) == 1.0


class Graph:
    """Stands in for torch.cuda.CUDAGraph, of which a torch without CUDA has none that can be made."""


class Pools:
    """Stands in for inductor's manager of graphs: it keeps an empty one, so that its pool stays."""

    def __init__(self) -> None:
        self.graph: Graph | None = Graph()


def test_graphs_that_were_recorded_and_are_kept_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setitem(sys.modules, "torch._inductor.cudagraph_trees", SimpleNamespace(CUDAGraphTreeManager=Pools))
    assert counters.recorded_graphs() == 0
    pools, ended = Pools(), Pools()
    ended.graph = None
    assert counters.recorded_graphs() == 0
    kept = [type("OfSomebody", (Graph,), {})(), Graph()]
    Graph()  # of a benchmark
    assert counters.recorded_graphs() == len(kept)
    del pools


def test_why_inductor_took_no_cuda_graph_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [
        SimpleNamespace(cudagraph_skip_reason="skipping cudagraphs due to\n mutated inputs"),
        SimpleNamespace(cudagraph_skip_reason=None),
        SimpleNamespace(),  # of an older torch
    ]
    monkeypatch.setattr(torch._dynamo.utils, "get_compilation_metrics", lambda: [*seen, *seen])
    assert counters.cudagraph_skips() == ["skipping cudagraphs due to mutated inputs"]


class Allocator:
    """Stands in for torch's CUDA allocator and the driver: bytes that are known."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.live = self.highest = 32 * 2**20  # cuBLAS's workspace
        self.pool, self.live_in_pool, self.cached, self.foreign = 0, 0, 0, 0
        answers = {
            "synchronize": lambda device: None,
            "reset_peak_memory_stats": lambda device: setattr(self, "highest", self.live),
            "memory_allocated": lambda device: self.live,
            "max_memory_allocated": lambda device: self.highest,
            "max_memory_reserved": lambda device: self.highest + self.cached,
            "memory_snapshot": self.segments,
            "empty_cache": lambda: setattr(self, "cached", 0),
            "mem_get_info": lambda device: (80 * nvml.GIB - self.live - self.foreign, 80 * nvml.GIB),
        }
        for name, answer in answers.items():
            monkeypatch.setattr(torch.cuda, name, answer)

    def take(self, size: int) -> None:
        self.live += size
        self.highest = max(self.highest, self.live)

    def segments(self) -> list[dict[str, object]]:
        pool = {"total_size": self.pool, "allocated_size": self.live_in_pool, "device": 0, "segment_pool_id": (0, 3)}
        other = {"total_size": 1 << 34, "allocated_size": 1, "device": 1, "segment_pool_id": (0, 3)}
        common = {"total_size": 1 << 30, "allocated_size": self.live, "device": 0, "segment_pool_id": (0, 0)}
        return [pool, other, common]


def test_cuda_graphs_memory_counts_though_their_replay_allocates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    allocator = Allocator(monkeypatch)
    nvml.Driver(nvml.own(3 << 30)).install(monkeypatch)
    allocator.cached = 5 << 30
    probe = MemoryProbe(GPU)
    probe.mark_base()
    assert allocator.cached == 0
    with probe.phase("build"):
        allocator.take(64 << 20)
    with probe.phase("warmup"):  # records: a temporary of 1 GiB, of which the graph keeps an output of 1 MiB
        allocator.take(1 << 30)
        allocator.take(-(1 << 30) + (1 << 20))
        allocator.pool, allocator.live_in_pool, allocator.cached = (1 << 30) + (2 << 20), 1 << 20, 7
    with probe.phase("steady", keep_cache=True):
        pass
    memory = probe.facts()
    assert allocator.cached == 7
    assert memory["cuda_base"]["allocated"] == 32 << 20
    steady = memory["cuda"]["steady"]
    assert steady["allocated"] == steady["end"] == (32 + 64 + 1) << 20
    assert steady["graph_pools"] == (1 << 30) + (2 << 20)
    assert steady["peak"] == steady["end"] + (1 << 30) + (1 << 20)
    assert steady["process"] == 3 << 30
    assert memory["cuda"]["build"]["graph_pools"] == 0
    assert memory["cuda"]["build"]["peak"] - memory["cuda_base"]["allocated"] == 64 << 20


def test_memory_that_the_allocator_does_not_know_is_seen_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    allocator = Allocator(monkeypatch)
    nvml.Driver(unsupported={"nvmlDeviceGetComputeRunningProcesses"}).install(monkeypatch)
    probe = MemoryProbe(GPU)
    probe.mark_base()
    with probe.phase("steady"):
        allocator.foreign = 512 << 20
    memory = probe.facts()
    assert memory["cuda"]["steady"]["process"] is None
    assert memory["cuda"]["steady"]["device"] - memory["cuda_base"]["device"] == 512 << 20
    assert memory["cuda"]["steady"]["peak"] == memory["cuda_base"]["peak"]


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
