"""What the site (`make docs`, mkdocs.yml) has besides docs/: README as its home, CHANGELOG, CONTRIBUTING, SECURITY.

A link to a file of the repository that is no page leads to a copy of that file in the site.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
BESIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security_policy.md",
    "examples/ci_gate/README.md": "ci_gate.md",
}
"""File of the repository -> page of the site."""
LINK = re.compile(r"(\]\()(?!https?:|#)([^)#\s]+)")
LIST = re.compile(r"^(?![-*] |\d+\. |\s|#|\|)(.+)\n(?=- |1\. )", re.MULTILINE)
INDENTED = re.compile(r"^ {2,3}(?=\S)", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from beside docs/, and a copy of each file that a page links to."""
    sources = {page: ROOT / name for name, page in BESIDE.items()}
    for page, source in sources.items():
        files.append(File.generated(config, page, content=source.read_text(encoding="utf-8")))
    pages = [*sources.values(), *sorted((ROOT / "docs").glob("*.md"))]
    for file in sorted({file for page in pages for file in _linked(page) if _page(file) is None and file.is_file()}):
        files.append(File.generated(config, _copy(file), content=file.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page's text with links as the site has them, and lists as Python-Markdown reads them.

    GitHub takes a list that follows a line of text, and two blanks before a list in a list; it takes neither.
    """
    name = page.file.src_uri
    source = next((ROOT / of for of, made in BESIDE.items() if made == name), ROOT / "docs" / name)

    def link(found: re.Match[str]) -> str:
        target = Path(os.path.normpath(source.parent / found[2]))
        return found[1] + (_page(target) or (_copy(target) if target.is_file() else found[2]))

    return _outside_code(markdown, lambda text: _lists(LINK.sub(link, text)))


def _outside_code(markdown: str, change: Any) -> str:
    parts, end = [], 0
    for block in CODE.finditer(markdown):
        parts += [change(markdown[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, change(markdown[end:])])


def _lists(text: str) -> str:
    return INDENTED.sub(" " * 4, LIST.sub(r"\1\n\n", text))


def _linked(page: Path) -> list[Path]:
    return [Path(os.path.normpath(page.parent / link[2])) for link in LINK.finditer(page.read_text(encoding="utf-8"))]


def _page(file: Path) -> str | None:
    """Return the page that a file is in the site."""
    return file.name if file.parent == ROOT / "docs" and file.suffix == ".md" else BESIDE.get(_name(file))


def _copy(file: Path) -> str:
    return f"source/{_name(file)}"


def _name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else ""
