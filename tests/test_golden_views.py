"""Every view that people see, of sweeps that never change (`golden_sweeps`), is byte for byte what golden/views has.

UPDATE_GOLDEN=1 pytest tests/test_golden_views.py     writes them anew: read `git diff` before you commit

golden/views/<sweep>/<view>.<form> is what the command printed, <view>.files/ what it wrote, <view>.<form>.exit its
exit code and what it said on stderr, where it failed or said something.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import golden_sweeps

from orchestrator.__main__ import VERBS, main
from orchestrator.planning import provenance
from orchestrator.system import VARIABLES

VIEWS = golden_sweeps.GOLDEN / "views"
UPDATE = "UPDATE_GOLDEN"
NOW = 1_795_900_000.0  # seconds since the epoch: 2026-11-28, two days after the real sweeps
USER = "/home/someone"
"""What the folder of a test run is called in golden files."""
HELP_OF = (3, 11)
"""The Python whose argparse made the golden help."""
LONGEST, BLOCK = 40_000, 50
"""A text of more characters is pinned by the digests of so many lines each: its figures are in shorter ones, too."""
LONGEST_DIFF = 40
"""Lines of a difference that are shown."""
MADE = ("tables", "report.html")
"""What `report` writes into a sweep: removed after each view, so that no view depends on another."""
WHOLE = (
    *("real/performance_1", "real/observed"),
    *("synthetic/before", "synthetic/findings", "broken/results", "imported/dynamobench"),
)
"""Sweeps of which every view is pinned."""
BRIEF = (
    *("real/performance_2", "real/more", "synthetic/after", "synthetic/self_test", "synthetic/gpu"),
    *("broken/interrupted", "broken/header", "broken/no_points", "broken/no_plan", "broken/damaged"),
)
"""Sweeps of which a person's views are: what machines read has nothing else in it."""
COMPARED = (("real/performance_1", "real/performance_2"), ("synthetic/before", "synthetic/after"))
TODAY = "2026-12-01"
REFUSED: Mapping[str, tuple[str, ...]] = {
    "verb": ("reprot",),
    "no_sweep": ("report", "2025"),
    "many_sweeps": ("report", "synthetic"),
    "no_job": ("show", "outputs/synthetic/before:ffff"),
    "no_row": ("show", "outputs/synthetic/before", "--only", "model=Nobody"),
    "no_table": ("report", "outputs/synthetic/before", "--table", "flops", "--csv"),
    "no_metric": ("diff", "synthetic/before", "synthetic/after", "--metric", "speed"),
    "no_baseline": ("gate", "synthetic/before", "--against", "none.json"),
    "not_run": ("gate", "synthetic/before", "--against", "none.json", "--accept"),
    "no_group": ("options", "compilers"),
    "imported": ("rerun", "imported/dynamobench"),
    "older": ("report", "latest~99"),
}
"""What cannot be done, and is told."""


@dataclass(frozen=True)
class View:
    """A command whose output is pinned. `place`: its folder below golden/views; `writes`: the files it makes."""

    place: str
    name: str
    command: tuple[str, ...]
    form: str = "txt"
    columns: int = 80
    writes: str = ""
    colours: bool = False

    def __str__(self) -> str:
        return f"{self.place}/{self.name}.{self.form}"


def forms(place: str, name: str, *command: str, csv: bool = False) -> Iterator[View]:
    """Yield a command's text, Markdown, JSON and, if it says other things, CSV."""
    yield View(place, name, command)
    for form in ("md", "json", *(("csv",) if csv else ())):
        yield View(place, name, (*command, f"--{form}"), form)


def of_sweep(sweep: str) -> Iterator[View]:
    """Yield the views of one sweep that a person reads."""
    folder = f"outputs/{sweep}"
    yield View(sweep, "report", ("report", folder))
    yield View(sweep, "report", ("report", folder, "--md"), "md")
    yield View(sweep, "show", ("show", folder))
    yield View(sweep, "rerun", ("rerun", folder, "--dry-run"))


def more_of_sweep(sweep: str) -> Iterator[View]:
    """Yield the other views of one sweep: wider, for machines, and the files."""
    folder = f"outputs/{sweep}"
    yield View(sweep, "report_120", ("report", folder), columns=120)
    yield View(sweep, "report", ("report", folder, "--json"), "json")
    yield View(sweep, "tables", ("report", folder, "--table", "overview", "--csv"), "csv", writes=f"{folder}/tables")
    yield View(sweep, "show_120", ("show", folder), columns=120)
    for form in ("md", "json"):
        yield View(sweep, "show", ("show", folder, f"--{form}"), form)
        yield View(sweep, "rerun", ("rerun", folder, "--dry-run", f"--{form}"), form)
    yield View(sweep, "export_dynamobench", ("export", "dynamobench", "-o", "csv", folder), writes="csv")
    yield View(sweep, "export_batch_sizes", ("export", "batch_sizes", "-o", "suites", folder), writes="suites")
    yield View(sweep, "export_hud", ("export", "hud", "-o", "-", folder))
    if not sweep.startswith("imported"):  # nothing that is not in its tables
        yield View(sweep, "page", ("report", folder, "--html", "page.html"), writes="page.html")


def of_two(before: str, after: str) -> Iterator[View]:
    """Yield the views of a sweep beside an earlier one."""
    old, new = f"outputs/{before}", f"outputs/{after}"
    place = f"compared/{before.replace('/', '_')}-{after.replace('/', '_')}"
    judged = ("gate", new, "--against", old, "--today", TODAY)
    yield from forms(place, "diff", "diff", old, new, csv=True)
    yield View(place, "diff_120", ("diff", old, new), columns=120)
    yield View(place, "diff_back", ("diff", new, old))
    yield View(place, "diff_back", ("diff", new, old, "--md"), "md")
    yield View(place, "diff_all", ("diff", old, new, "--all"))
    yield View(place, "diff_all", ("diff", old, new, "--all", "--md"), "md")
    yield from forms(place, "diff_config_only", "diff", old, new, "--config-only")
    yield from forms(place, "gate", *judged, csv=True)
    yield View(place, "gate_back", ("gate", old, "--against", new, "--today", TODAY))
    yield View(place, "gate_junit", (*judged, "--junit", "gate.xml"), writes="gate.xml")
    yield View(place, "report_against", ("report", new, "--md", "--against", old), "md")


def of_jobs() -> Iterator[View]:
    """Yield the views of one job, or some."""
    chosen = {
        "faster": ("synthetic/before", "model=Bert,compiler=inductor,measure=performance,mode=inference,round=0"),
        "eager": ("synthetic/before", "model=Bert,compiler=eager,measure=performance,mode=inference,round=0"),
        "accuracy": ("synthetic/before", "model=T5Small,compiler=inductor,measure=accuracy"),
        "crash": ("synthetic/before", "model=Ends_crash,measure=performance"),
        "mended": ("synthetic/after", "model=Ends_crash,measure=performance"),
        "wrong": ("synthetic/before", "model=Ends_fail_accuracy,measure=accuracy"),
        "several": ("synthetic/before", "model=Ends_*"),
        "real": ("real/performance_1", "model=bert_tiny,compiler=inductor,measure=performance,round=1"),
        "real_accuracy": ("real/performance_1", "model=bert_tiny,compiler=inductor,measure=accuracy"),
        "real_explain": ("real/observed", "measure=explain"),
        "unreadable": ("broken/results", "model=Bert,compiler=eager,round=0"),
        "running": ("broken/interrupted", "model=T5Small,compiler=eager,round=0"),
    }
    for name, (sweep, only) in chosen.items():
        yield from forms("jobs", name, "show", f"outputs/{sweep}", "--only", only)
    yield View("jobs", "log", ("show", "outputs/real/observed", "--only", "measure=coverage", "--log"))


def of_all() -> Iterator[View]:
    """Yield the views of many sweeps, and those of none."""
    yield from forms("all", "ls", "ls", csv=True)
    yield View("all", "ls_120", ("ls", "--all"), columns=120)
    yield from forms("all", "history", "history", csv=True)
    yield View("all", "history_120", ("history",), columns=120)
    yield View("all", "history_latency", ("history", "--metric", "latency_ms", "--compiler", "inductor*"))
    yield View("all", "history_svg", ("history", "--model", "Bert", "--svg", "plot.svg"), writes="plot.svg")
    many = tuple(f"outputs/{sweep}" for sweep in ("synthetic/before", "synthetic/after", "broken/results"))
    yield from forms("all", "matrix", "diff", *many, csv=True)
    incomplete = ("outputs/broken/results", "--against", "outputs/synthetic/before", "--today", TODAY)
    yield View("all", "gate_incomplete", ("gate", *incomplete))
    yield View("all", "gate_incomplete", ("gate", *incomplete, "--md"), "md")
    one = ("outputs/synthetic/before:c5e50cf5", "outputs/synthetic/after:c5e50cf5")
    yield from forms("all", "diff_jobs", "diff", *one)
    yield View("all", "diff_table", ("diff", "summary.csv", "outputs/synthetic/after"))
    yield View("all", "diff_table", ("diff", "summary.csv", "outputs/synthetic/after", "--md"), "md")
    yield from forms("all", "gate_file", "gate", "real/performance_2", "--against", "real.json", "--today", TODAY)
    yield View("all", "history_file", ("history", "real.json", "--model", "bert_tiny"))
    yield from forms("all", "show_id", "show", "c5e50cf5")
    yield View(
        "all",
        "gpu",
        ("report", "outputs/synthetic/gpu", "--table", "overview", "--csv"),
        "csv",
        writes="outputs/synthetic/gpu/tables",
    )
    judged = ("gate", "outputs/synthetic/after", "--against", "outputs/synthetic/before", "--rules", "gate.yaml")
    yield from forms("all", "gate_rules", *judged, "--today", TODAY, csv=True)
    junit = (*judged, "--today", TODAY, "--junit", "gate.xml")
    yield View("all", "gate_rules_junit", junit, writes="gate.xml")
    accepted = ("outputs/real/performance_1", "--against", "baseline.json", "--accept", "--today", TODAY)
    yield from forms("all", "gate_accept", "gate", *accepted)
    yield View("all", "baseline", ("gate", *accepted, "--csv"), "csv", writes="baseline.json")
    yield View("all", "self_test", ("report", "outputs/synthetic/self_test", "--table", "self_test", "--csv"), "csv")
    yield View("all", "colours", ("report", "outputs/synthetic/before"), colours=True)
    yield View(
        "all",
        "page_of_two",
        ("report", "outputs/broken/results", "outputs/broken/interrupted", "--html", "page.html"),
        writes="page.html",
    )
    yield from forms("all", "options", "options", csv=True)
    for name, refused in REFUSED.items():
        yield View("refused", name, refused)
    yield View("help", "orchestrator", ("--help",), columns=120)
    for verb in VERBS:
        yield View("help", verb, (verb, "--help"))


ALL = (
    *(view for sweep in (*WHOLE, *BRIEF) for view in of_sweep(sweep)),
    *(view for sweep in WHOLE for view in more_of_sweep(sweep)),
    *(view for pair in COMPARED for view in of_two(*pair)),
    *of_jobs(),
    *of_all(),
)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder with all sweeps below outputs/. Its path is as long as USER, whatever TMPDIR is: lines break alike.

    Of letters and digits: "_", which `tempfile` uses, may be escaped in Markdown.
    """
    made = Path("/tmp", secrets.token_hex(4))
    assert len(str(made)) == len(USER)
    made.mkdir()
    with (
        pytest.MonkeyPatch.context() as patched,
        contextlib.chdir(made),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        patched.setattr(os, "fsync", lambda file: None)
        golden_sweeps.write_all(made / "outputs")
    yield made
    shutil.rmtree(made)


@pytest.fixture(autouse=True)
def nowhere(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let nothing of the machine be seen: its clock, time zone, terminal, variables and packages."""
    monkeypatch.chdir(place)
    for name in os.environ:
        if name.startswith((*VARIABLES, "ORCHESTRATOR_TRACEBACK")):
            monkeypatch.delenv(name)
    for name in ("FORCE_COLOR", "NO_COLOR", "COLORTERM", "LINES", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(time, "time", lambda: NOW)
    monkeypatch.setattr(os, "fsync", lambda file: None)  # waits for the disk; nothing here need survive
    monkeypatch.setattr(provenance, "environment", lambda machine: dict(golden_sweeps.ENVIRONMENT))
    before = set(place.iterdir())
    yield
    monkeypatch.undo()
    time.tzset()
    for path in (set(place.iterdir()) - before) | {made for name in MADE for made in place.glob(f"outputs/*/*/{name}")}:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("view", ALL, ids=str)
def test_a_view_is_what_it_was(
    view: View, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if view.place == "help" and sys.version_info[:2] != HELP_OF:
        pytest.skip("argparse lays out its help in another way")
    monkeypatch.setenv("COLUMNS", str(view.columns))
    if view.colours:
        monkeypatch.setenv("FORCE_COLOR", "1")
    try:
        code = main(view.command)
    except SystemExit as stopped:  # argparse ends --help so
        code = int(stopped.code or 0)
    out, err = capsys.readouterr()
    found = {f"{view.name}.{view.form}": out} | written(view, place)
    if code or err:
        found[f"{view.name}.{view.form}.exit"] = f"{code}\n{err}"
    compare(VIEWS / view.place, view, {name: normal(text, place) for name, text in found.items() if text})


@pytest.mark.parametrize("sweep", WHOLE)
def test_the_tables_in_files_are_those_of_the_document(
    sweep: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So what is long is pinned once."""
    main(["report", f"outputs/{sweep}", "--csv"])
    assert (place / f"outputs/{sweep}/tables/summary.csv").read_text(encoding="utf-8") == capsys.readouterr().out
    main(["report", f"outputs/{sweep}", "--json"])
    document = json.loads(capsys.readouterr().out)
    files = {
        file.stem: json.loads(file.read_text(encoding="utf-8"))
        for file in (place / f"outputs/{sweep}/tables").glob("*.json")
    }
    assert {name: file["tables"][name] for name, file in files.items()} == document["tables"]
    assert {name for file in files.values() for name in file} == set(document)


def test_no_golden_file_is_left_over() -> None:
    """What no view has written is gone: a view that was renamed leaves nothing that nobody compares."""
    known = {(view.place, view.name) for view in ALL}
    for path in VIEWS.rglob("*"):
        if path.is_file():
            folder, name = os.path.split(path.relative_to(VIEWS).as_posix().split(".files/")[0])
            assert (folder, name.split(".")[0]) in known, path


def written(view: View, place: Path) -> dict[str, str]:
    """Return the files that the command made, by their golden names."""
    if not view.writes or not (place / view.writes).exists():
        return {}
    top = place / view.writes
    files = [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file())
    files = [file for file in files if file.parent.name != "tables" or file.suffix != ".json"]  # as report --json is
    return {f"{view.name}.files/{file.relative_to(top.parent)}": content(file) for file in files}


def content(file: Path) -> str:
    """Return a file's text; of a page the data in it, and not the scripts.

    What every page has, the meaning of columns and the charts, is pinned in one: that of two sweeps.
    """
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".html":
        return text
    blocks = re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', text, re.DOTALL)
    found = {name: json.loads(value) for name, value in blocks}
    if len(found["data"]["sweeps"]) == 1:
        found = {**found["data"], "columns": sorted(found["data"]["columns"])}
    return "".join(f"{line}\n" for key, value in found.items() for line in listed(key, value))


def listed(key: str, value: Any) -> list[str]:
    """Return JSON with a line for each part of a list or mapping."""
    if isinstance(value, dict):
        return [f"{key}.{name}: {json.dumps(part, ensure_ascii=False)}" for name, part in value.items()]
    parts = value if isinstance(value, list) else [value]
    return [f"{key}: {json.dumps(part, ensure_ascii=False)}" for part in parts]


def normal(text: str, place: Path) -> str:
    """Return a text without what differs from one machine or day to the next, by these rules and no others."""
    text = text.replace(str(place), USER)
    text = re.sub(r"\d+\.\d{11,}(e-?\d+)?", lambda figure: f"{float(figure[0]):.10g}", text)  # sums, by another CPU
    return text if len(text) <= LONGEST else summed(text)


def summed(text: str) -> str:
    """Return digests of the lines of a text."""
    lines = text.splitlines()
    blocks = {i: "\n".join(lines[i : i + BLOCK]) for i in range(0, len(lines), BLOCK)}
    digests = {i: hashlib.sha256(block.encode()).hexdigest()[:16] for i, block in blocks.items()}
    return "".join(f"lines {i + 1} to {i + BLOCK}: {digest}\n" for i, digest in digests.items())


def compare(folder: Path, view: View, found: Mapping[str, str]) -> None:
    """Compare with the golden files, or write them."""
    if os.environ.get(UPDATE):
        for name in stored(folder, view):
            (folder / name).unlink()
        for name, text in found.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text.encode(errors="surrogateescape"))
        return
    for name in sorted(found.keys() | stored(folder, view)):
        path = folder / name
        expected = path.read_bytes().decode(errors="surrogateescape") if path.is_file() else ""
        now = found.get(name, "")
        if expected != now:
            pytest.fail(
                f"{path.relative_to(VIEWS)} differs; {UPDATE}=1 rewrites it\n{difference(expected, now)}", pytrace=False
            )


def stored(folder: Path, view: View) -> set[str]:
    """Return the names of the view's golden files."""
    own = [f"{view.name}.{view.form}", f"{view.name}.{view.form}.exit"]
    files = (folder / f"{view.name}.files").rglob("*") if view.writes else ()
    return {name for name in own if (folder / name).is_file()} | {
        path.relative_to(folder).as_posix() for path in files if path.is_file()
    }


def difference(expected: str, found: str) -> str:
    lines = list(difflib.unified_diff(expected.splitlines(), found.splitlines(), "golden", "now", lineterm="", n=1))
    more = [f"... and {len(lines) - LONGEST_DIFF} lines more"] if len(lines) > LONGEST_DIFF else []
    return "\n".join(line[:300] for line in lines[:LONGEST_DIFF] + more)
