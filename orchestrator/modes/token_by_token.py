"""A model, a cache, and the calls between the two: what prefill, decode and generate are made of.

The loop is ours, around the model's forward, because that is what a compiler compiles; `generate()` of Hugging Face
decides itself what it compiles. It is greedy and knows no end of sequence: exactly as many tokens are made as were
asked for, and that is checked.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from orchestrator.plugins import Decoding, Forward, Program, Unsupported
from orchestrator.precision import AUTOCAST_TO, autocast
from orchestrator.probes.clock import synchroniser
from orchestrator.records import Samples, Workload

if TYPE_CHECKING:
    import torch


class TokenLoop:
    """The calls of one model through one cache. All of them belong inside `surroundings`.

    The cache is allocated by a call of the model itself, so that no compiled code contains the allocation (it would be
    compiled a second time for the calls that find it done), and so that it has the model's shapes and dtype.

    Raises Unsupported for a program that does not generate tokens, ValueError for lengths that it has no positions for.
    """

    def __init__(self, program: Program, forward: Forward, workload: Workload, cache: str, new_tokens: int) -> None:
        import torch

        if program.decoding is None:
            raise Unsupported(
                f"{workload.model} does not generate tokens: mode={workload.mode.name} is for causal and "
                "encoder-decoder language models, as those of suite=generation"
            )
        program.model.eval()
        self.decoding: Decoding = program.decoding
        self.program, self.forward, self.workload, self.new_tokens = program, forward, workload, new_tokens
        self.synchronise = synchroniser(torch.device(workload.device))
        self.cache = self.decoding.new_cache(program, cache, new_tokens)
        self.prompt = self.decoding.prompt(program, self.cache)
        self.prompt_length = self._prompt_length()
        with self.surroundings():
            self._carried = self.decoding.carried(self._outputs_without_compiler(cache))
        self._calls = 0  # since the prompt: what the cache must hold is known, and checked before it is set back

    @contextmanager
    def surroundings(self) -> Iterator[None]:
        """No gradients, and the workload's autocast."""
        import torch

        with torch.no_grad(), autocast(self.workload):
            yield

    def renew(self, program: Program, workload: Workload) -> None:
        """Begin again with `program`'s prompt and another seed, in the same cache, filled by the model itself."""
        self.reset()
        self.program, self.workload = program, workload
        self.prompt = self.decoding.prompt(program, self.cache)
        self._carried = self.decoding.carried(program.model(**self.prompt))
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
        return self.forward(**self.prompt)

    def decode(self, token: torch.Tensor) -> Any:
        """Call `forward` with one token of each sequence, int64, [batch, 1]; return its outputs."""
        self._calls += 1
        return self.forward(**self.decoding.token(token, self.cache, self._carried))

    def generate(self, clock: TokenClock) -> torch.Tensor:
        """Return the tokens that the model takes, int64, [batch, new_tokens], through an empty cache."""
        import torch

        clock.start()
        tokens = [_likeliest(self.begin())]
        clock.token()
        while len(tokens) < self.new_tokens:
            tokens.append(_likeliest(self.decode(tokens[-1])))
            clock.token()
        made = torch.cat(tokens, dim=1)
        self._expect(made, self.new_tokens, "new tokens")
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
        return _last(self.program.model(**self.decoding.token(token, self.cache, self._carried)))

    def drawn_tokens(self) -> torch.Tensor:
        """Return tokens from the workload's seed, int64, [batch, new_tokens]: the same for every compiler and dtype."""
        import torch

        generator = torch.Generator().manual_seed(self.workload.seed)
        shape = (self.workload.batch_size, self.new_tokens)
        return torch.randint(0, self.decoding.vocabulary, shape, generator=generator).to(self.workload.device)

    def logits_of_drawn(self, *, from_prompt: bool) -> torch.Tensor:
        """Return the logits after each of the drawn tokens, [batch, new_tokens, vocabulary].

        With `from_prompt` the prompt goes through an empty cache first, and the first of the logits are those after it.
        """
        import torch

        logits = [_last(self.begin()).clone()] if from_prompt else []
        for token in self.drawn_tokens().split(1, dim=1)[: self.new_tokens - len(logits)]:
            logits.append(_last(self.decode(token)).clone())
        found = torch.cat(logits, dim=1)
        self._expect(found, self.new_tokens, "positions with logits")
        self._check_cache()
        return found

    def _outputs_without_compiler(self, cache: str) -> Any:
        try:
            return self.program.model(**self.prompt)
        except RuntimeError as error:
            if cache == "static" and self.workload.dtype in AUTOCAST_TO and "same dtype" in str(error):
                raise Unsupported(
                    f"under {self.workload.dtype} {self.workload.model} has keys and values of different dtypes, and "
                    f"a static cache has one ({error}): take dtype={AUTOCAST_TO[self.workload.dtype]}, or "
                    "mode.options.cache=dynamic"
                ) from error
            raise

    def _prompt_length(self) -> int:
        length = self.workload.sequence_length
        if length is None:
            raise ValueError(f"{self.workload.model} needs a sequence_length: the length of the prompt")
        self._expect(self.program.inputs["input_ids"], length, "tokens in the prompts")
        return length

    def _check_cache(self) -> None:
        wanted, found = self.decoding.expected_length(self.program, self._calls), self.decoding.length(self.cache)
        if wanted != found:
            raise RuntimeError(f"the cache holds {found} tokens after the prompt and {self._calls} calls, not {wanted}")

    def _expect(self, tensor: torch.Tensor, length: int, what: str) -> None:
        asked = (self.workload.batch_size, length)
        if tuple(tensor.shape[:2]) != asked:
            raise RuntimeError(f"{what}: {list(tensor.shape[:2])} instead of {list(asked)}, as was asked for")


def _last(outputs: Any) -> torch.Tensor:
    """Return the logits of the last position, [batch, 1, vocabulary]."""
    logits: torch.Tensor = outputs["logits"][:, -1:]
    return logits


def _likeliest(outputs: Any) -> torch.Tensor:
    """Return the most likely next token of each sequence, int64, [batch, 1]."""
    return _last(outputs).argmax(dim=-1)


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
        tokens: Mapping[str, Any],
        clock: TokenClock | None = None,
    ) -> None:
        self.facts: Mapping[str, Any] = {"tokens": tokens}
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
