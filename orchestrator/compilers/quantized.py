"""A quantised model, compiled: what `quantization=...` on a command line makes of a compiler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from orchestrator.compilers.captured import inference_only
from orchestrator.plugins import (
    Compiled,
    Compiler,
    Forward,
    Program,
    instantiate,
    preloads,
    through_dynamo,
    toolchain_of,
    wants_cuda_graphs,
)
from orchestrator.records import PluginSpec, Workload
from orchestrator.typed_json import from_json


class Quantization(Protocol):
    """Changes a model's weights in place. Options are the `options` of conf/quantization/*.yaml."""

    def check(self, workload: Workload) -> None:
        """Raise Unsupported when this cannot be done to this workload on this machine."""

    def apply(self, program: Program, workload: Workload) -> Mapping[str, Any]:
        """Quantise `program.model` in place and return facts. Raises Unsupported when it has nothing to quantise."""


@dataclass(frozen=True)
class Quantized:
    """quantization, compiler: plug-ins, as {name, target, options} each. The planner writes them."""

    changes_model: ClassVar[bool] = True

    quantization: Mapping[str, Any]
    compiler: Mapping[str, Any]

    def __post_init__(self) -> None:
        self._quantization, self._compiler  # noqa: B018 - raises UsageError for what is no plug-in, or has no such option

    @property
    def _quantization(self) -> Quantization:
        plugin: Quantization = instantiate(from_json(PluginSpec, dict(self.quantization)))
        return plugin

    @property
    def _compiler(self) -> Compiler:
        plugin: Compiler = instantiate(from_json(PluginSpec, dict(self.compiler)))
        return plugin

    @property
    def fixed_inputs(self) -> bool:
        return bool(getattr(self._compiler, "fixed_inputs", False))

    @property
    def through_dynamo(self) -> bool:
        return through_dynamo(self._compiler)

    def preload_modules(self, workload: Workload) -> tuple[str, ...]:
        return preloads(self._quantization, workload) + preloads(self._compiler, workload)

    def cuda_graphs(self, workload: Workload) -> bool:
        return wants_cuda_graphs(self._compiler, workload)

    def toolchain(self, workload: Workload) -> tuple[str, ...]:
        return toolchain_of(self._compiler, workload)

    def check(self, workload: Workload) -> None:
        inference_only(workload, f"{self.quantization['name']} leaves no weights that a gradient could change")
        self._quantization.check(workload)
        self._compiler.check(workload)

    def compile(self, program: Program, workload: Workload) -> Forward:
        quantized = self._quantization.apply(program, workload)
        forward = self._compiler.compile(program, workload)
        if not isinstance(forward, Compiled):
            return Compiled(forward, {"quantized": quantized})
        forward.facts["quantized"] = quantized
        return forward
