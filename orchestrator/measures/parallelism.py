"""How the ranks of a job share one model (`orchestrator.records.Parallel`), by torch's own means.

DDP wraps a model; FSDP2 and tensor parallelism cut its parameters in place: each is a `DTensor` then, of which a rank
holds a part. In all of them the compiler gets the model as the ranks share it, or, where the option ends in "_outside",
the model is shared around what the compiler made.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.plugins import Compiled, Compiler, Forward, Program, Unsupported, facts_of
from orchestrator.records import Parallel, Workload
from orchestrator.words import some

if TYPE_CHECKING:
    import torch

HEADS = ("num_attention_heads", "num_key_value_heads")
"""Numbers of a transformers configuration that tensor parallelism divides by the ranks."""
COLUMNS, ROWS = "columns", "rows"
STYLES = {
    "colwise": COLUMNS,
    "colwise_rep": COLUMNS,
    "colwise_gather_output": COLUMNS,
    "embedding_colwise": COLUMNS,
    "rowwise": ROWS,
    "rowwise_rep": ROWS,
    "rowwise_split_input": ROWS,
    "embedding_rowwise": ROWS,
}
"""The words of transformers' plans that `torch.distributed.tensor.parallel` has a style for -> what it cuts."""
REPLICATED = "replicated_with_grad_allreduce"
"""And the one of a module that is whole in each rank, and sees this rank's heads only: its gradients are summed."""


class Parallelism:
    """What the ranks do with a model. own_inputs: each has inputs of its own; replicas: each has the whole model."""

    own_inputs, replicas = True, True

    def shared(self, model: torch.nn.Module) -> torch.nn.Module:
        """Return what is called instead of the model. Raises Unsupported for one that cannot be shared so."""
        raise NotImplementedError

    def compile(self, compiler: Compiler, program: Program, workload: Workload) -> Forward:
        """Return what the compiler makes of the model, as the ranks call it."""
        return compiler.compile(replace(program, model=self.shared(program.model)), workload)


class Ddp(Parallelism):
    """`DistributedDataParallel`: each rank has the whole model, and inputs of its own; gradients are averaged, buffers
    are rank 0's. outside: around what is compiled. unused: `find_unused_parameters`.
    """

    def __init__(self, *, outside: bool, unused: bool) -> None:
        self._outside, self._unused = outside, unused

    def shared(self, model: torch.nn.Module) -> torch.nn.Module:
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(model, find_unused_parameters=self._unused)

    def compile(self, compiler: Compiler, program: Program, workload: Workload) -> Forward:
        if not self._outside:
            return super().compile(compiler, program, workload)
        compiled = compiler.compile(program, workload)
        if compiled is program.model:
            return self.shared(program.model)
        wrapped = self.shared(_module_of(program.model, compiled))
        if isinstance(compiled, Compiled):
            return Compiled(wrapped, compiled.facts, compiled.around_backward)
        return wrapped


class Fsdp2(Parallelism):
    """`fully_shard` of each layer and of the rest: a rank holds a part of each parameter, and gathers a layer's for as
    long as it needs them; it has inputs of its own, gradients are averaged, buffers are each rank's own.

    outside: each layer is compiled, and sharded around that, as torchtitan does; a model without layers as a whole.
    Without gradients the rest's parameters are cut again after each call too (torch keeps them for the backward pass).
    """

    replicas = False

    def __init__(self, *, outside: bool, training: bool) -> None:
        self._outside, self._training = outside, training

    def shared(self, model: torch.nn.Module) -> torch.nn.Module:
        """Shard the model in place and return it."""
        import torch.distributed as dist
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        parameters = dict(model.named_parameters())
        if scalars := [name for name, parameter in parameters.items() if not parameter.ndim]:
            raise Unsupported(f"fully_shard cuts no parameter without a dimension, as {some(scalars, 3)}")
        device = next((parameter.device for parameter in parameters.values()), None)
        if device is None:
            raise Unsupported("the model has no parameters to shard")
        mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        found = layers(model)
        kept = {id(parameter) for layer in found for parameter in layer.parameters()}
        rest = [parameter for parameter in parameters.values() if id(parameter) not in kept]
        for group in (*(list(layer.parameters()) for layer in found), rest):
            if len(dtypes := sorted({str(parameter.dtype) for parameter in group})) > 1:
                raise Unsupported(f"fully_shard needs one dtype within each layer, and finds {' and '.join(dtypes)}")
        for layer in found:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh, reshard_after_forward=None if self._training else True)
        return model

    def compile(self, compiler: Compiler, program: Program, workload: Workload) -> Forward:
        if not self._outside:
            return super().compile(compiler, program, workload)
        model = program.model
        facts: Mapping[str, Any] = {}
        for unit in layers(model) or [model]:
            bare = _bare_class()(unit)
            inputs = program.inputs if unit is model else {}  # those of a layer are known when it is called
            compiled = compiler.compile(replace(program, model=bare, inputs=inputs), workload)
            if isinstance(compiled, Compiled) and compiled.around_backward is not nullcontext:
                raise Unsupported(
                    "this compiler has to enter the whole backward pass, and gets a layer: parallel=fsdp2"
                )
            if compiled is not bare:
                unit.forward = _as_forward(unit, compiled)
                facts = facts or facts_of(compiled)
        sharded = self.shared(model)
        return Compiled(sharded, dict(facts)) if facts else sharded


class Tensor(Parallelism):
    """Tensor parallelism by `parallelize_module`: each rank has a part of the products that the model's plan names, and
    the same inputs as all others.

    The plan is the model's `tp_plan`, as transformers has it: name of a module, "*" for a number -> style (`_style`).
    """

    own_inputs, replicas = False, False

    def shared(self, model: torch.nn.Module) -> torch.nn.Module:
        """Cut the model in place and return it."""
        import torch.distributed as dist
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.tensor.parallel import parallelize_module

        size = dist.get_world_size()
        modules = dict(model.named_modules())
        plan = _plan(model, modules, size)
        tied = _tied(modules)
        for places in tied:
            if len({_cut(modules[owner], plan.get(owner)) for owner, _ in places}) > 1:
                for owner, _ in places:  # one of them is cut otherwise, or not at all: they would no longer be one
                    plan.pop(owner, None)
        mesh = init_device_mesh(next(model.parameters()).device.type, (size,))
        for name, style in plan.items():
            if style == REPLICATED:
                _sum_gradients(modules[name])
            else:
                parallelize_module(modules[name], mesh, _style(style), src_data_rank=None)
        for (first, name), *others in tied:
            for owner, its in others:
                setattr(modules[owner], its, getattr(modules[first], name))
        return model


def parallelism(kind: Parallel, *, training: bool, unused: bool) -> Parallelism:
    """Return how ranks of this kind share a model."""
    outside = kind.endswith("_outside")
    if kind == "tensor":
        return Tensor()
    return (
        Fsdp2(outside=outside, training=training) if kind.startswith("fsdp2") else Ddp(outside=outside, unused=unused)
    )


def layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return a model's layers: what stands in the outermost lists of modules (`torch.nn.ModuleList`).

    Without those that share a parameter with another part of the model: a parameter is cut once.
    """
    found = {id(layer): layer for layer in _listed(model)}
    owners: dict[int, set[int]] = {}
    for layer in found.values():
        for parameter in layer.parameters():
            owners.setdefault(id(parameter), set()).add(id(layer))
    inside = {id(module) for layer in found.values() for module in layer.modules()}
    for module in model.modules():
        for parameter in () if id(module) in inside else module.parameters(recurse=False):
            owners.setdefault(id(parameter), set()).add(id(model))
    return [
        layer
        for layer in found.values()
        if (own := list(layer.parameters())) and all(len(owners[id(parameter)]) == 1 for parameter in own)
    ]


def _listed(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    import torch

    for child in module.children():
        if not isinstance(module, torch.nn.ModuleList) or isinstance(child, (torch.nn.ModuleList, torch.nn.ModuleDict)):
            yield from _listed(child)
        else:
            yield child


@functools.cache  # one class: then dynamo has one graph for layers that are alike, and not one for each up to its limit
def _bare_class() -> Callable[[torch.nn.Module], torch.nn.Module]:
    """Return what makes a module that does what a layer does now, without its hooks, to be compiled in its place."""
    import torch

    class Bare(torch.nn.Module):
        def __init__(self, layer: torch.nn.Module) -> None:
            super().__init__()
            self.layer = layer
            self.own = layer.forward

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return self.own(*args, **kwargs)

    return Bare


def _as_forward(layer: torch.nn.Module, compiled: Forward) -> Callable[..., Any]:
    """Return `compiled` as it can be called in place of the layer's `forward`: by position, too."""
    import torch

    if isinstance(compiled, torch.nn.Module):
        return compiled.__call__
    signature = inspect.signature(layer.forward)
    rest = next((one.name for one in signature.parameters.values() if one.kind is one.VAR_KEYWORD), "")

    def forward(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        others = given.pop(rest, {})
        return compiled(**given, **others)

    return forward


def _module_of(model: torch.nn.Module, forward: Forward) -> torch.nn.Module:
    """Return a module with the parameters of `model`, whose call is `forward`: what DDP can wrap."""
    import torch

    class Around(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, **inputs: Any) -> Any:
            return forward(**inputs)

    return Around()


def _plan(model: torch.nn.Module, modules: Mapping[str, torch.nn.Module], size: int) -> dict[str, str]:
    """Return name of a module -> style. Raises Unsupported where there is no plan, or `size` ranks cannot do it.

    The plan is that of the outermost module that has one: models are wrapped, to name their outputs.
    """
    import torch

    owner = next((name for name, module in modules.items() if getattr(module, "tp_plan", None)), None)
    if owner is None:
        raise Unsupported(
            "the model has no plan for tensor parallelism (tp_plan), as some of transformers have: parallel=fsdp2"
        )
    inside = f"{owner}." if owner else ""
    asked: Mapping[str, str] = {f"{inside}{name}": style for name, style in modules[owner].tp_plan.items()}  # type: ignore[union-attr,operator]
    for name, _ in model.named_parameters():
        if (style := asked.get(_numberless(name))) is not None:
            raise Unsupported(f"the model's tp_plan cuts a parameter, {name}, by '{style}': torch has no such style")
    plan = {name: asked[_numberless(name)] for name in modules if _numberless(name) in asked}
    for name, style in plan.items():
        module = modules[name]
        for key, heads in _heads(modules, name).items():
            if heads % size:
                raise Unsupported(f"{key}={heads} of {name} cannot be divided among {size} ranks")
        if style == REPLICATED:
            continue
        if style not in STYLES or not isinstance(module, (torch.nn.Linear, torch.nn.Embedding)):
            said = f"the model's tp_plan cuts {name} ({type(module).__name__}) by '{style}'"
            raise Unsupported(f"{said}: torch has no such style")
        if (length := module.weight.shape[_cut(module, style) or 0]) % size:
            raise Unsupported(f"{length} {STYLES[style]} of {name} cannot be divided among {size} ranks")
    return plan


def _heads(modules: Mapping[str, torch.nn.Module], name: str) -> dict[str, int]:
    """Return the numbers of heads, by name, in the configuration of the nearest module around this one that has any."""
    while name:
        name = name.rpartition(".")[0]
        config = getattr(modules[name], "config", None)
        found = {key: heads for key in HEADS if isinstance(heads := getattr(config, key, None), int)}
        if found:
            return found
    return {}


def _numberless(name: str) -> str:
    return re.sub(r"(?<![^.])\d+(?![^.])", "*", name)


def _cut(module: torch.nn.Module, style: str | None) -> int | None:
    """Return the dimension of a module's weight that a style cuts; None where it cuts none."""
    import torch

    if style not in STYLES:
        return None
    return int((STYLES[style] == COLUMNS) == isinstance(module, torch.nn.Embedding))


def _style(word: str) -> Any:
    """Return torch's style for a word of transformers' plans."""
    from torch.distributed.tensor import Replicate
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel

    if STYLES[word] == COLUMNS:
        return ColwiseParallel() if word == "colwise" else ColwiseParallel(output_layouts=Replicate())
    return RowwiseParallel() if word == "rowwise" else RowwiseParallel(input_layouts=Replicate())


def _sum_gradients(module: torch.nn.Module) -> None:
    """Let the gradients of a module's own parameters be the sum over the ranks."""
    import torch.distributed as dist

    def summed(gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total

    for parameter in module.parameters():
        parameter.register_hook(summed)


def _tied(modules: Mapping[str, torch.nn.Module]) -> list[list[tuple[str, str]]]:
    """Return where one parameter stands in several modules: the names of those, and its own in each."""
    places: dict[int, list[tuple[str, str]]] = {}
    for owner, module in modules.items():
        for name, parameter in module.named_parameters(recurse=False):
            places.setdefault(id(parameter), []).append((owner, name))
    return [found for found in places.values() if len(found) > 1]
