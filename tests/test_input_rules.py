"""Rules for inputs: what is drawn, what is refused with its key, and models of users that are called by rules alone."""

from __future__ import annotations

import dataclasses
import re
import types
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support.command import orchestrator, run, table
from support.example_records import built_by
from support.plans import planned

from orchestrator.errors import UsageError
from orchestrator.plugins import Program
from orchestrator.probes.observed import tensors_in
from orchestrator.records import OWN_BATCH, Workload
from orchestrator.suites.drawn import draw
from orchestrator.suites.example_inputs import batches_in, by_name
from orchestrator.suites.huggingface import HuggingFaceModel
from orchestrator.suites.rules import check, form_of, names_in
from orchestrator.suites.timm import TimmModel
from orchestrator.suites.user import UserModel

PIPELINES = Path(__file__).parent / "models_of_users" / "pipelines.py"
SHIPPED = ("UNetBlock", "Detector", "Recommender", "GraphNet", "Tagger", "Restored", "Dataclassed", "DictToDict",
           "Starred", "Recurrent")  # fmt: skip
SIZES = {"batch": 3, "sequence": 10, "vocab_size": 50, "image_token_id": 7, "vision_config.image_size": 32}


def drawn(rule: Any, seed: int = 1, **before: Any) -> Any:
    return draw({**before, "x": rule}, SIZES.__getitem__, seed)["x"]


def workload(batch: int = OWN_BATCH, length: int | None = None, name: str = "Net") -> Workload:
    return built_by("user.UserModel", name, suite="user", batch_size=batch, sequence_length=length, seed=7)


# -- what a rule makes


@pytest.mark.parametrize(
    ("rule", "shape", "dtype"),
    [
        ({"shape": ["batch", 4]}, (3, 4), torch.float32),
        ({"shape": ["batch_size", "sequence_length * 2 + 1"], "high": "vocab_size"}, (3, 21), torch.int64),
        ({"shape": ["(vision_config.image_size // 16) ** 2"], "low": 0.0, "high": 1.0}, (4,), torch.float32),
        ({"shape": [2], "dtype": "bfloat16"}, (2,), torch.bfloat16),
        ({"shape": [2, 2], "dtype": "complex64"}, (2, 2), torch.complex64),
        ({"shape": ["batch"], "dtype": "bool"}, (3,), torch.bool),
        ({"shape": [], "high": 5}, (), torch.int64),
        ({"shape": [0, 4]}, (0, 4), torch.float32),
        ({"shape": ["batch"], "value": 1, "dtype": "int32"}, (3,), torch.int32),
        ({"value": [[0, 1], [1, 0]], "dtype": "int64"}, (2, 2), torch.int64),
    ],
    ids=str,
)
def test_tensors_have_the_shape_and_dtype_of_their_rule(rule: Any, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = drawn(rule)
    assert tuple(tensor.shape) == shape
    assert tensor.dtype == dtype


def test_values_are_those_of_the_rule() -> None:
    floats = drawn({"shape": [1000], "low": -2.0, "high": 3})
    assert -2 <= floats.min() < -1.9
    assert 2.9 < floats.max() < 3
    assert drawn({"shape": ["batch", 2], "value": "vocab_size - 1"}).tolist() == [[49, 49]] * 3
    assert drawn({"shape": [2, 3], "value": [1, 2, 3]}).tolist() == [[1, 2, 3]] * 2
    assert drawn({"shape": ["batch"], "step": 4}).tolist() == [0, 4, 8]
    assert drawn({"shape": [2, 3], "low": 1, "step": 1}).tolist() == [[1, 2, 3]] * 2
    boxes = drawn({"shape": [50, 4], "low": 0.0, "high": 9.0, "order": "ascending"})
    assert (boxes[:, 2:] >= boxes[:, :2]).all()
    assert (
        sorted(drawn({"shape": [9], "high": 90, "order": "descending"}).tolist(), reverse=True)
        == drawn({"shape": [9], "high": 90, "order": "descending"}).tolist()
    )


def test_text_with_some_places_set_to_tokens() -> None:
    places = [
        {"at": 0, "value": 2},
        {"at": [1, "1 + batch"], "value": "image_token_id"},
        {"at": -1, "value": 0},
        {"at": ["sequence - 3", "sequence - 1"], "value": -100},
    ]
    tokens = drawn({"shape": ["batch", "sequence"], "high": 12, "without": ["image_token_id", 3, 99], "set": places})
    assert (tokens[:, [0, 1, 2, 3, 7, 8, 9]] == torch.tensor([2, 7, 7, 7, -100, -100, 0])).all()
    many = drawn({"shape": [2000], "high": 12, "without": ["image_token_id", 3, 99]})
    assert set(many.tolist()) == set(range(12)) - {3, 7}


def test_what_holds_tensors_and_what_is_none() -> None:
    one = {"shape": [2]}
    made = drawn({"list": {"boxes": {"shape": [2, 4]}, "labels": {"shape": [2], "high": 5}}, "count": "batch"})
    assert [sorted(target) for target in made] == [["boxes", "labels"]] * 3
    assert not torch.equal(made[0]["boxes"], made[1]["boxes"])
    assert isinstance(drawn([one, one]), list)
    assert isinstance(drawn({"tuple": [one, one]}), tuple)
    assert len(drawn({"tuple": one, "count": 2})) == 2
    assert list(drawn({"dict": {"shape": one, "low": 3}})) == ["shape", "low"]
    assert drawn({"value": None}) is None
    assert drawn({"value": "a text"}) == "a text"
    assert [drawn(value) for value in (3, 0.5, True)] == [3, 0.5, True]
    assert drawn([224, 224]) == [224, 224]
    assert "x" not in draw({"x": None}, SIZES.__getitem__, 1)
    first = draw({"a": one, "b": "a", "c": {"copy": "a"}}, SIZES.__getitem__, 1)
    assert torch.equal(first["a"], first["b"])
    assert torch.equal(first["a"], first["c"])
    assert first["a"] is not first["b"]


def test_the_seed_decides() -> None:
    rule = {"list": {"shape": [4], "high": 1000}, "count": 3}
    assert all(torch.equal(*pair) for pair in zip(drawn(rule), drawn(rule), strict=True))
    assert not all(torch.equal(*pair) for pair in zip(drawn(rule), drawn(rule, seed=2), strict=True))


def test_words_are_found_where_numbers_stand_and_nowhere_else() -> None:
    rules = {
        "a": {"list": [{"shape": ["batch", "2 * sequence_length"], "high": "vocab_size"}]},
        "b": {"value": "words"},
        "c": {"list": {"shape": [1], "set": [{"at": "place", "value": "token"}]}, "count": "many"},
        "d": "copied",
        "e": {"inner": {"shape": ["vision_config.image_size"], "dtype": "bool"}},
    }
    assert names_in(rules) == {"batch", "sequence", "vocab_size", "place", "token", "many", "vision_config.image_size"}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"shap": [2]}, r"inputs\.x: a rule with 'shap' is as \{shape:.*did you mean 'shape'"),
        ({"shape": [2], "hihg": 3}, r"inputs\.x: 'hihg' is no word beside 'shape': did you mean 'high'"),
        ({"high": 3}, r"a rule with 'high' is as .* it needs one of shape"),
        ({"shape": 3}, r"inputs\.x\.shape=3: write a list, as in"),
        ({"shape": [2], "dtype": "flaot32"}, r"inputs\.x\.dtype='flaot32': did you mean 'float32'"),
        ({"shape": ["batch +"]}, r"inputs\.x\.shape: 'batch \+' is no number: write one, a word \(batch"),
        ({"shape": ["__import__('os')"]}, "is no number"),
        ([{"shape": [2]}, {"a": {"shape": [{}]}}], r"inputs\.x\[1\]\.a\.shape: \{\} is no number"),
        ({"list": {"shape": [2]}}, r"write \{list: \[RULE, \.\.\.\]\}, or \{list: RULE, count: batch\}"),
        ({"shape": [2], "order": "up"}, "order='up': write ascending or descending"),
        ({"shape": [2], "set": [{"at": 1}]}, r"inputs\.x\.set: .*: write \{at: 0, value: 2\}"),
        ({"copy": 3}, "write the name of an input"),
    ],
    ids=str,
)
def test_a_rule_that_is_none_is_named_by_its_key_when_planning(rule: Any, message: str) -> None:
    with pytest.raises(
        ValueError, match=rf"suite\.common\.build\.{message}" if message.startswith("inputs") else message
    ):
        check({"x": rule})
    with pytest.raises(ValueError, match=r"suite\.common\.build\.inputs\.x"):
        UserModel(model="torch.nn:Identity", inputs={"x": rule}).check_when_planned()
    for other in (HuggingFaceModel(inputs={"x": rule}), TimmModel(inputs={"x": rule})):
        with pytest.raises(ValueError, match=r"suite\.common\.build\.inputs\.x"):
            other.check_when_planned()


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"shape": [4], "set": [{"at": 4, "value": 1}]}, r"at=4: the last dimension has 4 places"),
        ({"shape": [4], "high": 2, "without": [0, 1]}, r"no integer in \[0, 2\) without 0, 1"),
        ({"shape": [2], "low": 2.0, "high": 1.0}, "no number in"),
        ({"shape": [2], "dtype": "int64"}, "integers need a bound: write high"),
        ({"shape": ["sequence / 4"]}, "is no number"),
        ({"shape": [2.5]}, "a whole number is needed"),
        ("y", r"copies 'y', which is no input before it \(none\); a text is \{value"),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_named_by_its_key(rule: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"suite\.common\.build\.inputs\.x.*{message}"):
        drawn(rule)


def test_the_examples_of_the_docs_are_rules() -> None:
    page = (Path(__file__).parents[1] / "docs" / "suites.md").read_text()
    section = page[page.index("## Rules for inputs") : page.index("## torchbench")]
    blocks = re.findall(r"^```yaml\n(# .*?)^```", section, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 11
    sizes = {word: 300 if word == "sequence" else 4 for block in blocks for word in names_in(yaml.safe_load(block))}
    for block in blocks:
        rules = yaml.safe_load(block)
        check(rules)
        made = draw(rules, sizes.__getitem__, 1)
        assert made.keys() == rules.keys()
        assert all(tensor.numel() for tensor in tensors_in(made))
    table = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ") and "`" in line]
    written = [code for cell in table for code in re.findall(r"`([^`]+)`", cell)]
    ones = [yaml.safe_load(code.replace("RULE", "{shape: [2]}")) for code in written]
    for one in ones:
        besides = isinstance(one, dict) and not form_of(one) and one.keys() & {"order", "without", "set"}
        check({"x": {"shape": [2], "high": 3, **one} if besides else one})


# -- made a program's: tensors by name, whatever holds them


class Sees(torch.nn.Module):
    """Keeps what it was called with."""

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.seen = (args, kwargs)
        return torch.zeros(())


@pytest.mark.parametrize("compiled", [False, True])
def test_a_model_gets_what_its_inputs_were(compiled: bool) -> None:
    tensor = torch.arange(3.0)
    space = {"a.b": [tensor, None, 3, ("x", True)], "n": {"t": (tensor + 1,), "dtype": torch.float16}}
    model = Sees()
    called, tensors = by_name(model, {"args": [tensor, [tensor + 2]], "space": space, "flag": False}, "inputs")
    assert list(tensors) == ["args_0", "args_1_0", "space_a_b_0", "space_n_t_0"]
    (torch.compile(called, backend="eager") if compiled else called)(**tensors)
    args, kwargs = model.seen
    assert torch.equal(args[1][0], tensor + 2)
    assert isinstance(kwargs["space"]["n"]["t"], tuple)
    assert kwargs["space"]["a.b"][1:] == [None, 3, ("x", True)]
    assert kwargs["space"]["n"]["dtype"] is torch.float16
    assert kwargs["flag"] is False


def test_what_cannot_be_moved_to_a_device_is_no_input() -> None:
    with pytest.raises(ValueError, match=r"inputs: input 'x'\[0\]\['y'\] is a SimpleNamespace: give tensors, or lists"):
        by_name(Sees(), {"x": [{"y": types.SimpleNamespace(z=torch.ones(1))}]}, "inputs")


# -- suite=user


def made(model: str, batch: int = OWN_BATCH, length: int | None = None, **options: Any) -> Program:
    return UserModel(model=model, **options).build(workload(batch, length, model.rpartition(":")[2]), dropout=False)


@pytest.mark.parametrize("name", SHIPPED)
def test_models_that_people_ship_are_called_with_what_they_give(name: str) -> None:
    program = made(f"{PIPELINES}:{name}")
    loss = program.loss(program.model(**program.inputs))
    loss.backward()
    assert any(parameter.grad is not None for parameter in program.model.parameters())
    assert program.batch_size == {"GraphNet": 12, "Recommender": 4, "Tagger": 3}.get(name, 2)


@dataclasses.dataclass(slots=True)
class Slotted:
    """Has no attributes but its fields, and so no `__dict__`."""

    boxes: torch.Tensor
    names: list[str]


def test_what_may_be_a_batch() -> None:
    assert list(batches_in(torch.ones(3, 2))) == [3]
    assert list(batches_in((torch.ones(3, 2), [torch.ones(4)], torch.ones(())))) == [3, 1, 4, 1]
    assert list(batches_in({"x": {"y": torch.ones(5)}, "n": 2})) == [5]
    assert list(batches_in({"batch": Slotted(torch.ones(2, 4), ["a", "b"])})) == [2]


def test_a_batch_of_ones_own() -> None:
    tagger = f"{PIPELINES}:Tagger"
    assert made(tagger, 5, 6).inputs["tokens"].shape == (6, 5)  # time first: the batch is dimension 1
    assert made(tagger, 5, 6).batch_size == 5
    graph = f"{PIPELINES}:GraphNet"
    assert made(graph, 12).batch_size == 12
    with pytest.raises(ValueError, match=r"takes no batch_size and returns a batch of 12, but the job asks for 3"):
        made(graph, 3)
    assert len(made(f"{PIPELINES}:Detector", 3).inputs) == 3


def test_rules_stand_for_what_code_gives(tmp_path: Path) -> None:
    rule = {"input": {"shape": ["batch", "in_features"]}}
    program = made("torch.nn:Linear", 4, inputs=rule, arguments={"in_features": 6, "out_features": 2})
    assert program.model(**program.inputs).shape == (4, 2)
    by_position = made("torch.nn:Linear", inputs=[{"shape": [5, 6]}], arguments={"in_features": 6, "out_features": 2})
    assert by_position.batch_size == 5
    mean = made("torch.nn:Linear", inputs=rule, loss="mean", arguments={"in_features": 6, "out_features": 2})
    outputs = mean.model(**mean.inputs)
    assert torch.equal(mean.loss(outputs), outputs.mean())
    with pytest.raises(ValueError, match="'width' is no number: neither Identity nor a config of it has one"):
        made("torch.nn:Identity", inputs={"input": {"shape": ["width"]}})
    with pytest.raises(ValueError, match=r"no rule of suite\.common\.build\.inputs has a batch, but the job asks"):
        made("torch.nn:Identity", 4, inputs={"input": {"shape": [2, 3]}})
    with pytest.raises(ValueError, match=r"has a length: write sequence_length into"):
        made("torch.nn:Identity", length=4, inputs={"input": {"shape": ["batch", 3]}})


def test_a_file_without_inputs_is_planned_with_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("import torch\nclass Net(torch.nn.Module):\n    def forward(self, x): return x\n")
    asked = ("suite=user", "suite.models=[net.py:Net]", "compiler=eager", "measure=accuracy")
    (_, job) = planned(*asked, "++suite.common.build.inputs.x={shape:[batch,3]}").jobs
    assert job.workload.batch_size == OWN_BATCH
    assert job.workload.builder.options["inputs"] == {"x": {"shape": ["batch", 3]}}
    with pytest.raises(UsageError, match=r"or write rules, as in 'suite\.common\.build\.inputs\.x=\{shape:\[batch,3"):
        planned(*asked)
    with pytest.raises(UsageError, match=r"suite\.common\.build\.inputs\.x: .*did you mean 'shape'"):
        planned(*asked, "++suite.common.build.inputs.x={shap:[batch,3]}")


# -- through the command


@pytest.mark.slow
def test_models_that_people_ship_run_in_both_modes(tmp_path: Path) -> None:
    models = ",".join(f"{PIPELINES}:{name}" for name in SHIPPED)
    orchestrator(tmp_path, "suite=user", f"suite.models=[{models}]", "compiler=aot_eager", "measure=accuracy",
        "mode=inference,training")  # fmt: skip
    rows = table(tmp_path, "accuracy")
    assert len(rows) == 2 * len(SHIPPED)
    assert set(rows["status"]) == {"pass"}, rows[["model", "mode", "compiler", "reason"]].to_string()
    assert dict(zip(rows["model"], rows["batch_size"], strict=True))["GraphNet"] == 12


@pytest.mark.slow
def test_an_installed_factory_runs_with_rules_alone(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    run(tmp_path, "suite=user", "suite.models=[torchvision.models:resnet18]",
        "suite.common.build.inputs.x={shape:[batch,3,64,64]}", "compiler=aot_eager", "measure=accuracy",
        "batch_size=2")  # fmt: skip
    (row,) = table(tmp_path, "accuracy").to_dict("records")
    assert (row["status"], row["model"], row["batch_size"]) == ("pass", "resnet18", 2)


DETECTOR = """
suite: user
suite.models: ["PLACE:ssdlite"]
suite.common.build.arguments: {weights: null, weights_backbone: null, num_classes: 5}
suite.common.build.inputs:
  images: {list: {shape: [3, 64, 64], low: 0.0, high: 1.0}, count: batch}
  targets:
    list:
      boxes: {shape: [3, 4], low: 0.0, high: 64.0, order: ascending}
      labels: {shape: [3], low: 1, high: 5}
    count: batch
suite.common.build.loss: sum
mode: [inference, training]
compiler: [eager, aot_eager]
measure: accuracy
batch_size: 2
"""


@pytest.mark.long
def test_a_detector_of_torchvision_runs_by_rules(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    (tmp_path / "detector.yaml").write_text(DETECTOR.replace("PLACE", str(PIPELINES.with_name("detectors.py"))))
    orchestrator(tmp_path, "detector.yaml")
    rows = table(tmp_path, "accuracy")
    assert len(rows) == 4
    assert set(rows["status"]) <= {"pass"}, rows[["model", "mode", "compiler", "status", "reason"]].to_string()
