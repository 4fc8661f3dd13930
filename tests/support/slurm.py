"""A Slurm of one machine, for tests: sbatch, srun, sacct, squeue and scancel, as submitit's launcher needs them.

`install` writes the commands into a folder for PATH. Each task of an array is a detached process, as a node's would be:
it is no child of who submitted it, and in no process group of theirs. What is known of a task lies in a file that is
called as Slurm calls the task, `1_0`: its state, and the process of its batch script.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

COMMANDS = ("sbatch", "srun", "sacct", "squeue", "scancel")
FOLDER = "FAKE_SLURM"
GOES_ON = ("PENDING", "RUNNING")


def install(folder: Path) -> None:
    """Write the commands below `folder`, where they are not there yet."""
    places = folder / "bin", folder / "tasks"
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    for command in COMMANDS:
        file = places[0] / command
        file.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(__file__)} {command} "$@"\n')
        file.chmod(0o755)


def environment(folder: Path) -> dict[str, str]:
    """Return the variables with which the commands that are there are Slurm."""
    return {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", FOLDER: str(folder / "tasks")}


def submitted(folder: Path) -> str:
    """Return the last batch script that was submitted."""
    return max((folder / "tasks").glob("*.sh"), key=lambda file: file.stat().st_mtime).read_text()


def _tasks(*ids: str) -> list[Path]:
    """Return the files of tasks: of "7_0", or all of "7"."""
    every = [file for file in Path(os.environ[FOLDER]).iterdir() if re.fullmatch(r"\d+_\d+", file.name)]
    return sorted(file for file in every if not ids or file.name in ids or file.name.partition("_")[0] in ids)


def _say(task: Path, state: str, process: int = 0) -> None:
    new = task.with_suffix(".new")
    new.write_text(f"{state} {process}")
    new.replace(task)


def _state(task: Path) -> tuple[str, int]:
    state, process = task.read_text().split()
    return state, int(process)


def sbatch(script: str) -> None:
    text, folder = Path(script).read_text(), Path(os.environ[FOLDER])
    number = 1 + len(list(folder.glob("*.sh")))
    (folder / f"{number}.sh").write_text(text)
    array = re.search(r"^#SBATCH --array=0-(\d+)%(\d+)$", text, re.MULTILINE)
    last, at_a_time = (int(array[1]), int(array[2])) if array else (0, 1)
    for index in range(last + 1):
        _say(folder / f"{number}_{index}", "PENDING")
    controller = [sys.executable, __file__, "controller", str(number), str(at_a_time), "array" if array else "single"]
    with open(folder / f"{number}.log", "w") as log:
        subprocess.Popen(controller, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    print(f"Submitted batch job {number}")


def controller(number: str, at_a_time: str, kind: str) -> None:
    """Run the tasks of a submitted array, so many at a time, and note what became of them."""
    waiting = _tasks(number)
    running: dict[Path, subprocess.Popen[bytes]] = {}
    while waiting or running:
        for task, process in list(running.items()):
            if process.poll() is not None:
                del running[task]
                if _state(task)[0] == "RUNNING":
                    _say(task, "COMPLETED" if process.returncode == 0 else "FAILED")
        waiting = [task for task in waiting if _state(task)[0] == "PENDING"]
        while waiting and len(running) < int(at_a_time):
            task = waiting.pop(0)
            running[task] = process = subprocess.Popen(
                ["bash", str(task.parent / f"{number}.sh")], env=_environment(task, kind), start_new_session=True
            )
            _say(task, "RUNNING", process.pid)
        time.sleep(0.1)


def _environment(task: Path, kind: str) -> dict[str, str]:
    number, _, index = task.name.partition("_")
    array = {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": index} if kind == "array" else {}
    own = {"SLURM_JOB_ID": number, "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0"}
    return {**os.environ, **own, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", **array}


def srun(*words: str) -> None:
    """Run a command with its output in files whose names Slurm makes up."""
    arguments = list(words)
    while arguments[0].startswith("--"):
        option = arguments.pop(0)
        if option in ("--output", "--error"):
            name = arguments.pop(0).replace("%t", "0").replace("%j", os.environ["SLURM_JOB_ID"])
            for sign, variable in (("%A", "SLURM_ARRAY_JOB_ID"), ("%a", "SLURM_ARRAY_TASK_ID")):
                name = name.replace(sign, os.environ.get(variable, ""))
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(file, 1 if option == "--output" else 2)
    os.execvp(arguments[0], arguments)


def sacct(*_: str) -> None:
    print("JobID|State|NodeList")
    for task in _tasks():
        print(f"{task.name}|{_state(task)[0]}|here")


def squeue(*words: str) -> None:
    (ids,) = [word.partition("=")[2].split(",") for word in words if word.startswith("--jobs=")]
    for task in _tasks(*ids):
        if _state(task)[0] in GOES_ON:
            print(task.name, _state(task)[0])


def scancel(*words: str) -> None:
    """End tasks; what runs is sent SIGTERM, as slurmd does: what srun started, not the batch script."""
    states = GOES_ON[:1] if "--state=PENDING" in words else GOES_ON
    for task in _tasks(*(word for word in words if not word.startswith("--"))):
        state, process = _state(task)
        if state in states:
            _say(task, "CANCELLED", process)
            for child in psutil.Process(process).children() if process else []:
                child.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
