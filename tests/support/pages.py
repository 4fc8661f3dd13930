"""Pages of sweeps, as text."""

from __future__ import annotations

from typing import Any

from orchestrator.page import html
from orchestrator.results import load, tables
from orchestrator.store import SweepFolder

HOSTILE = "<script>alert(1)</script>"


def made(folder: SweepFolder, **options: Any) -> str:
    results = load.load(folder)
    return html.page([(results, tables.build(results))], folder.root, **options)
