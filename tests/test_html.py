"""The page without a browser: it is one file, holds what the tables hold, and nothing in it can be taken for markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support import large, synthetic
from support.command import ENVIRONMENT
from support.pages import HOSTILE, made

from orchestrator.cli import report
from orchestrator.errors import UsageError
from orchestrator.page import columnar, html
from orchestrator.page import data as page_data
from orchestrator.page import jobs as page_jobs
from orchestrator.page.charts.chart import Chart
from orchestrator.records import Samples
from orchestrator.results import load, tables
from orchestrator.store import SweepFolder

ASSETS = Path(html.__file__).parent / "assets"
MOST_BYTES = 15_000_000


def unpack(packed: dict[str, Any], length: int) -> list[Any]:
    """Do what assets/data.js does."""
    if "same" in packed:
        return [packed["same"]] * length
    if "values" in packed:
        return list(packed["values"])
    if "words" in packed:
        return [None if i < 0 else packed["words"][i] for i in packed["index"]]
    return [None if parts is None else " ".join(packed["parts"][i] for i in parts) for parts in packed["lists"]]


def blocks(page: str) -> dict[str, Any]:
    found = re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', page, re.DOTALL)
    return {name: json.loads(text) for name, text in found}


class Tags(HTMLParser):
    """Collects what a browser would take for an element, with its attributes and what is in its scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self._into: list[str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._into = self.styles if tag == "style" else self.scripts if tag == "script" and not attrs else None
        if self._into is not None:
            self._into.append("")

    def handle_endtag(self, tag: str) -> None:
        self._into = None

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into[-1] += data


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return synthetic.quick_sweep(tmp_path / "2026-11-21" / "10-00-00").write()


# -- columns


@pytest.mark.parametrize(
    "values",
    [
        [],
        [None, None],
        ["a", "a"],
        ["a", None, "b", "a", "b", "a"],
        [1, None, 3],
        [True, 1, 1.0],
        ["nan", 1.5],
        [f"python -m orchestrator suite=quick 'suite.models=[Model{i}]'  batch_size={i % 3}" for i in range(40)],
        ["", " ", "a b", None] * 30,
    ],
)
def test_columns_survive_packing(values: list[Any]) -> None:
    packed = json.loads(json.dumps(columnar.column(values)))
    assert unpack(packed, len(values)) == values


@pytest.mark.parametrize(
    ("value", "short"),
    [(1234.5678, 1234.6), (0.000123456, 0.00012346), (2.0, 2), (1795245274.98, 1795245275), (123456.7, 123457)]
    + [(float("nan"), "nan"), (float("-inf"), "-inf"), (7, 7), ("x", "x"), (None, None), (True, True)],
)
def test_figures_keep_five_digits_and_all_before_the_point(value: Any, short: Any) -> None:
    assert columnar.rounded(value) == short


def test_commands_that_share_their_words_take_little_room() -> None:
    commands = [f"python -m orchestrator suite=huggingface suite.models=[M{i}] compiler=x" for i in range(1000)]
    assert len(json.dumps(columnar.column(commands))) < sum(map(len, commands)) / 1.5


# -- the document


def test_the_page_holds_the_tables(folder: SweepFolder) -> None:
    made_tables = tables.build(load.load(folder))
    data = blocks(made(folder))["data"]
    rows = data["summary"]
    assert rows["length"] == len(made_tables.summary.rows) == 8
    for name in page_data.ROW_COLUMNS[1:]:
        expected = [columnar.rounded(row[name]) for row in made_tables.summary.rows]
        assert unpack(rows["columns"][name], 8) == expected, name
    assert data["overview"] == [{"sweep": 0, **row} for row in made_tables.overview.rows]
    assert set(data["columns"]) >= set(rows["columns"]) - {"sweep"}
    assert [flag[0] for flag in data["flags"]] == ["accuracy", "compression_ratio", "compression_ratio", "speedup"]


def test_every_job_knows_its_row_and_what_it_needs(folder: SweepFolder) -> None:
    data = blocks(made(folder))["data"]
    jobs = {name: unpack(packed, 36) for name, packed in data["jobs"]["columns"].items()}
    models = unpack(data["summary"]["columns"]["model"], 8)
    compilers = unpack(data["summary"]["columns"]["compiler"], 8)
    assert data["jobs"]["length"] == 36
    for model, compiler, row in zip(jobs["model"], jobs["compiler"], jobs["row"], strict=True):
        assert (models[row], compilers[row]) == (model, compiler)
    for job, needs in enumerate(data["needs"]):
        for needed, kind in zip(needs[::2], needs[1::2], strict=True):
            assert kind == "baseline"
            assert jobs["compiler"][needed] == "eager"
            assert (jobs["model"][needed], jobs["round"][needed]) == (jobs["model"][job], jobs["round"][job])
    by_model = dict(zip(zip(models, compilers, strict=True), data["memory"], strict=True))
    assert by_model["T5Small", "inductor"] == {"compile": 430, "steady": 280}
    assert by_model["ElectraForCausalLM", "inductor"] is None


def test_details_have_samples_in_milliseconds_facts_and_the_end_of_the_log(folder: SweepFolder) -> None:
    spec = next(job for job in folder.read_graph().jobs if job.workload.model == "ElectraForCausalLM")
    folder.log_file(spec.id).write_bytes(b"\x1b[31mred\x1b[0m\n" + b"line\n" * 60 + b"\tlast \xff\x00 " + b"x" * 500)
    data = blocks(made(folder))["data"]
    number = unpack(data["jobs"]["columns"]["job"], 36).index(spec.id)
    details = json.loads(data["details"][number])
    assert details["samples"][0] == ["latency", "ms", [95.0] * 20]
    assert details["facts"]["memory"]["base"] == 300 * 2**20
    assert len(details["log"]) == page_jobs.LOG_LINES
    assert details["log"][0] == "line"
    assert details["log"][-1].startswith("    last � xxx")
    assert len(details["log"][-1]) == 400
    assert data["complete_details"] is True


def test_where_there_is_no_room_failed_and_disturbed_jobs_keep_their_details(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_data, "DETAILS_BUDGET", 1200)
    data = blocks(made(folder))["data"]
    statuses = unpack(data["jobs"]["columns"]["status"], 36)
    disturbed = unpack(data["jobs"]["columns"]["disturbed"], 36)
    kept = [i for i, text in enumerate(data["details"]) if text is not None]
    assert [statuses[i] for i in kept if statuses[i] != "pass"] == ["crash", "fail_accuracy"]
    assert [i for i in range(36) if disturbed[i]] == [i for i in kept if statuses[i] == "pass"]
    assert data["complete_details"] is False
    lost = next(i for i in range(36) if i not in kept and data["quantiles"][i])
    low, *_, median, _, _, high, count = data["quantiles"][lost]
    assert low <= median <= high
    assert count == 20
    assert all(data["quantiles"][i] is None for i in kept)


def test_environments_that_differ_in_the_cache_folder_are_stored_once() -> None:
    caches = [f"/somewhere/outputs/1/2/caches/{i:016x}/inductor" for i in range(9)]
    seen = page_jobs.Interned()
    for cache in caches:
        seen.add(page_jobs.without_cache_folders({"cpu": "x", "variables": {"TORCHINDUCTOR_CACHE_DIR": cache}}))
    assert seen.values == [{"cpu": "x", "variables": {"TORCHINDUCTOR_CACHE_DIR": "<cache of the job>/inductor"}}]


def test_of_hundreds_of_tensors_the_worst_are_kept(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    spec = synthetic.job("Bert", "inductor", "accuracy")
    result = synthetic.accuracy_result(spec)
    tensor = result.facts["accuracy"]["tensors"][1]
    result.facts["accuracy"]["tensors"] = [{**tensor, "name": f"t{i}", "rmse": i * 1e-6} for i in range(300)]
    sweep.add(spec, result)
    accuracy = json.loads(blocks(made(sweep.write()))["data"]["details"][0])["facts"]["accuracy"]
    assert [tensor["name"] for tensor in accuracy["tensors"][:2]] == ["t299", "t298"]
    assert len(accuracy["tensors"]) + accuracy["tensors_not_shown"] == 300


def test_results_of_any_shape_make_a_page(tmp_path: Path) -> None:
    """Facts are whatever a worker, an older version or a broken disk has written."""
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    odd = ({"memory": 3, "accuracy": [], "disturbed": "x"}, {"memory": {"phases": [1], "cuda": {}}}, {"a": {"b": [{}]}})
    for number, facts in enumerate(odd):
        spec = synthetic.job(f"M{number}", "inductor")
        result = synthetic.performance_result(spec, latency=[float(10**number)] * 3)
        bad = Samples(metric="latency", unit="s", better="lower", values=(-1.0, 0.0))
        kept = {"samples": (bad, *result.samples[1:]), "facts": facts, "environment": {"variables": 7}}
        sweep.add(spec, type(result)(**{**vars(result), **kept}))
    sweep.add(synthetic.job("Planned", "inductor"))
    folder = sweep.write()
    folder.result_file(sweep.jobs[0].id).write_text('{"half": ')
    data = blocks(made(folder))["data"]
    assert data["jobs"]["length"] == 4
    assert data["sweeps"][0]["done"] == 2


def test_several_sweeps_are_matched_row_by_row(tmp_path: Path) -> None:
    folders = []
    for number, speedup in enumerate((2.0, 1.0)):
        sweep = synthetic.SyntheticSweep(tmp_path / "d" / f"t{number}")
        for model in ("A", "B")[: 2 - number] + ("C",) * number:
            for round in range(3):
                eager = sweep.performance(model, "eager", round, latency=0.1)
                pairs = [(0.1, 0.1 / speedup)] * 20
                sweep.performance(model, "inductor", round, baseline=eager, latency=0.1 / speedup, pairs=pairs)
        folders.append(sweep.write())
    sweeps = [(results, tables.build(results)) for results in map(load.load, folders)]
    data = blocks(html.page(sweeps, tmp_path))["data"]
    assert [sweep["folder"] for sweep in data["sweeps"]] == ["d/t0", "d/t1"]
    assert data["series"] == ["eager · t0", "eager · t1", "inductor · t0", "inductor · t1"]
    models = unpack(data["summary"]["columns"]["model"], 8)
    entries = {
        (models[next(r for r in e["rows"] if r is not None)], tuple(r is not None for r in e["rows"]))
        for e in data["side_by_side"]
    }
    assert entries == {("A", (True, True)), ("B", (True, False)), ("C", (False, True))}
    changed = [e["changes"][1]["speedup"] for e in data["side_by_side"] if "speedup" in e["changes"][1]]
    assert [(word, ratio) for word, ratio, *_ in changed] == [("worse", 0.5)]


# -- one file, and nothing but


def test_the_file_asks_for_nothing(folder: SweepFolder) -> None:
    tags = Tags(made(folder))
    assert {tag for tag, _ in tags.tags} == {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "noscript",
        "div",
        "script",
    }
    assert not [
        attributes for _, attributes in tags.tags if {"src", "href", "srcset", "data", "action"} & attributes.keys()
    ]
    assert "url(" not in "".join(tags.styles)
    assert "@import" not in "".join(tags.styles)
    assert not any("sourceMappingURL" in script for script in tags.scripts)


def test_the_policy_allows_these_scripts_and_no_request(folder: SweepFolder) -> None:
    tags = Tags(made(folder))
    (policy,) = [a["content"] for tag, a in tags.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["form-action"] == rules["base-uri"] == "'none'"
    assert set(rules) == {"default-src", "script-src", "style-src-elem", "style-src-attr", "base-uri", "form-action"}
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in tags.scripts]
    assert rules["script-src"].split() == [f"'sha256-{value}'" for value in hashes]
    assert "unsafe-eval" not in policy
    assert len(hashes) == len(html.LIBRARIES) + len(html.SCRIPTS)


def test_names_and_messages_never_become_markup(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / HOSTILE.replace("/", "_"), overrides=[HOSTILE])
    for model in (HOSTILE, "</script><script>alert(2)</script>", "<!--<script>", "\u2028\ud800&amp;'\"", "{{data}}"):
        spec = synthetic.job(model, f"<img src=x onerror=alert(3)>{model}")
        sweep.add(spec, synthetic.failed_result(spec, "crash", f"{model} </script>"))
    results = load.SweepResults(sweep.folder, _header(sweep), tuple(map(load.outcome, sweep.jobs, sweep.results)))
    page = html.page([(results, tables.build(results))], tmp_path)
    clean = synthetic.SyntheticSweep(tmp_path / "clean")
    clean.performance("Bert", "eager")
    assert Tags(page).tags[1:3] == Tags(made(clean.write())).tags[1:3]
    assert [tag for tag, _ in Tags(page).tags] == [tag for tag, _ in Tags(made(clean.folder)).tags]
    assert "alert(2)</script>" not in page
    models = unpack(blocks(page)["data"]["summary"]["columns"]["model"], 5)
    assert {HOSTILE, "{{data}}", "<!--<script>"} <= set(models)
    page.encode()  # a surrogate in a name does not prevent the file


def _header(sweep: synthetic.SyntheticSweep) -> Any:
    from orchestrator.store import Sweep

    return Sweep(argv=(HOSTILE,), overrides=tuple(sweep.overrides), points=({"k": HOSTILE},), created=1.0)


def test_a_chart_of_a_column_that_the_summary_has_not_is_named(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    chart = Chart(id="durations", title="", note="", spec={}, fields=("latency_ms",), needs=("model|duration_s",))
    monkeypatch.setattr(html, "of_sweep", lambda series: [chart])
    with pytest.raises(ValueError, match="chart 'durations': the summary has no column 'duration_s'"):
        made(folder)


def test_a_chart_of_data_that_the_page_has_not_is_named(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    chart = Chart(id="energy", title="", note="", spec={}, data="joules", panels=True)
    monkeypatch.setattr(html, "of_sweep", lambda series: [chart])
    with pytest.raises(ValueError, match="chart 'energy': the page has no data 'joules'"):
        made(folder)


def test_a_chart_that_would_draw_its_first_panel_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="chart 'losses': of 'loss_curves' only the first would be drawn"):
        Chart(id="losses", title="", note="", spec={}, data="loss_curves")


def test_the_same_folder_makes_the_same_bytes(folder: SweepFolder) -> None:
    assert made(folder) == made(folder)


@pytest.mark.slow
def test_ten_thousand_rows_fit(tmp_path: Path) -> None:
    results = large.results(tmp_path)
    page = html.page([(results, tables.build(results))], tmp_path)
    data = blocks(page)["data"]
    assert data["summary"]["length"] == 10_000
    assert len(page) < MOST_BYTES
    assert 0 < sum(text is None for text in data["details"]) < len(data["details"])
    assert len(json.dumps(data["details"])) < 1.1 * page_data.DETAILS_BUDGET


def test_the_library_is_as_it_was_published() -> None:
    vendor = ASSETS / "vendor"
    lines = (vendor / "checksums.txt").read_text().splitlines()
    listed = {name: value for value, name in (line.split() for line in lines)}
    assert set(listed) == {f"{name}.{kind}" for name in html.LIBRARIES for kind in ("min.js", "LICENSE")}
    for name, value in listed.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == value, name
    makefile = (ASSETS.parents[2] / "Makefile").read_text()
    for name, version in re.findall(r"^\| ([\w-]+) \| ([\d.]+) \|", (vendor / "README.md").read_text(), re.MULTILINE):
        assert f"{name}@{version}" in makefile
        assert f'"{version}"' in (vendor / f"{name}.min.js").read_text()


@pytest.mark.parametrize("asset", sorted(ASSETS.glob("*.js")), ids=lambda path: path.name)
def test_scripts_make_no_markup_of_text(asset: Path) -> None:
    text = asset.read_text()
    assert text.startswith('"use strict";\n//')
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "fetch(",
        "XMLHttp",
    ):
        assert way not in text
    assert len(text.splitlines()) < 330


# -- the verb


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "orchestrator", "report", *arguments]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False)


def test_report_writes_the_page_beside_the_tables(folder: SweepFolder, tmp_path: Path) -> None:
    done = run(str(folder), cwd=tmp_path)
    assert done.returncode == 1  # something has failed in this sweep
    assert "report.html" in done.stdout
    assert blocks(folder.page.read_text())["data"]["sweeps"][0]["folder"] == "."
    folder.page.unlink()
    assert run(str(folder), "--json", cwd=tmp_path).stdout.startswith("{")
    assert not folder.page.exists()  # who asks for a document waits for no page


def test_report_html_writes_where_it_is_told(folder: SweepFolder, tmp_path: Path) -> None:
    done = run(str(folder), "--html", cwd=tmp_path)
    assert done.stdout == f"{folder.page}\n"
    other = tmp_path / "other.html"
    assert run(str(folder), "--html", "other.html", cwd=tmp_path).stdout == "other.html\n"
    assert blocks(other.read_text())["data"]["sweeps"][0]["folder"] == "2026-11-21/10-00-00"
    assert run(str(folder), str(folder), "--html", "two.html", cwd=tmp_path).returncode == 1
    assert len(blocks((tmp_path / "two.html").read_text())["data"]["sweeps"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}", "--html", "."], "--html . is a folder"),
        (["{}", "--html", "no/such/folder.html"], "cannot be written"),
        (["{}", "{}"], "2 sweeps make one page: write --html FILE"),
        (["{}", "{}", "--html"], "2 sweeps make one page: write --html FILE"),
        (["{}", "--html", "--json"], "go with neither --html nor --watch"),
        (["nothing"], "'nothing' names no sweep"),
    ],
)
def test_bad_requests_say_what_to_write_instead(
    folder: SweepFolder, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = run(*(argument.format(folder) for argument in arguments), cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_page_that_cannot_be_written_loses_nothing_else(
    folder: SweepFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.page.mkdir()
    assert report.finish(folder) == 2
    seen = capsys.readouterr()
    assert "The page could not be written" in seen.err
    assert "1.11x" in seen.out
    assert "(tables/, jobs/)" in seen.out
    assert (folder.tables / "summary.csv").is_file()
    with pytest.raises(UsageError, match="is a folder"):
        report.main([str(folder), "--html"])


@pytest.mark.slow
def test_watch_follows_the_sweep_to_its_end(tmp_path: Path) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "1" / "2")
    for model in ("A", "B"):
        sweep.performance(model, "eager")
    results, sweep.results = sweep.results, []
    folder = sweep.write()
    folder.write_result(results[0])
    command = [sys.executable, "-m", "orchestrator", "report", "--watch"]
    watching = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    assert watching.stdout.readline() == "1 of 2 jobs\n"
    data = blocks(folder.page.read_text())["data"]
    assert (data["running"], data["sweeps"][0]["done"]) == (True, 1)
    folder.write_result(results[1])
    rest, _ = watching.communicate(timeout=120)
    assert rest == "2 of 2 jobs\n"
    assert watching.returncode == 0
    data = blocks(folder.page.read_text())["data"]
    assert (data["running"], data["sweeps"][0]["done"]) == (False, 2)
    assert len((folder.tables / "jobs.csv").read_text().splitlines()) == 3


def test_watch_stopped_early_leaves_a_page_that_does_not_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = synthetic.SyntheticSweep(tmp_path / "s")
    sweep.add(synthetic.job("A", "eager"))
    folder = sweep.write()

    def interrupted(seconds: float) -> None:
        assert blocks(folder.page.read_text())["data"]["running"] is True
        assert seconds >= 3
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        report.watch(folder)
    assert blocks(folder.page.read_text())["data"]["running"] is False
