"""The largest batch that fits: the search, its tries in real processes under a real limit, and the suite made of it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from fakes import nvml
from fakes.sweeps import make_job
from support import synthetic
from support.command import orchestrator
from support.plans import loader

from orchestrator import precision
from orchestrator.capacity import available_memory
from orchestrator.compilers.eager import Eager
from orchestrator.exchange.batch_sizes import export
from orchestrator.measures import largest_batch
from orchestrator.measures.context import Context
from orchestrator.measures.largest_batch import LargestBatch, search
from orchestrator.modes.inference import Inference
from orchestrator.planning.compose import compose
from orchestrator.planning.composer import Composer
from orchestrator.planning.machine import Machine
from orchestrator.planning.plan import plan
from orchestrator.planning.points import PointReader
from orchestrator.plugins import PACKAGES_VARIABLE, Outcome
from orchestrator.probes.memory import MemoryProbe
from orchestrator.records import CRASH, EAGER_FAIL_TO_RUN, OUT_OF_MEMORY, PASS, TIMEOUT, JobSpec, PluginSpec, Workload
from orchestrator.results.findings import findings
from orchestrator.results.load import load
from orchestrator.store import SweepFolder
from orchestrator.worker.run import run_job

MIB = 2**20
NEEDS_A_LIMIT = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mapped memory on Linux only")


@pytest.mark.parametrize("capacity", [0, 1, 2, 3, 7, 8, 9, 31, 32, 33, 99, 100, 101, 1000])
@pytest.mark.parametrize("start", [1, 5, 64, 200])
def test_the_search_finds_the_exact_size_and_tries_none_twice(capacity: int, start: int) -> None:
    tried: list[int] = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= capacity

    largest, too_large = search(fits, start, 100, 0.0)
    assert largest == min(capacity, 100)
    assert too_large == (capacity + 1 if capacity < 100 else None)
    assert len(tried) == len(set(tried)) <= 15
    assert all(1 <= size <= 100 for size in tried)


def test_on_cuda_the_search_leaves_the_device_alone_and_has_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A context of the process that only waits for the tries would take their memory, and an exclusive device."""

    def touched(*_: object) -> None:
        raise AssertionError("it has initialised CUDA")

    nvml.Driver(free=12 * 2**30).install(monkeypatch, with_context=False)
    monkeypatch.setattr(torch.cuda, "_lazy_init", touched)
    monkeypatch.setattr(torch.cuda, "get_device_properties", touched)
    monkeypatch.setattr(precision, "check", touched)
    monkeypatch.setenv(PACKAGES_VARIABLE, "fakes")
    seen: list[tuple[int, str]] = []

    def run(measure: LargestBatch, context: Context) -> Outcome:
        with context.phase("tries"):
            seen.append(measure._budget(context))
        return Outcome(PASS)

    monkeypatch.setattr(LargestBatch, "run", run)
    job = make_job("m")
    target = "orchestrator.measures.largest_batch.LargestBatch"
    job = dataclasses.replace(
        job,
        workload=dataclasses.replace(job.workload, device="cuda:0"),
        measure=PluginSpec(name="largest_batch", target=target),
    )
    store = SweepFolder(tmp_path / "sweep")
    store.write_job(job)
    run_job(str(store), job.id, reraise=True)
    assert seen == [(12 * 2**30, "the device's free memory")]


def test_a_coarse_search_ends_earlier() -> None:
    tried: list[int] = []
    largest, too_large = search(lambda size: tried.append(size) or size <= 700, 1, 1024, 0.1)
    assert too_large is not None
    assert largest <= 700 < too_large
    assert too_large - largest <= 0.1 * largest
    assert len(tried) < 15


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"upper": 0}, "upper=0: it must be at least 1"),
        ({"start": -1}, "start=-1"),
        ({"memory_gib": 0}, "memory_gib=0: it must be more than 0"),
        ({"precision": 1.0}, r"precision=1\.0"),
    ],
)
def test_an_option_that_cannot_be_meant_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LargestBatch(**options)


def run(
    tmp_path: Path, measure: LargestBatch, build: dict[str, Any], does: str = "pass", device: str = "cpu"
) -> tuple[Outcome, Context]:
    """Run the measure on a model that grows with its batch, through the real server and real processes."""
    compiler = PluginSpec(name="eager", target="orchestrator.compilers.eager.Eager")
    if does != "pass":
        compiler = PluginSpec(name="misbehaving", target="fakes.plugins.Misbehaving", options={"does": does})
    workload = Workload(
        suite="tests", builder=PluginSpec(name="growing", target="fakes.plugins.Growing", options=build),
        mode=PluginSpec(name="inference", target="orchestrator.modes.inference.Inference"), dtype="float32",
        device=device, batch_size=2, sequence_length=None, seed=1, threads=1,
    )  # fmt: skip
    job = JobSpec(
        id="job", workload=workload, compiler=compiler,
        measure=PluginSpec(name="largest_batch", target="orchestrator.measures.largest_batch.LargestBatch"), round=0,
        launcher="fork", env={}, needs=(), timeout_s=60, cost_s=1,
    )  # fmt: skip
    where = torch.device(device)
    context = Context(
        job=job, device=where, builder=None, mode=Inference(), compiler=Eager(), folder=tmp_path / "job",  # type: ignore[arg-type]
        reference=tmp_path, references=[], memory=MemoryProbe(where), entered=lambda phase: None,
    )  # fmt: skip
    (tmp_path / "job").mkdir()
    return measure.run(context), context


@pytest.fixture
def _fakes(monkeypatch: pytest.MonkeyPatch, mark: str) -> None:
    """Workers find the test-only plug-ins, and this tree; none of them may be left (`mark`)."""
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{here.parent}:{here}")
    monkeypatch.setenv("ORCHESTRATOR_PLUGIN_PACKAGES", "fakes")


@pytest.mark.slow
@NEEDS_A_LIMIT
@pytest.mark.usefixtures("_fakes")
def test_the_largest_batch_under_a_limit(tmp_path: Path) -> None:
    outcome, context = run(tmp_path, LargestBatch(memory_gib=1.5, upper=256), {"mib_per_sample": 64})
    assert outcome.status == PASS, outcome.reason
    (row,) = context.facts["findings"]["largest_batch"]
    largest = row["largest_batch_size"]
    assert 4 <= largest <= 24  # 1.5 GiB less the interpreter, in steps of 64 MiB
    assert row["too_large_batch_size"] == largest + 1
    assert row["bounded_by"] == "memory"
    assert "can't allocate memory" in row["too_large_because"]
    assert largest * 64 * MIB < row["memory_at_largest_bytes"] < 1.5 * 2**30
    assert row["memory_budget_bytes"] == 1.5 * 2**30
    tries = {tried["batch_size"]: tried["status"] for tried in context.facts["tries"]}
    assert len(tries) == row["tries"]
    assert all(status == (PASS if size <= largest else OUT_OF_MEMORY) for size, status in tries.items())
    results = [SweepFolder(tmp_path / "job/artifacts/tries").read_result(f"{size:08d}") for size in tries]
    assert len({result.environment["host"] for result in results}) == 1  # type: ignore[union-attr]
    assert len(list((tmp_path / "job/artifacts/tries/jobs").iterdir())) == len(tries)


@NEEDS_A_LIMIT
@pytest.mark.usefixtures("_fakes")
def test_not_even_one_sample_fits(tmp_path: Path) -> None:
    outcome, context = run(tmp_path, LargestBatch(memory_gib=1.5), {"mib_per_sample": 2048})
    assert outcome.status == OUT_OF_MEMORY
    assert "not even batch size 1 fits into 1.50 GiB (measure.options.memory_gib)" in outcome.reason
    (row,) = context.facts["findings"]["largest_batch"]
    assert row["largest_batch_size"] is None
    assert row["too_large_batch_size"] == 1


@pytest.mark.usefixtures("_fakes")
def test_the_upper_bound_is_no_finding_about_memory(tmp_path: Path) -> None:
    outcome, context = run(tmp_path, LargestBatch(upper=3), {"mib_per_sample": 1})
    assert outcome.status == PASS, outcome.reason
    (row,) = context.facts["findings"]["largest_batch"]
    assert (row["largest_batch_size"], row["too_large_batch_size"], row["tries"]) == (3, None, 2)
    assert row["bounded_by"] == "measure.options.upper"
    assert row["memory_budget_bytes"] <= available_memory() * 1.1


@pytest.mark.parametrize(
    ("build", "does", "status", "reason"),
    [
        ({"mib_per_sample": 1, "breaks_at": 4}, "pass", EAGER_FAIL_TO_RUN, "at batch size 4: ValueError: a batch of 4"),
        ({"mib_per_sample": 1}, "segfault", CRASH, "at batch size 2: killed by SIGSEGV"),
        ({"mib_per_sample": 1}, "hang", TIMEOUT, "at batch size 2: no result after 2 s"),
    ],
    ids=["error", "crash", "time-out"],
)
@pytest.mark.usefixtures("_fakes")
def test_another_error_is_not_called_too_large(
    tmp_path: Path, build: dict[str, Any], does: str, status: str, reason: str
) -> None:
    outcome, context = run(tmp_path, LargestBatch(try_timeout_s=2 if does == "hang" else 60), build, does)
    assert outcome.status == status
    assert reason in outcome.reason
    assert "findings" not in context.facts
    assert context.facts["tries"][-1]["status"] == status


# -- the suite made of it


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    made = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-11-21" / "10-00-00")
    made.largest_batch("bert_tiny", 100)
    made.largest_batch("bert_tiny", 37, mode="training")
    made.largest_batch("bert_tiny", 900, device="cuda:1")
    made.largest_batch("gpt2_tiny", 64, bounded_by="measure.options.upper")
    made.largest_batch("t5_tiny", None)
    return made.write()


def planned_batches(user: Path, *overrides: str) -> dict[str, int]:
    """Return model -> batch size of the performance jobs that the overrides plan."""
    source = loader(str(user))
    master = compose(source, "config", list(overrides))
    point = PointReader().read(Composer(source, master).point(list(overrides)))
    return {job.workload.model: job.workload.batch_size for job in plan([point], Machine(cores=2, cuda_devices=2)).jobs}


def test_the_exported_suite_plans_the_sizes_that_fitted(sweep: SweepFolder, tmp_path: Path) -> None:
    printed = orchestrator(tmp_path, "export", "batch_sizes", "-o", "mine")
    assert "mine/suite/tiny_largest.yaml  2 models" in printed
    assert "t5_tiny inference float16 cpu length 128 eager: no batch size, fail_to_run: why" in printed
    assert "37, the smallest; also found: 100 (bert_tiny inference" in printed
    assert "more than 64 may fit: measure.options.upper ended the search" in printed
    text = (tmp_path / "mine/suite/tiny_largest.yaml").read_text()
    assert text.startswith("# The largest batch sizes of suite tiny that fitted in sweep 2026-11-21/10-00-00.\n")
    assert "# cpu: 2.00 GiB (measure.options.memory_gib)\n" in text
    user = tmp_path / "mine"
    on_cpu = ("suite=tiny_largest", "compiler=eager", "device=cpu", "measure=performance")
    assert planned_batches(user, *on_cpu) == {"bert_tiny": 37, "gpt2_tiny": 64, "t5_tiny": 2}
    on_cuda = ("suite=tiny_largest", "compiler=eager", "device=cuda", "measure=performance")
    assert planned_batches(user, *on_cuda) == {"bert_tiny": 900, "gpt2_tiny": 2, "t5_tiny": 2}


def test_sizes_stand_before_the_division(sweep: SweepFolder) -> None:
    """A suite whose performance batches are half of its catalog's gets the double; a model's own divisor goes first."""
    results = load(sweep)
    suite = {"common": {"divisor": 2}, "catalog": {"bert_tiny": {}, "gpt2_tiny": {"divisor": 4}}}
    divided = dataclasses.replace(
        results,
        sweep=dataclasses.replace(results.sweep, points=({"suite": suite},)),
        outcomes=tuple(
            dataclasses.replace(outcome, job=dataclasses.replace(outcome.job, point=0)) for outcome in results.outcomes
        ),
    )
    (file,), _ = export(divided)
    assert "batch_size: {cpu: 74, cuda: 1800}" in file.text
    assert "batch_size: {cpu: 256}" in file.text


def test_suites_whose_names_come_to_the_same_word_have_a_file_each(tmp_path: Path) -> None:
    made = synthetic.SyntheticSweep(tmp_path / "s")
    for suite in ("a/b", "a b"):
        made.largest_batch("bert_tiny", 8, suite=suite)
    files, _ = export(load(made.write()))
    assert [file.suite for file in files] == ["a-b_largest", "a-b_largest_2"]
    assert [yaml.safe_load(file.text)["defaults"] for file in files] == [["a/b"], ["a b"]]


def test_a_sweep_without_sizes_says_what_to_run(tmp_path: Path) -> None:
    made = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-11-21" / "10-00-00")
    made.performance("Bert", "eager")
    made.write()
    assert "run one with measure=largest_batch first" in orchestrator(
        tmp_path, "export", "batch_sizes", "-o", "x", code=2
    )


def test_the_table_has_mib_and_a_line_for_what_failed(sweep: SweepFolder) -> None:
    def about(outcome: Any) -> dict[str, Any]:
        return {"status": outcome.status, "model": outcome.job.workload.model}

    made = findings(load(sweep).outcomes, about).tables
    columns, rows = made["largest_batch"]
    assert "memory_at_largest_mib" in [getattr(column, "name", column) for column in columns]
    assert rows[0]["memory_at_largest_mib"] == 3.0
    assert rows[0]["memory_budget_mib"] == 2048.0
    assert rows[-1]["status"] == "fail_to_run"


def test_where_nvml_cannot_say_what_is_free_torch_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the price of a context of this process, which then is no longer free for the tries."""
    monkeypatch.setattr(largest_batch, "free_memory", lambda device: None)
    monkeypatch.setattr(largest_batch.precision, "check", lambda workload: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (70 << 30, 80 << 30))
    seen = SimpleNamespace(workload=SimpleNamespace(device="cuda:0"), device=torch.device("cuda", 0))
    assert largest_batch._free_on_device(seen) == 70 << 30  # type: ignore[arg-type]
