"""The verb `options`: what can be chosen in each group, what it is, and what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from orchestrator.cli import output
from orchestrator.errors import UsageError

COLUMNS = ("group", "option", "what")


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator options`. Raises UsageError for a group or a folder that does not exist."""
    parser = output.parser(
        "options",
        "List the options of each group (compiler, mode, measure, suite, ...) with what their files say of themselves.",
        "What an option needs and this machine lacks gives an `unsupported` row with the reason. Exit code: 0, or 2.",
        roots="none",
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="compiler, mode, ...; all of them by default")
    parser.add_argument("--config-dir", "-cd", metavar="DIR", help="a folder of your own, as in a sweep")
    parser.add_argument("--schema", metavar="DIR", help="write the JSON schemas of experiment and option files there")
    asked = parser.parse_args(argv)
    from orchestrator.planning.options import options, packaged

    folders = [packaged("conf")]
    if asked.config_dir is not None:
        if not Path(asked.config_dir).is_dir():
            raise UsageError(f"--config-dir {asked.config_dir}: there is no such folder")
        folders.insert(0, Path(asked.config_dir))
    if asked.schema is not None:
        _write_schemas(folders, Path(asked.schema))
        return 0
    found = options(folders, [Path("experiments"), packaged("experiments")], asked.groups)
    if asked.form:
        from orchestrator.results.tables import Table

        rows = [{"group": option.group, "option": option.name, "what": option.what} for option in found]
        output.write(asked.form, {"options": Table.of(COLUMNS, rows)})
        return 0
    from orchestrator.views.document import Document, Heading, Item, Piece

    pieces: list[Piece] = []
    for group, members in groupby(found, key=lambda option: option.group):
        pieces.append(Heading(group, style="bold reverse", above=False))
        pieces += [Item(option.name, option.what) for option in members]
    output.render(None, Document("Options", pieces))
    return 0


def _write_schemas(folders: Sequence[Path], target: Path) -> None:
    from orchestrator.planning.json_schema import write
    from orchestrator.planning.keys import Keys

    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in write(Keys(folders), target):
            print(file)
    except OSError as error:
        raise UsageError(f"--schema {target} cannot be written: {error}") from error
