"""What a model of the user's is called with: what its code gives, or what rules say; and how many samples that is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.probes.observed import tensors_in
from orchestrator.records import Workload
from orchestrator.suites.drawn import draw
from orchestrator.suites.example_inputs import batches_in
from orchestrator.suites.rules import KEY, looked_up, names_in
from orchestrator.suites.user_source import INPUTS

if TYPE_CHECKING:
    import torch

BATCH, LENGTH = "batch_size", "sequence_length"
Counted = Callable[[], int]
"""Tells how many samples inputs are. Raises ValueError where the job asks for another batch than they have."""


def from_rules(model: torch.nn.Module, rules: Any, workload: Workload, origin: str) -> tuple[Any, Counted]:
    """Return inputs by rules: name -> input, or a list of them. A batch that is not asked for is 1.

    A word is what the model's `config`, or the model itself, calls so. Raises ValueError.
    """
    words, length = names_in(rules), workload.sequence_length
    if length is not None and "sequence" not in words:
        raise ValueError(f"{origin}: no rule of {KEY} has a length: write {LENGTH} into a shape, or leave it out")

    def size(word: str) -> int | float:
        if word == "batch":
            return workload.batch_size or 1
        if word == "sequence":
            if length is None:
                raise ValueError(f"{origin} needs a {LENGTH}: ask for one, as in {LENGTH}=128")
            return length
        for owner in (getattr(model, "config", None), model):
            value = looked_up(owner, word)
            if isinstance(value, (int, float)):
                return value
        raise ValueError(
            f"'{word}' is no number: neither {type(model).__name__} nor a config of it has one of that name: write the "
            "number, batch_size or sequence_length"
        )

    listed = isinstance(rules, Sequence)
    made = draw({str(at): rule for at, rule in enumerate(rules)} if listed else rules, size, workload.seed)
    inputs: Any = tuple(made.values()) if listed else made

    def batch() -> int:
        batches = list(batches_in(made))
        if "batch" in words:
            return workload.batch_size or 1
        if workload.batch_size and workload.batch_size not in batches:
            raise ValueError(
                f"{origin}: no rule of {KEY} has a batch, but the job asks for {workload.batch_size}: write {BATCH} "
                "into a shape, or leave it out"
            )
        return workload.batch_size or next(iter(batches), 1)

    return inputs, batch


def from_code(give: Callable[..., Any], workload: Workload, origin: str) -> tuple[Any, Counted]:
    """Return what the model's code gives; where no batch is asked for, that which it gives by itself.

    Raises ValueError where the code does not take what the job asks for.
    """
    parameters = inspect.signature(give).parameters
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    length = workload.sequence_length
    if length is not None and LENGTH not in parameters and not anything:
        raise ValueError(f"{origin}: {INPUTS}() takes no {LENGTH}: add it as a keyword, or leave it out")
    if length is None and _is_required(parameters.get(LENGTH)):
        raise ValueError(f"{origin}: {INPUTS}() needs a {LENGTH}: ask for one, as in {LENGTH}=128")
    batch = workload.batch_size or (1 if _is_required(parameters.get(BATCH)) else None)
    asked = {BATCH: batch, LENGTH: length}
    taken = {key: value for key, value in asked.items() if (key in parameters or anything) and value is not None}
    inputs = give(**taken)

    def counted() -> int:
        batches = list(batches_in(inputs))
        own = getattr(parameters.get(BATCH), "default", None)
        if batch is None:
            return own if isinstance(own, int) else next(iter(batches), 1)
        if batch in batches or (BATCH in taken and _shapes(give(**{**taken, BATCH: batch + 1})) != _shapes(inputs)):
            return batch  # where it stands in another dimension, the shapes of another batch are others
        says = f"takes and ignores {BATCH}" if BATCH in taken else f"takes no {BATCH}"
        raise ValueError(
            f"{origin}: {INPUTS}() {says} and returns a batch of {next(iter(batches), 1)}, but the job asks for "
            f"{batch}: add it as a keyword, or leave batch_size out"
        )

    return inputs, counted


def _is_required(parameter: inspect.Parameter | None) -> bool:
    return parameter is not None and parameter.default is inspect.Parameter.empty


def _shapes(inputs: Any) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in tensors_in(inputs)]
