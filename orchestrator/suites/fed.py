"""What a Hugging Face model is called with, found: images, sound, time series, text around them, and labels.

By the kind of each parameter of `forward`, in sizes that the config and the configs inside it say; rules that are
written (`orchestrator.suites.inputs`) win over all of it, and null leaves an input out.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import first_line
from orchestrator.plugins import Unsupported
from orchestrator.suites.drawn import draw
from orchestrator.suites.facts import AUDIO, TEXT, TOKEN_INPUTS, VISION, Draws, Facts, Inputs
from orchestrator.suites.heard import CODEBOOKS, FEATURES, SAMPLES, codes, sound
from orchestrator.suites.labelled import labels, shortened
from orchestrator.suites.mixed import evaluating, features_of, mix, phrase, placeholders
from orchestrator.suites.rules import KEY, Rules, names_in
from orchestrator.suites.seen import NAMES, pixels

TOWERS = ("audio_tower", "audio_encoder", "speech_encoder", "audio_model")
"""What the part that hears is called where no method of the model makes its features."""


@dataclass
class Fed:
    """inputs: name -> tensor, list, dict or constant. words: what a sample has. length_used: the row's is in it.
    not_needed: inputs that are left out because others stand for them: sound where its codes are given. labels: inputs
    that were found for the loss alone.
    """

    inputs: dict[str, Any] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    length_used: bool = False
    not_needed: tuple[str, ...] = ()
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Asked:
    """batch, length: the row's. labels: the loss is wanted. sizes: what words stand for, over the config."""

    batch: int
    length: int | None
    seed: int
    labels: bool
    sizes: Mapping[str, Any]


def feed(model: Any, rules: Rules, asked: Asked, size: Callable[[str, int | None], int]) -> Fed:
    """Return the inputs of a model: those of `rules`, and what else its `forward` takes and this finds.

    `size(word, length)` is the number that a word of a rule stands for. Raises Unsupported for a required input that is
    not found, ValueError for a rule that is none.
    """
    facts, draws, fed = Facts(model, asked.sizes), Draws(asked.seed), Fed()
    of_text = any("sequence" in names_in(rules.get(name)) for name in TOKEN_INPUTS)

    def drawn(length: int | None) -> dict[str, Any]:
        return draw(rules, lambda word: size(word, length), asked.seed)

    def give(inputs: Mapping[str, Any], words: str) -> None:
        main = next(iter(inputs), None)
        if main is not None and rules.get(main, ...) is not None:
            fed.inputs.update({name: one for name, one in inputs.items() if name not in rules})
            fed.words.append(words)

    if not _left_out(rules, NAMES) and not facts.lacks(VISION[:2]):
        give(*pixels(facts, draws, asked.batch))
    coded = [name for name in TOKEN_INPUTS if rules.get(name) is not None and codes(facts, name) == rules[name]]
    if coded:
        fed.not_needed = SAMPLES
        fed.words.append(f"sound as tokens of {facts.number(CODEBOOKS)} codebooks")
    elif not _left_out(rules, (*SAMPLES, *FEATURES)) and not facts.lacks(AUDIO[:3]):
        candidates, words = sound(facts, draws, asked.batch, None if of_text else asked.length)
        give(_one_that_runs(facts, candidates), words)
        fed.length_used = (
            bool(candidates) and not of_text and any(asked.length in one.shape for one in candidates[0].values())
        )
    give(*_series(facts, draws, asked.batch, labels=asked.labels))

    if "qformer_input_ids" in facts.takes and asked.length:
        vocabulary = facts.number(("vocab_size",), ("qformer",))
        tokens = draws.integers("qformer_input_ids", 0, vocabulary, asked.batch, asked.length)
        give({"qformer_input_ids": tokens}, "an instruction")
    written = drawn(asked.length)
    mixed = placeholders(facts, {**written, **fed.inputs}, asked.batch) if "input_ids" in written else []
    if more := sum(one.length for one in mixed):
        written = drawn((asked.length or 0) + more)
        mix(written, mixed, facts, size("vocab_size", None))
    if "input_ids" in written:
        phrase(written["input_ids"], facts)
    fed.words += [f"{one.count} {one.modality} tokens" for one in mixed]
    if of_text and fed.words:
        fed.words.append(f"{asked.length} tokens of text" if asked.length else "text")
    fed.length_used |= any("sequence" in names_in(rule) for rule in rules.values())
    fed.inputs = {**written, **fed.inputs}
    for name, value in _beside_text(facts, draws, asked, fed.inputs).items():
        if name not in rules:
            fed.inputs.setdefault(name, value)
    if asked.labels:
        found = labels(facts, draws, asked.batch, fed.inputs)
        fed.labels = frozenset(found)
        fed.inputs |= {name: one for name, one in found.items() if name not in rules}
        fed.inputs |= shortened(facts, fed.inputs)
    _required(facts, draws, asked, rules, fed)
    return fed


def _left_out(rules: Rules, names: Sequence[str]) -> bool:
    return any(name in rules and rules[name] is None for name in names)


def _one_that_runs(facts: Facts, candidates: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the inputs that the part of the model that hears takes, of candidates that differ in their layout only.

    Raises Unsupported, with what each of them gave, where none is taken.
    """
    if len(candidates) < 2:
        return candidates[0] if candidates else {}
    said = []
    for inputs in candidates:
        try:
            _hear(facts, inputs)
        except (Unsupported, RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            name, value = next(iter(inputs.items()))
            said.append(f"{name} {list(value.shape)}: {first_line(error):.120}")
        else:
            return inputs
    raise Unsupported(f"{type(facts.model).__name__} takes no sound that is known: {'; '.join(said)}. Write {KEY}")


def _hear(facts: Facts, inputs: Mapping[str, Any]) -> None:
    if features_of(facts, "audio", inputs) is not None:
        return
    seq2seq = getattr(facts.model.config, "is_encoder_decoder", False)
    towers = (one for name, one in facts.model.named_modules() if name.rpartition(".")[2] in TOWERS)
    encoder = facts.model.get_encoder() if seq2seq else next(towers, facts.model)
    taken = inspect.signature(encoder.forward).parameters
    with evaluating(facts.model):
        encoder(**{name: value for name, value in inputs.items() if name in taken})


def _beside_text(facts: Facts, draws: Draws, asked: Asked, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what belongs to each token, or to each token and image."""
    import torch

    tokens = inputs.get("input_ids")
    if tokens is None:
        return {}
    made: dict[str, Any] = {}
    if "visual_embeds" in inputs:
        made["attention_mask"] = torch.ones_like(tokens)
    if "bbox" in facts.takes:
        whole = "Long" in facts.described.get("bbox", "Long")
        corners = draws.uniform("bbox", *tokens.shape, 2, 2).sort(dim=-2).values.flatten(-2)
        made["bbox"] = (
            (corners * (facts.number(("max_2d_position_embeddings",), (), 1001) - 1)).long() if whole else corners
        )
    if "image_attention_mask" in facts.takes and "image_encoder_embeddings" in facts.takes:
        made["image_attention_mask"] = torch.ones(*tokens.shape, inputs["pixel_values"].shape[1], dtype=torch.int64)
    if "cross_attention_mask" in facts.takes and "aspect_ratio_mask" in inputs:
        mask = inputs["aspect_ratio_mask"]
        made["cross_attention_mask"] = mask[:, None].expand(-1, tokens.shape[1], -1, -1).clone()
    return made


def _required(facts: Facts, draws: Draws, asked: Asked, rules: Rules, fed: Fed) -> None:
    """Give what `forward` cannot do without and nothing has given: of the shape that its docstring says."""
    import torch

    for name, parameter in facts.takes.items():
        if name in fed.inputs or name in rules or parameter.default is not parameter.empty:
            continue
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            continue
        words = facts.described.get(name, "")
        shape = _shape(name, words, facts, asked)
        if shape is None:
            known = f"it is {words}" if words else "its documentation does not say what it is"
            raise Unsupported(
                f"{type(facts.model).__name__} needs {name}, and nothing gives it: {known}; write it as "
                f"'{KEY}.{name}={{shape:[batch,...]}}'"
            )
        if name.endswith("_ids") or "Long" in words:
            most = facts.number(("vocab_size",), TEXT) if name.endswith("input_ids") else 2
            fed.inputs[name] = draws.integers(name, 0, most, *shape)
        elif "Bool" in words or name.endswith("mask"):
            fed.inputs[name] = torch.ones(shape, dtype=torch.bool if "Bool" in words else torch.int64)
        else:
            fed.inputs[name] = draws.normal(name, *shape)
        fed.words.append(f"{name} {list(shape)}")


def _shape(name: str, words: str, facts: Facts, asked: Asked) -> list[int] | None:
    """Return the numbers of "torch.Tensor of shape (batch_size, 4, hidden_size)"; None for what is not said so."""
    found = re.search(r"shape '?[(\[]([\w., *]+)[)\]]", words)
    if found is None:
        return None
    shape = []
    for part in found[1].strip(" ,").split(","):
        number = _dimension(name, part.strip(), facts, asked)
        if number is None:
            return None
        shape.append(number)
    return shape


def _dimension(name: str, word: str, facts: Facts, asked: Asked) -> int | None:
    """Return the number that a word of the shape of input `name` stands for; a text's length may be its own."""
    word = word.removeprefix("config.")
    if word.isdigit():
        return int(word)
    if word in ("batch_size", "bs", "batch"):
        return asked.batch
    if "sequence_length" in word or word in ("seq_len", "seq_length"):
        own = facts.first((f"{name.partition('_')[0]}_seq_len",))
        return own if isinstance(own, int) else asked.length
    if word in ("height", "width"):
        return facts.image_size()[word == "width"]
    try:
        return facts.number((word,), AUDIO)
    except ValueError:
        return None


def _series(facts: Facts, draws: Draws, batch: int, *, labels: bool) -> tuple[Inputs, str]:
    """Return the inputs that hold one series a sample, and in words what it is; nothing for a model that takes none."""
    import torch

    if "past_values" not in facts.takes:
        return {}, ""
    context = facts.number(("context_length", "prediction_length"))
    future = facts.number(("prediction_length", "horizon_length"), (), 1)
    channels = facts.number(("num_input_channels", "input_size"), (), 1)
    lags = facts.first(("lags_sequence",), (), [0])
    past = context + max(lags) if "past_time_features" in facts.takes else context
    several = [channels] if channels > 1 or facts.first(("num_input_channels",)) is not None else []
    inputs: Inputs = {"past_values": draws.normal("past_values", batch, past, *several)}
    if "past_time_features" in facts.takes:
        clocks = facts.number(("num_time_features",))
        inputs["past_time_features"] = draws.normal("past_time_features", batch, past, clocks)
        inputs["past_observed_mask"] = torch.ones(batch, past, *several)
        inputs["future_values"] = draws.normal("future_values", batch, future, *several)
        inputs["future_time_features"] = draws.normal("future_time_features", batch, future, clocks)
        inputs |= _static(facts, draws, batch)
    elif "past_values_padding" in facts.takes:
        inputs["past_values_padding"] = torch.zeros(batch, past, dtype=torch.int64)
    if "freq" in facts.takes:
        inputs["freq"] = draws.integers("freq", 0, facts.number(("freq_size",), (), 1), batch)
    if labels and "future_values" in facts.takes and "For" in type(facts.model).__name__:
        inputs["future_values"] = draws.normal("future_values", batch, future, *several)
    if labels and "target_values" in facts.takes:
        targets = facts.number(("num_targets",), (), 1)
        if "Classification" in type(facts.model).__name__:
            inputs["target_values"] = draws.integers("target_values", 0, targets, batch)
        else:
            inputs["target_values"] = draws.normal("target_values", batch, targets)
    return inputs, f"a series of {past} steps" + (f" in {channels} channels" if channels > 1 else "")


def _static(facts: Facts, draws: Draws, batch: int) -> Inputs:
    import torch

    inputs: Inputs = {}
    categories = facts.number(("num_static_categorical_features",), (), 0)
    if categories:
        sizes = facts.first(("cardinality",))
        columns = [draws.integers(f"category{place}", 0, sizes[place], batch) for place in range(categories)]
        inputs["static_categorical_features"] = torch.stack(columns, 1)
    if numbers := facts.number(("num_static_real_features",), (), 0):
        inputs["static_real_features"] = draws.normal("static_real_features", batch, numbers)
    return inputs


@dataclass(frozen=True)
class Sense:
    """A part of a model that sees or hears: words in the names of its modules, and the inputs that feed it."""

    name: str
    words: tuple[str, ...]
    inputs: tuple[str, ...]


DEPTH = 3
"""Of module names that are looked at: model.encoder.vision_tower."""
SENSES = (
    Sense("images", ("vision", "visual", "image", "video", "vit"), NAMES),
    Sense("sound", ("audio", "speech"), (*FEATURES, *SAMPLES, "audio_values", "input_audio_embeds")),
)


def refuse_unfed(model: Any, given: Mapping[str, Any]) -> None:
    """Raise Unsupported for a part that sees or hears and gets nothing: its figures would be of the text part alone.

    An input that is written as null counts: that is asked for.
    """
    taken = inspect.signature(model.forward).parameters
    for sense in SENSES:
        if any(name in given for name in sense.inputs) or not has_part(model, sense):
            continue
        name = next((name for name in sense.inputs if name in taken), sense.inputs[0])
        raise Unsupported(
            f"{type(model).__name__} has a part for {sense.name} ({name}), and nothing gives it any: measured without "
            f"them it would be another model; write it as {KEY}.{name}={{shape:[batch,...]}}, or "
            f"{KEY}.{name}=null, which leaves that part out on purpose"
        )


def has_part(model: Any, sense: Sense) -> bool:
    """Return whether a module of this sense was built: one whose name says so, or whose main input is of it."""
    if model.main_input_name in sense.inputs:
        return True
    names = [
        name
        for name, module in model.named_modules()
        if name.count(".") < DEPTH and any(True for _ in module.parameters())
    ]
    return any(word in name.rpartition(".")[2] for name in names for word in sense.words)
