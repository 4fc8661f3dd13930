"""A compiler with a quantisation before it is one plug-in, `inductor+int8_weight_only`: put together, and apart.

Jobs, tables and rules see a compiler of its own, so that inductor on the quantised model and inductor on the model
itself stand beside each other. The command line has two groups; whoever writes one back needs the parts.
"""

from __future__ import annotations

from orchestrator.records import PluginSpec
from orchestrator.typed_json import Json, to_json

TARGET = "orchestrator.compilers.quantized.Quantized"
NONE = "none"
"""What the group is called when nothing is quantised."""


def combined(compiler: PluginSpec, quantization: PluginSpec) -> PluginSpec:
    """Return the plug-in that quantises the model and then compiles it."""
    return PluginSpec(
        name=f"{compiler.name}+{quantization.name}",
        target=TARGET,
        options={"quantization": to_json(quantization), "compiler": to_json(compiler)},
    )


def parts(spec: PluginSpec) -> tuple[PluginSpec, PluginSpec | None]:
    """Return the compiler, and the quantisation before it where there is one."""
    if spec.target != TARGET:
        return spec, None
    return _read(spec.options["compiler"]), _read(spec.options["quantization"])


def _read(part: Json) -> PluginSpec:
    return PluginSpec(name=part["name"], target=part["target"], options=part.get("options") or {})
