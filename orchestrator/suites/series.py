"""Time series for a Hugging Face model: its past, what is known of its future, and what does not change in it."""

from __future__ import annotations

from typing import Any

from orchestrator.suites.facts import Draws, Facts

Inputs = dict[str, Any]


def series(facts: Facts, draws: Draws, batch: int, *, labels: bool) -> tuple[Inputs, str]:
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
        classes = "Classification" in type(facts.model).__name__
        inputs["target_values"] = (
            draws.integers("target_values", 0, targets, batch)
            if classes
            else draws.normal("target_values", batch, targets)
        )
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
