"""What of a person's shell reaches a job, and what a job is told of it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

import pytest
from fakes.sweeps import make_job

from orchestrator import system
from orchestrator.execution.environment import job_environment, worker_environment
from orchestrator.planning.machine import Machine
from orchestrator.planning.provenance import environment, git_state
from orchestrator.records import JUDGED, OBSERVED, REFERENCE_KIND, TIMED, PluginSpec
from orchestrator.store import JobGraph
from orchestrator.views import plan
from orchestrator.views.document import show

SHELL = {
    "TORCHINDUCTOR_MAX_AUTOTUNE": "1",
    "TORCHDYNAMO_SUPPRESS_ERRORS": "1",
    "TORCH_LOGS": "+dynamo",
    "TORCH_HOME": "/models",
    "TRITON_INTERPRET": "1",
    "TRITON_LIBCUDA_PATH": "/usr/lib",
    "OMP_NUM_THREADS": "1",
    "OMP_PROC_BIND": "close",
    "KMP_AFFINITY": "compact",
    "LD_PRELOAD": "libjemalloc.so",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    "PYTHONPATH": "/plugins",
    "PYTHONSTARTUP": "/home/me/startup.py",
    "PYTHONMALLOC": "debug",
    "PYTHONHASHSEED": "7",
    "LANG": "de_DE.UTF-8",
    "LC_NUMERIC": "de_DE.UTF-8",
    "HF_HUB_OFFLINE": "0",
    "CXX": "clang++",
    "PATH": "/bin",
}


def test_what_would_change_figures_unseen_is_left_out_and_named() -> None:
    named = [
        "OMP_NUM_THREADS",
        "TORCHDYNAMO_SUPPRESS_ERRORS",
        "TORCHINDUCTOR_MAX_AUTOTUNE",
        "TORCH_LOGS",
        "TRITON_INTERPRET",
    ]
    assert system.left_out(SHELL) == named
    kept = system.inherited(SHELL)
    silently = {"PYTHONSTARTUP", "PYTHONMALLOC", "PYTHONHASHSEED", "LANG", "LC_NUMERIC"}
    assert SHELL.keys() - kept.keys() == {*named} | silently


def test_a_worker_has_one_locale_one_order_of_sets_and_the_machines_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SHELL.items():
        monkeypatch.setenv(name, value)
    found = worker_environment()
    assert found["LC_ALL"] == "C.UTF-8"
    assert found["PYTHONHASHSEED"] == "0"
    assert "LANG" not in found
    assert found["HF_HUB_OFFLINE"] == "1"  # whatever the shell says: online=true is the way
    tuning = ("OMP_PROC_BIND", "KMP_AFFINITY", "LD_PRELOAD", "PYTORCH_CUDA_ALLOC_CONF", "CXX")
    recorded = system.variables(found)
    assert {name: recorded[name] for name in tuning} == {name: SHELL[name] for name in tuning}
    assert recorded["LC_ALL"] == "C.UTF-8"
    assert "OMP_NUM_THREADS" not in environment(Machine(cores=1, cuda_devices=0))["variables"]


def test_the_plan_says_what_jobs_do_not_get(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    show(plan.document(JobGraph(()), "folder", dry_run=True))
    assert "execution.env" not in capsys.readouterr().out
    monkeypatch.setenv("TORCH_LOGS", "+dynamo")
    show(plan.document(JobGraph(()), "folder", dry_run=True))
    assert "TORCH_LOGS (jobs do not get it; execution.env={NAME:VALUE} sets variables)" in capsys.readouterr().out


def test_what_is_compared_on_cuda_is_deterministic_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(kind: str, device: str, measure: str = "performance.Performance") -> str | None:
        job = make_job("a")
        job = dataclasses.replace(
            job,
            kind=kind,
            workload=dataclasses.replace(job.workload, device=device),
            measure=PluginSpec(name="measure", target=f"orchestrator.measures.{measure}"),
        )
        return job_environment(Path("cache"), Path("tmp"), job).get("CUBLAS_WORKSPACE_CONFIG")

    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert asked(JUDGED, "cuda:0") == asked(REFERENCE_KIND, "cuda:0") == ":4096:8"
    assert asked(TIMED, "cuda:0") is None
    assert asked(JUDGED, "cpu") is None
    assert asked(OBSERVED, "cuda:0", "batch_invariance.BatchInvariance") == ":4096:8"
    assert asked(OBSERVED, "cuda:0", "flops.Flops") is None
    assert asked(OBSERVED, "cuda:0", "nowhere.Nothing") is None
    assert asked(OBSERVED, "cpu", "batch_invariance.BatchInvariance") is None
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # the server has it, and hands it down
    assert asked(JUDGED, "cuda:0") is None


@pytest.mark.parametrize(
    ("cpus", "text"), [({0}, "0"), ({0, 1, 2, 3, 8}, "0-3,8"), ({5, 4, 9, 11, 10}, "4-5,9-11"), (set(), "")]
)
def test_cpus_are_written_as_linux_writes_them(cpus: set[int], text: str) -> None:
    assert system.cpu_ranges(cpus) == text


def test_the_machines_memory_architecture_and_affinity_are_known() -> None:
    found = system.host()
    assert found["architecture"] == os.uname().machine
    assert 0.1 < found["memory_gib"] < 1e5
    allowed = Path("/proc/self/status").read_text().partition("Cpus_allowed_list:")[2].split()[0]
    assert found["affinity"] == allowed


# -- the commit


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_what_git_says_wherever_it_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file of its own, packed, detached, of a worktree; in a hook, where variables name another repository."""
    home, other, tree = tmp_path / "home", tmp_path / "other", tmp_path / "tree"
    for folder in (home, other):
        git(tmp_path, "init", "-q", str(folder))
        (folder / "package").mkdir()
        (folder / "package" / "a.py").write_text(folder.name)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", "first")
    first = git(home, "rev-parse", "HEAD")
    assert git_state(home / "package") == {"commit": first, "changed": []}
    git(home, "pack-refs", "--all")
    assert git_state(home) == {"commit": first, "changed": []}
    git(home, "worktree", "add", "-q", str(tree))
    git(tree, "commit", "-q", "--allow-empty", "-m", "second")
    (tree / "package" / "a.py").write_text("changed")
    assert git_state(tree / "package") == {"commit": git(tree, "rev-parse", "HEAD"), "changed": ["package/a.py"]}
    git(tree, "checkout", "-q", "--detach", first)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    assert git_state(tree) == {"commit": first, "changed": ["package/a.py"]}
    assert git_state(tmp_path) is None
