"""Every record survives a JSON round trip; ids depend on all that can change the numbers, and on nothing else."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from support.example_records import EAGER, JOB, PERFORMANCE, RESULT, WORKLOAD

from orchestrator.records import (
    STATUSES,
    JobSpec,
    PluginSpec,
    Workload,
    fingerprint,
    job_id,
)
from orchestrator.typed_json import from_json, to_json


@pytest.mark.parametrize("record", [WORKLOAD, JOB, RESULT, JOB.needs[0], RESULT.failure, RESULT.samples[0]])
def test_round_trip(record: Any) -> None:
    text = json.dumps(to_json(record), allow_nan=False)
    assert from_json(type(record), json.loads(text)) == record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"round": "2"}, "JobSpec.round: expected int"),
        ({"round": True}, "JobSpec.round: expected int"),
        ({"surplus": 1}, "surplus"),
        ({"workload": {**to_json(WORKLOAD), "seed": None}}, "JobSpec.workload.seed: expected int"),
        ({"needs": {}}, "JobSpec.needs: expected a list"),
        ({"timeout_s": "10"}, "JobSpec.timeout_s: expected a number"),
    ],
)
def test_what_is_not_a_record_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(JobSpec, to_json(JOB) | change)


def test_a_missing_key_is_named() -> None:
    data = to_json(JOB)
    del data["compiler"]
    with pytest.raises(ValueError, match="compiler"):
        from_json(JobSpec, data)


def identify(**changes: Any) -> str:
    parts = {"workload": WORKLOAD, "compiler": EAGER, "measure": PERFORMANCE} | changes
    prints = (fingerprint(parts[name]) for name in ("workload", "compiler", "measure"))
    rest = {"round": 0, "launcher": "fork", "env": {}} | {
        k: v for k, v in changes.items() if k in ("round", "launcher", "env")
    }
    return job_id(*prints, **rest)


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Workload)])
def test_id_depends_on_every_field_of_the_workload(field: str) -> None:
    value = getattr(WORKLOAD, field)
    if isinstance(value, PluginSpec):
        other: Any = dataclasses.replace(value, options={"another": 1})
    else:
        other = {int: 99, str: "another", type(None): 7}[type(value)]
    assert identify(workload=dataclasses.replace(WORKLOAD, **{field: other})) != identify()


@pytest.mark.parametrize(
    "change",
    [{"compiler": PERFORMANCE}, {"measure": EAGER}, {"round": 1}, {"launcher": "subprocess"}, {"env": {"A": "2"}}],
)
def test_id_depends_on_the_rest(change: dict[str, Any]) -> None:
    assert identify(**change) != identify()


def test_id_does_not_depend_on_the_order_of_options() -> None:
    one = dataclasses.replace(PERFORMANCE, options={"a": 1, "b": 2})
    two = dataclasses.replace(PERFORMANCE, options={"b": 2, "a": 1})
    assert identify(measure=one) == identify(measure=two)


def test_rounds_are_one_family() -> None:
    again = dataclasses.replace(JOB, round=3, id="x", timeout_s=1.0)
    assert again.family == JOB.family
    assert dataclasses.replace(JOB, launcher="subprocess").family != JOB.family


def test_statuses_are_distinct_words() -> None:
    assert len(set(STATUSES)) == len(STATUSES)
    assert all(status.replace("_", "").isalnum() for status in STATUSES)
