"""Plug-ins are found inside the allowed packages only, and their options are checked by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy
import pytest
import torch
from support.example_records import built_by

from orchestrator import precision
from orchestrator.compilers.dynamo import TorchCompile
from orchestrator.errors import UsageError
from orchestrator.measures.compare import Rule, compare
from orchestrator.modes.training import Training
from orchestrator.planning.points import check_plugin
from orchestrator.plugins import Program, Unsupported, check_options, instantiate, resolve
from orchestrator.probes.observed import left_out, named_outputs
from orchestrator.records import PluginSpec

WORKLOAD = built_by("x", batch_size=1, sequence_length=8, seed=1)


@pytest.mark.parametrize(
    "target", ["os.system", "subprocess.Popen", "orchestrator.store.SweepFolder", "orchestrator.compilersx.Y", "", "x"]
)
def test_nothing_outside_the_allowed_packages_is_resolved(target: str) -> None:
    with pytest.raises(UsageError, match="must be inside one of"):
        resolve(target)


def test_a_mistyped_class_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean 'TorchCompile'"):
        resolve("orchestrator.compilers.dynamo.TorchCompil")


def test_a_mistyped_class_is_named_in_its_module_among_those_of_that_module() -> None:
    """The name of a plug-in may be the end of its module's: it is no place in the configuration."""
    spec = PluginSpec(name="coverage", target="orchestrator.measures.coverage.Coverag")
    with pytest.raises(UsageError) as caught:
        check_plugin(spec, "measure.options")
    module = "orchestrator.measures.coverage"
    assert str(caught.value) == f"'Coverag' is not a plug-in of {module}: did you mean 'Coverage'? Available: Coverage"
    with pytest.raises(UsageError, match=r"^measure\.options: unknown option 'coverage: '"):
        check_plugin(
            PluginSpec(name="coverage", target=f"{module}.Coverage", options={"coverage: ": 1}), "measure.options"
        )


def test_what_a_plugin_module_imports_is_not_a_plugin() -> None:
    with pytest.raises(UsageError):
        resolve("orchestrator.compilers.dynamo.field")


def test_unknown_option_gets_a_suggestion() -> None:
    spec = PluginSpec(name="inductor", target="orchestrator.compilers.dynamo.TorchCompile", options={"fullgrph": True})
    with pytest.raises(UsageError, match=r"compiler: unknown option 'fullgrph'.*did you mean 'fullgraph'"):
        check_options(spec, "compiler")


def test_instantiate_passes_the_options() -> None:
    spec = PluginSpec(name="i", target="orchestrator.compilers.dynamo.TorchCompile", options={"mode": "max-autotune"})
    assert instantiate(spec) == TorchCompile(mode="max-autotune")


@pytest.mark.parametrize(
    ("compiler", "message"),
    [
        (TorchCompile(backend="inducter"), "no back-end 'inducter'"),
        (TorchCompile(mode="reduce-overhead"), "CUDA graphs need device=cuda"),
        (TorchCompile(options={"triton.cudagraphs": True}), "CUDA graphs need device=cuda"),
        (TorchCompile(mode="max"), "no mode 'max'"),
        (TorchCompile(options={"frezing": True}), "no key frezing"),
    ],
)
def test_what_a_compiler_cannot_do_here_is_unsupported_with_the_reason(compiler: TorchCompile, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        compiler.check(WORKLOAD)


def test_a_missing_cpp_compiler_is_unsupported_with_the_remedy() -> None:
    from torch._inductor import config, cpp_builder

    cpp_builder.get_cpp_compiler.cache_clear() if hasattr(cpp_builder.get_cpp_compiler, "cache_clear") else None
    cpp_builder.cpp_compiler_search.cache_clear()
    # not by monkeypatch: what it sets back is no longer a key of the configuration
    with config.patch({"cpp.cxx": (None, "no-such-compiler")}), pytest.raises(Unsupported, match="install g"):
        TorchCompile().check(WORKLOAD)
    cpp_builder.cpp_compiler_search.cache_clear()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device that must be missing")
def test_a_missing_device_is_unsupported_with_the_remedy() -> None:
    import dataclasses

    for device in ("cuda:0", "xpu:0"):
        with pytest.raises(Unsupported, match=f"device {device}: .* device=cpu"):
            precision.check(dataclasses.replace(WORKLOAD, device=device))


@pytest.mark.parametrize("dtype", list(precision.CAST_TO))
def test_cast_moves_parameters_and_floating_inputs_only(dtype: str) -> None:
    program = Program(
        model=torch.nn.Linear(2, 2), inputs={"x": torch.ones(1, 2), "ids": torch.ones(1, dtype=torch.int64)}, loss=sum
    )
    precision.cast(program, dtype, torch.device("cpu"))
    expected = getattr(torch, precision.CAST_TO[dtype])
    assert program.model.weight.dtype == program.inputs["x"].dtype == expected
    assert program.inputs["ids"].dtype == torch.int64


@pytest.mark.parametrize("dtype", list(precision.CAST_TO))
def test_cast_keeps_the_imaginary_parts_of_buffers_and_inputs(dtype: str) -> None:
    """Rotary positions are often a complex buffer: without its imaginary part it is another model."""
    model = torch.nn.Linear(2, 2)
    model.register_buffer("turn", torch.tensor([1 + 2j]))
    program = Program(model=model, inputs={"z": torch.tensor([3 + 4j])}, loss=sum)
    precision.cast(program, dtype, torch.device("cpu"))
    assert model.turn.tolist() == [1 + 2j]
    assert program.inputs["z"].tolist() == [3 + 4j]
    assert model.turn.dtype == (torch.complex128 if dtype == "float64" else torch.complex64)


class Exact(torch.nn.Module):
    """A layer in float64, one in half precision and a complex128 buffer beside one as usual."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.low = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2, dtype=torch.float16)
        self.exact = torch.nn.Linear(2, 2, dtype=torch.float64)
        self.register_buffer("turn", torch.tensor([1 + 1e-12j], dtype=torch.complex128))
        self.register_buffer("small", torch.tensor([1 + 1j], dtype=torch.complex64))


@pytest.mark.parametrize("dtype", list(precision.CAST_TO))
def test_cast_leaves_in_float64_what_a_model_has_in_float64(dtype: str) -> None:
    def inputs() -> dict[str, torch.Tensor]:
        return {"x": torch.ones(1), "d": torch.ones(1).double(), "z": torch.ones(1, dtype=torch.complex128)}

    kind = getattr(torch, precision.CAST_TO[dtype])
    of_complex = torch.complex128 if dtype == "float64" else torch.complex64
    program = precision.cast(Program(model=Exact(), inputs=inputs(), loss=sum), dtype, torch.device("cpu"))
    model = program.model
    assert model.exact.weight.dtype == model.exact.bias.dtype == torch.float64
    assert model.plain.weight.dtype == model.low.weight.dtype == kind
    assert (model.turn.dtype, model.small.dtype) == (torch.complex128, of_complex)
    assert model.turn.imag.item() == 1e-12
    assert {name: x.dtype for name, x in program.inputs.items()} == {
        "x": kind,
        "d": torch.float64,
        "z": torch.complex128,
    }
    usual = precision.cast(Program(model=torch.nn.Linear(2, 2), inputs=inputs(), loss=sum), dtype, torch.device("cpu"))
    assert {name: x.dtype for name, x in usual.inputs.items()} == {"x": kind, "d": kind, "z": of_complex}


def test_training_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="labels"):
        Training(labels=False)


def test_outputs_are_named_by_path_and_copied() -> None:
    tensor = torch.ones(2)
    found = named_outputs({"a": tensor, "b": (tensor, None, [3.0]), "c": None})
    tensor.zero_()
    assert list(found) == ["output.a", "output.b.0", "output.b.2.0"]
    assert found["output.a"].tolist() == [1.0, 1.0]
    assert found["output.b.2.0"].item() == 3.0


def test_complex_outputs_are_their_parts_so_that_a_tolerance_and_float64_apply_to_them() -> None:
    z = torch.tensor([1 + 2j, 3 - 4j])
    found = named_outputs({"z": z, "conjugate": z.conj()})
    assert found["output.z"].tolist() == [[1, 2], [3, -4]]
    assert found["output.conjugate"].tolist() == [[1, -2], [3, 4]]
    (record,) = compare({"z": found["output.z"]}, {"z": found["output.z"] + 1e-6}, None, Rule(tolerance=1e-3))
    assert record["passed"]


def test_what_holds_numbers_is_found_wherever_it_is_and_the_rest_is_named() -> None:
    @dataclass
    class Answer:
        score: torch.Tensor
        label: str

    class Cache:
        def __init__(self) -> None:
            self.keys = torch.ones(2)

    outputs = {
        "answer": Answer(torch.ones(1), "cat"),
        "cache": Cache(),
        "sparse": torch.eye(2).to_sparse(),
        "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        "float8": torch.ones(2).to(torch.float8_e4m3fn),
        "array": numpy.arange(3),
        "call": print,
        "object": object(),
    }
    found = named_outputs(outputs)
    shapes = {name.removeprefix("output."): list(tensor.shape) for name, tensor in found.items()}
    assert shapes == {
        "answer.score": [1], "cache.keys": [2], "sparse": [2, 2], "nested.0": [2], "nested.1": [3], "float8": [2],
        "array": [3],
    }  # fmt: skip
    assert found["output.sparse"].tolist() == [[1, 0], [0, 1]]
    assert left_out(outputs) == [
        "output.answer.label (str)", "output.call (builtin_function_or_method)", "output.object (object)"
    ]  # fmt: skip


def test_a_structure_that_holds_itself_ends() -> None:
    outputs: dict[str, Any] = {"x": torch.ones(1)}
    outputs["self"] = outputs
    assert 1 < len(named_outputs(outputs)) < 100
