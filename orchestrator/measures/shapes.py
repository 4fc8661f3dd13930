"""Inputs of other shapes than the workload's, for one and the same model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.measures.context import Context
from orchestrator.plugins import Unsupported
from orchestrator.records import Workload
from orchestrator.words import some

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Shape:
    """Samples, and tokens per sample (None for models without a sequence)."""

    batch_size: int
    sequence_length: int | None

    def __str__(self) -> str:
        return f"{self.batch_size}" if self.sequence_length is None else f"{self.batch_size}x{self.sequence_length}"

    def of(self, workload: Workload) -> Workload:
        """Return the workload with this shape."""
        return dataclasses.replace(workload, batch_size=self.batch_size, sequence_length=self.sequence_length)


def build_inputs(
    context: Context, shape: Shape, seed: int | None = None, *, like: Iterable[str] | None = None
) -> dict[str, torch.Tensor]:
    """Return the inputs that the workload would have in this shape, of another seed where one is given.

    The model that is built with them is dropped: builders have no other way to draw inputs. Raises Unsupported where
    their names are others than `like`: a model whose samples are inputs of their own is another with each batch.
    """
    workload = shape.of(context.workload)
    if seed is not None:
        workload = dataclasses.replace(workload, seed=seed)
    inputs = context.build(dropout=False, workload=workload).inputs
    if like is not None and inputs.keys() != set(like):
        raise Unsupported(
            f"a batch of {shape.batch_size} has the inputs {some(list(inputs), 6)}, and this model is called with "
            f"{some(list(like), 6)}: each sample is an input of its own, so that no batch varies"
        )
    return inputs
