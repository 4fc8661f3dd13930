"""Quantisation: a group of its own, combined with any compiler, judged by a rule of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support import synthetic
from support.command import orchestrator, table
from support.judging import compare_tensor, context, judged, option, workload
from support.plans import MACHINE, composed, planned
from support.points import point
from support.synthetic import of_folder

from orchestrator.comparison import configuration_changes
from orchestrator.comparison.compare import compare
from orchestrator.compilers.packages import present
from orchestrator.compilers.quantization import TorchAO
from orchestrator.compilers.quantized import Quantized
from orchestrator.errors import UsageError
from orchestrator.measures.compare import Rule
from orchestrator.measures.coverage import Coverage
from orchestrator.planning import cost
from orchestrator.planning.plan import plan
from orchestrator.planning.points import PointReader
from orchestrator.planning.quantized import combined, parts
from orchestrator.plugins import Program, Unsupported, instantiate
from orchestrator.records import FAIL_ACCURACY, PASS, PluginSpec
from orchestrator.results import configuration
from orchestrator.typed_json import to_json

TINY = ("suite=tiny", "suite.models=[bert_tiny]", "rounds=1")
NONE = {"name": "none", "target": None, "options": {}, "cosine_limit": None, "norm_tolerance": None}
METHODS = ("int8_dynamic", "int8_weight_only", "int4_weight_only", "qint8_dynamic")


def quantized(method: str, compiler: str = "eager") -> Quantized:
    plugin = instantiate(combined(option("compiler", compiler), option("quantization", method)))
    assert isinstance(plugin, Quantized)
    return plugin


def test_without_quantisation_all_ids_are_what_they_were() -> None:
    """Whatever the group is called in the configuration, what is not quantised is the job that it always was."""
    for asked in (("inductor", "performance"), ("inductor", "accuracy"), ("eager", "performance")):
        old, new = (plan([one], MACHINE).jobs for one in (point(*asked), point(*asked, quantization=NONE)))
        assert [job.id for job in old] == [job.id for job in new]
    assert [job.id for job in plan([point("inductor", "accuracy")], MACHINE).jobs] == KNOWN


KNOWN = ["e1484d69ed6eecd7", "eb501e63f4cf84ea", "b9418c04d63da0b7", "4ce89aff3f4a9d57"]
"""Ids of a version that knew no quantisation."""


def test_a_quantised_compiler_is_a_compiler_of_its_own() -> None:
    graph = planned(*TINY, "compiler=inductor", "quantization=none,int8_weight_only", "measure=performance")
    assert {job.compiler.name for job in graph.jobs} == {"eager", "inductor", "inductor+int8_weight_only"}
    (job,) = [job for job in graph.jobs if "+" in job.compiler.name]
    assert [need.kind for need in job.needs] == ["baseline"]
    compiler, quantization = parts(job.compiler)
    assert compiler == option("compiler", "inductor")
    assert quantization == option("quantization", "int8_weight_only")
    assert parts(compiler) == (compiler, None)


def test_accuracy_is_judged_by_the_rule_of_the_quantisation() -> None:
    options = {}
    for override in (
        "quantization=none",
        "quantization=int4_weight_only",
        "quantization=int8_dynamic",
    ):
        graph = planned(*TINY, "compiler=eager,inductor", override, "measure=accuracy")
        (options[override],) = {str(dict(job.measure.options)) for job in graph.jobs if job.compiler.name != "eager"
                                and job.measure.name == "accuracy" and "inductor" in job.compiler.name}  # fmt: skip
    plain, four, eight = options.values()
    assert "cosine_limit" not in plain
    assert "'cosine': False" in plain
    assert "'cosine_limit': 0.95" in four
    assert "'cosine_limit': 0.99" in eight
    assert "'cosine': True" in eight
    own = planned(*TINY, "quantization=int8_dynamic", "quantization.cosine_limit=0.5", "measure=accuracy")
    assert {job.measure.options.get("cosine_limit") for job in own.jobs} == {0.5, None}
    asked = planned(*TINY, "quantization=int8_dynamic", "+measure.options.cosine_limit=0.7", "measure=accuracy")
    assert {job.measure.options.get("cosine_limit") for job in asked.jobs} == {0.7, None}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["quantization=int8_dynamic", "quantization.options.metod=x"],
            r"quantization\.options: unknown option 'metod'",
        ),
        (
            ["quantization=int8_dynamic", "quantization.options.method=int9"],
            "method='int9' of .*: it must be one of int8_dynamic",
        ),
        (["quantization.target=orchestrator.compilers.quantization.AutoQuant"], "'none' is the one without a target"),
        (["quantization=int8_dynamic", "quantization.target=os.system"], "'os.system' is not a plug-in"),
        (["quantization=int8_dynamic", "quantization.cosine_limit=2"], r"quantization\.cosine_limit=2"),
        (["quantization=int9"], r"unknown quantization 'int9': did you mean 'int8_dynamic'|Available"),
    ],
)
def test_wrong_values_are_named(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PointReader().read(composed(*overrides))


def test_the_parts_inside_are_checked_like_any_plugin() -> None:
    good = to_json(option("quantization", "int8_dynamic"))
    for bad, message in (
        ({"name": "x", "target": "os.system", "options": {}}, "not a plug-in"),
        ({"name": "x", "target": "orchestrator.compilers.dynamo.TorchCompile", "options": {"mod": 1}}, "'mod'"),
    ):
        with pytest.raises(UsageError, match=message):
            Quantized(quantization=good, compiler=bad)
    with pytest.raises(ValueError, match="target"):
        Quantized(quantization={"name": "x"}, compiler=good)


def test_a_row_is_called_by_the_keys_of_the_command_line() -> None:
    spec = combined(option("compiler", "inductor"), option("quantization", "int4_weight_only"))
    config = configuration.compiler_config(spec)
    assert config == {
        "compiler": "inductor",
        "compiler.target": "orchestrator.compilers.dynamo.TorchCompile",
        "compiler.options.backend": "inductor",
        "quantization": "int4_weight_only",
        "quantization.target": "orchestrator.compilers.quantization.TorchAO",
        "quantization.options.method": "int4_weight_only",
        "quantization.options.group_size": 32,
    }
    assert configuration.compiler_name(config) == spec.name == "inductor+int4_weight_only"
    assert configuration.compiler_name(configuration.compiler_config(option("compiler", "eager"))) == "eager"


def changed(tmp_path: Path, before: list[PluginSpec], after: list[PluginSpec]) -> dict[str, Any]:
    """Return key -> what to paste to get from the first sweep's configuration to the second's, and back."""
    sides = []
    for number, compilers in enumerate((before, after)):
        sweep = synthetic.SyntheticSweep(tmp_path / str(number) / "s")
        eager = sweep.performance("Bert", "eager", 0, latency=0.1)
        for spec in compilers:
            sweep.performance("Bert", spec, 0, baseline=eager, latency=0.08, pairs=[(0.1, 0.08)] * 9)
        sides.append(of_folder(sweep.write()))
    found = configuration_changes.configuration_changes(compare(*sides))
    return {change.key: (change.paste_after, change.paste_before) for change in found}


def test_a_difference_can_be_pasted_back(tmp_path: Path) -> None:
    inductor = option("compiler", "inductor")
    int8, int4 = (combined(inductor, option("quantization", f"{name}_weight_only")) for name in ("int8", "int4"))
    one, other = ("quantization=int8_weight_only",), ("quantization=none",)
    assert changed(tmp_path / "a", [inductor], [int8])["quantization"] == (one, other)
    both = ("quantization=none,int8_weight_only",)
    assert changed(tmp_path / "b", [inductor], [inductor, int8])["quantization"] == (both, other)
    assert "quantization" not in changed(tmp_path / "c", [inductor], [inductor])
    four = PluginSpec(name=int4.name, target=int4.target, options={**int4.options, "quantization": {
        **int4.options["quantization"], "options": {"method": "int4_weight_only", "group_size": 64}}})  # fmt: skip
    key = "quantization.options.group_size"
    assert changed(tmp_path / "d", [int4], [four])[key] == ((f"++{key}=64",), (f"++{key}=32",))


def test_costs_are_those_of_the_compiler_and_a_little_more() -> None:
    inductor, int8, work = option("compiler", "inductor"), option("quantization", "int8_dynamic"), workload()
    assert 1 < cost.compile_s(combined(inductor, int8), work, 10, False) / cost.compile_s(inductor, work, 10, False) < 2
    assert 0 < cost.compile_s(combined(option("compiler", "eager"), int8), work, 10, False) < 10


def rule(**changes: Any) -> Rule:
    return Rule(tolerance=1e-3, cosine=True, **changes)


def test_a_cosine_does_not_see_a_scale_but_a_norm_does() -> None:
    reference = torch.linspace(1, 2, 2000)
    dynamo = compare_tensor("x", reference, reference / 2, reference.double(), rule(rules="dynamo"))
    assert dynamo["passed"]
    for allowed in (None, 0.05):  # a cosine of 0.99 allows a length of 14 %
        seen = compare_tensor("x", reference, reference / 2, reference.double(), rule(norm_tolerance=allowed))
        assert not seen["passed"]
        assert seen["rule"] == "norm"
        assert seen["limit"] == pytest.approx(0.1414 if allowed is None else 0.05, rel=1e-3)
    near = compare_tensor("x", reference, reference * 1.04, reference.double(), rule(norm_tolerance=0.05))
    assert near["passed"]


def test_a_loss_that_is_off_is_wrong_although_any_two_numbers_have_a_cosine_of_1() -> None:
    three, four = torch.tensor(3.0), torch.tensor(4.0)
    assert compare_tensor("loss", three, four, three.double(), rule(rules="dynamo"))["passed"]
    assert not compare_tensor("loss", three, four, three.double(), rule())["passed"]
    assert not compare_tensor("loss", three, four, three.double(), rule(norm_tolerance=0.05))["passed"]
    assert not compare_tensor("loss", three, four, None, rule(norm_tolerance=0.05))["passed"]


def test_nan_is_never_right_by_direction() -> None:
    reference, nan = torch.ones(4), torch.full((4,), torch.nan)
    assert not compare_tensor("x", reference, nan, reference.double(), rule(norm_tolerance=0.05))["passed"]


def test_one_sample_that_is_lost_does_not_hide_behind_the_others() -> None:
    reference = torch.randn(64, 500, generator=torch.Generator().manual_seed(1))
    result = reference * 1.01
    result[7] = 0
    assert compare_tensor("x", reference, result, reference.double(), rule(rules="dynamo"))["passed"]
    record = compare_tensor("x", reference, result, reference.double(), rule())
    assert not record["passed"]
    assert "sample 7" in record["why"]


@pytest.mark.parametrize("limit", [0.5, 0.9999999])
def test_the_limit_of_the_cosine_is_the_rules(limit: float) -> None:
    reference = torch.linspace(-1, 1, 2000)
    noisy = reference + 0.05 * torch.sin(torch.arange(2000.0))
    record = compare_tensor("x", reference, noisy, reference.double(), rule(cosine_limit=limit))
    assert record["passed"] == (limit == 0.5)
    assert record["limit"] == limit


@pytest.mark.parametrize("method", METHODS)
def test_a_quantised_model_is_right_enough_and_really_quantised(tmp_path: Path, method: str) -> None:
    outcome, seen = judged(tmp_path, quantized(method), workload(), cosine=True, cosine_limit=0.95, norm_tolerance=0.15)
    assert outcome.status == PASS, outcome.reason
    assert seen.facts["compiled"]["quantized"]["layers"] >= 1
    assert seen.facts["compiled"]["quantized"]["linear_layers"] == 2
    if method == "int8_dynamic":  # the first in this process: torchao's settings stay
        assert seen.facts["compiled"]["quantized"]["inductor_config"]["coordinate_descent_tuning"] is True
    exact, _ = judged(tmp_path, quantized(method), workload())
    assert exact.status == FAIL_ACCURACY


@pytest.mark.parametrize("compiler", ["aot_eager", "export", "jit_trace"])
def test_quantisation_goes_before_other_compilers(tmp_path: Path, compiler: str) -> None:
    outcome, seen = judged(
        tmp_path, quantized("int8_weight_only", compiler), workload(), cosine=True, norm_tolerance=0.05
    )
    assert outcome.status == PASS, outcome.reason
    assert "Int8WeightOnlyConfig" in seen.facts["compiled"]["quantized"]["method"]


@pytest.mark.parametrize("method", [*METHODS, "autoquant"])
def test_training_and_what_is_gone_are_unsupported(method: str) -> None:
    with pytest.raises(Unsupported, match="inference only"):
        quantized(method).check(workload("training"))
    with pytest.raises(Unsupported, match=r"removed autoquant in 0\.17"):
        quantized("autoquant").check(workload())
    with pytest.raises(Unsupported, match="float32 on the CPU, not bfloat16 on cpu"):
        quantized("qint8_dynamic").check(workload(dtype="bfloat16"))
    with pytest.raises(Unsupported, match="CUDA graphs"):
        quantized("int8_weight_only", "cudagraphs").check(workload())


@pytest.mark.skipif(bool(present("mslk")), reason="this environment has the package that must be missing")
def test_int4_on_cuda_names_the_package_that_packs_the_weights() -> None:
    with pytest.raises(Unsupported, match="bfloat16 only"):
        TorchAO(method="int4_weight_only").check(workload(device="cuda:0"))
    with pytest.raises(Unsupported, match="needs mslk, which is not installed: pip install mslk-cuda"):
        TorchAO(method="int4_weight_only").check(workload(dtype="bfloat16", device="cuda:0"))


def test_a_measure_of_dynamo_does_not_say_that_a_quantised_inductor_is_none(tmp_path: Path) -> None:
    seen = context(tmp_path, quantized("qint8_dynamic", "inductor"), workload())
    spec = combined(option("compiler", "inductor"), option("quantization", "qint8_dynamic"))
    seen.job = replace(seen.job, compiler=spec)
    with pytest.raises(Unsupported, match="not asked of a quantised model: quantization=none"):
        Coverage().run(seen)


def test_a_measure_of_the_model_itself_can_refuse_a_quantised_one(tmp_path: Path) -> None:
    seen = context(tmp_path, quantized("qint8_dynamic"), workload())
    seen.refuse_quantized("parameters are counted")
    spec = combined(option("compiler", "eager"), option("quantization", "qint8_dynamic"))
    seen.job = replace(seen.job, compiler=spec)
    assert type(seen.build(dropout=False).model.first) is torch.nn.Linear
    with pytest.raises(Unsupported, match="parameters are counted, and that is not asked of a quantised model"):
        seen.refuse_quantized("parameters are counted")


def test_int4_leaves_layers_without_whole_groups_as_they_are(tmp_path: Path) -> None:
    """The first layer has 16 inputs, the second 32; the group has 32."""
    _, seen = judged(tmp_path, quantized("int4_weight_only"), workload(), cosine=True)
    found = seen.facts["compiled"]["quantized"]
    assert (found["layers"], found["linear_layers"]) == (1, 2)


class Attends(torch.nn.Module):
    """What torch has for transformers: attention alone, and in layers with fused kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(32, 4, batch_first=True)
        self.encoder = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 1)
        self.last = torch.nn.Linear(32, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        nothing = torch.zeros(x.shape[:2], dtype=torch.bool)
        return self.last(self.encoder(self.attention(x, x, x)[0], src_key_padding_mask=nothing))


@pytest.mark.parametrize("method", METHODS)
def test_attention_keeps_the_projection_that_torch_reads_by_itself(method: str) -> None:
    torch.manual_seed(0)
    model, x = Attends().eval(), torch.randn(2, 8, 32)
    forward = quantized(method)
    with torch.no_grad():
        exact = model(x)
        program = Program(model=model, inputs={"x": x}, loss=sum)
        compiled = forward.compile(program, workload())
        result = compiled(x=x)
    assert not torch.equal(result, exact)
    assert torch.nn.functional.cosine_similarity(result.flatten(), exact.flatten(), dim=0) > 0.99
    found = compiled.facts["quantized"]
    assert (found["layers"], found["linear_layers"]) == (3, 5)


def test_a_model_without_linear_layers_is_not_called_quantised() -> None:
    program = Program(model=torch.nn.Conv1d(2, 2, 1), inputs={}, loss=sum)
    with pytest.raises(Unsupported, match="none of the model's 0 linear layers"):
        TorchAO(method="int8_weight_only").apply(program, workload())


def test_eager_is_timed_on_a_model_of_its_own(tmp_path: Path) -> None:
    from support.measuring import QUICK, samples

    seen = context(tmp_path, quantized("qint8_dynamic"), workload())
    assert seen.compiler.changes_model
    assert QUICK.run(seen).status == PASS
    assert seen.facts["compiled"]["quantized"]["layers"] == 2
    assert len(samples(seen)["pair_latency"]) == len(samples(seen)["pair_eager_latency"]) > 0


@pytest.mark.slow
def test_through_the_command(tmp_path: Path) -> None:
    orchestrator(
        tmp_path, *TINY, "compiler=eager,aot_eager", "quantization=none,qint8_dynamic,autoquant", "measure=accuracy"
    )
    rows = table(tmp_path, "accuracy").set_index("compiler")
    assert {*rows[rows["status"] == "pass"].index} >= {"eager", "aot_eager", "eager+qint8_dynamic"}
    assert {*rows[rows["status"] == "unsupported"].index} >= {"eager+autoquant", "aot_eager+autoquant"}
    assert "quantization=qint8_dynamic" in rows.loc["eager+qint8_dynamic"]["command"]
    assert "compiler=eager " in rows.loc["eager+qint8_dynamic"]["command"]


def test_a_plugin_of_ones_own_can_quantise() -> None:
    spec = PluginSpec(name="x", target="orchestrator.compilers.quantization.DynamicQint8")
    assert combined(option("compiler", "eager"), spec).name == "eager+x"
