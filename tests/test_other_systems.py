"""Windows and macOS: what reads says there what it says here; what would run jobs says what is not there."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Action, ArgumentParser
from pathlib import Path

import pytest
from support import golden_sweeps
from support.command import ENVIRONMENT, FAKES, answer

from orchestrator import system
from orchestrator.__main__ import VERBS
from orchestrator.errors import UsageError
from orchestrator.execution import hydra_plugin
from orchestrator.execution.ownership import claim

ADD = ArgumentParser._add_action
BEFORE, AFTER = "outputs/2026-11-24/09-00-00", "outputs/2026-11-25/09-00-00"
READING = {
    "completion": ("bash",),
    "options": (),
    "report": (AFTER, "--md"),
    "diff": (BEFORE, AFTER),
    "gate": (AFTER, "--against", BEFORE),
    "ls": ("--json",),
    "show": (AFTER,),
    "history": ("--md",),
    "export": ("dynamobench", AFTER, "-o", "exported"),
    "import": ("dynamobench", "--help"),
    "rerun": (AFTER, "--dry-run", "--json"),
    "merge": ("--help",),
    "bisect": ("--help",),
}
SWEEP = (*FAKES, "suite=perceptrons", "compiler=eager", "measure=glance")
Words = tuple[str, ...]
READS: list[Words] = [
    *((verb, *more) for verb, more in READING.items()),
    ("--help", *FAKES),
    (*SWEEP, "dry_run=true"),
]
RUNS: list[Words] = [SWEEP, ("rerun", AFTER), ("resume=" + AFTER,)]


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sweeps")
    claim(golden_sweeps.before(root / BEFORE))
    claim(golden_sweeps.after(root / AFTER))
    return root


@pytest.fixture(scope="module")
def elsewhere(sweeps: Path) -> dict[Words, tuple[int, str, str]]:
    """What each command line comes to without Unix: exit code, stdout, stderr. No sweep may be added."""
    folders = sorted((sweeps / "outputs").glob("*/*"))
    script = Path(__file__).parent / "support" / "without_unix.py"
    asked = [*READS, *RUNS]
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", str(script), json.dumps(asked)],
        cwd=sweeps, env=ENVIRONMENT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted((sweeps / "outputs").glob("*/*")) == folders
    return {words: tuple(told) for words, told in zip(asked, json.loads(done.stdout), strict=True)}


def test_every_verb_is_asked() -> None:
    assert set(READING) == set(VERBS)


@pytest.mark.parametrize("words", READS, ids=lambda words: words[0])
def test_what_reads_says_the_same_without_unix(
    sweeps: Path, elsewhere: dict[Words, tuple[int, str, str]], words: Words
) -> None:
    code, said, told = elsewhere[words]
    here, expected, _ = answer(sweeps, *words)
    assert (code, _anywhere(said)) == (here, _anywhere(expected)), told
    assert "Traceback" not in told
    assert code in (0, 1)


def _anywhere(said: str) -> list[str]:
    """Return the lines without that of the CPU affinity, which Windows and macOS do not tell of."""
    return [line for line in said.splitlines() if '"affinity"' not in line]


@pytest.mark.parametrize("words", RUNS, ids=["sweep", "rerun", "resume"])
def test_what_runs_jobs_says_what_is_not_there(elsewhere: dict[Words, tuple[int, str, str]], words: Words) -> None:
    code, _, told = elsewhere[words]
    assert code == 2
    assert "jobs run on Linux only" in told
    assert "no file locks (fcntl), no limits of a process (resource), no fork" in told
    assert "WSL2" in told


def test_macos_has_locks_and_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    system.need_linux()
    monkeypatch.setattr(system.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(system, "JOBS_NEED", {**system.JOBS_NEED, "/proc": Path("/proc/self/nothing").exists})
    with pytest.raises(UsageError, match=r"\(Darwin\) has no /proc\. On Windows use WSL2, elsewhere a container"):
        system.need_linux()


def test_an_argparse_that_checks_help_takes_hydras_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python 3.14's does: Hydra 1.3 has an option whose help is no text."""

    def check(self: ArgumentParser, action: Action) -> None:
        if action.help is not None and "%" not in action.help:
            self._get_formatter()

    monkeypatch.setattr(ArgumentParser, "_check_help", getattr(ArgumentParser, "_check_help", check), raising=False)
    monkeypatch.setattr(
        ArgumentParser, "_add_action", lambda self, action: (self._check_help(action), ADD(self, action))[1]
    )
    parser = hydra_plugin.parser()
    assert parser.parse_args(["--cfg", "job"]).cfg == "job"
    with pytest.raises(TypeError):
        parser.add_argument("--object", help=object())  # type: ignore[arg-type]
