"""The verb `import`: results of other tools as a sweep folder, which every other verb reads."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli import output
from orchestrator.errors import UsageError, printable

if TYPE_CHECKING:
    from orchestrator.exchange.dynamobench_files import Source


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator import`. Raises UsageError for files that cannot be read, without a trace of them."""
    asked = _parser().parse_args(argv)
    from orchestrator.cli.finish import collect
    from orchestrator.exchange import dynamobench_files, dynamobench_import
    from orchestrator.exchange.dynamobench_files import Given
    from orchestrator.exchange.folder import write
    from orchestrator.views.commands import shown

    given = Given(asked.compiler, asked.suite, asked.dtype, asked.mode, asked.device)
    files, notes = dynamobench_files.find(asked.files)
    sources: list[Source] = []
    for file in files:
        source, said = dynamobench_files.read(file, given)
        sources.append(source)
        notes += said
    imported = dynamobench_import.read(sources, asked.threads)
    if not imported.jobs:
        raise UsageError(f"there is no row in {', '.join(map(str, files))}")
    newest = max(source.seen for source in sources)
    into = Path(asked.into) if asked.into else _place(Path(asked.root), newest)
    folder = write(imported, into, ("import", *argv), files, newest)
    collect(folder)
    rows = sum(len(source.lines) for source in sources)
    said = [f"{rows} rows of {len(sources)} files -> {shown(folder)}"]
    said += [f"note: {note}" for note in [*notes, *imported.notes]]
    said += [f"next: python -m orchestrator report {shlex.quote(shown(folder))}"]
    print("\n".join(" ".join(printable(line)) for line in said))
    return 0


def _place(root: Path, seen: float) -> Path:
    """Return <root>/<date>/<time>-imported of the newest file: so it has its place among the sweeps, by age."""
    when = datetime.fromtimestamp(seen)
    return root / f"{when:%Y-%m-%d}" / f"{when:%H-%M-%S}-imported"


def _parser() -> argparse.ArgumentParser:
    parser = output.parser(
        "import",
        "Read results of other tools into a sweep folder. `import dynamobench --help` says more.",
        "Exit code: 0 imported, 2 a file that cannot be read; nothing is written then.",
        forms=False,
        roots="none",
    )
    formats = parser.add_subparsers(metavar="FORMAT", required=True)
    what = "CSV files of PyTorch's benchmarks/dynamo, of performance and accuracy"
    made = formats.add_parser("dynamobench", help=what, description=f"Read {what}.")
    made.add_argument(
        "files", nargs="+", metavar="FILE", help="a CSV file, or a folder of *_{performance,accuracy}.csv"
    )
    made.add_argument("--into", metavar="DIR", help="the new sweep folder (<root>/<date>/<time>-imported)")
    output.add_root(made)
    for name, example in (("compiler", "inductor"), ("suite", "huggingface"), ("dtype", "amp"), ("mode", "training")):
        made.add_argument(f"--{name}", metavar="NAME", help=f"what the files' names do not say, such as {example}")
    made.add_argument("--device", metavar="NAME", help="the same: cpu, cuda")
    made.add_argument("--threads", type=int, default=0, metavar="N", help="threads they were run with (not known)")
    return parser
