"""Models of the user's own code: what is planned from a name, what the code must provide, what each mistake gives."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import orchestrator, table
from support.example_records import built_by
from support.plans import planned

from orchestrator.errors import UsageError
from orchestrator.plugins import Program
from orchestrator.records import JobSpec, Workload
from orchestrator.results.naming import Naming
from orchestrator.suites.user import UserModel

DOCS = Path(__file__).parents[1] / "docs" / "suites.md"
NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.layer, self.drop = torch.nn.Linear(4, width), torch.nn.Dropout(0.5)

    def forward(self, x, scale=None):
        y = self.drop(self.layer(x))
        return y if scale is None else y * scale
"""
INPUTS = """
    def get_example_inputs(self, batch_size=1):
        return (torch.randn(batch_size, 4),)
"""
LOSS = """
    def loss(self, outputs):
        return outputs.square().mean()
"""


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    modules, path = set(sys.modules), list(sys.path)
    yield
    for name in set(sys.modules) - modules:
        if name.startswith(("_user_", "beside", "package_of_mine")):
            del sys.modules[name]
    sys.path[:] = path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def jobs(*overrides: str) -> tuple[JobSpec, ...]:
    return planned("suite=user", "compiler=eager", "measure=performance", "rounds=1", *overrides).jobs


def workload(batch: int = 3, length: int | None = None, training: bool = False) -> Workload:
    mode = "training" if training else "inference"
    asked = {"batch_size": batch, "sequence_length": length, "seed": 7}
    return built_by("user.UserModel", "Net", suite="user", mode=mode, **asked)


def built(folder: Path, text: str, name: str = "Net", *, dropout: bool = False, **asked: Any) -> Program:
    (folder / "net.py").write_text(text)
    arguments = asked.pop("arguments", {})
    model = UserModel(model=f"{folder / 'net.py'}:{name}", arguments=arguments)
    return model.build(workload(**asked), dropout=dropout)


# -- planning


def test_a_path_is_absolute_in_the_job_and_short_in_the_row(here: Path) -> None:
    (here / "nets").mkdir()
    (here / "nets" / "net.py").write_text(NET + INPUTS)
    (job,) = jobs("suite.models=[nets/net.py:Net]")
    assert job.workload.model == "Net"
    assert job.workload.builder.options["model"] == f"{here}/nets/net.py:Net"
    assert len(job.workload.builder.options["sha256"]) == 64


def test_the_id_knows_the_content_and_not_the_folder_of_the_command(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "nets").mkdir()
    (here / "nets" / "net.py").write_text(NET + INPUTS)
    (first,) = jobs("suite.models=[nets/net.py:Net]")
    monkeypatch.chdir(here / "nets")
    (elsewhere,) = jobs("suite.models=[net.py:Net]")
    assert elsewhere.id == first.id
    (here / "nets" / "net.py").write_text(NET + INPUTS + "\n# changed\n")
    (changed,) = jobs("suite.models=[net.py:Net]")
    assert changed.id != first.id


def test_two_models_of_one_name_are_two_workloads(here: Path) -> None:
    for folder in ("a", "b"):
        (here / folder).mkdir()
        (here / folder / "net.py").write_text(NET + INPUTS + f"# {folder}")
    found = {job.workload.builder.options["model"] for job in jobs("suite.models=[a/net.py:Net,b/net.py:Net]")}
    assert found == {f"{here}/a/net.py:Net", f"{here}/b/net.py:Net"}


def test_planning_reads_a_file_and_does_not_run_it(here: Path) -> None:
    (here / "net.py").write_text(f"raise RuntimeError('executed')\n{NET}{INPUTS}")
    (here / "package_of_mine").mkdir()
    (here / "package_of_mine" / "__init__.py").write_text("raise RuntimeError('executed')")
    (here / "package_of_mine" / "models.py").write_text("def make(): raise RuntimeError('executed')")
    assert len(jobs("suite.models=[net.py:Net,package_of_mine.models:make]")) == 2
    assert "package_of_mine" not in sys.modules


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"net\.py cannot be read: No such file or directory: Available: other\.py"),
        ("def Net(:\n", r"net\.py, line 1 is not Python: invalid syntax"),
        (NET, r"Net has no get_example_inputs\(\): write it as a method of Net or as a function of"),
        (NET.replace("Net", "Nett") + INPUTS, r"has no class or function 'Net': did you mean 'Nett'\?"),
        (f"{NET.replace('Net', 'Made')}{INPUTS}\nNet = Made()", r"'Net' of .* is a model that is made already"),
        ("def Net(width, depth=1): ...", r"needs width: give a default, or suite\.common\.build\.arguments"),
        ("class Net:\n    def __init__(self, *, a): ...\n    def get_example_inputs(self): ...", "needs a: give"),
    ],
    ids=str,
)  # fmt: skip
def test_what_the_source_says_is_wrong_is_said_when_planning(here: Path, text: str | None, message: str) -> None:
    (here / "other.py").write_text("")
    if text is not None:
        (here / "net.py").write_text(text)
    with pytest.raises(UsageError, match=message):
        jobs("suite.models=[net.py:Net]")


@pytest.mark.parametrize(
    "text",
    [
        "from elsewhere import Net",
        "from elsewhere import *",
        "from elsewhere import Base\nclass Net(Base): ...",
        "import functools\ndef make(width): ...\nNet = functools.partial(make, 3)",
        "try:\n    from elsewhere import Net\nexcept ImportError:\n    def Net(): ...",
        "globals()['Net'] = object",
        "@decorated\ndef Net(width): ...",
    ],
    ids=str,
)
def test_what_only_running_would_tell_is_left_to_the_job(here: Path, text: str) -> None:
    (here / "net.py").write_text(text)
    assert len(jobs("suite.models=[net.py:Net]")) == 1


def test_arguments_are_looked_at_when_planning(here: Path) -> None:
    (here / "net.py").write_text("def Net(width, depth=1): ...")
    assert len(jobs("suite.models=[net.py:Net]", "++suite.common.build.arguments.width=3")) == 1
    with pytest.raises(UsageError, match=r"arguments\.widht: Net of .* takes no such argument: did you mean 'width'"):
        jobs("suite.models=[net.py:Net]", "++suite.common.build.arguments={width:1,widht:3}")
    with pytest.raises(UsageError, match="there is no module 'nowhere_of_mine'"):
        jobs("suite.models=[nowhere_of_mine.models:Net]")


def test_rows_of_two_models_of_one_name_tell_their_files(here: Path) -> None:
    for folder in ("a", "b"):
        (here / folder).mkdir()
        (here / folder / "net.py").write_text(NET + INPUTS + f"# {folder}")
    planned = jobs("suite.models=[a/net.py:Net,b/net.py:Net]")
    labels = {Naming(planned).identity(job)["model"] for job in planned}
    assert labels == {"Net(model=a/net.py:Net)", "Net(model=b/net.py:Net)"}


def test_a_length_is_only_there_when_it_is_asked_for(here: Path) -> None:
    (here / "net.py").write_text(NET + INPUTS)
    assert [job.workload.sequence_length for job in jobs("suite.models=[net.py:Net]")] == [None]
    lengths = [job.workload.sequence_length for job in jobs("suite.models=[net.py:Net]", "sequence_length=8,16")]
    assert lengths == [8, 16]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], r"suite user has no models of its own: .*suite\.models=\[\.\.\.\]"),
        (["suite.models=[net.py]"], r"'net\.py' names no model: write path/to/file\.py:ClassName"),
        (["suite.models=[net.py:]"], "names no model"),
        (["suite.models=[net.py:a-b]"], "names no model"),
        (["suite.models=[a-b.c:Net]"], "names no model"),
        (["suite.models=[net.py:Net]", "suite.filter=Other"], "leaves no model"),
        (["suite.models=[net.py:Net]", "++suite.common.build.width=8"], r"catalog\.Net\.build: unknown option 'width'"),
    ],
)
def test_what_names_no_model_is_a_message(here: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        jobs(*overrides)


# -- what the code provides


def test_a_tuple_is_bound_to_the_parameters_of_forward(here: Path) -> None:
    program = built(here, NET + INPUTS, batch=5)
    assert {name: tuple(tensor.shape) for name, tensor in program.inputs.items()} == {"x": (5, 4)}
    assert program.model(**program.inputs).shape == (5, 8)


def test_arguments_reach_the_class_and_a_function_of_the_file_may_give_the_inputs(here: Path) -> None:
    inputs = "\ndef get_example_inputs(batch_size, sequence_length):\n"
    inputs += "    return {'x': torch.randn(batch_size, sequence_length, 4)}\n"
    program = built(here, NET + inputs, batch=2, length=6, arguments={"width": 3})
    assert program.model(**program.inputs).shape == (2, 6, 3)


def test_a_function_that_makes_the_model(here: Path) -> None:
    program = built(here, NET + INPUTS + "\ndef narrow():\n    return Net(width=2)\n", "narrow")
    assert program.model(**program.inputs).shape == (3, 2)


def test_modules_beside_the_file_and_of_a_package(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "beside_net.py").write_text(NET + INPUTS)
    assert built(here, "from beside_net import Net").inputs["x"].shape == (3, 4)
    monkeypatch.syspath_prepend(str(here))
    model = UserModel(model="beside_net:Net")
    model.load(workload())
    assert model.build(workload(), dropout=False).inputs["x"].shape == (3, 4)


def test_weights_and_inputs_come_from_the_seed_and_the_global_state_stays(here: Path) -> None:
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    first, second = built(here, NET + INPUTS), built(here, NET + INPUTS)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.inputs["x"], second.inputs["x"])
    assert torch.equal(first.model.layer.weight, second.model.layer.weight)


def test_dropout_is_off_where_it_must_be(here: Path) -> None:
    assert built(here, NET + INPUTS).model.drop.p == 0
    assert built(here, NET + INPUTS, dropout=True).model.drop.p == 0.5


@pytest.mark.parametrize(
    "forward",
    [
        LOSS,  # a method
        "    def forward(self, x):\n        return {'y': x, 'loss': self.layer(x).square().mean()}\n",
        "    def forward(self, x):\n        return self.layer(x).square().mean()\n",
        "    def forward(self, x):\n        import types\n"
        "        return types.SimpleNamespace(loss=self.layer(x).square().mean())\n",
    ],
    ids=["method", "key", "scalar", "attribute"],
)
def test_where_a_loss_may_be(here: Path, forward: str) -> None:
    program = built(here, NET + INPUTS + forward)
    program.loss(program.model(**program.inputs)).backward()
    assert program.model.layer.weight.grad is not None


def test_no_loss_is_no_loss(here: Path) -> None:
    program = built(here, NET + INPUTS + "\n    loss_function = loss = torch.nn.CrossEntropyLoss()\n")
    with pytest.raises(
        ValueError, match=r"training needs a loss, .* gives a tensor of shape \(3, 8\): add a method loss"
    ):
        program.loss(program.model(**program.inputs))
    with pytest.raises(ValueError, match="gives none"):
        program.loss({"scores": torch.ones(())})


# -- what it may lack


def inputs(body: str, parameters: str = "self, batch_size=1") -> str:
    return f"{NET}\n    def get_example_inputs({parameters}):\n        {body}\n"


@pytest.mark.parametrize(
    ("text", "asked", "message"),
    [
        (NET, {}, r"has no get_example_inputs\(\): write it as a method"),
        (NET + INPUTS, {"name": "Nat"}, r"no class or function 'Nat': it has .*Net"),
        ("def Net():\n    return 3", {}, r"made a int: it must be or return a torch\.nn\.Module"),
        (inputs("return 'x'"), {}, "returned a str: return a tensor, a tuple or a dict"),
        (inputs("return ()"), {}, "returned no inputs"),
        (
            inputs("return (torch.ones(1, 4), object())"),
            {},
            "input 'scale' is a object: give tensors, or lists, tuples",
        ),
        (inputs("return {'x': 2}"), {}, "returned no inputs that are tensors"),
        (inputs("return (torch.ones(1, 4),) * 3"), {}, "3 inputs, but forward takes only x, scale: return as many"),
        (
            inputs("return torch.ones(2, 4)", "self"),
            {},
            r"takes no batch_size and returns a batch of 2, .* leave batch_size out",
        ),
        (
            inputs("return torch.ones(2, 4)"),
            {},
            r"takes and ignores batch_size and returns a batch of 2, .* leave batch_size out",
        ),
        (NET + INPUTS, {"length": 8}, "takes no sequence_length"),
        (inputs("return 1", "self, sequence_length"), {}, r"needs a sequence_length: .*sequence_length=128"),
        ("import sys\nsys.exit(2)", {}, r"called sys\.exit\(2\)"),
        (
            "import torch\nNet = torch.nn.Linear(1, 1)",
            {},
            "is a model that is made already: name the class",
        ),
    ],
    ids=lambda value: value.splitlines()[-1].strip()[:30] if isinstance(value, str) else "",
)
def test_every_mistake_is_named_with_its_remedy(here: Path, text: str, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(here, text, **asked)


EXACT = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.exact = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4).double()

    def forward(self, x):
        y = self.exact(self.layer(x).double())
        return {"y": y.to(x.dtype), "loss": y.square().mean()}

    def get_example_inputs(self, batch_size=1):
        return torch.randn(batch_size, 4)
"""


@pytest.mark.slow
def test_a_layer_in_float64_stays_so_in_every_dtype(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(EXACT)
    dtypes = "dtype=float32,bfloat16,float16,amp_bfloat16,amp_float16"
    orchestrator(tmp_path, "suite=user", "suite.models=[net.py:Net]", "compiler=aot_eager", "measure=accuracy", dtypes,
        "mode=inference,training")  # fmt: skip
    rows = table(tmp_path, "accuracy")
    assert len(rows) == 10
    assert set(rows["status"]) == {"pass"}, rows[["dtype", "mode", "compiler", "reason"]].to_string()


COLLECTS = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward({parameters}):
        y = {body}
        return {{"y": y, "loss": y.square().mean()}}

    def get_example_inputs(self, batch_size=1):
        return torch.randn(batch_size, 4), torch.randn(batch_size, 4), torch.randn(batch_size, 4)
"""
BY_POSITION = {
    "Stars": ("self, *xs", "self.layer(xs[0] - 2 * xs[1]) + xs[2]"),
    "Rest": ("self, first, *others, scale=2", "self.layer(first - scale * others[0]) + others[1]"),
    "Slash": ("self, a, b, /, c", "self.layer(a - 2 * b) + c"),
}


@pytest.mark.parametrize(
    ("form", "names"),
    [("Stars", ["xs_0", "xs_1", "xs_2"]), ("Rest", ["first", "others_0", "others_1"]), ("Slash", ["a", "b", "c"])],
)
def test_inputs_without_keywords_are_given_by_position(here: Path, form: str, names: list[str]) -> None:
    parameters, body = BY_POSITION[form]
    program = built(here, COLLECTS.format(parameters=parameters, body=body))
    assert list(program.inputs) == names
    a, b, c = program.inputs.values()
    (layer,) = [module for module in program.model.modules() if isinstance(module, torch.nn.Linear)]
    outputs = program.model(**program.inputs)
    assert torch.equal(outputs["y"], layer(a - 2 * b) + c)
    assert torch.equal(program.loss(outputs), outputs["loss"])


@pytest.mark.slow
def test_such_models_run_with_every_kind_of_compiler(tmp_path: Path) -> None:
    for form, (parameters, body) in BY_POSITION.items():
        text = COLLECTS.format(parameters=parameters, body=body).replace("class Net", f"class {form}")
        (tmp_path / f"{form}.py").write_text(text)
    models = ",".join(f"{form}.py:{form}" for form in BY_POSITION)
    orchestrator(tmp_path, "suite=user", f"suite.models=[{models}]", "compiler=aot_eager,export,jit_trace",
        "measure=accuracy", "mode=inference,training", "batch_size=2")  # fmt: skip
    rows = table(tmp_path, "accuracy")
    assert len(rows) == 18
    assert set(rows["status"]) == {"pass"}, rows[["model", "mode", "compiler", "reason"]].to_string()


def test_keywords_that_are_collected_are_given_too(here: Path) -> None:
    program = built(here, inputs("return torch.ones(asked['batch_size'], 4)", "self, **asked"), batch=3)
    assert program.inputs["x"].shape == (3, 4)


def test_a_file_that_changed_after_planning_is_not_run(here: Path) -> None:
    (here / "net.py").write_text(NET + INPUTS)
    name, options = UserModel.named("net.py:Net")
    assert name == "Net"
    UserModel(**options).load(workload())
    (here / "net.py").write_text("raise RuntimeError('executed')")
    with pytest.raises(ValueError, match="has changed since this job was planned"):
        UserModel(**options).load(workload())


def test_a_module_that_is_missing_is_told_from_one_that_it_imports(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"no module 'package_of_mine\.models' in the folder where the command ran"):
        UserModel(model="package_of_mine.models:make").load(workload())
    (here / "beside_broken.py").write_text("import nowhere_to_be_found")
    monkeypatch.syspath_prepend(str(here))
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        UserModel(model="beside_broken:make").load(workload())


# -- through the command


@pytest.mark.slow
def test_bad_files_give_rows_and_spare_the_rest(tmp_path: Path) -> None:
    files = {
        "good": NET + INPUTS + LOSS,
        "lacks": "def Net():\n    import torch\n    return torch.nn.ReLU()",
        "raises": NET + INPUTS + "\nraise OSError('no licence')",
        "breaks": NET + INPUTS + "    def forward(self, x):\n        return missing(x)\n",
        "kills": f"import os\nos._exit(9)\n{NET}{INPUTS}",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text.replace("Net", name.title()))
    names = [f"{name}.py:{name.title()}" for name in files]
    models = f"suite.models=[{','.join(names)}]"
    output = orchestrator(tmp_path, "suite=user", models, "compiler=eager", "measure=accuracy", "batch_size=2", code=1)
    rows = table(tmp_path, "jobs").set_index("model")
    statuses = rows["status"].to_dict()
    assert statuses == {
        "Good": "pass",
        "Lacks": "model_fail_to_load",
        "Raises": "model_fail_to_load",
        "Breaks": "eager_fail_to_run",
        "Kills": "crash",
    }, output
    reasons = " ".join(str(reason) for reason in rows["reason"])
    for word in ("get_example_inputs", "no licence", "name 'missing' is not defined"):
        assert word in reasons, reasons


@pytest.mark.slow
def test_the_example_of_the_docs_runs_in_both_modes(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n# (\S+)\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / example[0]).write_text(example[1])
    models = f"[{example[0]}:Classifier,{example[0]}:wide]"
    orchestrator(tmp_path, "suite=user", f"suite.models={models}", "compiler=aot_eager", "measure=accuracy",
        "mode=inference,training", "batch_size=4")  # fmt: skip
    rows = table(tmp_path, "accuracy")
    assert len(rows) == 4
    assert set(rows["status"]) == {"pass"}
    assert set(rows["model"]) == {"Classifier", "wide"}
    assert not (tmp_path / "__pycache__").exists()
    (tmp_path / example[0]).write_text("raise RuntimeError('executed')")
    report = orchestrator(tmp_path, "report", "latest")
    assert "Classifier" in report
