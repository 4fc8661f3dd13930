"""`keep_outputs` and `compare_outputs`: the same to the bit across sweeps, or the first tensor that is not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import FAKES, answer, latest, orchestrator, table

from orchestrator.measures.calls import Call
from orchestrator.measures.outputs import NOT_COMPARED, RECORD, Outputs, unequal
from orchestrator.store import SweepFolder

SMALL = (*FAKES, "suite=stacks", "suite.models=[small]", "compiler=identity", "measure=accuracy")
CALLS = [Call("first", 1), Call("fresh 1", 2)]


def judged(folder: SweepFolder) -> Any:
    (job,) = (job for job in folder.read_graph().jobs if job.measure.name == "accuracy")
    return job


@pytest.mark.slow
def test_a_later_sweep_is_compared_bit_by_bit(tmp_path: Path) -> None:
    orchestrator(tmp_path, *SMALL, "mode=training", "keep_outputs=true")
    first = latest(tmp_path)
    kept = first.outputs(judged(first).id)
    assert json.loads((kept / RECORD).read_text())["torch"] == torch.__version__

    output = orchestrator(tmp_path, *SMALL, "mode=training", "compare_outputs=latest")
    assert judged(latest(tmp_path)).id == judged(first).id  # it is in no id
    assert "bitwise equal" in output
    assert table(tmp_path, "accuracy")["outputs"].tolist() == ["bitwise equal"]
    (row,) = table(tmp_path, "compared_outputs").to_dict("records")
    assert row["tensors_unequal"] == 0
    assert row["tensors_compared"] > 3 * 10  # three calls; outputs, loss and gradients in each
    assert "bitwise equal" in orchestrator(tmp_path, "report", "latest", "--md")
    assert "bitwise equal" in (latest(tmp_path).page).read_text()

    # other instructions of the CPU: eager's bits change as well
    other = ("execution.env={ATEN_CPU_CAPABILITY:default}", f"compare_outputs={first}")
    orchestrator(tmp_path, *SMALL, "mode=training", *other)
    (row,) = table(tmp_path, "compared_outputs").to_dict("records")
    assert row["outputs"].startswith("not bitwise equal")
    assert row["status"] == "pass"  # right by the rules, and not the same
    assert 0 < row["tensors_unequal"] <= row["tensors_compared"]
    assert row["first_unequal"].endswith("in call 1 (first inputs)")
    assert 0 < row["elements_unequal"] <= row["elements_of_it"]
    assert 0 < row["largest_difference"] < 1e-3
    assert row["eager_too"] == "eager differs there too"

    code, _, error = answer(tmp_path, *SMALL, "mode=training", "compare_outputs=latest")
    assert code == 2
    assert "kept no outputs; run it with keep_outputs=true" in " ".join(error.split())
    code, _, error = answer(tmp_path, *SMALL, "mode=inference", f"compare_outputs={first}")
    assert code == 2
    assert "none of what is run here" in " ".join(error.split())

    assert orchestrator(tmp_path, "rerun", str(first), "--only", "measure=accuracy") is not None
    again = latest(tmp_path)
    assert (again.outputs(judged(again).id) / RECORD).is_file()


@pytest.mark.parametrize("key", ["keep_outputs=true", "compare_outputs=latest"])
def test_without_an_accuracy_job_there_is_nothing_to_keep(tmp_path: Path, key: str) -> None:
    if key.startswith("compare"):
        (tmp_path / "outputs" / "a" / "b").mkdir(parents=True)
        (tmp_path / "outputs" / "a" / "b" / "sweep.json").write_text("{}")
    code, _, error = answer(tmp_path, "suite=tiny", "measure=performance", key, "dry_run=true")
    assert code == 2
    assert "no job of this sweep looks at outputs; measure=accuracy does" in " ".join(error.split())


NAN = math.nan


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ([1.0, 2.0], [1.0, 2.0], None),
        ([NAN, math.inf], [NAN, math.inf], None),
        ([1.0, 2.0, 3.0], [1.0, 2.5, 3.25], (2, 3, 0.5, "[1]: 2.5 instead of 2")),
        ([0.0, 1.0], [-0.0, 1.0], (1, 2, 0.0, "[0]: -0 instead of 0")),
        ([1.0, 2.0], [NAN, 2.0], (1, 2, "inf", "[0]: nan instead of 1")),
        ([True, False], [True, True], (1, 2, 1.0, "[1]: 1 instead of 0")),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bits_are_compared(before: list[Any], after: list[Any], found: Any, dtype: torch.dtype) -> None:
    kind = torch.bool if isinstance(before[0], bool) else dtype
    seen = unequal(torch.tensor(before, dtype=kind), torch.tensor(after, dtype=kind))
    told = seen and (seen["elements_unequal"], seen["elements_of_it"], seen["largest_difference"], seen["at"])
    assert told == found


def test_another_shape_or_dtype_is_no_equal_tensor() -> None:
    one = torch.zeros(2)
    assert unequal(one, torch.zeros(2, 1)) == {"at": "float32[2] there, float32[2, 1] here"}
    assert unequal(one, torch.zeros(2, dtype=torch.float64)) == {"at": "float32[2] there, float64[2] here"}
    assert unequal(torch.tensor(1), torch.tensor(1)) is None
    assert unequal(torch.zeros(0), torch.zeros(0)) is None


def kept(folder: Path, *calls: dict[str, torch.Tensor], other: Path | None = None, judged: str = "a twin") -> Any:
    outputs = Outputs(folder, other, CALLS[: len(calls)])
    for number, left in enumerate(calls):
        outputs.add(number, left, {name: torch.zeros(1) for name in left})
    return outputs.finish(judged, "2.x")


def test_what_only_one_has_is_told(tmp_path: Path) -> None:
    one, two = {"output.0": torch.ones(2)}, {"output.0": torch.ones(2), "loss": torch.ones(())}
    assert kept(tmp_path / "one", one, one) is None
    row = kept(tmp_path / "two", two, other=tmp_path / "one", judged="the timed code")
    assert (row["tensors_compared"], row["tensors_unequal"]) == (1, 1)
    assert row["first_unequal"] == "loss in call 1 (first inputs): only here"
    assert row["outputs"] == (
        "not bitwise equal; its call 2 (fresh 1 inputs) was not made here; there a twin was judged, here the timed code"
    )
    changed = kept(tmp_path / "three", {"output.0": torch.tensor([1.0, 2.0])}, other=tmp_path / "one")
    assert changed["eager_too"] == "equal in eager"  # the compiler alone has changed


def test_a_series_that_did_not_end_is_not_compared(tmp_path: Path) -> None:
    kept(tmp_path / "one", {"output.0": torch.ones(2)})
    (tmp_path / "one" / RECORD).unlink()
    row = kept(tmp_path / "two", {"output.0": torch.ones(2)}, other=tmp_path / "one")
    assert row["outputs"] == f"{NOT_COMPARED}: no outputs were kept there"
    kept(tmp_path / "one", {"output.0": torch.ones(2)})
    (tmp_path / "one" / "call.0.safetensors").unlink()
    row = kept(tmp_path / "two", {"output.0": torch.ones(2)}, other=tmp_path / "one")
    assert row["outputs"].startswith(f"{NOT_COMPARED}: what was kept there cannot be read: FileNotFoundError")
    (tmp_path / "one" / RECORD).write_text("{}")
    row = kept(tmp_path / "two", {"output.0": torch.ones(2)}, other=tmp_path / "one")
    assert "cannot be read: KeyError" in row["outputs"]
