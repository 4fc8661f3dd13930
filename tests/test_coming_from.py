"""docs/coming_from.md names only what exists, and its commands are accepted; two of them really run, in small."""

from __future__ import annotations

import functools
import html
import importlib
import pkgutil
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command import ROOT, answer, latest, orchestrator, run, table
from support.predecessors import OPTIONS

import orchestrator as python_api
from orchestrator import measures
from orchestrator.cli import VERBS
from orchestrator.planning import foreign_flags, meant
from orchestrator.planning.keys import Keys
from orchestrator.records import STATUSES
from orchestrator.results.metrics import COLUMNS

PAGE = ROOT / "docs" / "coming_from.md"
COMMAND = "python -m orchestrator "
KEYS = Keys([ROOT / "conf", ROOT])
EXPERIMENTS = {file.stem for file in (ROOT / "experiments").glob("*.yaml")}
HYDRA = {"hydra.sweep.dir"}
FLAGS = {"--config-dir", "--json"}
NO_RUN = {"environment", "graph_break_reasons"}
"""Tables that stand in no class: of the whole sweep."""
WORDS = {foreign_flags.ALWAYS: "always|every|in the sweep|_ms", foreign_flags.LEFT_OUT: "–"}  # noqa: RUF001
"""Of a flag that is always on, or left out: what the page has of it."""


def rows() -> Iterator[list[str]]:
    """The cells of every row of the page's tables."""
    for line in PAGE.read_text().splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield [html.unescape(cell.strip()) for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def options_of(section: str) -> set[str]:
    """Return every word in the code spans of the first columns of a section and of those below it.

    Of "`--repeat`/`-n`" that is both, of "`--only path:/a/file.py`" the option and its value.
    """
    found, depth = set(), 0
    for line in PAGE.read_text().splitlines():
        if title := re.match(r"(#+) (.*)", line):
            level = len(title[1])
            depth = level if title[2] == section else depth if depth and level > depth else 0
        elif depth and line.startswith("|"):
            first = re.split(r"(?<!\\)\|", line)[1]
            found |= {word for span in re.findall(r"`([^`]*)`", first) for word in re.split(r"[ =]", span)}
    return found


def named() -> list[str]:
    """Every code span of a last column: what is ours. A reason for leaving out may name theirs behind "see"."""
    spans = (
        span for row in rows() if not row[-1].startswith("ours") for span in re.findall(r"(?<!see )`([^`]*)`", row[-1])
    )
    return list(dict.fromkeys(spans))


def commands() -> list[str]:
    return [span.removeprefix(COMMAND) for span in named() if span.startswith(COMMAND)]


@functools.cache
def words() -> frozenset[str]:
    """Columns, tables and statuses."""
    found = {*COLUMNS, *STATUSES, *NO_RUN}
    for module in pkgutil.iter_modules(measures.__path__):
        for one in vars(importlib.import_module(f"orchestrator.measures.{module.name}")).values():
            for name, spec in (getattr(one, "TABLES", None) or {}).items() if isinstance(one, type) else ():
                found |= {name, *(getattr(column, "name", column) for column in spec.columns)}
    return frozenset(found)


@functools.cache
def help_of(*verb: str) -> str:
    return orchestrator(ROOT, *verb, "--help")


def wrong(span: str) -> str | None:
    """Return what of a code span is not ours, None where all is."""
    parts = shlex.split(span)
    if span in words() or span in FLAGS or (span in ("--rules", "--accept") and span in help_of("gate")):
        return None
    if span.startswith("orchestrator."):
        return None if span.removeprefix("orchestrator.") in python_api.__all__ else span
    if parts[0] in VERBS:
        verb = (parts[0], parts[1]) if parts[0] in ("export", "import") else (parts[0],)
        if len(verb) == 2 and not re.search(rf"^ +{verb[1]}\b", help_of(verb[0]), re.MULTILINE):
            return span
        lacks = [word for word in parts if word.startswith("--") and not re.search(rf"{word}\b", help_of(*verb))]
        return ", ".join(lacks) or None
    if "=" not in span:
        return span
    return next((one for part in parts if (one := wrong_override(part))), None)


def wrong_override(word: str) -> str | None:
    key, separator, value = word.lstrip("+").partition("=")
    if not separator:
        return word
    if key == "key":  # "key=false" stands for any
        return None
    if key == "experiment":
        return None if value in EXPERIMENTS else word
    if key in KEYS.groups:
        return None if set(value.split(",")) <= set(KEYS.groups[key]) else word
    return None if key in HYDRA or KEYS.kinds(key) else word


def is_file(span: str) -> bool:
    return bool(re.fullmatch(r"(tables|jobs)/\S+|sweep\.json", span))


def test_a_name_that_is_none_is_found() -> None:
    planted = ["no_such_column", "compiler=inductr", "rounds_mx=3", "measure.options.no_such=1", "gate latest --junk x"]
    planted += ["export dynamobenc DIR", "orchestrator.lod", "experiment=quik", "suite.catalog.A.batch_sizes.cpu=1"]
    assert [span for span in planted if wrong(span) is None] == []


def test_what_the_page_names_exists() -> None:
    spans = [span for span in named() if not span.startswith(COMMAND) and not is_file(span)]
    assert len(spans) > 200
    assert {span: found for span in spans if (found := wrong(span))} == {}


@pytest.mark.parametrize("section", OPTIONS)
def test_every_option_of_theirs_has_a_line(section: str) -> None:
    there = options_of(section)
    assert len(there) > 10
    assert [option for option in OPTIONS[section].split() if option not in there] == []


def test_whoever_types_a_flag_of_theirs_is_told_what_the_page_says() -> None:
    """Every flag of theirs has an answer with what there is, and of those of the table the page has the same."""
    flags = [option for names in OPTIONS.values() for option in names.split() if option.startswith("--")]
    ours = {"--config-dir", "--config-name", "--multirun", "--run"}  # which Hydra has, too
    cells = {flag: [row[-1] for row in rows() if flag in re.findall(r"--[\w-]+", " ".join(row[:-1]))] for flag in flags}
    for flag in dict.fromkeys(flags):
        told = meant.flag(f"{flag}=8", None, KEYS)
        assert flag in ours or "no such key" not in told, flag
        if meaning := foreign_flags.FLAGS.get(flag[2:]):
            kept = WORDS.get(meaning, re.escape(meaning))
            assert any(re.search(kept, cell) for cell in cells[flag]), (flag, meaning, cells[flag])


def test_a_flag_that_another_benchmark_has_is_explained(tmp_path: Path) -> None:
    for flag, told in (
        ("--speedup-ts", "left out: docs/coming_from.md says why"),
        ("--quick", "here it is suite=quick"),
        ("--cold_start_latency", "always on here"),
        ("--print-fx", "measure=explain measure.options.graphs=true"),
    ):
        code, _, err = answer(tmp_path, flag)
        assert code == 2
        assert told in err


def test_what_is_left_out_has_a_reason() -> None:
    ends = [row for row in rows() if not row[-1] or re.search(r"–\W*$", row[-1])]  # noqa: RUF001
    assert ends == []


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", PAGE.read_text())
    assert [link for link in links if not (PAGE.parent / link).is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize("line", commands())
def test_command_is_planned(tmp_path: Path, line: str) -> None:
    """A machine without CUDA or a package plans it all the same: what lacks is a row that says so."""
    code, out, err = answer(tmp_path, *shlex.split(line), "dry_run=true")
    assert code == 0, out + err
    assert "Dry run: nothing was started." in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_two_commands_run_in_small_and_their_files_are_there(tmp_path: Path) -> None:
    """The README's performance in training, and accuracy of one model; then what measures leave."""
    one = ["suite.models=[BertForMaskedLM]", "suite.catalog.BertForMaskedLM.build.config.num_hidden_layers=1"]
    one += ["suite.catalog.BertForMaskedLM.build.config.vocab_size=100", "batch_size=1", "sequence_length=8"]
    (timed,) = [line for line in commands() if line.startswith("suite=huggingface measure=performance mode=training")]
    run(tmp_path, *shlex.split(timed), *one, "rounds=1")
    (row,) = [row for _, row in table(tmp_path, "summary").iterrows() if row.compiler == "inductor"]
    assert row.performance == "pass"
    assert row.speedup > 0
    places = [latest(tmp_path).root]
    judged = next(line for line in commands() if "measure=accuracy suite.models" in line)
    run(tmp_path, *shlex.split(judged), *one[1:])
    assert set(table(tmp_path, "summary").accuracy) == {"pass"}
    places.append(latest(tmp_path).root)
    small = ["suite=tiny", "suite.models=[bert_tiny]", "compiler=eager", "measure=operators,profile,memory_by_line"]
    run(tmp_path, *small)
    places.append(latest(tmp_path).root)
    # what tests/test_working_folder.py, test_dynamo_measures.py, test_outputs.py and test_export_errors.py see
    elsewhere = {"jobs/<id>/artifacts/torch_compile_debug", "jobs/<id>/artifacts/graphs"}
    elsewhere |= {"tables/compared_outputs.csv", "tables/export_errors.csv"}
    files = {span for span in named() if is_file(span)} - elsewhere
    lacking = [file for file in files if not any(any(at.glob(file.replace("<id>", "*"))) for at in places)]
    assert lacking == []


def test_a_file_of_batch_sizes(tmp_path: Path) -> None:
    """The line of the page, in a shell."""
    (line,) = re.findall(r"^```\n(python .*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "sizes.txt").write_text("BertForMaskedLM,3\nT5Small 1\n")
    line = line.replace("python", sys.executable, 1).rstrip() + " dry_run=true"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 models      BertForMaskedLM 8, T5Small 8" in done.stdout
    assert "'suite.models=[sizes.txt]' 'suite.filter=^T5Small$'" in done.stdout
