"""Quantisations of linear layers: torchao's, and torch.ao's dynamic one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from orchestrator.compilers.packages import present, require
from orchestrator.plugins import Program, Unsupported
from orchestrator.records import Workload

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TorchAO:
    """`torchao.quantization.quantize_` with one of its configs.

    method: int8_dynamic (Int8DynamicActivationInt8WeightConfig), int8_weight_only (Int8WeightOnlyConfig) or
    int4_weight_only: on CUDA Int4WeightOnlyConfig, which needs bfloat16; on the CPU, where that has no kernels,
    IntxWeightOnlyConfig with torch.int4. group_size: weights that share a scale, for int4; layers whose inputs are no
    multiple of it stay as they are (the facts count them). So does `out_proj` of `torch.nn.MultiheadAttention`, whose
    weight torch's own kernel takes as it is (torch's class for it is NonDynamicallyQuantizableLinear).
    """

    method: Literal["int8_dynamic", "int8_weight_only", "int4_weight_only"]
    group_size: int = 32

    def preload_modules(self, workload: Workload) -> tuple[str, ...]:
        return ("torchao.quantization", "torch._inductor.config") if present("torchao") else ()

    def check(self, workload: Workload) -> None:
        require(f"quantization={self.method}", "torchao.quantization")
        if self._packed(workload):
            if workload.dtype != "bfloat16":
                raise Unsupported("torchao's packed int4 weights have kernels in bfloat16 only: take dtype=bfloat16")
            require("torchao's packed int4 weights", "mslk")  # without it torchao raises when it packs the first one
        self._config(workload)

    def apply(self, program: Program, workload: Workload) -> Mapping[str, Any]:
        import torch
        from torch._inductor import config as inductor
        from torchao.quantization import quantize_
        from torchao.utils import TorchAOBaseTensor

        linear = [module for module in program.model.modules() if isinstance(module, torch.nn.Linear)]
        config = self._config(workload)
        program.model.eval()
        before = inductor.get_config_copy()
        quantize_(program.model, config, filter_fn=lambda module, _: self._takes(module))
        changed = {key: value for key, value in inductor.get_config_copy().items() if value != before[key]}
        count = sum(isinstance(module.weight, TorchAOBaseTensor) for module in linear)
        facts = _counted(count, len(linear), f"torchao {metadata.version('torchao')} {type(config).__name__}")
        return facts | {"inductor_config": changed}

    def _takes(self, module: torch.nn.Module) -> bool:
        """Return whether a module is a linear layer that can be quantised: int4 needs whole groups of inputs."""
        import torch
        from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

        if not isinstance(module, torch.nn.Linear) or isinstance(module, NonDynamicallyQuantizableLinear):
            return False
        return self.method != "int4_weight_only" or module.in_features % self.group_size == 0

    def _packed(self, workload: Workload) -> bool:
        return self.method == "int4_weight_only" and workload.device.startswith("cuda")

    def _config(self, workload: Workload) -> Any:
        """Return torchao's config. Raises Unsupported when this torchao has no such class."""
        import torch
        from torchao import quantization

        known: dict[str, tuple[str, dict[str, Any]]] = {
            "int8_dynamic": ("Int8DynamicActivationInt8WeightConfig", {}),
            "int8_weight_only": ("Int8WeightOnlyConfig", {}),
            "int4_weight_only": ("IntxWeightOnlyConfig", {"weight_dtype": vars(torch)["int4"]}),
        }
        name, arguments = known[self.method]
        if self._packed(workload):
            name, arguments = "Int4WeightOnlyConfig", {"group_size": self.group_size}
        if not hasattr(quantization, name):
            raise Unsupported(f"torchao {metadata.version('torchao')} has no {name}: pip install -U torchao")
        if name == "IntxWeightOnlyConfig":
            from torchao.quantization.granularity import PerGroup

            arguments = {**arguments, "granularity": PerGroup(self.group_size)}
        return getattr(quantization, name)(**arguments)


@dataclass(frozen=True)
class AutoQuant:
    """torchao's autoquant, which it has given up: an `unsupported` row that says so."""

    def check(self, workload: Workload) -> None:
        raise Unsupported(
            "torchao removed autoquant in 0.17 (pytorch/ao#3739): compare what it chose from, with "
            "quantization=none,int8_weight_only,int8_dynamic,int4_weight_only"
        )

    def apply(self, program: Program, workload: Workload) -> Mapping[str, Any]:
        raise NotImplementedError("autoquant")


@dataclass(frozen=True)
class DynamicQint8:
    """`torch.ao.quantization.quantize_dynamic` of all linear layers to qint8: on the CPU, in float32."""

    PRELOAD: ClassVar[tuple[str, ...]] = ("torch.ao",)

    def check(self, workload: Workload) -> None:
        require("quantization=qint8_dynamic", "torch.ao.quantization")  # torch has announced that it will remove it
        if not workload.device.startswith("cpu") or workload.dtype != "float32":
            raise Unsupported(
                f"torch.ao's dynamic quantisation has kernels for float32 on the CPU, not {workload.dtype} on "
                f"{workload.device}: take dtype=float32 device=cpu, or another quantization"
            )

    def apply(self, program: Program, workload: Workload) -> Mapping[str, Any]:
        import torch
        from torch.ao.nn.quantized.dynamic import Linear
        from torch.ao.quantization import quantize_dynamic

        linear = sum(isinstance(module, torch.nn.Linear) for module in program.model.modules())
        program.model.eval()
        quantize_dynamic(program.model, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)
        for module in program.model.modules():  # no fused kernels: they would read weights, which are no tensors now
            if isinstance(module, torch.nn.TransformerEncoderLayer):
                module.activation_relu_or_gelu = 0
            elif isinstance(module, torch.nn.TransformerEncoder):
                module.use_nested_tensor = False
        count = sum(isinstance(module, Linear) for module in program.model.modules())
        return _counted(count, linear, f"quantize_dynamic, {torch.backends.quantized.engine}")


def _counted(quantized: int, linear: int, method: str) -> dict[str, Any]:
    """Return the facts. Raises Unsupported when nothing was quantised: the model would be called what it is not."""
    if not quantized:
        raise Unsupported(
            f"none of the model's {linear} linear layers (torch.nn.Linear) could be quantised by {method}"
        )
    return {"method": method, "layers": quantized, "linear_layers": linear}
