"""Known faults that can be put into any model: what a judge must find.

A plant wraps what a compiler made: `plant(forward, program, place)` returns a callable like it. Faults change outputs,
gradients, inputs or buffers. (The plants of `orchestrator.measures.variations` are none.) `place` chooses among
tensors, elements and layers, so that one fault is many. Imports torch: only in a worker.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils import _pytree

from orchestrator.plugins import Forward, Program

Plant = Callable[[Forward, Program, int], Forward]
Change = Callable[[torch.Tensor, random.Random], torch.Tensor]


def _changed_output(change: Change) -> Plant:
    """Return the plant that changes one floating output, of each call in the same place."""

    def plant(forward: Forward, program: Program, place: int) -> Forward:
        def changed(**inputs: Any) -> Any:
            return _with_output(forward(**inputs), place, change)

        return changed

    return plant


def _with_output(outputs: Any, place: int, change: Change) -> Any:
    leaves, tree = _pytree.tree_flatten(outputs)
    chosen = random.Random(place)
    able = [
        number
        for number, leaf in enumerate(leaves)
        if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() and leaf.ndim
    ]
    if able:
        number = chosen.choice(able)
        leaves[number] = change(leaves[number], chosen)
    return _pytree.tree_unflatten(leaves, tree)


def _index(tensor: torch.Tensor, chosen: random.Random) -> tuple[int, ...]:
    return tuple(chosen.randrange(size) for size in tensor.shape)


def _edited(tensor: torch.Tensor, index: Any, value: Any) -> torch.Tensor:
    copy = tensor.clone()
    copy[index] = value
    return copy


def _one_element(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    index = _index(tensor, chosen)
    return _edited(tensor, index, tensor[index] + tensor.detach().float().square().mean().sqrt().to(tensor.dtype))


def _one_nan(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    return _edited(tensor, _index(tensor, chosen), float("nan"))


def _of_samples(tensor: torch.Tensor) -> int:
    """Return the dimension of the samples: the first of more than one."""
    return next((number for number, size in enumerate(tensor.shape) if size > 1), 0)


def _one_sample(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    dimension = _of_samples(tensor)
    index = (*[slice(None)] * dimension, chosen.randrange(tensor.shape[dimension]))
    return _edited(tensor, index, 0.0)


def _one_channel(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    return _edited(tensor, (..., chosen.randrange(tensor.shape[-1])), 0.0)


def _next_position(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    """Shift by one along the sequence (or, without one, the last dimension)."""
    return tensor.roll(1, dims=1 if tensor.ndim >= 3 else -1)


def _transposed(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    return tensor.flip(0) if tensor.ndim < 2 else tensor.transpose(-1, -2).reshape(tensor.shape)


def _flipped_class(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    """Exchange the two largest numbers of one row: its class, or next token, is another one."""
    if tensor.shape[-1] < 2:
        return tensor
    row = _index(tensor[..., 0], chosen) if tensor.ndim > 1 else ()
    values, places = tensor[row].topk(2)
    copy = tensor.clone()
    copy[row][places.flip(0)] = values
    return copy


def _swapped_samples(tensor: torch.Tensor, chosen: random.Random) -> torch.Tensor:
    return tensor.roll(1, dims=_of_samples(tensor))


def _scaled(by: float) -> Change:
    return lambda tensor, chosen: (tensor.float() * by).to(tensor.dtype) if tensor.element_size() < 4 else tensor * by


def _stale_output(forward: Forward, program: Program, place: int) -> Forward:
    """What the first inputs gave, whatever the inputs are: a graph that reads its old buffer."""
    first: list[dict[str, Any]] = []

    def stale(**inputs: Any) -> Any:
        first.append({name: value.clone() for name, value in inputs.items()})
        return forward(**first[0])

    return stale


def _second_call(forward: Forward, program: Program, place: int) -> Forward:
    """Right in the first call only."""
    calls: list[int] = []

    def late(**inputs: Any) -> Any:
        calls.append(1)
        outputs = forward(**inputs)
        return outputs if len(calls) == 1 else _with_output(outputs, place, _scaled(1.1))

    return late


def _written_input(forward: Forward, program: Program, place: int) -> Forward:
    """Writes into an input that the model leaves alone."""

    def writing(**inputs: Any) -> Any:
        outputs = forward(**inputs)
        name = random.Random(place).choice(list(inputs))
        inputs[name].data.view(-1)[:1] += 1  # autograd is not told, as it is not by a kernel that writes too far
        return outputs

    return writing


def _lost_mutation(forward: Forward, program: Program, place: int) -> Forward:
    """Works on copies: what the model writes into its inputs is lost."""
    return lambda **inputs: forward(**{name: value.clone() for name, value in inputs.items()})


def _lost_buffer(forward: Forward, program: Program, place: int) -> Forward:
    """Puts all buffers back: what the model counts or averages is lost."""

    def losing(**inputs: Any) -> Any:
        before = {name: buffer.clone() for name, buffer in program.model.named_buffers()}
        outputs = forward(**inputs)
        for name, buffer in program.model.named_buffers():
            if not torch.equal(buffer, before[name]):
                buffer.data.copy_(before[name])  # autograd may have kept it
        return outputs

    return losing


def _layers(program: Program, *kinds: type) -> list[torch.nn.Module]:
    """Return the layers of these kinds, of any without kinds, that hold no others."""
    return [
        part
        for part in program.model.modules()
        if isinstance(part, kinds or torch.nn.Module) and not list(part.children())
    ]


def _at_layer(kinds: tuple[type, ...], hook: Callable[[Any, Any, Any], Any]) -> Plant:
    """Return the plant that changes what one layer returns; the model as it is where it has no such layer."""

    def plant(forward: Forward, program: Program, place: int) -> Forward:
        layers = _layers(program, *kinds)
        if layers:
            random.Random(place).choice(layers).register_forward_hook(hook)
        return forward

    return plant


def _zeros(layer: Any, inputs: Any, output: Any) -> Any:
    return torch.zeros_like(output) if isinstance(output, torch.Tensor) else None


def _wrong_branch(forward: Forward, program: Program, place: int) -> Forward:
    """A layer is left out for all but the inputs that were there when the branch was frozen."""
    batch = (torch.nn.BatchNorm2d,) if program.model.training else ()  # one that has seen no data changes nothing
    normal = _layers(program, torch.nn.LayerNorm, torch.nn.GroupNorm, *batch, *_norms(program))
    if not normal:
        return forward
    kept: dict[str, Any] = {}

    def remember(**inputs: Any) -> Any:
        kept.setdefault("first", {name: value.clone() for name, value in inputs.items()})
        kept["frozen"] = all(torch.equal(value, kept["first"][name]) for name, value in inputs.items())
        return forward(**inputs)

    random.Random(place).choice(normal).register_forward_hook(
        lambda layer, inputs, output: None if kept.get("frozen", True) or output.shape != inputs[0].shape else inputs[0]
    )
    return remember


def _norms(program: Program) -> Iterator[type]:
    """Yield the model's own kinds of normalisation (LlamaRMSNorm, T5LayerNorm)."""
    return iter({type(part) for part in program.model.modules() if type(part).__name__.endswith("Norm")})


def _gradient(change: Change) -> Plant:
    """Return the plant that changes the gradient of one weight; nothing in a model that is not trained."""

    def plant(forward: Forward, program: Program, place: int) -> Forward:
        chosen = random.Random(place)
        weights = [
            parameter for parameter in program.model.parameters() if parameter.requires_grad and parameter.ndim > 1
        ]
        if program.model.training and weights:
            chosen.choice(weights).register_hook(lambda gradient: change(gradient, random.Random(place)))
        return forward

    return plant


def _low_accumulation(forward: Forward, program: Program, place: int) -> Forward:
    """Linear layers, all or some, add their products up in bfloat16 (float16 in float16), in 128 steps."""

    def accumulate(layer: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        low = torch.float16 if output.dtype is torch.float16 else torch.bfloat16
        x, weight = inputs[0], layer.weight if isinstance(layer, torch.nn.Linear) else layer.weight.mT
        total = torch.zeros_like(output, dtype=low)
        width = -(-x.shape[-1] // 128)
        for column in range(0, x.shape[-1], width):
            part = x[..., column : column + width].float() @ weight[:, column : column + width].float().mT
            total = (total.float() + part).to(low)
        total = total if layer.bias is None else total + layer.bias
        return total.to(output.dtype)

    chosen = random.Random(place)
    for layer in _layers(program):
        linear = isinstance(layer, torch.nn.Linear) or type(layer).__name__ == "Conv1D"  # GPT-2's linear layers
        if linear and (place == 0 or chosen.random() < 0.7):
            layer.register_forward_hook(accumulate)
    return forward


FAULTS: Mapping[str, Plant] = {
    "one element": _changed_output(_one_element),
    "one sample zeroed": _changed_output(_one_sample),
    "one channel zeroed": _changed_output(_one_channel),
    "scale 1.01": _changed_output(_scaled(1.01)),
    "all zeros": _changed_output(_scaled(0.0)),
    "NaN in one place": _changed_output(_one_nan),
    "off by one position": _changed_output(_next_position),
    "flipped class": _changed_output(_flipped_class),
    "transposed output": _changed_output(_transposed),
    "samples swapped": _changed_output(_swapped_samples),
    "stale output": _stale_output,
    "second call only": _second_call,
    "wrong branch": _wrong_branch,
    "input written to": _written_input,
    "lost mutation": _lost_mutation,
    "lost buffer": _lost_buffer,
    "layer zeroed": _at_layer((torch.nn.Linear, torch.nn.Conv2d), _zeros),
    "low accumulation": _low_accumulation,
    "gradient zeroed": _gradient(_scaled(0.0)),
    "gradient scaled 1.01": _gradient(_scaled(1.01)),
    "gradient, one element": _gradient(_one_element),
    "gradient, one row zeroed": _gradient(_one_sample),
    "gradient transposed": _gradient(_transposed),
}
"""Name -> fault. One that changes nothing in a model (no buffer to lose) is no plant there:
`orchestrator.measures.sensitivity`.
"""

ONCE = frozenset({"stale output", "lost mutation", "lost buffer"})
"""Those that are the same in every place."""
