"""What can be chosen: every option of every group, with what its file says of itself.

The first comment of a file in conf/ says what the option is, where it runs and what it needs. Read as text: nothing is
composed, so a file that is broken further down is listed too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import orchestrator
from orchestrator.errors import UsageError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Option:
    """`group=name` on the command line; `what` is the first comment of its file, on one line."""

    group: str
    name: str
    what: str


def options(folders: Sequence[Path], experiments: Sequence[Path], groups: Sequence[str] = ()) -> list[Option]:
    """Return the options in `folders` and flat folders of `experiments`, of `groups` (all), by group and name.

    Of two of a name the first folder's. Raises UsageError for a group that is none.
    """
    found: dict[tuple[str, str], Option] = {}
    listed = [option for folder in folders for option in _in(folder)]
    listed += [
        Option(group="experiment", name=file.stem, what=comment(file, 1))  # the first is its command
        for folder in experiments
        for file in sorted(folder.glob("*.yaml"))
    ]
    for option in listed:
        found.setdefault((option.group, option.name), option)
    known = sorted({group for group, _ in found})
    for group in groups:
        if group not in known:
            raise UsageError(f"unknown group '{group}': {did_you_mean(group, known)}")
    return [found[key] for key in sorted(found) if not groups or key[0] in groups]


def _in(folder: Path) -> Iterator[Option]:
    for file in sorted(folder.glob("*/**/*.yaml")):
        group, *name = file.relative_to(folder).with_suffix("").parts
        yield Option(group=group, name="/".join(name), what=comment(file))


def packaged(name: str) -> Path:
    """Return our folder `name`: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(orchestrator.__file__).absolute().parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def comment(file: Path, paragraph: int = 0) -> str:
    """Return a paragraph of the comment that a YAML file begins with, on one line; "" where it has no such one."""
    paragraphs: list[list[str]] = [[]]
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.startswith("#"):
            break
        text = line.removeprefix("#").strip()
        if text.startswith(("@package", "yaml-language-server:")):  # words of Hydra's and of editors
            continue
        if text:
            paragraphs[-1].append(text)
        else:
            paragraphs.append([])
    return " ".join(paragraphs[paragraph]) if paragraph < len(paragraphs) else ""
