"""The command: `python -m orchestrator compiler=eager,inductor` sweeps, `python -m orchestrator report` is a verb.

A bare word is never an override of Hydra's, so verbs and sweeps cannot be confused. Hydra, rich and pandas are imported
where they are used: a verb's --help needs none of them. torch is never imported in this process.
"""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__" or os.path.basename(sys.argv[0]) == "orchestrator":  # the script that pip makes
    # until `command` is there, nothing has been begun that would have to be ended well
    for _signal in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(_signal) != signal.SIG_IGN:  # not after nohup
            signal.signal(_signal, lambda *_: os._exit(130))

import atexit
import contextlib
import importlib
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import orchestrator
from orchestrator.cli import VERBS
from orchestrator.errors import (
    TRACEBACK_VARIABLE,
    UsageError,
    came_of_interrupt,
    in_one_line,
    machine_refuses,
    printable,
    shortened,
)

OK, USAGE, DEFECT, INTERRUPTED = 0, 2, 3, 130
IN_PROCESS = "--in-process"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; return its exit code: 0 fine, 1 failed jobs, 2 usage, 3 a defect of ours, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `| head`: no one reads any more, and Python's own flush at exit must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        if came_of_interrupt(error):
            print("Interrupted.", file=sys.stderr)
            return INTERRUPTED
        if isinstance(error, UsageError):
            if os.environ.get(TRACEBACK_VARIABLE):
                traceback.print_exc()
            _say(f"orchestrator: {error}")
            return USAGE
        if IN_PROCESS in arguments:  # it may be the job's own, and somebody looks at it with a debugger
            raise
        if refused := machine_refuses(error):
            _say(f"orchestrator: {in_one_line(error)}: {refused}. What is there stays valid")
            return USAGE
        _say(_defect(error))
        return DEFECT


def _say(message: str) -> None:
    print(shortened("\n".join(printable(message))), file=sys.stderr)


def _defect(error: Exception) -> str:
    """Return what to say of an exception that nobody foresaw. Its traceback goes to a file, or to stderr if asked."""
    place = f"{TRACEBACK_VARIABLE}=1 shows where it comes from"
    if os.environ.get(TRACEBACK_VARIABLE):
        traceback.print_exc()
        place = "the traceback is above"
    else:
        with contextlib.suppress(OSError):
            handle, name = tempfile.mkstemp(prefix="orchestrator-", suffix=".traceback")
            with open(handle, "w", encoding="utf-8", errors="replace") as file:
                file.write(traceback.format_exc())
            place = f"the traceback is in {name}"
    return (
        f"orchestrator: {in_one_line(error)}\n"
        f"This is a defect of orchestrator, not of your command: {place}. Please report it with that, the command line "
        "and what `python -m orchestrator --version` says, where you got orchestrator from."
    )


def command() -> int:
    """Run this process's command line: what `python -m orchestrator` and the script `orchestrator` do."""
    _hear(_interrupt)
    sys.unraisablehook = _tell_again
    words = sys.argv[1:]
    try:
        if words and (words[0].isidentifier() or any(word.startswith("resume=") for word in words)):
            _leave_working_directory()
        code = main()
        _hear(_end)
    except KeyboardInterrupt:  # while `main` came to its end
        code = INTERRUPTED
    if code == INTERRUPTED:
        _end()
    return code


def _hear(handler: Callable[..., None] | signal.Handlers) -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    """End as Ctrl-C does; while jobs run, `execution.interrupts` hears the signals."""
    raise KeyboardInterrupt


def _tell_again(lost: sys.UnraisableHookArgs) -> None:
    """Interrupt again after an interrupt that was lost: within `__del__` or a callback of a weak reference."""
    if lost.exc_type is KeyboardInterrupt:
        threading.Timer(0.01, signal.raise_signal, (signal.SIGTERM,)).start()
    else:
        sys.__unraisablehook__(lost)


def _end(*_: object) -> None:
    """End the process as interrupted.

    Python would end it by SIGINT where an `eval` or `exec` of a text was interrupted, as imports have them, even if the
    exception was caught (`run_eval_code_obj` in CPython's pythonrun.c).
    """
    _hear(signal.SIG_IGN)
    with contextlib.suppress(Exception):  # whoever was to read has gone
        sys.stdout.flush()
        sys.stderr.flush()
    atexit._run_exitfuncs()
    os._exit(INTERRUPTED)


def _leave_working_directory() -> None:
    """Import nothing from the working directory: it may be a sweep folder that someone sent, with a rich.py in it.

    `python -m` looks there first; workers, which are started so too, are told by a variable not to. What was imported
    until now is past that (docs/security.md). A checkout that is not installed is itself in the working directory.
    """
    here = Path.cwd()
    if Path(orchestrator.__file__).absolute().parent.parent == here:
        return
    if sys.path and sys.path[0] in ("", str(here)) and not sys.flags.safe_path:
        del sys.path[0]
    os.environ["PYTHONSAFEPATH"] = "1"


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments else ""
    if first.isidentifier():
        if first not in VERBS:
            raise _no_verb(first, arguments[1:])
        code: int = importlib.import_module(VERBS[first][0]).main(arguments[1:])
        return code
    if "--version" in arguments:
        print(f"orchestrator {orchestrator.__version__}")
        return OK
    from orchestrator.cli import sweep

    return sweep.main(arguments or ["--help"])


def _no_verb(word: str, rest: Sequence[str]) -> UsageError:
    from orchestrator.cli import sweep
    from orchestrator.planning import meant

    return UsageError(f"unknown verb '{word}': {meant.verb(word, rest, tuple(VERBS), sweep.keys())}")


if __name__ == "__main__":
    sys.exit(command())
