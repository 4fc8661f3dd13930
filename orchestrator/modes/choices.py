"""Which token comes next: the likeliest (greedy), or those of the likeliest sequences (beam search)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


class Choice(Protocol):
    """Chooses the tokens of one generation."""

    def next(self, outputs: Any) -> torch.Tensor:
        """Return the token that each sequence goes on with, int64, [sequences, 1], after a call with these outputs."""

    def tokens(self) -> torch.Tensor:
        """Return all tokens of each prompt's sequence, int64, [batch, tokens]."""


class Greedy:
    """Takes the likeliest token of each sequence."""

    def __init__(self) -> None:
        self._tokens: list[torch.Tensor] = []

    def next(self, outputs: Any) -> torch.Tensor:
        self._tokens.append(last(outputs).argmax(dim=-1))
        return self._tokens[-1]

    def tokens(self) -> torch.Tensor:
        import torch

        return torch.cat(self._tokens, dim=1)


class Beams:
    """Keeps the `beams` likeliest sequences of each of `batch` prompts; sequences stand prompt by prompt.

    `reorder(index)` lets each sequence of the cache go on from that of `index`. There is no end of sequence: all have
    one length.
    """

    def __init__(self, batch: int, beams: int, reorder: Callable[[torch.Tensor], None]) -> None:
        self._batch, self._beams, self._reorder = batch, beams, reorder
        self._scores: torch.Tensor | None = None
        self._tokens: torch.Tensor | None = None

    def next(self, outputs: Any) -> torch.Tensor:
        import torch

        logits = last(outputs)[:, 0].float()
        device, vocabulary = logits.device, logits.shape[-1]
        if self._scores is None:  # all beams are the prompt: the first stands for them
            self._scores = torch.full((self._batch, self._beams), -torch.inf, device=device)
            self._scores[:, 0] = 0.0
        scores = logits.log_softmax(-1) + self._scores.view(-1, 1)
        self._scores, best = scores.view(self._batch, -1).topk(self._beams)
        first = torch.arange(self._batch, device=device).unsqueeze(1) * self._beams
        index = (first + best // vocabulary).flatten()
        token = (best % vocabulary).view(-1, 1)
        before = [] if self._tokens is None else [self._tokens.index_select(0, index)]
        self._tokens = torch.cat([*before, token], dim=1)
        self._reorder(index)
        return token

    def tokens(self) -> torch.Tensor:
        assert self._tokens is not None
        return self._tokens.view(self._batch, self._beams, -1)[:, 0]


def last(outputs: Any) -> torch.Tensor:
    """Return the logits of the last position, [batch, 1, vocabulary]."""
    logits: torch.Tensor = outputs["logits"][:, -1:]
    return logits
