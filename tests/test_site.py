"""The site that `make docs` builds: every page is in it, no link leads nowhere, and it says what GitHub shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt
from support.command import ROOT

BESIDE = {
    "README.md": "index",
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "SECURITY.md": "security_policy",
    "examples/ci_gate/README.md": "ci_gate",
}
TAGS = ("li", "table", "tr", "td", "pre", "h2", "h3")


def pages() -> dict[str, Path]:
    docs = {file.stem: file for file in sorted((ROOT / "docs").glob("*.md"))}
    return docs | {page: ROOT / name for name, page in BESIDE.items()}


def test_every_page_is_in_the_navigation() -> None:
    def named(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry.removesuffix(".md")]
        parts = entry.values() if isinstance(entry, dict) else entry
        return [name for part in parts for name in named(part)]  # type: ignore[attr-defined]

    (text,) = re.findall(r"^nav:\n.*?(?=^\S|\Z)", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE | re.DOTALL)
    assert sorted(named(yaml.safe_load(text)["nav"])) == sorted(pages())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.slow
def test_a_page_has_the_lists_and_tables_that_github_shows(site: Path) -> None:
    """Python-Markdown reads lists otherwise than CommonMark: docs/site.py writes them as both read them."""

    def count(html: str) -> dict[str, int]:
        return {tag: len(re.findall(rf"<{tag}[ >]", html)) for tag in TAGS}

    github = MarkdownIt("commonmark").enable("table")
    for page, source in pages().items():
        (article,) = re.findall(r"<article.*?</article>", (site / f"{page}.html").read_text(), re.DOTALL)
        assert count(article) == count(github.render(source.read_text())), page


@pytest.mark.slow
def test_it_is_read_without_a_server_and_without_a_network(site: Path) -> None:
    for file in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|link|img)[^>]* (?:src|href)=\"([^\"]+)\"", file.read_text())
        assert loaded
        assert [url for url in loaded if url.startswith(("http", "//", "/"))] == [] or file.name == "404.html"


@pytest.mark.slow
def test_a_file_that_a_page_links_to_is_in_it(site: Path) -> None:
    assert (site / "source" / "experiments" / "quick.yaml").read_text() == (ROOT / "experiments/quick.yaml").read_text()
    assert 'href="source/experiments/quick.yaml"' in (site / "index.html").read_text()
