"""A sweep in an MLflow tracking store: one experiment per sweep, one run per row of the summary.

A run has the row's configuration as parameters, its figures as metrics ("speedup", "speedup_low", ...), those of the
rounds as steps of "by_round/...", its statuses and origin as tags, and the result and the end of the log of every job
as artifacts. A row has a key, which is a tag of its run: exporting again leaves a run that says the same, and replaces
one that does not (a run's history of metrics cannot be rewritten). Needs the packages of the extra "mlflow".
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import DISTRIBUTION, limits
from orchestrator.errors import UsageError, first_line
from orchestrator.exchange.rows import Joined, joined
from orchestrator.files import read_bytes
from orchestrator.records import SUCCESSES
from orchestrator.results.load import SweepResults, fact
from orchestrator.results.metrics import COLUMNS, is_number
from orchestrator.results.naming import IDENTITY
from orchestrator.results.tables import Tables

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXTRA = f"MLflow is not installed (or, for a database, SQLAlchemy): pip install '{DISTRIBUTION}[mlflow]'"
SQLITE = "sqlite:///"
KEY, CONTENT = "orchestrator.row", "orchestrator.content"
TEXTS = (
    "performance",
    "accuracy",
    "verdict",
    "flags",
    "measured",
    "disturbed",
    "performance_reason",
    "accuracy_reason",
    "rules",
    "weaker",
    "command",
)
LONGEST = 5000
"""Characters of a tag or parameter; MLflow takes 5,000 to 8,000, by version and kind."""
LOG_TAIL = 64 * 1024
BATCH = 100
"""Parameters, tags and metrics of one request."""


@dataclass(frozen=True)
class Run:
    """What one row is in the store. `metrics`: (name, value, step)."""

    key: str
    name: str
    params: Mapping[str, str]
    metrics: Sequence[tuple[str, float, int]]
    tags: Mapping[str, str]
    jobs: Sequence[str]
    passed: bool

    def content(self) -> str:
        text = json.dumps([self.name, self.params, self.metrics, self.tags], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def export(results: SweepResults, tables: Tables, uri: str, experiment: str | None) -> list[str]:
    """Log the sweep to the store at `uri`; return what was done, for people.

    Raises UsageError when MLflow is not installed, or the store cannot be used.
    """
    name = experiment or results.folder.name
    try:
        refused = exceptions()
    except ImportError:
        raise UsageError(EXTRA) from None
    try:
        client = connect(uri)
        number = _experiment(client, uri, name)
        known = _known(client, number)
        done: Counter[str] = Counter()
        for run in runs(results, tables):
            done[_log(client, number, known.get(run.key), run, results)] += 1
    except refused as error:
        raise UsageError(f"the MLflow store {uri} cannot be used: {first_line(error)}") from error
    told = ", ".join(f"{done[word]} {word}" for word in ("added", "replaced", "unchanged"))
    return [f"{uri}  experiment '{name}': {told}"]


def exceptions() -> tuple[type[Exception], ...]:
    """Return what a store that cannot be used raises. Raises ImportError when a package is missing."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing here speaks to the network by itself
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return (MlflowException, SQLAlchemyError, OSError)


def connect(uri: str) -> MlflowClient:
    """Return a client of the store."""
    if "://" not in uri:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder is what was asked for
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    """Return the experiment's id. Artifacts of an SQLite store lie beside its file, wherever the command ran."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    place = None
    if uri.startswith(SQLITE):
        database = Path(uri.removeprefix(SQLITE)).absolute()
        place = (database.parent / "mlartifacts" / re.sub(r"\W+", "-", name)).as_uri()
    return str(client.create_experiment(name, artifact_location=place))


def _known(client: MlflowClient, experiment: str) -> dict[str, tuple[str, str | None]]:
    """Return key of a row -> (id of its run, hash of what it says)."""
    known: dict[str, tuple[str, str | None]] = {}
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        known |= {
            run.data.tags[KEY]: (run.info.run_id, run.data.tags.get(CONTENT)) for run in page if KEY in run.data.tags
        }
        token = page.token
        if not token:
            return known


def runs(results: SweepResults, tables: Tables) -> list[Run]:
    """Return a run for each row of the summary."""
    name = results.folder.name
    origin = _origin(name, results.sweep.environment)
    return [_run(row, results.sweep.created, origin) for row in joined(results, tables)]


def _run(row: Joined, created: float, origin: Mapping[str, str]) -> Run:
    names = {name: value for name, value in row.row.items() if name in IDENTITY and value is not None}
    configs = [family.record.config for family in row.families]
    params = {key: value for config in reversed(configs) for key, value in config.items()}
    # ids of jobs are hashes of what they do: other sweeps have them too
    key = [created, [family.record.jobs[0] for family in row.families]]
    tags = {name: row.row[name] for name in TEXTS if row.row[name]} | {f"row.{name}": v for name, v in names.items()}
    return Run(
        key=hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32],
        name=row.title,
        params={_name(key): _text(value) for key, value in params.items() if value not in (None, "")},
        metrics=_metrics(row),
        tags={**{name: _text(value) for name, value in tags.items()}, **origin},
        jobs=[job for family in row.families for job in family.record.jobs],
        passed=all(family.record.status in SUCCESSES for family in row.families),
    )


def _metrics(row: Joined) -> list[tuple[str, float, int]]:
    made = [
        (name, float(value), 0)
        for name, value in row.row.items()
        if is_number(value) and COLUMNS[name].kind in ("number", "count") and name not in IDENTITY
    ]
    for family in row.families:
        for name, figure in family.record.figures.items():
            made += [(f"by_round/{name}", value, step) for step, value in enumerate(figure.values)]
    return [metric for metric in made if math.isfinite(metric[1])]


def _origin(sweep: str, environment: Mapping[str, Any]) -> dict[str, str]:
    known = {
        "sweep": sweep,
        "host": environment.get("host"),
        "cpu": environment.get("cpu"),
        "gpus": ", ".join(str(gpu.get("name")) for gpu in environment.get("gpus") or ()),
        "orchestrator": environment.get("orchestrator"),
        "mlflow.source.name": "orchestrator",
        "mlflow.source.git.commit": fact(environment, "git", "commit"),
        **{f"packages.{name}": version for name, version in (environment.get("packages") or {}).items()},
    }
    return {key: _text(value) for key, value in known.items() if value}


def _log(
    client: MlflowClient, experiment: str, known: tuple[str, str | None] | None, run: Run, results: SweepResults
) -> str:
    """Add or replace a run; return what was done. The hash's tag comes last: a run without it is half written."""
    from mlflow.entities import Metric, Param, RunTag

    content = run.content()
    if known is not None and known[1] == content:
        return "unchanged"
    if known is not None:
        client.delete_run(known[0])
    started = int(results.sweep.created * 1000)
    created = client.create_run(experiment, start_time=started, run_name=run.name, tags={KEY: run.key})
    number = created.info.run_id
    now = int(time.time() * 1000)
    params = [Param(key, value) for key, value in run.params.items()]
    metrics = [Metric(name, value, now, step) for name, value, step in run.metrics]
    tags = [RunTag(key, value) for key, value in run.tags.items()]
    for i in range(0, max(len(params), len(metrics), len(tags)), BATCH):
        client.log_batch(number, metrics[i : i + BATCH], params[i : i + BATCH], tags[i : i + BATCH])
    _artifacts(client, number, run.jobs, results)
    client.set_terminated(number, status="FINISHED" if run.passed else "FAILED")
    client.set_tag(number, CONTENT, content)
    return "replaced" if known is not None else "added"


def _artifacts(client: MlflowClient, number: str, jobs: Sequence[str], results: SweepResults) -> None:
    """Log every job's description and result as they are, and the end of its log."""
    store = results.folder
    for job in jobs:
        found = {file.name: _content(file) for file in (store.job_file(job), store.result_file(job))}
        found["log.txt"] = store.end_of_log(job, LOG_TAIL)
        with tempfile.TemporaryDirectory() as copies:
            for name, content in found.items():
                if content is not None:
                    (Path(copies) / name).write_bytes(content)
            client.log_artifacts(number, copies, f"jobs/{job}")


def _content(file: Path) -> bytes | None:
    try:
        return read_bytes(file, limits.RESULT)
    except (OSError, ValueError):  # not there, or nothing that is read: its row says so
        return None


def _name(key: str) -> str:
    """Return a name that MLflow takes: letters, digits and a few marks, at most 250."""
    return re.sub(r"[^\w\-. :/]", "-", key)[:250]


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
