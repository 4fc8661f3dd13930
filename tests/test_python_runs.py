"""`o.sweep` and `o.compare`: the real command in a process of its own, and models that live where it was called."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import load_file
from support.command import ENVIRONMENT, TESTS

import orchestrator as o
from orchestrator.api.running import overrides
from orchestrator.store import SweepFolder

FAKES = TESTS / "fakes" / "conf"
SMALL: dict[str, Any] = {"suite": "perceptrons", "measure": "glance", "rounds": 1, "suite.models": ["one"]}
QUICK: dict[str, Any] = {"measure": "glance", "rounds": 1, "config_dir": FAKES}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def small(**keys: Any) -> o.Result:
    return o.sweep(config_dir=FAKES, **{**SMALL, **keys})


# -- what is written


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"compiler": ["eager", "inductor"]}, ["compiler=eager,inductor"]),
        ({"compiler": "eager"}, ["compiler=eager"]),
        ({"batch_size": (1, 8), "rounds": 3}, ["batch_size=1,8", "rounds=3"]),
        ({"online": True, "sequence_length": None}, ["online=true", "sequence_length=null"]),
        ({"suite.models": ["a b", "c"]}, ["suite.models=['a b',c]"]),
        ({"suite.models": ["1"]}, ["suite.models=['1']"]),  # a name, not a number
        (
            {"exclude": [{"compiler": "inductor_*", "dtype": "float16"}]},
            ["exclude=[{compiler:'inductor_*',dtype:float16}]"],
        ),
        ({"zip": ["dtype", "batch_size"]}, ["zip=[dtype,batch_size]"]),
        ({"compiler": "eager,inductor"}, ["compiler='eager,inductor'"]),  # a text is one value
        ({"execution.env": {"A": "x,y"}}, ["execution.env={A:'x,y'}"]),
        ({"effect_threshold": 0.05}, ["effect_threshold=0.05"]),
        ({"effect_threshold": numpy.float64(0.05)}, ["effect_threshold=0.05"]),
        ({"suite.filter": Path("a/b")}, ["suite.filter=a/b"]),
    ],
)
def test_python_values_are_written_in_the_grammar_of_the_command_line(keys: dict[str, Any], words: list[str]) -> None:
    assert overrides((), keys) == words


@pytest.mark.parametrize(
    ("words", "keys", "message"),
    [
        (["report"], {}, "'report' is neither key=value nor the path"),
        (["--trust"], {}, "'--trust' is neither"),
        (["dry_run=true"], {}, "dry_run=true runs nothing"),
        ([], {"dry_run": True}, "dry_run=true runs nothing"),
        (["hydra.sweep.dir=x"], {}, "write folder="),
        (["nothing.yaml"], {}, "there is no such file"),
        ([], {"compiler": []}, "compiler=.*no values"),
        ([], {"compiler": object()}, "compiler: a object is no value of a key"),
        ([], {"dtype": torch.float16}, "dtype: a dtype is no value of a key"),
        (["resume=latest"], {"folder": "x"}, "stays in its own"),
        (["resume=latest"], {}, "there are 0 sweeps"),
    ],
)
def test_what_cannot_be_a_sweep_is_said_before_anything_runs(
    words: list[str], keys: dict[str, Any], message: str, here: Path
) -> None:
    with pytest.raises(o.UsageError, match=message):
        o.sweep(*words, **keys)
    assert list(here.iterdir()) == []


# -- sweeps


def test_a_sweep_is_the_command_and_what_it_found(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = small(compiler=["eager", "identity"])
    assert result.folder.parent.parent == here / "outputs"
    assert (result.folder / "report.html").exists()
    assert not (result.folder / "models").exists()
    assert set(result.summary["compiler"]) == {"eager", "identity"}
    assert set(result.jobs["status"]) == {"pass"}
    assert result.failures.empty
    assert "compiler=eager,identity" in result.command
    shown = capfd.readouterr().out
    assert "Plan: " in shown
    assert re.search(r"^1/2 · one eager", shown, re.MULTILINE)
    assert "speed-up" not in shown  # what was found is shown by whoever asked
    assert "speed-up" in repr(result)
    assert o.load().name == result.name


def test_a_mistake_is_the_message_of_the_command_and_leaves_no_folder(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(o.UsageError, match=r"(?s)^[^:]*inductr.*inductor") as raised:
        small(compiler="inductr")
    assert "orchestrator: " not in str(raised.value)
    assert not list((here / "outputs").glob("*"))
    assert "inductr" not in capfd.readouterr().err  # it is raised, not also printed


@pytest.mark.slow
def test_a_failed_job_is_a_row_and_raises_where_that_is_asked_for() -> None:
    result = small(compiler="does_raise", progress=False)
    assert list(result.failures["status"]) == ["fail_to_run"]
    assert "Traceback" in result.failures["detail"].iloc[0]
    with pytest.raises(o.JobsFailed, match=r"1 job of 2 failed in .*: fail_to_run: one does_raise: ") as raised:
        small(compiler="does_raise", check=True, progress=False)
    assert list(raised.value.result.failures["status"]) == ["fail_to_run"]


@pytest.mark.slow
def test_an_experiment_is_named_by_its_path_and_without_progress_nothing_is_printed(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "mine").mkdir()
    params = "{suite: perceptrons, measure: glance, batch_size: '1,2'}"
    text = f"suite: {{models: [two]}}\nhydra:\n  sweeper:\n    params: {params}\n"
    (here / "mine" / "two_sizes.yaml").write_text(text)
    asked = {"rounds": 1, "config_dir": FAKES, "folder": here / "into"}
    result = o.sweep("mine/two_sizes.yaml", "compiler=eager", progress=False, **asked)
    assert capfd.readouterr() == ("", "")
    assert result.folder == here / "into"
    assert sorted(result.summary["batch_size"]) == [1, 2]
    assert set(result.summary["model"]) == {"two"}
    with pytest.raises(o.UsageError, match="into is not empty"):
        small(folder=here / "into")


@pytest.mark.slow
def test_a_sweep_is_resumed() -> None:
    first = small(compiler="eager", progress=False)
    (job,) = first.jobs["job"]
    SweepFolder(first.folder).result_file(job).unlink()
    assert list(o.load().failures["status"]) == ["not_run"]
    again = o.sweep("resume=latest", progress=False)
    assert again.folder == first.folder
    assert list(again.jobs["status"]) == ["pass"]


def test_a_command_that_is_killed_is_an_error_with_what_it_said(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = here / "python"
    program.write_text("#!/bin/sh\necho so far >&2\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(o.SweepError, match=r"SIGKILL.*so far") as raised:
        small(progress=False)
    assert raised.value.output == "so far\n"
    assert not list((here / "outputs").glob("*"))


@pytest.mark.slow
def test_an_interrupt_reaches_the_sweep_which_keeps_what_it_has(here: Path) -> None:
    code = f"import orchestrator as o; o.sweep(config_dir={str(FAKES)!r}, compiler='does_hang', **{SMALL!r})"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("1/2 · "):  # eager; the next one hangs
                break
        while not list(here.glob("outputs/*/*/jobs/*/phase.txt")):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        for line in process.stdout:
            if line.startswith("Interrupted"):
                break
        process.send_signal(signal.SIGINT)  # what runs is killed
        process.stdout.read()
        assert process.stderr is not None
        assert "KeyboardInterrupt" in process.stderr.read()
    assert process.returncode != 0
    assert sorted(o.load().jobs["status"]) == ["not_run", "pass"]


# -- models


class Net(torch.nn.Module):
    """A model of a module that jobs can import: this one."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, width)

    def forward(self, x: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        y = self.layer(x)
        return y if scale is None else y * scale


NOTEBOOK = """
import helper  # a file beside the notebook
import torch
import orchestrator as o

FACTOR = 3.0


def activation(x):
    return torch.nn.functional.gelu(x) * FACTOR


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(4, 8), helper.Layer()

    def forward(self, x, scale):
        return activation(self.second(self.first(x))) * scale


torch.manual_seed(123)
model = helper.Outer(Net())  # what is compiled begins in another file
with torch.no_grad():
    model.inner.first.weight.fill_(0.25)  # no seed gives these weights
inputs = {"x": torch.arange(12.0).reshape(3, 4), "scale": torch.tensor([2.0])}
expected = model(**inputs)
result = o.compare(
    model, inputs, compilers=["aot_eager"], measure="accuracy", progress=False, **{"execution.keep_references": True}
)
torch.save(expected, "expected.pt")
print(result.folder)
assert model.training and model(**inputs).equal(expected)  # it is as it was
"""
HELPER = """
import torch


class Layer(torch.nn.Module):
    def forward(self, x):
        return x.flip(-1)


class Outer(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x, scale):
        return self.inner(x, scale)
"""


@pytest.mark.slow
def test_a_model_of_a_notebook_runs_with_the_weights_and_inputs_that_were_given(here: Path) -> None:
    """Its class, a function and a constant are in __main__; one more class is in a file beside it."""
    (here / "helper.py").write_text(HELPER)
    done = subprocess.run([sys.executable, "-"], input=NOTEBOOK, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = o.load(done.stdout.strip())
    (row,) = result.accuracy[result.accuracy["compiler"] == "aot_eager"].to_dict("records")
    assert (row["status"], row["model"], row["batch_size"], row["dtype"]) == ("pass", "Outer", 3, "float32")
    expected = torch.load(here / "expected.pt")
    found = [load_file(file) for file in (result.folder / "references").rglob("*.safetensors")]
    outputs = [tensor for tensors in found for tensor in tensors.values() if tensor.shape == expected.shape]
    assert any(torch.allclose(tensor.float(), expected, atol=1e-4) for tensor in outputs)
    # the stored sweep runs again, from another folder, with nothing but its files
    (here / "elsewhere").mkdir()
    again = subprocess.run(
        [sys.executable, "-m", "orchestrator", "rerun", str(result.folder)],
        cwd=here / "elsewhere",
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert set(o.load(root=here / "elsewhere" / "outputs").jobs["status"]) == {"pass"}


@pytest.mark.slow
def test_a_changed_file_is_not_run(here: Path) -> None:
    result = o.compare(Net(), torch.ones(2, 4), compilers="eager", progress=False, **QUICK)
    assert set(result.jobs["status"]) == {"pass"}
    (job,) = result.jobs["job"]
    SweepFolder(result.folder).result_file(job).unlink()
    with open(result.folder / "models" / "Net.model", "ab") as file:
        file.write(b"\0")
    again = o.sweep("resume=latest", progress=False)
    assert list(again.failures["status"]) == ["model_fail_to_load"]
    assert "is not the file that was saved: its content is another" in again.failures["reason"].iloc[0]


@pytest.mark.parametrize(
    "inputs", [(torch.ones(2, 4), torch.ones(1)), pytest.param({"x": torch.ones(2, 4)}, marks=pytest.mark.slow)]
)
def test_inputs_are_a_tuple_or_a_dict(inputs: Any) -> None:
    result = o.compare(Net(), inputs, compilers="eager", progress=False, name="mine", **QUICK)
    (row,) = result.summary.to_dict("records")
    assert (row["model"], row["performance"], row["batch_size"]) == ("mine", "pass", 2)


@pytest.mark.slow
def test_a_function_of_inputs_is_drawn_for_each_batch_size() -> None:
    def draw(batch_size: int = 1) -> torch.Tensor:
        return torch.randn(batch_size, 4)

    result = o.compare(Net(), draw, compilers="eager", batch_size=[1, 5], progress=False, **QUICK)
    assert sorted(result.summary["batch_size"]) == [1, 5]
    assert set(result.jobs["status"]) == {"pass"}


@pytest.mark.slow
def test_the_dtype_is_that_of_the_model_unless_another_is_asked_for() -> None:
    half = o.compare(Net().bfloat16(), torch.ones(2, 4), compilers="eager", progress=False, **QUICK)
    assert set(half.summary["dtype"]) == {"bfloat16"}
    both = o.compare(
        Net().bfloat16(), torch.ones(2, 4), "eager", dtype=["float32", "bfloat16"], progress=False, **QUICK
    )
    assert set(both.summary["dtype"]) == {"float32", "bfloat16"}


def mixed() -> torch.nn.Module:
    return torch.nn.Sequential(Net().half(), Net())


class Unsaved(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("model", "inputs", "keys", "message"),
    [
        (lambda: torch.nn.functional.relu, torch.ones(1), {}, "model: a .* is no torch.nn.Module"),
        (lambda: torch.compile(Net()), torch.ones(2, 4), {}, "give the model itself"),
        (Net, 3, {}, "inputs returned a int"),
        (Net, {"x": 3}, {}, "inputs returned no inputs that are tensors"),
        (Net, (torch.ones(1),) * 3, {}, "3 inputs, but forward takes only x, scale"),
        (Net, torch.ones(2, 4), {"batch_size": 3}, "batch_size=3: the inputs are a batch of 2"),
        (Net, torch.ones(2, 4), {"name": "a b"}, "name='a b'"),
        (Net, torch.ones(2, 4), {"suite": "tiny"}, "suite: compare runs the model that it is given"),
        (mixed, torch.ones(2, 4), {}, "several dtypes .float16, float32.: write dtype="),
        (Unsaved, torch.ones(2, 4), {}, "model: it cannot be saved for a job"),
        (Net, torch.ones(2, 4), {"compilers": "inductr"}, "inductr"),
    ],
)
def test_what_cannot_be_compared_is_a_message_and_leaves_no_folder(
    here: Path, model: Any, inputs: Any, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(o.UsageError, match=message):
        o.compare(model(), inputs, progress=False, **keys)
    assert not list(here.glob("outputs/*/*"))


@pytest.mark.slow
def test_without_cloudpickle_a_class_of_the_notebook_is_refused_and_one_of_a_module_runs(here: Path) -> None:
    script = f"QUICK = {QUICK | {'config_dir': str(FAKES)}!r}"
    script += """

import sys
sys.modules["cloudpickle"] = None  # as where it is not installed
import torch, orchestrator as o
class Own(torch.nn.Linear):
    pass
try:
    o.compare(torch.nn.Sequential(Own(4, 4)), torch.ones(2, 4), progress=False)
except o.UsageError as error:
    print(error)
result = o.compare(torch.nn.Linear(4, 4), torch.ones(2, 4), "eager", progress=False, **QUICK)
print(*result.jobs["status"])
    """
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "model: 'Own' is defined here, in no module that a job could import: pip install cloudpickle" in done.stdout
    assert done.stdout.endswith("pass\n")
