"""Fresh inputs for each repeat of a timing (`randomize_input`): what the builder draws from other seeds, of any dtype.

They are drawn before the model is in memory, and copied into its inputs outside of the clock, so that compiled code
sees the same tensors with other values. Token ids stay token ids and masks masks, because the builder draws them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.measures.calls import unchanged
from orchestrator.measures.context import Context
from orchestrator.plugins import Unsupported

if TYPE_CHECKING:
    import torch

DRAWS = 8
"""So many are drawn, and taken in turn: each builds the model once, and they stay in memory."""
Draw = Mapping[str, "torch.Tensor"]


def draws(context: Context) -> Sequence[Draw]:
    """Return the inputs of `DRAWS` other seeds: of each name a tensor of the shape and dtype that the job's own has.

    A floating input that does not depend on the seed, or has another shape then, gets its own values in another order;
    another one stays what it is. The fact `randomized_input` says which are which, and a note names those that stay.
    Raises Unsupported for a mode that makes its inputs itself.
    """
    import torch

    if getattr(context.mode, "other_inputs", False):
        raise Unsupported(f"randomize_input: mode {context.workload.mode.name} makes its inputs of what came before")
    training, seed = context.mode.training, context.workload.seed
    first = context.build(dropout=training).inputs
    drawn = [
        context.build(dropout=training, workload=replace(context.workload, seed=seed + 1 + number)).inputs
        for number in range(DRAWS)
    ]
    order = torch.Generator().manual_seed(seed)
    kinds: dict[str, list[str]] = {"fresh": [], "reordered": [], "same": []}
    made: list[dict[str, torch.Tensor]] = [{} for _ in drawn]
    for name, own in first.items():
        if not isinstance(own, torch.Tensor) or own.layout is not torch.strided or own.is_nested:
            kinds["same"].append(name)
            continue
        others = [draw.get(name) for draw in drawn]
        fit = [one for one in others if one is not None and (one.shape, one.dtype) == (own.shape, own.dtype)]
        if len(fit) == len(drawn) and not all(unchanged(own, one) for one in fit):
            kinds["fresh"].append(name)
        elif own.is_floating_point() and own.numel() > 1:
            kinds["reordered"].append(name)
            places = [torch.randperm(own.numel(), generator=order).to(own.device) for _ in drawn]
            fit = [own.detach().flatten()[place].reshape(own.shape) for place in places]
        else:
            kinds["same"].append(name)
            continue
        for draw, tensor in zip(made, fit, strict=True):
            draw[name] = tensor.detach()
    context.facts["randomized_input"] = {"draws": DRAWS, **kinds}
    if kinds["same"]:
        context.note(f"randomize_input: the same in every repeat, as they do not depend on the seed: {kinds['same']}")
    return made
