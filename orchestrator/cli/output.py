"""What all verbs share: their flags, and their tables as JSON, CSV or Markdown instead of text for people."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from orchestrator.errors import UsageError, did_you_mean, shortened
from orchestrator.files import write_text

if TYPE_CHECKING:
    from orchestrator.results.tables import Table
    from orchestrator.views.document import Document


class Parser(argparse.ArgumentParser):
    """argparse's, which says what may be meant by a flag or choice that there is not, and no word of any length."""

    def error(self, message: str) -> NoReturn:
        super().error(shortened(message))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse's, but that a flag that is not known is an error here: other words are left to the caller."""
        found, unknown = super().parse_known_args(args, namespace)
        flag = next((word.partition("=")[0] for word in unknown if word.startswith("-")), None)
        if flag is not None:
            flags = [name for name in self._option_string_actions if name.startswith("--")]
            self.error(f"unknown flag {flag}: {did_you_mean(flag, flags)}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError:
            raise argparse.ArgumentError(action, f"'{value}': {did_you_mean(value, action.choices or ())}") from None


def parser(
    verb: str,
    description: str,
    epilog: str,
    *,
    usage: str | None = None,
    forms: bool = True,
    roots: Literal["one", "several", "none"] = "one",
) -> argparse.ArgumentParser:
    """Return the parser of a verb with --json, --md, --csv (`.form`) and --root (`.root`), where sweeps lie.

    usage: what follows the verb, where argparse would say it worse; forms: False for a verb without tables. roots: how
    often --root may be given; of "several" `.root` is a list, None when it is not given.
    """
    made = Parser(prog=f"python -m orchestrator {verb}", description=description, epilog=epilog)
    if usage is not None:
        made.usage = f"{made.prog} {usage}"
    if forms:
        form = made.add_mutually_exclusive_group()
        form.add_argument("--json", dest="form", action="store_const", const="json", help="everything, with units")
        form.add_argument("--md", dest="form", action="store_const", const="md", help="for a pull request")
        form.add_argument("--csv", dest="form", action="store_const", const="csv", help="the main table")
    if roots == "several":
        made.add_argument("--root", action="append", metavar="DIR", help="where sweeps lie (outputs); may be repeated")
    elif roots == "one":
        add_root(made)
    return made


def add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", default="outputs", metavar="DIR", help="where sweeps lie (outputs)")


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add --trust (`.trust`): of verbs that run stored jobs."""
    parser.add_argument("--trust", action="store_true", help="run it without a question, though someone else made it")


def aside(form: str | None) -> contextlib.AbstractContextManager[object]:
    """Keep stdout for the tables of --json and the like: all that is said meanwhile goes to stderr."""
    return contextlib.redirect_stdout(sys.stderr) if form else contextlib.nullcontext()


def roots(named: Sequence[str] | None) -> list[Path]:
    """Return the folders below which sweeps lie. Raises UsageError for one that is named and does not exist."""
    for root in named or ():
        if not os.path.isdir(root):
            raise UsageError(f"--root {root}: there is no such folder")
    return [Path(root) for root in named or ("outputs",)]


def at_least_1(text: str) -> int:
    """Return a number of a flag. Raises ArgumentTypeError for what is none, or 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of sweeps: write 1, 2, 3, ...")
    return int(text)


def write(form: str, tables: Mapping[str, Table], main: str | None = None) -> None:
    """Print tables to stdout: JSON and Markdown hold all of them, CSV the one named `main` (default: the first)."""
    emit(pieces(form, tables, main))


def render(form: str | None, document: Document) -> None:
    """Print a document: for people, or with --md as Markdown."""
    from orchestrator.views.document import show, to_markdown

    if form is None:
        show(document)
    else:
        emit(to_markdown(document))


def present(
    form: str | None,
    document: Callable[[], Document],
    tables: Callable[[], Mapping[str, Table]],
    main: str | None = None,
) -> None:
    """Print what a verb found: a document for people and with --md, with --json and --csv tables."""
    if form in (None, "md"):
        render(form, document())
    else:
        write(str(form), tables(), main)


def emit(text: str | Iterable[str]) -> None:
    """Write a text for machines, or its pieces, to stdout: UTF-8, whatever the terminal's encoding is."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.writelines((text,) if isinstance(text, str) else text)


def pieces(form: str, tables: Mapping[str, Table], main: str | None = None) -> Iterable[str]:
    from orchestrator.results import exports

    if form == "json":
        return exports.json_pieces(tables)
    if form == "csv":
        return exports.csv_lines(tables[main or next(iter(tables))])
    return ["\n".join(exports.to_markdown(name, table) for name, table in tables.items())]


def save(name: str, path: Path, text: str) -> None:
    """Write a file. Raises UsageError, beginning with `name` (a flag), when that is not possible."""
    try:
        write_text(path, text)
    except OSError as error:
        raise UsageError(f"{name}: {path} cannot be written: {error.strerror or error}") from error
