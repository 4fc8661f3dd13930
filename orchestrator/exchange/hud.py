"""A sweep as records of PyTorch's benchmark database (schema v3), which its dashboard, HUD, shows.

One record per metric of a row. The dashboard of compilers finds its rows by `benchmark.name` "TorchInductor", and reads
the compiler out of the *file name* in `benchmark.extra_info.output`: so that is here too, as benchmarks/dynamo would
call the file. `extra_info` is a map of texts in the database. Fields and types: oss_ci_benchmark_v3 in
pytorch/test-infra, clickhouse_db_schema. What the upload adds (repository, commit, workflow) is not in the records.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.exchange import dynamobench_export
from orchestrator.exchange.dynamobench import GB, FileName, word_of
from orchestrator.exchange.rows import Family, Joined, joined
from orchestrator.results.load import SweepResults, fact
from orchestrator.results.metrics import MIB
from orchestrator.results.tables import Tables

ROUNDS: Mapping[str, tuple[str, float]] = {
    "speedup": ("speedup", 1.0),
    "abs_latency": ("latency_ms", 1.0),
    "compilation_latency": ("compile_latency_cold_s", 1.0),
    "dynamo_peak_mem": ("own_memory_mib", 1 / MIB / GB),
}
"""Metric of theirs -> our figure that is known round by round, and the factor to their unit."""
OPTIONS = ("compiler.", "quantization.")
REPOSITORIES = {"torch": "pytorch/pytorch", "transformers": "huggingface/transformers", "triton": "triton-lang/triton"}


def lines(results: SweepResults, tables: Tables, benchmark: str) -> list[str]:
    """Return the records as JSON, one a line."""
    environment = results.sweep.environment
    packages = dependencies(environment)
    made = (
        {**record, "dependencies": packages, "runners": [runner(environment, str(row.row["device"]))]}
        for row, name in dynamobench_export.named(joined(results, tables))
        for record in records(row, name, benchmark)
    )
    return [json.dumps(record, ensure_ascii=False, allow_nan=False) for record in made]


def records(row: Joined, name: FileName, benchmark: str) -> Iterator[dict[str, Any]]:
    """Yield a row's records: its figures, a list of values where rounds gave several, and its status of accuracy."""
    for testing, family in (("performance", row.timed), ("accuracy", row.judged)):
        if family is None:
            continue
        workload = family.rounds[0].job.workload
        output = replace(name, testing=testing)
        head = {
            "benchmark": {
                "name": benchmark,
                "mode": name.mode,
                "dtype": name.dtype,
                "extra_info": _texts(
                    {
                        "device": name.device,
                        "quantization": family.record.config.get("quantization"),
                        "batch_size": workload.batch_size,
                        "sequence_length": workload.sequence_length,
                        "seed": workload.seed,
                        "threads": workload.threads,
                        "build": row.row["build"],
                        "parallel": workload.parallel,
                        "ranks": workload.ranks if workload.parallel else None,
                        "output": output,
                        **{key: value for key, value in family.record.config.items() if key.startswith(OPTIONS)},
                    }
                ),
            },
            "model": {
                "name": row.row["model"],
                "type": "OSS model",
                "backend": name.compiler,
                "origins": [workload.suite],
            },
        }
        metrics = _performance(row, family) if testing == "performance" else _accuracy(row, family)
        for metric in metrics:
            yield {**head, "metric": metric}


def _performance(row: Joined, family: Family) -> Iterator[dict[str, Any]]:
    figures = dynamobench_export.figures(row)
    if figures is None:
        if dynamobench_export.performance(row) is not None:  # theirs say nothing of what was skipped
            told = _texts({"status": row.row["performance"], "reason": row.row["performance_reason"]})
            for name in ("speedup", "abs_latency"):
                yield {"name": name, "benchmark_values": [0.0], "extra_info": told}
        return
    figures["eager_latency"] = row.row["eager_latency_ms"]
    for name, value in figures.items():
        ours, factor = ROUNDS.get(name, ("", 1.0))
        rounds = family.record.figures.get(ours)
        values = [value] if rounds is None else [each * factor for each in rounds.values]
        if value is None or not all(math.isfinite(each) for each in values):
            continue
        metric: dict[str, Any] = {"name": name, "benchmark_values": values}
        if name == "speedup":
            ends = {"low": row.row["speedup_low"], "high": row.row["speedup_high"]}
            others = {column: row.row[column] for column in ("verdict", "measured", "disturbed")}
            metric["extra_info"] = _texts({"estimate": value, **ends, **others})
        yield metric


def _accuracy(row: Joined, family: Family) -> Iterator[dict[str, Any]]:
    """The database's values are numbers: a word stands in the metric's extra_info, as benchmarks/dynamo puts it."""
    word = word_of(row.row["accuracy"], family.phase)
    yield {
        "name": "accuracy",
        "extra_info": {
            "benchmark_values": [word],
            **_texts({"reason": row.row["accuracy_reason"], "rules": row.row["rules"], "weaker": row.row["weaker"]}),
        },
    }


def runner(environment: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Return the machine as the schema's `runners` has it, with the GPU that is `device` ("cuda:1").

    The dashboard takes device and architecture from the first runner's name and type.
    """
    gpus: Sequence[Mapping[str, Any]] = environment.get("gpus") or ()
    kind, _, number = device.partition(":")
    index = int(number) if number.isdecimal() else 0
    cpu, gpu = environment.get("cpu"), gpus[min(index, len(gpus) - 1)].get("name") if gpus else None
    found = {
        "type": cpu if kind == "cpu" else gpu,
        "cpu_info": cpu,
        "cpu_count": environment.get("cores"),
        "gpu_info": gpu,
        "gpu_count": len(gpus),
        "avail_gpu_mem_in_gb": sum(size for gpu in gpus if isinstance(size := gpu.get("memory_bytes"), int)) // 2**30,
        "extra_info": _texts({"hostname": environment.get("host"), "system": environment.get("system")}),
    }
    return {"name": kind, **{key: value for key, value in found.items() if value}}


def dependencies(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the packages as the schema's `dependencies` has them."""
    packages = environment.get("packages") or {}
    found = {name: {"version": version, "repo": REPOSITORIES.get(name, "")} for name, version in packages.items()}
    commit = fact(environment, "torch", "git")
    if commit and "torch" in found:
        found["torch"]["sha"] = commit
    return found


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: json.dumps(value) if isinstance(value, (bool, list, dict)) else str(value)
        for key, value in values.items()
        if value not in (None, "")
    }
