"""A model, a cache, and the calls between the two: what prefill, decode and generate are made of.

The loop is ours, around the model's forward, because that is what a compiler compiles; `generate()` of Hugging Face
decides itself what it compiles. It knows no end of sequence: exactly as many tokens are made as were asked for, and
that is checked.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orchestrator.errors import in_one_line, is_out_of_memory
from orchestrator.plugins import Decoding, Forward, Program, Unsupported
from orchestrator.precision import AUTOCAST_TO, autocast
from orchestrator.probes.clock import synchroniser
from orchestrator.records import Samples, Workload

if TYPE_CHECKING:
    import torch

OF_CODE = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError)
"""What a model raises that was written for other calls."""
SAME = 0.02
"""Share of the largest logit by which two calls with the same cache and token may differ: rounding, in any dtype."""


class TokenLoop:
    """The calls of one model through one cache. All of them belong inside `surroundings`.

    The cache is allocated by a call of the model itself, so that no compiled code contains the allocation (it would be
    compiled a second time for the calls that find it done), and so that it has the model's shapes and dtype.

    beams: of each prompt so many copies go through the model, the sequences of a beam search. judged: of how many
    tokens results are compared.

    Raises Unsupported for a program that does not generate tokens, and for a model that itself, without compiler,
    cannot be called so; ValueError for lengths that it has no positions for.
    """

    def __init__(
        self,
        program: Program,
        forward: Forward,
        workload: Workload,
        cache: str,
        new_tokens: int,
        *,
        beams: int = 1,
        judged: int | None = None,
    ) -> None:
        import torch

        if program.decoding is None:
            raise Unsupported(
                f"{workload.model} does not generate tokens: mode={workload.mode.name} is for causal and "
                "encoder-decoder language models, as those of suite=generation"
            )
        program.model.eval()
        self.decoding: Decoding = program.decoding
        self.forward, self.workload, self.new_tokens = forward, workload, new_tokens
        self.beams, self.batch = beams, beams * workload.batch_size
        self.judged = min(judged or new_tokens, new_tokens)
        self.program = self._with_beams(program)
        self.synchronise = synchroniser(torch.device(workload.device))
        self._calls = 0  # since the prompt: what the cache must hold is known, and checked before it is set back
        with self.surroundings():
            with self._told(cache, OF_CODE):
                self.cache = self.decoding.new_cache(self.program, cache, new_tokens)
            with self._told(cache, (*OF_CODE, ValueError)):
                self.prompt = self.decoding.prompt(self.program, self.cache)
                self._carried = self.decoding.carried(self._without_compiler(self.prompt))
                self._try_token()
        self.prompt_length = self._prompt_length()

    @contextmanager
    def surroundings(self) -> Iterator[None]:
        """No gradients, and the workload's autocast."""
        import torch

        with torch.no_grad(), autocast(self.workload):
            yield

    def renew(self, program: Program, workload: Workload) -> None:
        """Begin again with `program`'s prompt and another seed, in the same cache, filled by the model itself."""
        self.reset()
        self.program, self.workload = self._with_beams(program), workload
        self.prompt = self.decoding.prompt(self.program, self.cache)
        self._carried = self.decoding.carried(self._without_compiler(self.prompt))
        self._calls = 0

    def reset(self) -> None:
        """Empty the cache. Raises RuntimeError when it did not hold what the calls so far must have put there."""
        self._check_cache()
        self.decoding.reset(self.cache)

    def marked(self) -> Callable[[], None]:
        """Return the function that sets the cache back to what it holds now: the prompt. It checks as `reset` does."""
        set_back = self.decoding.mark(self.cache)

        def checked() -> None:
            self._check_cache()
            set_back()
            self._calls = 0

        return checked

    def prefill(self) -> Any:
        """Call `forward` with the prompt, through an empty cache; return its outputs."""
        self._calls = 0
        return self._kept(self.forward(**self.prompt))

    def decode(self, token: torch.Tensor) -> Any:
        """Call `forward` with one token of each sequence, int64, [batch, 1]; return its outputs."""
        self._calls += 1
        return self._kept(self.forward(**self.decoding.token(token, self.cache, self._carried)))

    def generate(self, clock: TokenClock) -> torch.Tensor:
        """Return the tokens that the model takes, int64, [batch, new_tokens], through an empty cache.

        Of a beam search those of the likeliest sequence of each prompt: all are of one length, so no length penalty
        changes the order.
        """
        batch = self.workload.batch_size
        clock.start()
        choice: Greedy | Beams = Greedy() if self.beams == 1 else Beams(batch, self.beams, self._reorder)
        token = choice.next(self.begin())
        clock.token()
        for _ in range(self.new_tokens - 1):
            token = choice.next(self.decode(token))
            clock.token()
        made = choice.tokens()
        asked = (batch, self.new_tokens)
        if tuple(made.shape) != asked:
            raise RuntimeError(f"new tokens: {list(made.shape)} instead of {list(asked)}, as was asked for")
        return made

    def begin(self) -> Any:
        """Call `forward` with the prompt as the beginning of a generation; return its outputs."""
        outputs = self.prefill()
        self._carried = self.decoding.carried(outputs)
        return outputs

    def next_without_compiler(self) -> torch.Tensor:
        """Return the model's logits after the first drawn token and what the cache holds, [batch, 1, vocabulary]."""
        self._calls += 1
        token = self.drawn_tokens()[:, :1]
        return last(self._without_compiler(self.decoding.token(token, self.cache, self._carried)))

    def drawn_tokens(self) -> torch.Tensor:
        """Return tokens from the workload's seed, int64, [batch, new_tokens]: the same for every compiler and dtype."""
        import torch

        generator = torch.Generator().manual_seed(self.workload.seed)
        shape = (self.batch, self.new_tokens)
        return torch.randint(0, self.decoding.vocabulary, shape, generator=generator).to(self.workload.device)

    def logits_of_drawn(self, *, from_prompt: bool) -> torch.Tensor:
        """Return the logits after each of the `judged` first drawn tokens, [batch, judged, vocabulary].

        With `from_prompt` the prompt goes through an empty cache first, and the first of the logits are those after it.
        Of a beam search the sequences go on, after each token, from drawn ones of the same prompt.
        """
        import torch

        logits = [last(self.begin()).clone()] if from_prompt else []
        generator = torch.Generator().manual_seed(self.workload.seed + 1)
        for token in self.drawn_tokens().split(1, dim=1)[: self.judged - len(logits)]:
            if self.beams > 1:
                picked = torch.randint(0, self.beams, (self.batch,), generator=generator)
                first = torch.arange(self.batch) // self.beams * self.beams
                self._reorder((first + picked).to(token.device))
            logits.append(last(self.decode(token)).clone())
        found = torch.cat(logits, dim=1)
        self._expect(found, self.judged, "positions with logits")
        self._check_cache()
        return found

    def _with_beams(self, program: Program) -> Program:
        if self.beams == 1:
            return program
        if not hasattr(self.decoding, "reorder"):
            raise Unsupported(f"{self.workload.model} has a cache that cannot be reordered: leave mode.options.beams 1")
        inputs = {name: self._repeated(name, tensor) for name, tensor in program.inputs.items()}
        return replace(program, inputs=inputs)

    def _repeated(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Return each prompt's part of an input once for each beam: one row, or as many as a sample has (patches)."""
        prompts = self.workload.batch_size
        if not tensor.ndim or len(tensor) % prompts:
            raise Unsupported(
                f"{name} {list(tensor.shape)} is not one part for each of {prompts} prompts, which beams need: leave "
                "mode.options.beams 1"
            )
        parts = tensor.reshape(prompts, -1, *tensor.shape[1:])
        return parts.repeat_interleave(self.beams, dim=0).flatten(0, 1)

    def _reorder(self, index: torch.Tensor) -> None:
        decoding: Any = self.decoding  # of those that have beams
        decoding.reorder(self.cache, index)

    def _kept(self, outputs: Any) -> Any:
        keep = getattr(self.decoding, "kept", None)
        if keep is not None:
            keep(self.cache, outputs)
        return outputs

    def _without_compiler(self, inputs: dict[str, Any]) -> Any:
        return self._kept(self.program.model(**inputs))

    def _try_token(self) -> None:
        """Make the call with a token twice, from the same cache: what the model itself cannot do is no compiler's."""
        set_back, made = self.marked(), []
        for _ in range(2):
            made.append(self.next_without_compiler())
            set_back()
        asked = [self.batch, 1, self.decoding.vocabulary]
        if list(made[0].shape) != asked:
            shape = list(made[0].shape)
            raise Unsupported(f"{self.workload.model} returns logits {shape}, not [batch, 1, vocabulary], {asked}")
        if bool((made[0] - made[1]).abs().max() > SAME * made[0].abs().max()):
            raise Unsupported(f"{self.workload.model} keeps a state outside of its cache, which cannot be set back")

    @contextmanager
    def _told(self, cache: str, errors: tuple[type[Exception], ...]) -> Iterator[None]:
        """Raise what the model itself cannot do as Unsupported, with the reason; its own error where it cannot be
        called without a cache either.
        """
        try:
            yield
        except errors as error:
            if is_out_of_memory(error):
                raise
            model, dtype = self.workload.model, self.workload.dtype
            if cache == "static" and dtype in AUTOCAST_TO and "same dtype" in str(error):
                raise Unsupported(
                    f"under {dtype} {model} has keys and values of different dtypes, and a static cache has one "
                    f"({error}): take dtype={AUTOCAST_TO[dtype]}, or mode.options.cache=dynamic"
                ) from error
            self.program.model(**self.program.inputs)
            other = "; mode.options.cache=dynamic may do" if cache == "static" else ""
            why = f"cannot go on from a {cache} cache: {in_one_line(error)}{other}"
            raise Unsupported(f"{model} itself, without compiler, {why}") from error

    def _prompt_length(self) -> int | None:
        """Return the tokens of a prompt; None where it is none of tokens (sound, images)."""
        tokens = self.program.inputs.get("input_ids")
        if tokens is None:
            return None
        length = int(tokens.shape[1])
        asked = self.workload.sequence_length or length
        mixed = bool(self.program.fed) and length > asked  # a length counts text, and images have tokens in it besides
        self._expect(tokens, length if mixed else asked, "tokens in the prompts")
        return length

    def _check_cache(self) -> None:
        wanted, found = self.decoding.expected_length(self.program, self._calls), self.decoding.length(self.cache)
        if found is not None and wanted != found:
            raise RuntimeError(f"the cache holds {found} tokens after the prompt and {self._calls} calls, not {wanted}")

    def _expect(self, tensor: torch.Tensor, length: int, what: str) -> None:
        asked = (self.batch, length)
        if tuple(tensor.shape[:2]) != asked:
            raise RuntimeError(f"{what}: {list(tensor.shape[:2])} instead of {list(asked)}, as was asked for")


class Greedy:
    """Chooses which token comes next: the likeliest of each sequence."""

    def __init__(self) -> None:
        self._tokens: list[torch.Tensor] = []

    def next(self, outputs: Any) -> torch.Tensor:
        """Return the token that each sequence goes on with, int64, [sequences, 1], after a call with these outputs."""
        self._tokens.append(last(outputs).argmax(dim=-1))
        return self._tokens[-1]

    def tokens(self) -> torch.Tensor:
        """Return all tokens of each prompt's sequence, int64, [batch, tokens]."""
        import torch

        return torch.cat(self._tokens, dim=1)


class Beams:
    """Chooses by beam search: of each of `batch` prompts the `beams` likeliest sequences stay, prompt by prompt.

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


class TokenClock:
    """When the tokens of each generation were there: its start, then a time for each token, in seconds."""

    def __init__(self, synchronise: Callable[[], None], now: Callable[[], float] = time.perf_counter) -> None:
        self.generations: list[list[float]] = []
        self._synchronise, self._now = synchronise, now

    def start(self) -> None:
        self.generations.append([self._now()])

    def token(self) -> None:
        self._synchronise()
        self.generations[-1].append(self._now())

    def samples(self) -> Sequence[Samples]:
        """Return time to first token and, where there are several, inter-token latency, of each generation.

        Inter-token latency is (last - first) / (tokens - 1). Source: transformers, benchmark_v2. Its tail is in the
        times from each token to the next, of all generations one after the other (`inter_token_interval`).
        """
        first = [times[1] - times[0] for times in self.generations]
        between = [(times[-1] - times[1]) / (len(times) - 2) for times in self.generations if len(times) > 2]
        steps = [after - before for times in self.generations for before, after in itertools.pairwise(times[1:])]
        values = {"time_to_first_token": first, "inter_token_latency": between, "inter_token_interval": steps}
        return [Samples(metric=m, unit="s", better="lower", values=tuple(v)) for m, v in values.items() if v]


class Step:
    """One step of a phase: `Preparing` and `Recording` (`orchestrator.plugins`)."""

    def __init__(
        self,
        run: TokenLoop,
        prepare: Callable[[], None],
        call: Callable[[], Any],
        tokens: Mapping[str, Any] | None,
        clock: TokenClock | None = None,
    ) -> None:
        self.facts: Mapping[str, Any] = {} if tokens is None else {"tokens": tokens}
        self._run, self._prepare, self._call, self._clock = run, prepare, call, clock
        self._ready = False

    def prepare(self) -> None:
        with self._run.surroundings():
            self._prepare()
        self._ready = True

    def __call__(self) -> Any:
        if not self._ready:
            self.prepare()
        self._ready = False
        with self._run.surroundings():
            return self._call()

    def restart(self) -> None:
        if self._clock is not None:
            self._clock.generations.clear()

    def samples(self) -> Sequence[Samples]:
        return () if self._clock is None else self._clock.samples()
