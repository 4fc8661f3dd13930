"""Generation in its phases: the prompt (prefill), one token after it (decode), and all of it (generate).

There are `batch_size` prompts of `sequence_length` tokens, without padding. docs/modes.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from orchestrator.modes.token_by_token import Step, TokenClock, TokenLoop
from orchestrator.plugin_classes import at_least_1
from orchestrator.plugins import Forward, Program
from orchestrator.precision import Precision
from orchestrator.probes.observed import named_outputs
from orchestrator.records import DEFAULT_PRECISION, Workload

if TYPE_CHECKING:
    import torch

NEW_TOKENS = 32
Observer = Callable[[Program, Workload], dict[str, "torch.Tensor"]]
"""See `orchestrator.plugins.Observing`: all calls go through one cache, so that what one leaves there is seen."""


@dataclass(frozen=True)
class _Phase:
    """What the phases share; `model.eval()` under `torch.no_grad()`.

    new_tokens: how many tokens come after the prompt; a static cache has room for them in every phase. None: the
    model's (`new_tokens` of its entry in the suite), else 32. cache: static (tensors of the final length, written in
    place; attention always goes over the whole length) or dynamic (it grows). judged_tokens: of so many tokens, at
    most, accuracy compares the logits, and which token is the likeliest; None: of all. precision: of products, for
    eager too (`orchestrator.precision.SETTINGS`).
    """

    new_tokens: int | None = None
    cache: Literal["static", "dynamic"] = "static"
    judged_tokens: int | None = None
    precision: Precision = DEFAULT_PRECISION
    training: ClassVar[bool] = False
    other_inputs: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least_1(self, "new_tokens", "judged_tokens")

    @property
    def count(self) -> int:
        """How many tokens come after the prompt."""
        return self.new_tokens or NEW_TOKENS

    @property
    def not_judged(self) -> str:
        """Which tokens accuracy leaves out; "" for none."""
        few = self.judged_tokens is not None and self.judged_tokens < self.count
        return f"the tokens after the first {self.judged_tokens} of {self.count} (judged_tokens)" if few else ""

    def run(self, program: Program, forward: Forward, workload: Workload) -> TokenLoop:
        """Return the calls of the model, its cache allocated and filled with the prompt, without compiler."""
        return TokenLoop(program, forward, workload, self.cache, self.count, judged=self.judged_tokens)

    def observe(self, program: Program, forward: Forward, workload: Workload) -> dict[str, torch.Tensor]:
        """Return copies of what the phase makes, as its `seen` says."""
        return self.observer(program, forward, workload)(program, workload)

    def observer(self, program: Program, forward: Forward, workload: Workload) -> Observer:
        """Return the function that does so for each call of a series, all through one cache."""
        run = self.run(program, forward, workload)

        def observe(given: Program, load: Workload) -> dict[str, torch.Tensor]:
            with run.surroundings():
                run.renew(given, load)
                return self.seen(run)

        return observe

    def seen(self, run: TokenLoop) -> dict[str, torch.Tensor]:
        raise NotImplementedError


@dataclass(frozen=True)
class Prefill(_Phase):
    """One step is the call with the whole prompt, through an empty cache, up to the logits of the token after it.

    Emptying the cache is not timed. An encoder-decoder runs its encoder on the prompt, its decoder on one token.
    """

    @property
    def not_judged(self) -> str:
        return ""

    def step(self, program: Program, forward: Forward, workload: Workload) -> Step:
        run = self.run(program, forward, workload)
        length = run.prompt_length
        tokens = None if length is None else {"kind": "input", "per_step": workload.batch_size * length}
        return Step(run, run.reset, run.prefill, tokens)

    def seen(self, run: TokenLoop) -> dict[str, torch.Tensor]:
        """Return the logits of the last position, [batch, vocabulary]: made of all keys and values of the prompt.

        "tokens" are the likeliest ones, int64, [batch]; "logits_after" are those after one more token, which the model
        itself makes of what is in the cache.
        """
        run.reset()
        found = _judged(run.begin()["logits"][:, -1])
        return found | named_outputs({"logits_after": run.next_without_compiler()})


@dataclass(frozen=True)
class Decode(_Phase):
    """One step is the call with one token, the first after the prompt: every step is the same work.

    The model itself puts the prompt into the cache, without compiler. Neither that is timed, nor setting the cache back
    to the prompt's end before each step.
    """

    def step_size(self, workload: Workload) -> tuple[int, int]:
        return workload.batch_size, 0

    def step(self, program: Program, forward: Forward, workload: Workload) -> Step:
        run = self.run(program, forward, workload)
        token = run.drawn_tokens()[:, :1]
        tokens = {"kind": "output", "per_step": workload.batch_size}
        return Step(run, run.marked(), lambda: run.decode(token), tokens)

    def seen(self, run: TokenLoop) -> dict[str, torch.Tensor]:
        """Return the logits after each of `judged_tokens` tokens, [batch, tokens, vocabulary], and the token that the
        model takes after each of them, int64, [batch, tokens].

        The model is fed drawn tokens (of the workload's seed), not those that it takes: else one choice between two
        logits that are equal but for rounding would change all that comes after it.
        """
        return _judged(run.logits_of_drawn(from_prompt=False))


@dataclass(frozen=True)
class Generate(_Phase):
    """One step is a whole generation: the prompt, and new_tokens - 1 tokens after it, each time the most likely one.

    After each token the device is synchronised, as it is where tokens are streamed, and the clock is read. Emptying the
    cache is not timed.

    beams: 1 takes the likeliest token each time; more keep that many of the likeliest sequences (beam search).
    compare_tokens: accuracy compares the tokens of a free generation too, for equality. Off, because a compiler is not
    wrong that takes the other one of two tokens whose logits are equal but for rounding, and goes on from it.
    """

    cost_factor: ClassVar[float] = 2.0  # graphs of the prompt, and of one token

    compare_tokens: bool = False
    beams: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_1(self, "beams")

    def step_size(self, workload: Workload) -> tuple[int, int]:
        prompt = self.beams * workload.batch_size * (workload.sequence_length or 1)
        return prompt + self.beams * workload.batch_size * self.count, self.count

    def run(self, program: Program, forward: Forward, workload: Workload) -> TokenLoop:
        return TokenLoop(
            program, forward, workload, self.cache, self.count, beams=self.beams, judged=self.judged_tokens
        )

    def step(self, program: Program, forward: Forward, workload: Workload) -> Step:
        run = self.run(program, forward, workload)
        clock = TokenClock(run.synchronise)
        tokens = {"kind": "output", "per_step": workload.batch_size * self.count}
        return Step(run, run.reset, lambda: run.generate(clock), tokens, clock)

    def seen(self, run: TokenLoop) -> dict[str, torch.Tensor]:
        """Return the logits after the prompt and after drawn tokens, [batch, judged_tokens, vocabulary], and the token
        that the model takes after each, int64, [batch, judged_tokens] (see `Decode.seen`); of a beam search those of
        all beams. With `compare_tokens` there are also the tokens of a free generation, "generated", int64,
        [batch, new_tokens].
        """
        run.reset()
        found = _judged(run.logits_of_drawn(from_prompt=True))
        if self.compare_tokens:
            run.reset()
            found |= named_outputs({"generated": run.generate(TokenClock(run.synchronise))})
        return found


def _judged(logits: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return copies of logits, [..., vocabulary], and of the likeliest tokens, int64: those that are taken."""
    return named_outputs({"logits": logits, "tokens": logits.argmax(dim=-1)})
