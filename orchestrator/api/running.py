"""Run the real command from a notebook or a script, in a process of its own, and read what it found."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.api.result import OUTPUTS, Result
from orchestrator.cli.finish import NO_SUMMARY
from orchestrator.errors import UsageError
from orchestrator.exits import exit_words
from orchestrator.files import remove_tree
from orchestrator.planning.overrides import value
from orchestrator.store import MODELS, SweepFolder, find_sweep, new_folder
from orchestrator.words import plural

FINE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
SAID = "orchestrator: "
"""What a message of the command begins with."""
LISTS = ("exclude", "grids", "zip", "suite.models")
"""Keys whose value is a list; of any other key a list is an axis."""
KEY = re.compile(r"[~+]{0,2}[\w./@]+(=.*)?", re.DOTALL)
YAML = ".yaml"


class SweepError(RuntimeError):
    """The command ended as no sweep does: killed, or by a defect. `output`: what it said on stderr."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


class JobsFailed(RuntimeError):
    """Some job did not end well, and `check=True` was asked for. `result`: the sweep, with all its rows."""

    def __init__(self, result: Result) -> None:
        failures = result.failures
        words = [
            f": {row['status']}: {row['model']} {row['compiler']}: {row['reason']}" for _, row in failures.iterrows()
        ]
        super().__init__(
            f"{plural(len(failures), 'job')} of {len(result.jobs)} failed in {result.folder}{''.join(words[:1])}"
        )
        self.result = result


def sweep(
    *words: str | os.PathLike[str],
    check: bool = False,
    progress: bool = True,
    config_dir: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    **keys: Any,
) -> Result:
    """Run a sweep as `python -m orchestrator` does, show its progress, and return it.

    words: overrides as on the command line ("dtype=float16", "compiler=glob(inductor*)"), or the path of an experiment
    (a .yaml file). keys: the same in Python: a list is an axis (`compiler=["eager", "inductor"]`; of `zip`, `exclude`,
    `grids` and `suite.models`, which take a list, it is that list), a text is one value, None is null; keys with a dot
    as `**{"suite.models": ["bert_tiny"]}`. folder: where the sweep goes (outputs/<date>/<time>). config_dir: a folder
    with configuration of one's own.

    Failed jobs are rows; with `check` they raise JobsFailed. Raises UsageError with the command's message for what is
    not right, SweepError where the command ended as none does, KeyboardInterrupt when it was interrupted.
    """
    asked = overrides(words, keys)
    how: Any = {"check": check, "progress": progress, "config_dir": config_dir}
    resumed = next((word.partition("=")[2] for word in asked if word.startswith("resume=")), None)
    if resumed is not None:
        if folder is not None:
            raise UsageError("folder: a sweep that is resumed stays in its own")
        return run(find_sweep(resumed.strip("'\""), Path(OUTPUTS)), asked, **how)
    with reserved(folder) as place:
        return run(place, [*asked, in_folder(place)], **how)


def overrides(words: Iterable[str | os.PathLike[str]], keys: Mapping[str, Any]) -> list[str]:
    """Return the words of a command line. Raises UsageError for what is none, or makes no sweep to return."""
    made = [one for word in words for one in _words(word)]
    made += [f"{key}={_value(key, given)}" for key, given in keys.items()]
    for word in made:
        if word.startswith("hydra.sweep.dir="):
            raise UsageError(f"{word}: write folder=... instead")
        if word.lower() == "dry_run=true":
            raise UsageError("dry_run=true runs nothing, and there would be nothing to return: use the command line")
    return made


@contextlib.contextmanager
def reserved(folder: str | os.PathLike[str] | None) -> Iterator[SweepFolder]:
    """Make a new folder for a sweep, with an empty `models/`; it is removed again if no sweep is written to it.

    That tells the sweep that the folder is its own. Raises UsageError where it cannot be made, or is not empty.
    """
    try:
        if folder is None:
            place = new_folder(Path(OUTPUTS).absolute() / time.strftime("%Y-%m-%d") / time.strftime("%H-%M-%S"))
        else:
            place = SweepFolder(folder)
            place.root.mkdir(parents=True, exist_ok=True)
            if any(place.root.iterdir()):
                raise UsageError(f"folder: {place} is not empty: name a new one")
        (place.root / MODELS).mkdir()
    except OSError as error:
        raise UsageError(f"a sweep folder cannot be made: {error}") from error
    try:
        yield place
    finally:
        if not place.sweep_file.exists():
            remove_tree(place.root)
        for empty in (place.root / MODELS, *([place.root.parent] if folder is None else [])):
            with contextlib.suppress(OSError):  # it has models, or other sweeps; or is gone with the folder
                empty.rmdir()


def in_folder(place: SweepFolder) -> str:
    """Return the override that sends a sweep into a folder."""
    return f"hydra.sweep.dir={value(str(place))}"


def _words(word: str | os.PathLike[str]) -> list[str]:
    text = os.fspath(word)
    if text.endswith(YAML) and "=" not in text:
        file = Path(text).absolute()
        if not file.is_file():
            raise UsageError(f"{file}: there is no such file")
        return [str(file)]
    if not KEY.fullmatch(text) or ("=" not in text and not text.startswith("~")):
        raise UsageError(f"{text!r} is neither key=value nor the path of an experiment's .yaml file")
    return [text]


def _value(key: str, given: Any) -> str:
    """Return a Python value in Hydra's grammar. A list is an axis, unless the key's own value is a list."""
    if isinstance(given, (list, tuple)) and key not in LISTS:
        if not given:
            raise UsageError(f"{key}=[]: it has no values")
        return ",".join(_literal(key, one) for one in given)
    return _literal(key, given)


def _literal(key: str, given: Any) -> str:
    if given is None or isinstance(given, bool):
        return {None: "null", True: "true", False: "false"}[given]
    if isinstance(given, (int, float)):  # numpy.float64 is one; its repr is no number in the grammar
        return str(given)
    if isinstance(given, (str, os.PathLike)):
        return value(os.fspath(given))
    if isinstance(given, Mapping):
        return "{" + ",".join(f"{value(str(name))}:{_literal(key, one)}" for name, one in given.items()) + "}"
    if isinstance(given, (list, tuple)):
        return "[" + ",".join(_literal(key, one) for one in given) + "]"
    raise UsageError(f"{key}: a {type(given).__name__} is no value of a key: write a text, a number, a list or a dict")


def run(
    place: SweepFolder,
    words: Sequence[str],
    *,
    check: bool,
    progress: bool,
    config_dir: str | os.PathLike[str] | None = None,
) -> Result:
    """Run a command line whose sweep is, or will be, in the folder `place`. Raises what `sweep` says."""
    flags = [] if config_dir is None else ["--config-dir", os.fspath(config_dir)]
    code, said = _command([*flags, *words], progress)
    if code == USAGE:
        raise UsageError(said.rpartition(SAID)[2].strip() if SAID in said else said.strip())
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code not in (FINE, FAILED) or not place.sweep_file.is_file():
        raise SweepError(f"the command ended with {exit_words(code)}: {said.strip() or 'it said nothing'}", said)
    result = Result(place)
    if check and code == FAILED:
        raise JobsFailed(result)
    return result


def _command(arguments: Sequence[str], progress: bool) -> tuple[int, str]:
    """Run the command; return its exit code, and what it said on stderr.

    In a terminal it draws there. Elsewhere (a notebook, a pipe) its lines are printed as they come.
    """
    drawn = progress and sys.__stdout__ is not None and sys.stdout is sys.__stdout__ and sys.__stdout__.isatty()
    environment = {**os.environ, NO_SUMMARY: "1", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(
        [sys.executable, "-m", "orchestrator", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=None if drawn else subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=environment,
        start_new_session=not drawn,  # an interrupt of the kernel is passed on, once: a second one kills
    ) as process:
        said: list[str] = []
        reader = threading.Thread(target=_read, args=(process.stderr, said, progress), daemon=True)
        reader.start()
        while True:
            try:
                for line in process.stdout or ():
                    if progress:
                        print(line, end="", flush=True)
                code = process.wait()
                break
            except KeyboardInterrupt:
                if not drawn:
                    process.send_signal(signal.SIGINT)
        reader.join()
    return code, "".join(said)


def _read(stream: Any, said: list[str], progress: bool) -> None:
    """Keep what the command says on stderr; show it, but for a message, which is raised."""
    message = False
    for line in stream:
        said.append(line)
        message = message or line.startswith(SAID)
        if progress and not message:
            print(line, end="", file=sys.stderr, flush=True)
