"""What a Hugging Face model is called with: rules, which of them hold for which class, and how tensors are drawn.

A rule is data, the same in the tables here and in the `inputs` and `labels` of a suite's YAML:

    input_ids                                             a copy of the input `input_ids`
    {shape: [batch, sequence], high: vocab_size}          integers of [0, vocab_size), int64
    {shape: [batch, 42, visual_feat_dim]}                 standard normal, float32 (no `high`)
    null                                                  no such input, whatever the table says

A word in `shape`, `low` or `high` is `batch`, `sequence`, or the name of an attribute of the model's config.

The end of a class's name tells its rules; the longest matching one wins: ElectraForPreTraining before ForPreTraining.
Labels that the class's `forward` does not take are left out, which is how one rule serves BertForPreTraining
(next_sentence_label) and AlbertForPreTraining (sentence_order_label). Source: the rules by name of PyTorch's
benchmarks/dynamo/huggingface.py, without its degenerate labels (all 0, 1-tuples).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Rule = str | Mapping[str, Any] | None
Rules = Mapping[str, Rule]

RULE_KEYS = frozenset({"shape", "low", "high"})

CHOICES = 3

PER_TOKEN = ("batch", "sequence")
TOKENS: Rule = {"shape": PER_TOKEN, "high": "vocab_size"}
CLASSES: Rule = {"shape": ["batch"], "high": "num_labels"}
YES_OR_NO: Rule = {"shape": ["batch"], "high": 2}
VISUAL: Rules = {
    "visual_feats": {"shape": ["batch", 42, "visual_feat_dim"]},
    "visual_pos": {"shape": ["batch", 42, "visual_pos_dim"]},
}
ATTENTION_MASK: Rule = {"shape": PER_TOKEN, "low": 1, "high": 2}


@dataclass(frozen=True)
class ClassFamily:
    """Labels, inputs beside (or instead of) the main one, and config values of the classes whose name ends alike."""

    labels: Rules
    inputs: Rules = field(default_factory=dict)
    config: Mapping[str, object] = field(default_factory=dict)


# Left None, the first forward pass writes the problem type into the config, and a compiled model then recompiles.
_CLASSIFICATION = {"problem_type": "single_label_classification"}

FAMILIES: Mapping[str, ClassFamily] = {
    "ForCausalLM": ClassFamily({"labels": TOKENS}),
    "ForMaskedLM": ClassFamily({"labels": TOKENS}),
    "LMHeadModel": ClassFamily({"labels": TOKENS}),
    "ModelWithLMHead": ClassFamily({"labels": TOKENS}),
    "ForConditionalGeneration": ClassFamily({"labels": TOKENS}, inputs={"decoder_input_ids": "input_ids"}),
    "ForQuestionAnswering": ClassFamily(
        {
            "start_positions": {"shape": ["batch"], "high": "sequence"},
            "end_positions": {"shape": ["batch"], "high": "sequence"},
        }
    ),
    "ForSequenceClassification": ClassFamily({"labels": CLASSES}, config=_CLASSIFICATION),
    "ForImageClassification": ClassFamily({"labels": CLASSES}, config=_CLASSIFICATION),
    "ForVideoClassification": ClassFamily({"labels": CLASSES}, config=_CLASSIFICATION),
    "ForAudioClassification": ClassFamily({"labels": CLASSES}),
    "ForXVector": ClassFamily({"labels": CLASSES}),
    "ForTokenClassification": ClassFamily({"labels": {"shape": PER_TOKEN, "high": "num_labels"}}),
    "ForMultipleChoice": ClassFamily(
        {"labels": {"shape": ["batch"], "high": CHOICES}},
        inputs={"input_ids": {"shape": ["batch", CHOICES, "sequence"], "high": "vocab_size"}},
    ),
    "ForNextSentencePrediction": ClassFamily({"labels": YES_OR_NO}),
    "ForPreTraining": ClassFamily(
        {"labels": TOKENS, "next_sentence_label": YES_OR_NO, "sentence_order_label": YES_OR_NO},
    ),
    "ElectraForPreTraining": ClassFamily({"labels": {"shape": PER_TOKEN, "high": 2}}),  # replaced token or not
    "LxmertForPreTraining": ClassFamily({"labels": TOKENS, "matched_label": YES_OR_NO}, inputs=VISUAL),
    "LxmertForQuestionAnswering": ClassFamily({"labels": {"shape": ["batch"], "high": "num_qa_labels"}}, inputs=VISUAL),
    # 16 labels fit the 49 frames of one second (16,000 samples), repeats included; 0 is the blank.
    "ForCTC": ClassFamily({"labels": {"shape": ["batch", 16], "low": 1, "high": "vocab_size"}}),
}


def family_of(class_name: str) -> ClassFamily:
    """Return the family of a class. Raises ValueError that names the options to set when no name's end matches."""
    ends = [end for end in FAMILIES if class_name.endswith(end)]
    if not ends:
        raise ValueError(
            f"no rule for the labels of '{class_name}': its name ends in none of {', '.join(FAMILIES)}; "
            "write them as build.labels, and inputs beside the main one as build.inputs "
            "(`labels: {}` for a model that is run without)"
        )
    return FAMILIES[max(ends, key=len)]


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


def names_in(rule: Any) -> set[str]:
    """Return the words in the shapes and bounds of rules."""
    if isinstance(rule, str):
        return {rule}
    inner = rule.values() if isinstance(rule, Mapping) else rule if isinstance(rule, (list, tuple)) else ()
    return set().union(*(names_in(one) for one in inner))


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
