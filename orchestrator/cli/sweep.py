"""A sweep's command line: parsed, said what is wrong with it; planned, shown, run. `__main__` has the process.

Hydra, rich and pandas are imported where they are used: an unknown verb needs none of them.
"""

from __future__ import annotations

import re
import sys
import textwrap
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from orchestrator.cli import VERBS
from orchestrator.errors import TRACEBACK_VARIABLE, UsageError
from orchestrator.store import find_sweep

if TYPE_CHECKING:
    from hydra._internal.hydra import Hydra

    from orchestrator.execution.sweeper import GraphSweeper
    from orchestrator.planning.keys import Keys

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


def main(arguments: list[str]) -> int:
    """Do what Hydra's command line would, by its parts: its own `main` prints tracebacks and ends the process."""
    from hydra import version
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
    hydra = hydra_plugin.started(hydra_plugin.search_path(asked.config_dir, files))
    try:
        if asked.help:
            print(_help(hydra))
            return 0
        asked.overrides = as_axes(asked.overrides, hydra.config_loader)
        shown = _show(hydra, asked, parser)
        return 0 if shown else _sweep(hydra, asked, arguments)
    finally:
        GlobalHydra.instance().clear()


def keys(user: str | None = None) -> Keys:
    """Return the keys of the configuration, for advice: of the user's folder, if there is one, and of ours."""
    from orchestrator.planning.keys import Keys
    from orchestrator.planning.options import packaged

    return Keys([*([Path(user)] if user else []), packaged("conf")])


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
        raise UsageError(f"unknown flag {flag}: {meant.flag(flag, value, keys(asked.config_dir))}")
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
            why = meant.word(before, override, rest, tuple(VERBS), keys(asked.config_dir))
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
        return 0
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
