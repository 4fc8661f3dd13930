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
import re
import tempfile
import textwrap
import threading
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import orchestrator
from orchestrator.cli import VERBS
from orchestrator.errors import UsageError, came_of_interrupt, in_one_line, machine_refuses, printable, shortened
from orchestrator.store import find_sweep

if TYPE_CHECKING:
    from hydra._internal.hydra import Hydra

    from orchestrator.execution.sweeper import GraphSweeper
    from orchestrator.planning.keys import Keys

OK, USAGE, DEFECT, INTERRUPTED = 0, 2, 3, 130
TRACEBACK_VARIABLE = "ORCHESTRATOR_TRACEBACK"
IN_PROCESS = "--in-process"
CONFIG_NAME = "config"
FLAG = re.compile(r"--\w|-[a-z_-]{3,}")
OF_A_GROUP = 160
"""Characters of a group's options in --help."""

HELP = """\
Which compiler is faster, smaller and still correct for my models?

Sweep:  python -m orchestrator compiler=eager,inductor dtype=float32,float16 mode=inference,training
  suite.models=[A,B] suite.filter=REGEX batch_size=4   which models, and how large
  exclude=[{{compiler:inductor_*,dtype:float16}}]        leave out what matches
  zip=[dtype,batch_size]                               pair two axes instead of multiplying them
  experiments/mine.yaml                                a whole sweep from a file; experiment=quick: one of ours
  dry_run=true  resume=latest  shard=2/5               only the plan; what is left to run; part 2 of 5
  rounds=5 gate=accuracy execution.timeout_s=600 ...   everything else: --cfg job

Groups (one value, a,b or glob(*)); `options` says what each is:
{groups}

Verbs:
{verbs}
Flags:  --cfg job  --info  --config-dir DIR  --trust  --hydra-help  --version
Exit code: 0 fine, 1 failed jobs, 2 usage, 3 a defect of orchestrator, 130 after Ctrl-C or SIGTERM.
{traceback}=1 shows where an error comes from.
"""


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
            print(shortened("\n".join(printable(f"orchestrator: {error}"))), file=sys.stderr)
            return USAGE
        if IN_PROCESS in arguments:  # it may be the job's own, and somebody looks at it with a debugger
            raise
        if refused := machine_refuses(error):
            text = f"orchestrator: {in_one_line(error)}: {refused}. What is there stays valid"
            print(shortened("\n".join(printable(text))), file=sys.stderr)
            return USAGE
        print(shortened("\n".join(printable(_defect(error)))), file=sys.stderr)
        return DEFECT


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
    return _hydra(arguments or ["--help"])


def _no_verb(word: str, rest: Sequence[str]) -> UsageError:
    from orchestrator.planning import meant

    return UsageError(f"unknown verb '{word}': {meant.verb(word, rest, tuple(VERBS), _keys())}")


def _keys(user: str | None = None) -> Keys:
    """Return the keys of the configuration, for advice: of the user's folder, if there is one, and of ours."""
    from orchestrator.planning.keys import Keys
    from orchestrator.planning.options import packaged

    return Keys([*([Path(user)] if user else []), packaged("conf")])


def _hydra(arguments: list[str]) -> int:
    """Do what Hydra's command line would, by its parts: its own `main` prints tracebacks and ends the process."""
    from hydra import version
    from hydra._internal.hydra import Hydra
    from hydra.core.global_hydra import GlobalHydra

    from orchestrator.execution import hydra_plugin
    from orchestrator.planning.experiments import by_path
    from orchestrator.planning.grid import as_axes

    parser = hydra_plugin.parser()
    parser.add_argument("--trust", action="store_true", help="with resume=: run what someone else made, unasked")
    parser.prog, parser.usage = "orchestrator", "python -m orchestrator [key=value ...] [flags]   (--help says more)"
    asked = _parse(parser, arguments)
    if not (asked.help or asked.cfg or asked.info or asked.hydra_help or asked.shell_completion):
        resumed = _resume(asked, parser)
        if resumed is not None:
            return resumed
    version.setbase("1.3")
    hydra_plugin.register()
    asked.overrides, files = by_path(asked.overrides)
    places = hydra_plugin.search_path(asked.config_dir, files)
    hydra = Hydra.create_main_hydra2(task_name="orchestrator", config_search_path=places)
    try:
        if asked.help:
            print(_help(hydra))
            return OK
        asked.overrides = as_axes(asked.overrides, hydra.config_loader)
        shown = _show(hydra, asked, parser)
        return OK if shown else _sweep(hydra, asked, arguments)
    finally:
        GlobalHydra.instance().clear()


def _parse(parser: ArgumentParser, arguments: Sequence[str]) -> Namespace:
    """Return flags and normalised overrides; overrides may stand on both sides of a flag (Hydra 1.3 refuses that)."""
    from orchestrator.planning import meant
    from orchestrator.planning.grid import normalise
    from orchestrator.planning.overrides import check_written, is_file

    asked, unknown = _parsed(parser, arguments)
    for name in ("config_path", "experimental_rerun"):
        if getattr(asked, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} is not used here; see --config-dir and resume=")
    if getattr(asked, "trust", False) and not any(override.startswith("resume=") for override in asked.overrides):
        raise UsageError(
            "--trust goes with resume=SWEEP (and `rerun` has one of its own): a new sweep asks for nothing"
        )
    for name in ("package", "resolve"):
        if getattr(asked, name) and not asked.cfg:
            raise UsageError(f"--{name} goes with --cfg job: it says what of the configuration is shown, and how")
    if unknown:
        flag = unknown[0]
        following = arguments[arguments.index(flag) + 1 :][:1] if flag in arguments else []
        value = next((word for word in following if word[0] not in "-~" and "=" not in word), None)
        raise UsageError(f"unknown flag {flag}: {meant.flag(flag, value, _keys(asked.config_dir))}")
    files = [word for word in asked.overrides if is_file(word)]
    asked.overrides = [word for word in asked.overrides if word not in files]
    if files:
        asked.overrides.insert(0, f"experiment={','.join(files)}")
    check_written(asked.overrides)
    for index, override in enumerate(asked.overrides):
        if override.startswith("="):
            raise UsageError(f"'{override}' has no key: write key=value without spaces, as in compiler{override}")
        if "=" not in override and not override.startswith("~"):
            before, rest = asked.overrides[index - 1] if index else "", asked.overrides[index + 1 :]
            why = meant.word(before, override, rest, tuple(VERBS), _keys(asked.config_dir))
            raise UsageError(f"'{override}' is neither key=value nor, in first place, a verb: {why}")
    asked.overrides = [normalise(override) for override in asked.overrides]
    return asked


def _parsed(parser: ArgumentParser, arguments: Sequence[str]) -> tuple[Namespace, list[str]]:
    """Return what argparse makes of a command line, and the flags that it does not know. Raises UsageError."""

    def refuse(message: str) -> NoReturn:
        raise UsageError(f"{message}. See --help")

    parser.error = refuse  # type: ignore[method-assign]
    known = set(parser._option_string_actions)
    # argparse would take "-compiler" for "-c ompiler", and "--ver" for "--version"
    unknown = [word for word in arguments if FLAG.match(word) and word.partition("=")[0] not in known]
    asked = parser.parse_intermixed_args([word for word in arguments if word not in unknown])
    return asked, unknown


def _resume(asked: Namespace, parser: ArgumentParser) -> int | None:
    """Go on with a stored sweep where the command says nothing else; return the exit code.

    None where it says more (then the command must be the same sweep). A sweep that a Hydra launcher ran needs its
    configuration: its command is put in place of `asked`.
    """
    from orchestrator.cli.running import allow, is_launched, resume
    from orchestrator.planning.resume import read
    from orchestrator.planning.trust import command_line

    alone = read(asked.overrides) if any(override.startswith("resume=") for override in asked.overrides) else None
    if alone is None:
        return None
    folder = find_sweep(alone.sweep, Path("outputs"))
    stored = folder.read_sweep()
    if stored.imported:
        raise UsageError(f"{alone.sweep} was imported: its runs were made elsewhere, there is nothing to resume")
    if not is_launched(stored) or alone.execution.get("shards") == 1:
        return resume(folder, alone, asked.trust)
    allow(folder, (command_line(stored),), asked.trust)
    repeated = _parse(parser, stored.argv)
    asked.overrides = [
        override for override in repeated.overrides if not override.startswith(("resume=", "dry_run="))
    ] + asked.overrides
    asked.config_dir = asked.config_dir or repeated.config_dir
    return None


def _show(hydra: Hydra, asked: Namespace, parser: ArgumentParser) -> bool:
    """Do what the flags ask that run nothing; return False when they ask for none of it."""
    from orchestrator.planning.compose import explained
    from orchestrator.planning.grid import parse

    name = asked.config_name or CONFIG_NAME
    with explained():
        if asked.hydra_help:
            hydra.hydra_help(config_name=name, args_parser=parser, args=asked)
        elif asked.shell_completion:
            hydra.shell_completion(config_name=name, overrides=asked.overrides)
        elif asked.cfg or asked.info:
            for override in parse(asked.overrides, hydra.config_loader):
                if override.is_sweep_override():
                    raise UsageError(f"one configuration is shown, and {override.input_line} has several: choose one")
            if asked.cfg:
                hydra.show_cfg(name, asked.overrides, asked.cfg, asked.package, asked.resolve)
            else:
                hydra.show_info(asked.info, config_name=name, overrides=asked.overrides)
        else:
            return False
    return True


def _sweep(hydra: Hydra, asked: Namespace, arguments: Sequence[str]) -> int:
    """Plan, show the plan, run, collect. The tables are made whatever stopped the run."""
    from orchestrator.cli.running import make_builds, run_and_finish, run_watched
    from orchestrator.execution.builds import in_words
    from orchestrator.execution.sweeper import as_written
    from orchestrator.planning.shards import cost
    from orchestrator.results.row_commands import run_commands
    from orchestrator.system import need_linux
    from orchestrator.views import plan
    from orchestrator.views.commands import shown
    from orchestrator.views.document import show
    from orchestrator.views.layout import LISTED
    from orchestrator.words import more

    sweeper = _sweeper(hydra, asked)
    sweeper.argv = arguments
    assert sweeper.config is not None
    planned = sweeper.plan(as_written(sweeper.config.hydra.overrides.task))
    alone = run_commands(planned.header, planned.own.jobs) if planned.dry_run else []
    if sys.stdout.isatty():  # into a file, or another command, go all of them
        alone = alone[:LISTED] + more(len(alone), LISTED)
    builds = [in_words(build) for build in dict.fromkeys(job.workload.build for job in planned.own.jobs) if build]
    where = shown(planned.folder)
    document = plan.document(
        *(planned.own, where, planned.dry_run, planned.cautions, planned.slots, alone, builds),
        shards=[cost(shard) for shard in planned.shards],
    )
    show(document)
    if planned.header.shard:
        which, of = planned.header.shard
        print(f"  shard         {which} of {of}: {len(planned.own.jobs)} of {len(planned.graph.jobs)} jobs")
        print(f"  afterwards    python -m orchestrator merge FOLDER FOLDER ..., of all {of} shards")
    if planned.dry_run:
        return OK
    need_linux()
    make_builds(planned.pending() if planned.resumed else planned.own)
    planned.write()
    if planned.resumed:
        print(f"  to run        {len(planned.pending().jobs)} of these; the others have a result")
    return run_and_finish(
        planned.folder,
        lambda: run_watched(
            *(planned.folder, planned.pending(), lambda observer: sweeper.launch(planned, observer)),
            shards=len(planned.shards),
        ),
    )


def _sweeper(hydra: Hydra, asked: Namespace) -> GraphSweeper:
    from orchestrator.execution.hydra_plugin import sweeper

    return sweeper(hydra, asked.config_name or CONFIG_NAME, asked.overrides)


def _help(hydra: Hydra) -> str:
    """Return one screen: what a sweep is written like, the groups and their options, the verbs."""
    from orchestrator.planning.keys import INTERNAL

    loader = hydra.config_loader
    groups = [group for group in loader.list_groups("") if group not in INTERNAL]
    lines = [f"  {group:<12} {_some(loader.get_group_options(group))}" for group in groups]
    verbs = [f"  {verb:<11} {what}" for verb, (_, what) in VERBS.items()]
    wrapped = [textwrap.fill(line, 110, subsequent_indent=" " * 15) for line in lines]
    return HELP.format(groups="\n".join(wrapped), verbs="\n".join(verbs), traceback=TRACEBACK_VARIABLE)


def _some(names: Sequence[str]) -> str:
    """Return names, as many as fit two lines of help; the verb `options` has all, and says what they are."""
    shown = [name for i, name in enumerate(names) if len(", ".join(names[: i + 1])) < OF_A_GROUP]
    return ", ".join(shown) + (f", ... ({len(names)} in all)" if len(shown) < len(names) else "")


if __name__ == "__main__":
    sys.exit(command())
