"""The largest batch size that fits: doubled until one does not, then bisected, each try in a fresh process.

A larger batch is taken to need more memory. A try that fails for another reason ends the search with that reason: it
says nothing about what fits.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from orchestrator import columns, precision
from orchestrator.columns import TableSpec
from orchestrator.measures.context import Context
from orchestrator.measures.eager import ARTIFACTS
from orchestrator.measures.tries import Seen, Tries
from orchestrator.plugin_classes import at_least_1
from orchestrator.plugins import Outcome, Unsupported
from orchestrator.probes.gpu import free_memory
from orchestrator.records import OBSERVED, OUT_OF_MEMORY, PASS, JobSpec, PluginSpec
from orchestrator.store import SweepFolder
from orchestrator.system import available_memory

with contextlib.suppress(ImportError):  # Windows has none, and runs no jobs (`system.need_linux`)
    import resource

ONE_STEP = "orchestrator.measures.one_step.OneStep"
GIB = 2**30
SHARE_OF_AVAILABLE = 0.9  # the rest of the machine goes on while we try, and its page cache with it


@dataclass(frozen=True)
class LargestBatch:
    """start: the first size that is tried; None: the workload's. upper: no size above it is tried.

    precision: the search ends when the gap is no larger than this share of the size that fits; 0: at the exact size.
    memory_gib: the budget; None: `execution.memory_limit_gib`, else 90 % of what is available when the job starts, on
    CUDA all that is free on the device. On the CPU it bounds what the process may map for itself (RLIMIT_DATA), the
    interpreter's 0.3 to 0.5 GiB included; on CUDA, what torch's allocator takes. steps: steps of each try.
    try_timeout_s: seconds for one try.
    """

    kind: ClassVar[str] = OBSERVED
    cost_factor: ClassVar[float] = 12.0  # doublings to some hundred, and as many halvings; each compiles
    works_in_children: ClassVar[bool] = True  # a context of this process's own would take memory from the tries
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "largest_batch": TableSpec(
            (
                columns.count(
                    "largest_batch_size", "the largest batch size that fits into the memory budget", "higher"
                ),
                columns.count(
                    "too_large_batch_size",
                    "the smallest that was tried and does not fit; none where the upper bound fits",
                ),
                columns.text("bounded_by", "memory; or the option that ended the search, and more may fit"),
                columns.count("tries", "batch sizes that were tried, each in a fresh process"),
                columns.memory(
                    "memory_at_largest_mib", "peak of the process at the largest batch size (on CUDA: of the allocator)"
                ),
                columns.memory(
                    "memory_budget_mib", "what a try could have (on the CPU RLIMIT_DATA, on CUDA the allocator)"
                ),
                columns.text("memory_budget_source", "where the budget is from"),
                columns.text(
                    "too_large_because", "what the allocator said at the smallest batch size that does not fit"
                ),
            )
        ),
    }

    start: int | None = None
    upper: int = 1024
    precision: float = 0.0
    memory_gib: float | None = None
    steps: int = 2
    try_timeout_s: float = 600.0

    def __post_init__(self) -> None:
        at_least_1(self, "start", "upper", "steps")
        for name in ("memory_gib", "try_timeout_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value}: it must be more than 0")
        if not 0 <= self.precision < 1:
            raise ValueError(f"precision={self.precision}: it must be at least 0 and less than 1")

    def run(self, context: Context) -> Outcome:
        """Leave one row: the largest size that fits, the smallest that does not, and the peak memory at the largest.

        The tries are jobs in artifacts/tries. Not even one sample fitting is a failure, out_of_memory.
        """
        if context.device.type not in ("cpu", "cuda"):
            raise Unsupported(f"how much memory a try may take is known on cpu and cuda, not on {context.device}")
        budget, source = self._budget(context)
        on_cuda = context.device.type == "cuda"
        seen: dict[int, Seen] = {}
        failed: tuple[int, Seen] | None = None
        with context.phase("tries"):
            folder = SweepFolder(context.folder / ARTIFACTS / "tries")
            with Tries(folder, None if on_cuda else budget, self.try_timeout_s, context.home) as tries:

                def fits(size: int) -> bool:
                    seen[size] = tries.run(self._job(context.job, size, budget if on_cuda else None))
                    context.facts["tries"] = [_record(size, tried) for size, tried in seen.items()]
                    if seen[size].status not in (PASS, OUT_OF_MEMORY):
                        raise _NeitherNorError(size)
                    return seen[size].status == PASS

                try:
                    found = search(fits, self.start or context.workload.batch_size or 1, self.upper, self.precision)
                except _NeitherNorError as error:
                    failed = error.size, seen[error.size]
        if failed is not None:
            size, tried = failed
            return Outcome(tried.status, f"at batch size {size}: {tried.reason or tried.status}")
        return self._leave(context, found, seen, budget, source)

    def _leave(
        self, context: Context, found: tuple[int, int | None], seen: dict[int, Seen], budget: int, source: str
    ) -> Outcome:
        largest, too_large = found
        why = seen[too_large].reason if too_large is not None else None
        result = seen[largest].result if largest else None
        context.find(
            "largest_batch",
            largest_batch_size=largest or None,
            too_large_batch_size=too_large,
            bounded_by="memory" if too_large is not None else "measure.options.upper",
            tries=len(seen),
            memory_at_largest_bytes=None if result is None else result.facts.get("peak_bytes"),
            memory_budget_bytes=budget,
            memory_budget_source=source,
            too_large_because=why,
        )
        if not largest:
            return Outcome(OUT_OF_MEMORY, f"not even batch size 1 fits into {budget / GIB:.2f} GiB ({source}): {why}")
        return Outcome(PASS)

    def _budget(self, context: Context) -> tuple[int, str]:
        """Return bytes, and where they are from."""
        asked = None if self.memory_gib is None else (int(self.memory_gib * GIB), "measure.options.memory_gib")
        if context.device.type == "cuda":
            return asked or (_free_on_device(context), "the device's free memory")
        limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
        if limit != resource.RLIM_INFINITY and (asked is None or limit < asked[0]):
            return limit, "execution.memory_limit_gib"  # a child cannot have more than this process
        share = int(available_memory() * SHARE_OF_AVAILABLE)
        return asked or (share, f"{SHARE_OF_AVAILABLE:.0%} of what was available")

    def _job(self, job: JobSpec, size: int, device_bytes: int | None) -> JobSpec:
        options = {"steps": self.steps, "device_bytes": device_bytes}
        return dataclasses.replace(
            job,
            id=f"{size:08d}",  # digits only: it names a folder
            workload=dataclasses.replace(job.workload, batch_size=size),
            measure=PluginSpec(name="one_step", target=ONE_STEP, options=options),
            needs=(),
        )


def _free_on_device(context: Context) -> int:
    """Return the free bytes; where NVML cannot say, at the price of a context in this process."""
    free = free_memory(context.workload.device)
    if free is None:
        import torch

        precision.check(context.workload)
        free = int(torch.cuda.mem_get_info(context.device)[0])
    return free


class _NeitherNorError(Exception):
    """A try that failed, and not for memory."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


def search(fits: Callable[[int], bool], start: int, upper: int, precision: float) -> tuple[int, int | None]:
    """Return (the largest size that fits, the smallest that was tried and does not).

    0 when 1 does not fit, None when `upper` does. `fits` is called once for a size, with sizes of 1 to `upper`.
    """
    low, high = 0, None
    size = min(start, upper)
    while high is None and low < upper:
        if fits(size):
            low, size = size, min(2 * size, upper)
        else:
            high = size
    while high is not None and high - low > max(1, precision * low):
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low, high


def _record(size: int, seen: Seen) -> dict[str, Any]:
    peak = None if seen.result is None else seen.result.facts.get("peak_bytes")
    seconds = None if seen.result is None else seen.result.ended - seen.result.started
    return {"batch_size": size, "status": seen.status, "reason": seen.reason, "peak_bytes": peak, "seconds": seconds}
