"""Hugging Face models, built from a config with random weights: no network, no checkpoint.

The class's default config, with the values given here laid over it, decides what is built; the end of the class's
name decides what it is called with (`orchestrator.suites.inputs`). Both can be replaced in a suite's YAML, so a
model of one's own needs no code.
"""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.errors import did_you_mean
from orchestrator.plugins import Program, Unsupported
from orchestrator.records import Workload
from orchestrator.suites.configured import CHARACTERS, configure, constructed, parts_of, text_of
from orchestrator.suites.decoding import decoding_of
from orchestrator.suites.dropout import silence, zero
from orchestrator.suites.example_inputs import by_name
from orchestrator.suites.facts import LENGTHS, TOKEN_INPUTS, Facts
from orchestrator.suites.fed import Asked, Fed, feed, refuse_unfed
from orchestrator.suites.heard import codes
from orchestrator.suites.inputs import ATTENTION_MASK, TOKENS, ClassFamily, family_of
from orchestrator.suites.rules import KEY, Rules, check, looked_up
from orchestrator.suites.shrunk import shrunk

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class HuggingFaceModel:
    """One class of `transformers`.

    class_name: the class; None = the model's name in the suite.
    config: keyword arguments of the class's config, over its defaults.
    inputs: rules of inputs (`orchestrator.suites.rules`) over those of the class's family; null drops one.
    labels: rules of the labels instead of the family's.
    last_token: name of a config attribute, the last token of every sequence ("eos_token_id").
    attention_mask: pass a mask of ones (PyTorch's dashboard passes none).
    shrunk: make the config small before `config` is laid over it (`orchestrator.suites.shrunk`).
    sizes: what is not in the config, or over it: {image_size: 224, samples: 16000, frames: 3000}; any word of a rule.
    """

    PRELOAD: ClassVar[tuple[str, ...]] = ("transformers.modeling_utils",)

    class_name: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Rules = field(default_factory=dict)
    labels: Rules | None = None
    last_token: str | None = None
    attention_mask: bool = False
    shrunk: bool = False
    sizes: Mapping[str, Any] = field(default_factory=dict)

    def check_when_planned(self) -> None:
        """Raise ValueError for rules that are none, whatever the model."""
        check(self.inputs)
        check(self.labels or {}, "suite.common.build.labels")

    def preload_modules(self, workload: Workload) -> tuple[str, ...]:
        """Return the module of the model's class: transformers imports it late, and it takes seconds."""
        try:
            return (str(find_class(self.class_name or workload.builder.name).__module__),)
        except Unsupported:
            return ()  # `build` says so, in a row

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        """Return the program in float32 on the CPU, weights and inputs from `workload.seed` alone.

        `model(**inputs)` returns the output's tensors by name (loss, logits, ...). The labels are among the inputs
        unless the mode says `labels: false`. The global random state is left as it was.

        Raises Unsupported when the installed transformers has no such class, ValueError for a config key, a
        sequence length or a class name that does not fit, each with its remedy.
        """
        import torch

        from orchestrator.suites.wrapped import NamedOutputs

        model_class, config, family = self._chosen(workload)
        if not dropout:
            _zero_dropout(config)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(workload.seed)
            model = constructed(model_class, config)
        if getattr(model, "loss_type", "") is None and family.labels:
            # GPT2LMHeadModel and others whose names do not tell: this is what they fall back to at every loss, with
            # a warning that would split each compiled graph.
            model.loss_type = "ForCausalLM"
        _check_length(model, workload.sequence_length)
        if not dropout:
            silence(model)
        rules = self._rules(model, family, workload)
        fed = feed(model.float(), rules, self._asked(workload, model, family), _sizes(config, workload, self.sizes))
        refuse_unfed(model, {**fed.inputs, **rules, **dict.fromkeys(fed.not_needed)})
        _refuse_length(model, fed, workload)
        if self.last_token is not None:
            fed.inputs["input_ids"][..., -1] = _attribute(config, self.last_token)
        labels = frozenset(self.labels or family.labels) | fed.labels
        decoding = decoding_of(model, functools.partial(_check_length, model), labels)
        called, inputs = by_name(NamedOutputs(model), fed.inputs, KEY)
        return Program(called, inputs, _loss, decoding, fed=", ".join(fed.words))

    def _asked(self, workload: Workload, model: Any, family: ClassFamily) -> Asked:
        labels = bool(workload.mode.options.get("labels", True)) and self.labels is None
        if not family.labels and getattr(model, "loss_type", "") is None:
            source = inspect.getsource(inspect.unwrap(type(model).forward))
            labels &= "loss_function(" not in source or "vocab_size" in source  # what it falls back to asks for that
        return Asked(workload.batch_size, workload.sequence_length, workload.seed, labels, self.sizes)

    def _chosen(self, workload: Workload) -> tuple[Any, Any, ClassFamily]:
        """Return the class, its config, and what its name says about labels and inputs."""
        name = self.class_name or workload.builder.name
        model_class, family = find_class(name), self._family(name)
        stored = shrunk(model_class.config_class()) if self.shrunk else None
        return model_class, configure(model_class, {**family.config, **self.config}, stored), family

    def _family(self, class_name: str) -> ClassFamily:
        return ClassFamily(self.labels) if self.labels is not None else family_of(class_name)

    def _rules(self, model: Any, family: ClassFamily, workload: Workload) -> Rules:
        taken = inspect.signature(model.forward).parameters
        rules: dict[str, Any] = {"input_ids": TOKENS} if "input_ids" in taken else {}
        if "decoder_input_ids" in taken and getattr(model.config, "is_encoder_decoder", False):
            rules["decoder_input_ids"] = "input_ids" if rules else TOKENS
        for name, rule in family.inputs.items():
            if name in taken and (not isinstance(rule, str) or (rule in rules and name in rules)):
                rules[name] = rule
        labels = {key: rule for key, rule in family.labels.items() if self.labels is not None or key in taken}
        facts = Facts(model, self.sizes)
        if self.labels is None:  # text and image together: found, as its documentation says
            labels = {key: one for key, one in labels.items() if "total_seq" not in facts.described.get(key, "")}
        for found in (rules, labels if self.labels is None else {}):
            found |= {name: rule for name in found if (rule := codes(facts, name)) is not None}
        if self.labels is None and rules.get("input_ids", TOKENS) != TOKENS == labels.get("labels"):
            labels["labels"] = "input_ids"  # of the same shape
        rules |= self.inputs
        if self.attention_mask:
            rules["attention_mask"] = ATTENTION_MASK
        return rules | labels if workload.mode.options.get("labels", True) else rules


def _loss(outputs: Any) -> torch.Tensor:
    if "loss" not in outputs:
        raise Unsupported(
            f"the model returned no loss, only {', '.join(outputs)}: training needs labels "
            "(mode.options.labels=true, and build.labels where the class's name does not tell them)"
        )
    loss: torch.Tensor = outputs["loss"]
    return loss


def find_class(name: str) -> Any:
    """Return a model class of transformers by name. Raises Unsupported when the installed version has none."""
    import transformers

    version = importlib.metadata.version("transformers")
    try:
        found = getattr(transformers, name)
    except (AttributeError, ImportError, ModuleNotFoundError) as error:
        near = did_you_mean(name, [key for key in dir(transformers) if "For" in key or "LMHead" in key])
        raise Unsupported(f"transformers {version} has no class '{name}' ({error}); {near}") from error
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel) and found.config_class):
        raise Unsupported(f"transformers {version}: '{name}' is no model class that can be built from a config")
    return found


def _zero_dropout(config: Any) -> None:
    """Set every probability with "drop" in its name to 0, and masking of spectra off: before the model is built.

    A model keeps the probabilities that it was built with, so that editing its config later changes nothing.
    """
    for part in parts_of(config):
        zero(part)
        if hasattr(part, "apply_spec_augment"):
            part.apply_spec_augment = False


def _check_length(model: Any, length: int | None) -> None:
    """Raise ValueError when the model has no positions for `length` tokens; relative positions have no limit."""
    if not any(name in inspect.signature(model.forward).parameters for name in TOKEN_INPUTS):
        return  # it counts samples or frames, of which some make a position
    text = text_of(model.config)
    own = vars(text)  # not getattr: some configs alias one name to the other (GPT2Config)
    limits = {key: own[key] - _first_position(model) for key in LENGTHS if isinstance(own.get(key), int)}
    if own.get("axial_pos_embds"):
        limits["axial_pos_shape"] = math.prod(text.axial_pos_shape)
    for key, limit in limits.items():
        if length is not None and length > limit:
            raise ValueError(
                f"sequence_length {length} is over the {limit} positions of {type(model).__name__}: "
                f"take at most {limit}, or give the model more with build.config.{key}"
            )


def _refuse_length(model: Any, fed: Fed, workload: Workload) -> None:
    """Raise Unsupported where a length is asked for and no input has it: the row would show a figure it is not of."""
    if workload.sequence_length is not None and not fed.length_used:
        raise Unsupported(
            f"{type(model).__name__} takes no length, and sequence_length={workload.sequence_length} would be shown as "
            "if it did: run it without (in a suite that sets one, suite.common.sequence_length=null)"
        )


def _first_position(model: torch.nn.Module) -> int:
    """RoBERTa and its kin count positions from the padding index + 1, and have that many fewer than they seem."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            return int(module.padding_idx) + 1
    return 0


def _attribute(config: Any, name: str) -> int:
    for part in (text_of(config), config, *parts_of(config)):
        value = looked_up(part, name)
        if isinstance(value, int):
            return value
    if name == "vocab_size":
        return CHARACTERS
    raise ValueError(f"{type(config).__name__} has no number '{name}': set it in build.config, or change the rule")


def _sizes(config: Any, workload: Workload, sizes: Mapping[str, Any]) -> Callable[[str, int | None], int]:
    """Return (word, length) -> the number that the word stands for where the text has `length` tokens."""

    def size(word: str, length: int | None) -> int:
        if word == "batch":
            return workload.batch_size
        if word in sizes:
            return int(sizes[word])
        if word != "sequence":
            return _attribute(config, word)
        if length is None:
            raise ValueError(f"{workload.model} needs a sequence_length")
        return length

    return size
