"""The verb `options`, and the table of the README that it makes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.command import ROOT, orchestrator

from orchestrator.planning.options import options

CONF = ROOT / "conf"


def test_every_file_of_conf_is_an_option_and_says_what_it_is() -> None:
    found = options([CONF], [ROOT / "experiments"])
    files = [file.relative_to(CONF).with_suffix("") for file in CONF.glob("*/**/*.yaml")]
    assert {f"{option.group}/{option.name}" for option in found} == {
        *map(str, files),
        *(f"experiment/{file.stem}" for file in (ROOT / "experiments").glob("*.yaml")),
    }
    assert all(len(option.what) > 10 for option in found), [option for option in found if len(option.what) <= 10]


def test_the_readme_has_the_table_that_the_verb_prints(tmp_path: Path) -> None:
    printed = orchestrator(tmp_path, "options", "--md")
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(rows) > 30
    (table,) = re.findall(r"<!-- options -->\n(.*?)\n<!-- end of options -->", (ROOT / "README.md").read_text(), re.S)
    assert table.strip().splitlines() == rows, "run: make readme"


def test_groups_are_chosen_and_a_folder_of_ones_own_goes_first(tmp_path: Path) -> None:
    (tmp_path / "own" / "compiler").mkdir(parents=True)
    (tmp_path / "own" / "compiler" / "mine.yaml").write_text("# My back-end.\n#\n# More.\nname: mine\n")
    (tmp_path / "own" / "compiler" / "eager.yaml").write_text("name: eager\n")
    printed = orchestrator(tmp_path, "options", "compiler", "--config-dir", "own", "--csv").splitlines()
    assert printed[0] == "group,option,what"
    assert "compiler,mine,My back-end." in printed
    assert "compiler,eager," in printed
    assert all(line.startswith("compiler,") for line in printed[1:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compilr"], "unknown group 'compilr': did you mean 'compiler'"),
        (["--config-dir", "nowhere"], "--config-dir nowhere: there is no such folder"),
    ],
)
def test_what_is_not_there(arguments: list[str], message: str, tmp_path: Path) -> None:
    assert message in orchestrator(tmp_path, "options", *arguments, code=2)
