"""What the memory probe costs a step of a millisecond, and whether its figure holds a second copy of the parameters.

    python benchmarks/bench_probe.py

1. Blocks of steps inside `MemoryProbe.phase` and without it, next to each other: the ratio of their times. What
   entering and leaving a phase takes is in no sample; it is printed as well.
2. The eager job of a parameter-bound model (BERT's base size, batch 1, 8 tokens) by the real command: the steady-state
   peak above the level before the model existed, divided by the bytes of its parameters. A second copy would make it 2.

Exit code 1 when a limit is not kept.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from command import SHORT, sweep

from orchestrator.probes.memory import MemoryProbe
from orchestrator.records import JobResult
from orchestrator.samples import Estimate, one_round, pair_logs
from orchestrator.store import SweepFolder

COST_LIMIT = 0.01
COPIES_LIMIT = 1.5
STEP_S = 1e-3
STEPS = 200  # per block
PAIRS = 40


def main() -> int:
    cost, boundary = cost_of_phase()
    share = (cost.value - 1) / COST_LIMIT
    print(f"memory probe on a step of {STEP_S * 1e3:.0f} ms: {100 * (cost.value - 1):+.2f} % ", end="")
    print(f"[{100 * ((cost.low or 1) - 1):+.2f}, {100 * ((cost.high or 1) - 1):+.2f}]; cost / limit: {share:.2f}")
    print(f"entering and leaving a phase, in no sample: {boundary * 1e3:.1f} ms")
    copies = parameter_copies()
    print(f"steady-state peak of the model / bytes of its parameters: {copies:.3f} (limit {COPIES_LIMIT})")
    return int(share > 1 or copies > COPIES_LIMIT)


def cost_of_phase() -> tuple[Estimate, float]:
    """Return (time of steps inside a phase / without, with its interval; seconds to enter and leave a phase)."""
    torch.set_num_threads(1)
    probe = MemoryProbe(torch.device("cpu"))
    weight, x = torch.randn(512, 512), torch.randn(128, 512)
    products = 1
    while min(block(weight, x, products, 5) for _ in range(5)) / 5 < STEP_S:
        products += 1
    inside: list[float] = []
    without: list[float] = []
    boundaries: list[float] = []

    def probed() -> None:
        start = time.perf_counter()
        with probe.phase("steady"):
            inside.append(block(weight, x, products, STEPS))
        boundaries.append(time.perf_counter() - start - inside[-1])

    def bare() -> None:
        without.append(block(weight, x, products, STEPS))

    for pair in range(PAIRS):
        for side in (probed, bare) if pair % 2 else (bare, probed):
            side()
    return one_round(pair_logs(inside, without)), statistics.median(boundaries)


def block(weight: torch.Tensor, x: torch.Tensor, products: int, steps: int) -> float:
    """Return the seconds of `steps` steps of `products` matrix products; each product allocates its result."""
    start = time.perf_counter()
    for _ in range(steps):
        for _ in range(products):
            x @ weight
    return time.perf_counter() - start


def parameter_copies() -> float:
    """Return the model's own steady-state memory in units of its parameters' bytes."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve() / "sweep"
        model = ("suite=huggingface", "suite.models=[BertForMaskedLM]", "batch_size=1", "sequence_length=8")
        sweep(folder, *model, "compiler=eager", "dtype=float32", "device=cpu", "rounds=1", *SHORT)
        job = next((folder / "jobs").iterdir()).name
        result = SweepFolder(folder).read_result(job)
    if not isinstance(result, JobResult):
        raise SystemExit(f"job {job} has no result")
    memory = result.facts["memory"]
    own = memory["phases"]["steady"]["peak"] - memory["base"]
    print(f"BertForMaskedLM: {result.facts['parameters'] / 1e6:.0f} M parameters, {own / 2**20:.0f} MiB")
    return float(own / result.facts["parameter_bytes"])


if __name__ == "__main__":
    sys.exit(main())
