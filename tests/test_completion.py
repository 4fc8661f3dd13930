"""Shell completion: what is offered, how fast it must be able to answer, and the scripts in the shells themselves."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import synthetic
from support.audit import Audit
from support.command import ROOT, answer

from orchestrator.__main__ import VERBS
from orchestrator.cli import completion
from orchestrator.cli.completion import candidates
from orchestrator.planning import schema
from orchestrator.planning.options import options, packaged

SWEEP = "2026-01-02/10-00-00"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a sweep, an experiment, and a command `orchestrator` in PATH."""
    synthetic.quick_sweep(tmp_path / "outputs" / SWEEP).write()
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.yaml").write_text("# mine\n")
    script = tmp_path / "bin" / "orchestrator"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -P -m orchestrator "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "some", "none"),
    [
        ([""], ["report", "compiler=", "batch_size=", "execution.timeout_s="], ["schema=", "hydra=", "--help"]),
        (["re"], ["report", "rerun", "resume="], ["ls"]),
        (["compiler=eager", ""], ["mode=", "suite.models="], ["report"]),
        (["compiler=aot_"], ["compiler=aot_eager", "compiler=aot_inductor"], ["compiler=eager"]),
        (["compiler=self"], ["compiler=self_test/planted_slowdown"], []),
        (["compiler=eager,ea"], [], ["compiler=eager,eager"]),
        (["compiler=eager,induc"], ["compiler=eager,inductor"], ["compiler=inductor"]),
        (["+experiment=m"], ["+experiment=mine"], ["experiment=mine"]),
        (["experiment="], ["experiment=mine", "experiment=quick"], []),
        (["suite=tiny", "suite.models=[gpt2_tiny,"], ["suite.models=[gpt2_tiny,t5_tiny"], ["suite.models=[gpt2_tiny"]),
        (["suite.models=["], ["suite.models=[bert_small"], ["suite.models=[bert_tiny"]),
        (["dry_run="], ["dry_run=true", "dry_run=false"], []),
        (["resume="], ["resume=latest", f"resume={SWEEP}"], []),
        (["--cfg", ""], ["job", "hydra", "all"], ["report"]),
        (["--conf"], ["--config-dir"], ["--cfg"]),
        (["--config-dir", ""], [], ["report", "compiler="]),
        (["report", ""], ["latest", SWEEP], ["compiler="]),
        (["report", "--"], ["--md", "--html", "--root"], ["--rules"]),
        (["diff", "latest", "2026"], [SWEEP], []),
        (["gate", "latest", "--against", ""], ["latest"], []),
        (["gate", "latest", "--rules", ""], [], ["latest"]),
        (["export", ""], ["dynamobench", "mlflow", "parquet"], ["latest"]),
        (["export", "mlflow", "--"], ["--experiment"], ["--md"]),
        (["import", ""], ["dynamobench"], []),
        (["options", "comp"], ["compiler"], ["completion"]),
        (["completion", ""], ["bash", "zsh", "fish"], []),
        (["ls", ""], [], ["latest"]),
    ],
)  # fmt: skip
def test_what_is_offered(words: list[str], some: list[str], none: list[str]) -> None:
    found = candidates(words)
    assert set(some) <= set(found)
    assert not set(none) & set(found)
    assert all(word.startswith(words[-1]) for word in found)


def test_every_verb_every_option_and_every_flag_of_a_verb() -> None:
    assert set(VERBS) <= set(candidates([""]))
    for option in options([packaged("conf")], [packaged("experiments")]):
        assert f"{option.group}={option.name}" in candidates([f"{option.group}="])
    for verb in set(VERBS) - {"completion"}:
        assert "--help" in candidates([verb, "--"])


def test_every_key_of_the_configuration() -> None:
    parts = {"suite": ("models", "filter", "exclude"), "device": ("index",), "measure": ("timeout_s",)}
    groups = {option.group for option in options([packaged("conf")], [])}
    flat = {field.name for field in dataclasses.fields(schema.Config)} - groups - {"execution", "shard_job"}
    flat |= {f"execution.{field.name}" for field in dataclasses.fields(schema.ExecutionConf)}
    assert set(completion.KEYS) == flat | {f"{key}.{name}" for key, names in parts.items() for name in names}
    declared = {
        field.name
        for kind in (schema.SuiteConf, schema.DeviceConf, schema.MeasureConf)
        for field in dataclasses.fields(kind)
    }
    assert {name for names in parts.values() for name in names} <= declared


@pytest.mark.parametrize("flag", completion.FLAGS)
def test_every_flag_is_one_of_the_command(here: Path, flag: str) -> None:
    values = completion.FLAGS[flag]
    words = [flag, *(values[:1] if values else [] if values is None else ["experiments"])]
    assert "unknown flag" not in answer(here, "--help", *words)[2]
    assert "unknown flag --nonsense" in answer(here, "--help", "--nonsense")[2]


def test_configuration_of_ones_own(here: Path) -> None:
    (here / "conf" / "compiler").mkdir(parents=True)
    (here / "conf" / "compiler" / "ours.yaml").write_text("name: ours\n")
    assert "compiler=ours" in candidates(["--config-dir", "conf", "compiler=o"])
    assert "compiler=ours" not in candidates(["compiler=o"])


@pytest.mark.parametrize("name", ["$(touch here)", "a b", "a;b", "`id`", "a'b", "a\x1b[2Jb", "a\nb"])
def test_no_name_of_a_file_can_do_anything_to_a_command_line(here: Path, name: str) -> None:
    (here / "experiments" / f"{name}.yaml").write_text("")
    assert "experiment=mine" in candidates(["experiment="])
    assert not [
        word for word in candidates(["experiment="]) if "a" in word.removeprefix("experiment=") and name in word
    ]
    assert name not in "".join(candidates(["experiment="]))


def test_it_imports_nothing_large(here: Path) -> None:
    audit = Audit(here / "events")
    for words in (["compiler="], ["report", "--"], ["resume="], ["export", "mlflow", ""]):
        command = [sys.executable, "-m", "orchestrator", "completion", "candidates", *words]
        done = subprocess.run(command, env=audit.environment(), capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == candidates(words)
    assert audit.imported("orchestrator.planning.options")
    for module in ("hydra", "omegaconf", "yaml", "torch", "pandas", "numpy", "rich", "psutil", "transformers"):
        assert audit.imported(module) == []


def bash(line: str, before: str = "") -> list[str]:
    """What bash's own completion makes of a line: words are split as it splits them, by COMP_WORDBREAKS."""
    script = f"""
    {before}
    eval "$(orchestrator completion bash)"
    COMP_LINE="$1" COMP_POINT=${{#1}}
    _orchestrator orchestrator
    for word in "${{COMPREPLY[@]}}"; do printf '%s|' "$word"; done
    """
    command = ["bash", "--norc", "-c", script, "bash", line]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return done.stdout.split("|")[:-1]


def test_bash() -> None:
    assert bash("orchestrator repo") == ["report"]
    assert {"report", "compiler="} <= set(bash("orchestrator "))
    assert bash("orchestrator compiler=aot_ind") == ["aot_inductor"]  # bash itself has `compiler` `=` before it
    assert bash("orchestrator compiler=eager,aot_ind") == ["eager,aot_inductor"]
    assert bash("orchestrator compiler=aot_ind", "COMP_WORDBREAKS=' '") == ["compiler=aot_inductor"]
    assert SWEEP in bash("orchestrator show ")
    assert bash("orchestrator gate latest --rules ") == []  # then files: complete -o default


def test_bash_at_a_terminal(here: Path) -> None:
    """Tab, in an interactive bash: readline completes the word, with a space behind a verb and none behind `=`."""
    import pty

    (here / "rc").write_text("PS1='ready> '\nbind 'set bell-style none'\nbind 'set enable-bracketed-paste off'\n"
                             'eval "$(orchestrator completion bash)"\n')  # fmt: skip
    child, terminal = pty.fork()
    if child == 0:
        os.execvp("bash", ["bash", "--noprofile", "--rcfile", "rc", "-i"])
    shown = b""

    def until(text: bytes) -> None:
        nonlocal shown
        while text not in shown:
            shown += os.read(terminal, 4096)
        shown = b""

    try:
        until(b"ready> ")
        for typed, completed in ((b"orchestrator rer\t", b"orchestrator rerun "), (b"lat\t", b"latest")):
            os.write(terminal, typed)
            until(completed)
        os.write(terminal, b"\x15orchestrator quantiz\tint4\t")
        until(b"quantization=int4_weight_only ")
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh() -> None:
    def offered(*words: str) -> list[str]:
        script = (
            "compdef() {}; _files() { print files }\n"
            "compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -l -- $@ }\n"
            'eval "$(orchestrator completion zsh)"; words=(orchestrator "$@"); CURRENT=$#words; _orchestrator; true'
        )
        command = ["zsh", "-fc", script, "zsh", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()

    assert offered("repo") == ["report"]
    assert {"report", "compiler="} <= set(offered(""))
    assert offered("compiler=aot_ind") == ["compiler=aot_inductor"]
    assert offered("gate", "latest", "--rules", "") == ["files"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish() -> None:
    def offered(line: str) -> list[str]:
        script = "orchestrator completion fish | source; complete -C $argv[1]"
        command = ["fish", "--no-config", "-c", script, line]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()

    assert offered("orchestrator repo") == ["report"]
    assert {"report", "compiler="} <= set(offered("orchestrator "))
    assert offered("orchestrator compiler=aot_ind") == ["compiler=aot_inductor"]
    assert "experiments/" in offered("orchestrator gate latest --rules ")
