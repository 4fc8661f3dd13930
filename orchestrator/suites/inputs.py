"""Rules that say which tensors a model is called with, and how they are drawn.

A rule is data, the same in the tables of a suite's module and in the `inputs` and `labels` of a suite's YAML:

    input_ids                                             a copy of the input `input_ids`
    {shape: [batch, sequence], high: vocab_size}          integers of [0, vocab_size), int64
    {shape: [batch, 42, visual_feat_dim]}                 standard normal, float32 (no `high`)
    null                                                  no such input, whatever the table says

A word in `shape`, `low` or `high` is `batch`, `sequence`, or the name of an attribute of the model's config.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Rule = str | Mapping[str, Any] | None
Rules = Mapping[str, Rule]

RULE_KEYS = frozenset({"shape", "low", "high"})


def draw(rules: Rules, size: Callable[[str], int], seed: int) -> dict[str, torch.Tensor]:
    """Return name -> tensor on the CPU, in the order of `rules`, from `seed` alone.

    `size` gives the number that a word stands for. Raises ValueError, naming the input, for a rule that is none.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, rule in rules.items():
        if rule is None:
            continue
        if isinstance(rule, str):
            if rule not in tensors:
                raise ValueError(f"input '{name}' copies '{rule}', which is no input before it: {', '.join(tensors)}")
            tensors[name] = tensors[rule].clone()
            continue
        if "shape" not in rule or not RULE_KEYS.issuperset(rule):
            raise ValueError(f"input '{name}': a rule is {{shape: [...], low: ..., high: ...}}, not {dict(rule)}")
        shape = [_number(word, size) for word in rule["shape"]]
        if "high" not in rule:
            tensors[name] = torch.randn(shape, generator=generator)
        else:
            low, high = _number(rule.get("low", 0), size), _number(rule["high"], size)
            tensors[name] = _integers(shape, low, high, generator)
    return tensors


def _number(word: str | int, size: Callable[[str], int]) -> int:
    return size(word) if isinstance(word, str) else int(word)


def _integers(shape: list[int], low: int, high: int, generator: torch.Generator) -> torch.Tensor:
    """Return int64 integers of [low, high), every one of them present where there is room for all.

    So that a batch's labels are never all of one class: a loss over one class is no test of anything.
    """
    import torch

    if low >= high:
        raise ValueError(f"no integer in [{low}, {high})")
    count = torch.Size(shape).numel()
    if count < high - low:
        return torch.randint(low, high, shape, generator=generator)
    shuffled = torch.randperm(count, generator=generator) % (high - low)
    return (shuffled + low).reshape(shape)
