"""The tables of measures that find more than one figure: coverage, graph breaks, shapes of operators, ...

A worker leaves rows in `facts["findings"][table]` (`Context.find`); here they get what was run, the columns of their
table, and its units. A job without rows still has a line, which says why. A new measure needs an entry in `FINDINGS`
and its columns in `orchestrator.results.metrics`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.records import PASS
from orchestrator.results.load import JobOutcome, items
from orchestrator.results.metrics import COLUMNS, MIB, MS, US
from orchestrator.results.naming import IDENTITY, measure_kind

Row = dict[str, Any]
ABOUT = ("status", "reason", "job", "log", "command")
IN_RECORDS: Mapping[str, tuple[str, float]] = {"_ms": ("_s", MS), "_us": ("_s", US), "_mib": ("_bytes", MIB)}
"""End of a column's name -> the end of the key in records, and what to multiply by."""


@dataclass(frozen=True)
class Finding:
    """One table. `measure` is the kind of measure (`measure_kind`) whose jobs have a line even without rows.

    `over_the_sweep` makes further tables of all rows: name -> (columns, rows of this table -> rows of that one).
    """

    measure: str
    columns: tuple[str, ...]
    over_the_sweep: Mapping[str, tuple[tuple[str, ...], Callable[[Sequence[Row]], Iterable[Row]]]] = field(
        default_factory=dict
    )


MEMORY = ("increase_mib", "cumulative_mib", "current_mib")
OPERATORS_OF_ALL = ("operator", "models", "distinct_inputs", "count")


def by_operator(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield one row per operator over all jobs, most calls first: models that call it, kinds of inputs, calls."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.get("operator") is not None:
            groups[row["operator"]].append(row)
    found: list[Row] = [
        {
            "operator": operator,
            "models": len({(row["suite"], row["model"]) for row in calls}),
            "distinct_inputs": len({row["inputs"] for row in calls}),
            "count": sum(row["count"] or 0 for row in calls),
        }
        for operator, calls in groups.items()
    ]
    yield from sorted(found, key=lambda row: (-row["count"], row["operator"]))


HONEST_SHARES = ("honest", "accused_scaled_percent", "accused_dynamo_percent")
BREAK_REASONS = ("break_reason", "effect", "models", "count", "user_stack")
DISTANCE = ("elements", "relative_max", "relative_mean", "relative_std")
ERRORS = ("max_abs_error", "rmse", "reference_rmse", "rmse_ratio", "cosine")


def by_reason(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield one row per reason of graph breaks, those of most models first, with one place as an example."""
    groups: dict[tuple[Any, Any], list[Row]] = defaultdict(list)
    for row in rows:
        if row.get("break_reason") is not None:
            groups[row["break_reason"], row["effect"]].append(row)
    reasons = [
        {
            "break_reason": reason,
            "effect": effect,
            "models": len({(row["suite"], row["model"]) for row in found}),
            "count": sum(row["count"] or 0 for row in found),
            "user_stack": found[0]["user_stack"],
        }
        for (reason, effect), found in groups.items()
    ]
    yield from sorted(reasons, key=lambda row: (-row["models"], -row["count"], row["break_reason"]))


SHARES = ("dtype", "mode", "models", "plants", "found_scaled_percent", "found_dynamo_percent", *HONEST_SHARES)


def by_rules(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield per dtype and mode which share of planted faults each set of rules finds, and of variations it accuses."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.get("plant") is not None:
            groups[_precision(row), row["mode"]].append(row)
    for (dtype, mode), found in sorted(groups.items()):
        faults, honest = ([row for row in found if row["plant_kind"] == kind] for kind in ("fault", "honest"))
        yield {
            "dtype": dtype,
            "mode": mode,
            "models": len({(row["suite"], row["model"]) for row in found}),
            "plants": len(faults),
            "found_scaled_percent": _share(faults, "scaled_says"),
            "found_dynamo_percent": _share(faults, "dynamo_says"),
            "honest": len(honest),
            "accused_scaled_percent": _share(honest, "scaled_says"),
            "accused_dynamo_percent": _share(honest, "dynamo_says"),
        }


MISSES = ("plant", "plant_kind", "plants", "misjudged", "where")


def misjudged(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield, per plant, in how many models our rules say the wrong thing, and in which; the most frequent first."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.get("plant") is not None:
            groups[row["plant"], row["plant_kind"]].append(row)
    found: list[Row] = []
    for (plant, kind), planted in groups.items():
        wrong = [row for row in planted if (row["scaled_says"] == PASS) != (kind == "honest")]
        places: dict[str, int] = defaultdict(int)
        for row in wrong:
            places[f"{row['model']} {_precision(row)} {row['mode']}"] += 1
        where = ", ".join(f"{place} ({count})" if count > 1 else place for place, count in places.items())
        found.append(
            {"plant": plant, "plant_kind": kind, "plants": len(planted), "misjudged": len(wrong), "where": where}
        )
    yield from sorted((row for row in found if row["misjudged"]), key=lambda row: (-row["misjudged"], row["plant"]))


def _precision(row: Row) -> str:
    """Return the dtype, and the quantisation where there is one."""
    quantization = row["compiler"].partition("+")[2]
    return f"{row['dtype']} {quantization}" if quantization else str(row["dtype"])


def _share(rows: Sequence[Row], column: str) -> float | None:
    """Return how many of the rows, in %, a set of rules does not let pass."""
    return 100 * sum(row[column] != PASS for row in rows) / len(rows) if rows else None


FINDINGS: Mapping[str, Finding] = {
    "batch_invariance": Finding(
        "batchinvariance",
        (
            *("slice_batch_size", "tensors", "tensors_failed", "worst_tensor", "max_abs_error"),
            *("eager_max_abs_error", "left_out"),
        ),
    ),
    "cache_lookup": Finding(
        "cachelookup", ("cache_lookup_us", "cache_lookup_low_us", "cache_lookup_high_us", "lookups", "calls")
    ),
    "coverage": Finding(
        "coverage",
        (
            *("graphs", "graph_calls", "captured_operators", "operators", "captured_operators_percent"),
            *("captured_time_ms", "operator_time_ms", "captured_time_percent"),
        ),
    ),
    "dynamic_shapes": Finding(
        "dynamicshapes",
        (
            *("shape_batch_size", "shape_sequence_length", "compilation", "first_call_s"),
            *("eager_latency_ms", "eager_latency_spread_percent", "latency_ms", "latency_spread_percent", "calls"),
            *("speedup", "recompiles", "graphs", "accuracy", "fp64"),
        ),
    ),
    "explain": Finding(
        "explain",
        (
            *("graphs", "graph_breaks", "unique_graph_breaks", "captured_calls", "fallbacks", "recompiles", "guards"),
            *("dynamo_time_s", "first_call_s"),
        ),
    ),
    "graph_breaks": Finding(
        "explain",
        ("break_reason", "effect", "user_stack", "count"),
        over_the_sweep={"graph_break_reasons": (BREAK_REASONS, by_reason)},
    ),
    "minify": Finding("minify", ("file", "operators_before", "operators_after", "reproduces", "minify_s")),
    "recompilations": Finding(
        "recompilations", ("recompiles", "recompile_reason", "user_frame", "compilations", "calls")
    ),
    "sensitivity": Finding(
        "sensitivity",
        ("plant", "plant_kind", "plant_place", "scaled_says", "dynamo_says", "scaled_why"),
        over_the_sweep={"sensitivity_shares": (SHARES, by_rules), "sensitivity_misses": (MISSES, misjudged)},
    ),
    "tolerance": Finding("tolerance", ("tensors", *DISTANCE, "worst_tensor", *ERRORS, "fp64")),
    "tolerance_tensors": Finding("tolerance", ("tensor", "tensor_dtype", *DISTANCE, *ERRORS)),
    "flops": Finding(
        "flops",
        (
            *("step_gflop", "parameters", "step_ms", "step_iqr_percent", "achieved_gflop_per_s"),
            *("eager_step_ms", "eager_step_iqr_percent", "eager_achieved_gflop_per_s", "step_samples"),
            *("intensity_flop_per_byte", "peak_gflop_per_s", "of_peak_percent", "peak_source", "disturbed"),
        ),
    ),
    "flops_by_module": Finding("flops", ("module", "operator_names", "forward_gflop", "share_percent")),
    "largest_batch": Finding(
        "largestbatch",
        (
            *("largest_batch_size", "too_large_batch_size", "bounded_by", "tries", "memory_at_largest_mib"),
            *("memory_budget_mib", "memory_budget_source", "too_large_because"),
        ),
    ),
    "memory_by_line": Finding("memorybyline", ("source_file", "source_line", "source", "executions", *MEMORY)),
    "memory_by_line_totals": Finding(
        "memorybyline",
        ("lines", "executions", *MEMORY, "outside_mib", "level_source", "resolution_bytes", "file", "snapshot"),
    ),
    "operators": Finding(
        "operators",
        ("operator", "inputs", "count"),
        over_the_sweep={"operators_over_models": (OPERATORS_OF_ALL, by_operator)},
    ),
    "operator_totals": Finding("operators", ("distinct_operators", "distinct_inputs", "count", "file")),
    "profile": Finding("profile", ("operator", "count", "self_cpu_ms", "self_cuda_ms", "share_percent")),
    "profile_totals": Finding(
        "profile", ("steps", "distinct_operators", "self_cpu_ms", "self_cuda_ms", "file", "bytes")
    ),
}
"""Name of the table -> what it is."""


def names() -> tuple[str, ...]:
    """Return the names of all tables that there can be."""
    return tuple(name for table, finding in FINDINGS.items() for name in (table, *finding.over_the_sweep))


def tables(
    outcomes: Sequence[JobOutcome], about: Callable[[JobOutcome], Row]
) -> dict[str, tuple[tuple[str, ...], list[Row]]]:
    """Return name -> (columns, rows) of the tables that the sweep has something for.

    `about` returns a job's identity and the columns of `ABOUT`.
    """
    made: dict[str, tuple[tuple[str, ...], list[Row]]] = {}
    for name, finding in FINDINGS.items():
        measured = [outcome for outcome in outcomes if measure_kind(outcome.job.measure) == finding.measure]
        if not measured:
            continue
        rows = [row for outcome in measured for row in _rows(name, finding, outcome, about(outcome))]
        made[name] = ((*IDENTITY, *finding.columns, *ABOUT), rows)
        for other, (columns, derive) in finding.over_the_sweep.items():
            derived = list(derive(rows))
            if derived:
                made[other] = (columns, derived)
    return made


def _rows(name: str, finding: Finding, outcome: JobOutcome, about: Row) -> Iterator[Row]:
    found = [row for row in items(outcome.facts, "findings", name) if isinstance(row, Mapping)]
    if not found:
        return iter([about])
    return ({**{column: _value(row, column) for column in finding.columns}, **about} for row in found)


def _value(row: Mapping[str, Any], column: str) -> Any:
    """Return a row's value in the unit of its column; what is of another kind than the column says is left out."""
    value = row.get(column)
    for end, (in_records, factor) in IN_RECORDS.items():
        if column.endswith(end) and column not in row:
            stored = row.get(column.removesuffix(end) + in_records)
            value = stored * factor if isinstance(stored, (int, float)) and not isinstance(stored, bool) else stored
    if value is None or COLUMNS[column].kind == "text":
        return None if value is None else str(value)
    return value if isinstance(value, (int, float)) or value in ("nan", "inf", "-inf") else None
