"""What a Hugging Face model is called with: which rules (`orchestrator.suites.rules`) hold for which class.

The end of a class's name tells its rules; the longest matching one wins: ElectraForPreTraining before ForPreTraining.
Labels that the class's `forward` does not take are left out, which is how one rule serves BertForPreTraining
(next_sentence_label) and AlbertForPreTraining (sentence_order_label). Source: the rules by name of PyTorch's
benchmarks/dynamo/huggingface.py, without its degenerate labels (all 0, 1-tuples).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.suites.rules import KEY, Rule, Rules

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
            "write them as suite.common.build.labels, as in 'suite.common.build.labels.labels={shape:[batch],high:2}', "
            f"and inputs beside the main one as {KEY} (suite.common.build.labels={{}} for a model that is run without)"
        )
    return FAMILIES[max(ends, key=len)]
