"""Can a verdict be trusted? Eager against eager, and eager against itself made 3 % slower, by the real command.

    python benchmarks/trust_pairs.py [--quick] [--comparisons 20] [--rounds 3] [--folder FOLDER]

Every comparison is a workload of its own (its seed) with rounds in fresh processes. Two models: one step of 50 ms
that is arithmetic alone (a block is one call), and one of a millisecond (a block is as many calls as last 50 ms).
Warm-up and steady state, which no speed-up comes from, are shorter than by default. Rounds that are not needed are left
out, as in any sweep. Some twenty minutes on a quiet machine.

Of eager against eager at most 5 % of the 95 % intervals may exclude 1; the slow-down must be called "slower" in
at least 90 %. Prints a Markdown table; exit code 1 when a limit is not kept. With `--quick` there are too few
comparisons for a judgement: the exit code then only says that everything ran.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from command import SHORT, sweep
from scipy import stats

from orchestrator.statistics import NOISE, SLOWER

EXCLUDING_LIMIT, FOUND_LIMIT = 0.05, 0.90
PLANTED = "self_test/planted_slowdown"
PLANTED_SPEEDUP = 1 / 1.03
HEADER = (
    "comparison",
    "eager step, ms",
    "comparisons",
    "intervals that exclude 1",
    "faster / slower / within noise",
    "speed-up, mean",
    "its standard deviation, %",
    "half-width of the interval, median, %",
    "disturbed",
)
Rows = Sequence[dict[str, str]]


def main() -> int:
    options = arguments()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        common = [f"seed={','.join(str(seed + 1) for seed in range(options.comparisons))}", "device=cpu", *SHORT]
        common += [] if options.rounds is None else [f"rounds={options.rounds}"]
        known = ("suite=self_test", "suite.models=[matmul]", f"compiler=identity,{PLANTED}")
        matmul = sweep(folder / "matmul", *known, *common)
        bert = sweep(folder / "bert", "suite=tiny", "suite.models=[bert_tiny]", "compiler=identity", *common)
    same = [row for row in (*matmul, *bert) if row["compiler"] == "identity"]
    slower = [row for row in matmul if row["compiler"] == PLANTED]
    print("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|")
    for model in ("matmul", "bert_tiny"):
        print(line(f"eager against eager, {model}", [row for row in same if row["model"] == model]))
    print(line("3 % slower, matmul", slower))
    kept = judge(same, slower)
    print(f"wall time: {(time.perf_counter() - start) / 60:.1f} min")
    return int(not kept and not options.quick)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="2 comparisons of each kind: does it run?")
    parser.add_argument("--comparisons", type=int, default=20, help="of each model; there are two models")
    parser.add_argument("--rounds", type=int, help="fresh processes per comparison; default: the command's")
    parser.add_argument("--folder", help="keep the sweeps here")
    options = parser.parse_args()
    if options.quick:
        options.comparisons = 2
    return options


def line(title: str, rows: Rows) -> str:
    """Return one line of the table; `rows` are the rows of performance.csv that it is about."""
    speedups = [float(row["speedup"]) for row in rows]
    widths = [(float(row["speedup_high"]) - float(row["speedup_low"])) / 2 for row in rows]
    verdicts = [row["verdict"] for row in rows]
    words = " / ".join(str(verdicts.count(word)) for word in ("faster", SLOWER, NOISE))
    cells = [
        title,
        f"{statistics.median(float(row['eager_latency_ms']) for row in rows):.3g}",
        str(len(rows)),
        str(excluding(rows)),
        words,
        f"{statistics.geometric_mean(speedups):.4f}",
        f"{100 * statistics.stdev(speedups):.2f}",
        f"{100 * statistics.median(widths):.2f}",
        str(sum(bool(row["disturbed"]) for row in rows)),
    ]
    return "| " + " | ".join(cells) + " |"


def excluding(rows: Rows) -> int:
    """Return how many intervals do not contain 1."""
    return sum(not float(row["speedup_low"]) <= 1 <= float(row["speedup_high"]) for row in rows)


def judge(same: Rows, slower: Rows) -> bool:
    """Print how the limits were kept; return whether they were."""
    wrong, found = excluding(same), sum(row["verdict"] == SLOWER for row in slower)
    called = sum(row["verdict"] != NOISE for row in same)
    chance = float(stats.binom.sf(wrong - 1, len(same), 0.05))
    covering = sum(float(row["speedup_low"]) <= PLANTED_SPEEDUP <= float(row["speedup_high"]) for row in slower)
    print(f"\neager against eager: {wrong} of {len(same)} intervals exclude 1: {wrong / len(same):.3f}", end=" ")
    print(f"(limit {EXCLUDING_LIMIT}; intervals that hold exactly 95 % do so as often or more with {chance:.2f})")
    print(f"eager against eager: {called} of {len(same)} called faster or slower")
    print(
        f"3 % slower: {found} of {len(slower)} called slower: {found / len(slower):.2f} (limit {FOUND_LIMIT})", end="; "
    )
    print(f"{covering} intervals contain {PLANTED_SPEEDUP:.4f}")
    return wrong / len(same) <= EXCLUDING_LIMIT and found / len(slower) >= FOUND_LIMIT


if __name__ == "__main__":
    sys.exit(main())
