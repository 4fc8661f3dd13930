"""What a model can learn within some dozens of steps: text that Python ships, and patterns that tell classes apart.

A builder draws inputs at random, from which nothing can be learnt but by heart. Here they keep their shapes, dtypes and
ranges, and get structure: tokens and the labels of tokens are bytes of the same windows of Python's language reference
(`pydoc_data.topics`, 79 topics, some 460 kB of English, a module of the standard library), labels of samples say the
topic, and floating inputs (images, sound) get a fixed pattern of their class. So a token tells its label, a text or an
image its class. What else there is (masks, types, inputs of unknown names) stays as drawn.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.measures.context import Context
from orchestrator.plugins import Program, Unsupported

if TYPE_CHECKING:
    import torch

Inputs = dict[str, "torch.Tensor"]
TOKENS_OR_LABELS = re.compile(r"(.*_)?(input_ids|labels?|positions)")


def training_set(context: Context, seed: int, batches: int) -> tuple[Program, list[Inputs], str]:
    """Return a model born from `seed`, so many batches as the workload's, and what is in them, in words.

    An input whose first dimension does not grow with the batch is the same in every batch.
    """
    one = context.workload
    program = context.build(dropout=False, workload=replace(one, seed=seed, batch_size=one.batch_size * batches))
    inputs, what = structured(program.inputs, one.batch_size, seed)
    parted = []
    for number in range(batches):
        rows = slice(number * one.batch_size, (number + 1) * one.batch_size)
        all_rows = one.batch_size * batches
        parted.append({name: x[rows] if x.ndim and len(x) == all_rows else x for name, x in inputs.items()})
    return program, parted, what


def structured(inputs: Mapping[str, torch.Tensor], batch_size: int, seed: int) -> tuple[Inputs, str]:
    """Return inputs of the same shapes and dtypes, with structure, and what was done, in words.

    Where nothing among them says a class, a sample's is its place in its batch: a loss with labels of its own has them
    by place. What all samples have alike in a place (a last token) they keep.
    """
    import torch

    rows = max((len(x) for x in inputs.values() if x.ndim), default=0)
    generator = torch.Generator().manual_seed(seed)
    topics = torch.randint(len(_topics()), (rows,), generator=generator).tolist()
    offsets = torch.randint(2**20, (rows,), generator=generator).tolist()
    worded = {
        name
        for name, x in inputs.items()
        if x.dtype in (torch.int64, torch.int32) and x.ndim and len(x) == rows and TOKENS_OR_LABELS.fullmatch(name)
    }
    classes = topics if worded else [row % batch_size for row in range(rows)]
    made, done = dict(inputs), []
    for name, drawn in inputs.items():
        if name in worded:
            width = drawn[0].numel()
            values = [_window(topic, start, width) for topic, start in zip(topics, offsets, strict=True)]
            wanted = torch.tensor(topics if drawn.ndim == 1 else values).reshape(drawn.shape).to(drawn)
            low, high = int(drawn.min()), int(drawn.max())
            within = (low <= wanted) & (wanted <= high)
            new = torch.where(within, wanted, low + wanted % (high - low + 1))
            made[name] = torch.where((drawn == drawn[:1]).all(dim=0), drawn, new) if rows > 1 else new
            done.append("text" if drawn.ndim > 1 else "topics")
        elif drawn.is_floating_point() and drawn.ndim > 1 and len(drawn) == rows:
            pattern = torch.stack([_pattern(one, drawn.shape[1:]) for one in classes])
            made[name] = drawn + pattern.to(drawn)
            done.append("patterns")
    return made, " and ".join(dict.fromkeys(done)) or "as drawn"


def _window(topic: int, start: int, width: int) -> list[int]:
    """Return `width` bytes of a topic's text from `start` on, around its end."""
    text = _topics()[topic]
    first = start % len(text)
    return list((text[first:] + text * (width // len(text) + 1))[:width])


@functools.cache
def _topics() -> Sequence[bytes]:
    """Return the topics' texts. Raises Unsupported for a Python that was installed without them."""
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise Unsupported("the text to learn is Python's own pydoc_data, which this Python lacks") from error
    return [text.encode() for _, text in sorted(topics.items())]


def _pattern(number: int, shape: Sequence[int]) -> torch.Tensor:
    """Return the pattern of a class, standard normal, the same in every run."""
    import torch

    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(number))
