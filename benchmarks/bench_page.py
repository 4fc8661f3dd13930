"""A page of ten thousand rows: its size, seconds to write it, and how fast it is in headless Chromium.

    python benchmarks/bench_page.py

Limits: 15 MB; usable 3 s after it was opened; a filter and a sort of the whole table in 1 s (medians of three). Needs
Chromium (`apt-get install chromium`). Exit code 1 when a limit is not kept.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from orchestrator.page import html
from orchestrator.results import tables

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support import large

BYTES, READY_MS, FILTER_MS = 15_000_000, 3000, 1000
REPEATS = 3
FLAGS = ["--no-sandbox", "--disable-gpu"]
FILTER = """(() => {
  const began = performance.now();
  update({ q: "model07", sort: "-speedup" });
  return performance.now() - began;
})()"""


def main() -> int:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print("no Chromium here: apt-get install chromium", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        file = Path(folder) / "report.html"
        results = large.results(Path(folder))
        start = time.perf_counter()
        html.write_file(file, [(results, tables.build(results))])
        written = time.perf_counter() - start
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        ready, filtered = [], []
        for _ in range(REPEATS):
            page = browser.new_page()
            page.goto(file.as_uri())
            page.wait_for_selector("html[data-ready]", state="attached")
            ready.append(float(page.evaluate("document.documentElement.dataset.ready")))
            filtered.append(float(page.evaluate(FILTER)))
            page.close()
        browser.close()
        size = file.stat().st_size
    figures = {
        "size, MB": (size / 1e6, BYTES / 1e6),
        "usable after, ms": (statistics.median(ready), READY_MS),
        "filter and sort, ms": (statistics.median(filtered), FILTER_MS),
    }
    print("| 10,000 rows | found | limit |\n|---|---|---|")
    for name, (found, limit) in figures.items():
        print(f"| {name} | {found:.1f} | {limit:g} |")
    print(f"| tables and page written, s | {written:.1f} | |")
    return int(any(found > limit for found, limit in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
