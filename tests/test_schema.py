"""The JSON schemas of our YAML: made from the types, up to date, right about every file, and wrong ones are found."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from support.command import ROOT, said
from support.schema import errors

from orchestrator.planning.json_schema import EXPERIMENT, schemas
from orchestrator.planning.keys import Keys

CONF = ROOT / "conf"
FILES = sorted([*CONF.rglob("*.yaml"), *(ROOT / "experiments").glob("*.yaml")])
SCHEMAS = schemas(Keys([CONF]))
HAS_JSONSCHEMA = importlib.util.find_spec("jsonschema") is not None


def found(schema: Any, content: Any) -> list[str]:
    """Return what is wrong, by our own reading of the schema and, where it is installed, by jsonschema's."""
    own = list(errors(schema, content))
    if HAS_JSONSCHEMA:
        import jsonschema

        theirs = list(jsonschema.Draft7Validator(schema).iter_errors(content))
        assert bool(theirs) == bool(own), (theirs, own)
    return own


def referenced(file: Path) -> Path:
    lines = [line for line in file.read_text().splitlines() if line.startswith("# yaml-language-server: $schema=")]
    assert len(lines) == 1, f"{file.name}: one line that names its schema, as its neighbours have"
    return (file.parent / lines[0].partition("=")[2]).resolve()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_file_of_ours_names_its_schema_and_keeps_it(file: Path) -> None:
    schema = referenced(file)
    group = file.relative_to(CONF).parts[0] if file.is_relative_to(CONF) and file.parent != CONF else EXPERIMENT
    assert schema == CONF / f"{group}.schema.json"
    assert found(json.loads(schema.read_text()), OmegaConf.to_container(OmegaConf.load(file))) == []


def test_the_schemas_are_those_of_the_types_of_today(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "options", "--schema", str(tmp_path))[0] == 0
    written = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert written == {file.name: file.read_text() for file in CONF.glob("*.schema.json")}, "make schema"


@pytest.mark.parametrize(
    "content",
    [
        {"suite": "tiny", "compiler": ["eager", "inductor"], "batch_size": [1, 4], "dtype": "float32,bfloat16"},
        {"compiler": {"options": {"dynamic": [True, False]}}, "measure": "glob(*)", "rounds": "1,3"},
        {"suite": {"models": ["a"], "common": {"sequence_length": 5}}, "execution": {"env": {"A": [1, 2]}}},
        {"compiler.options.dynamic": True, "hydra/launcher": "joblib", "zip": [["dtype", "mode"]], "precision": "tf32"},
        {"hydra": {"sweeper": {"params": {"dtype": ["float16"]}}}, "exclude": [{"dtype": "float16"}], "budget": None},
    ],
    ids=str,
)
def test_what_may_be_written_is_allowed(content: dict[str, Any]) -> None:
    assert found(SCHEMAS[EXPERIMENT], content) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (EXPERIMENT, {"compilers": "eager"}),
        (EXPERIMENT, {"compiler": "inducter"}),
        (EXPERIMENT, {"compiler": ["eager", "inducter"]}),
        (EXPERIMENT, {"rounds": "many"}),
        (EXPERIMENT, {"batch_size": [1, "two"]}),
        (EXPERIMENT, {"dtype": []}),
        (EXPERIMENT, {"execution": {"timeout": 5}}),
        (EXPERIMENT, {"measure": {"options": {"pair": 5}}}),
        (EXPERIMENT, {"suite": {"models": "a"}}),
        ("compiler", {"name": "a", "target": "b", "options": {"dynamicc": True}}),
        ("suite", {"catalog": {"a": {"batch_sizes": {"cpu": 1}}}}),
        ("measure", {"timeout_s": "long"}),
        ("measure", {"options": {"kind": "timed"}}),
    ],
    ids=str,
)
def test_what_is_wrong_is_found(name: str, content: dict[str, Any]) -> None:
    assert found(SCHEMAS[name], content) != []
