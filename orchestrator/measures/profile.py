"""A profiler trace of a few steps, in a job of its own: a profiler makes every step slower.

The trace is Chrome JSON (ui.perfetto.dev, chrome://tracing). The table has its operators by self time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator import columns
from orchestrator.columns import TableSpec
from orchestrator.measures.compiled import compiled_step
from orchestrator.measures.context import Context
from orchestrator.measures.eager import artifact
from orchestrator.plugin_classes import at_least_1
from orchestrator.plugins import Outcome, Unsupported
from orchestrator.probes.clock import synchroniser
from orchestrator.records import OBSERVED, PASS

if TYPE_CHECKING:
    from torch.profiler import profile

MICROSECONDS = 1e-6
NO_KERNELS = (
    "the profiler saw no kernel: CUPTI may not look here (load the driver's module with "
    "NVreg_RestrictProfilingToAdminUsers=0, in a container --cap-add=SYS_ADMIN), or another profiler is at work"
)

SELF_CPU_MS = columns.duration(
    "self_cpu_ms", "time on the CPU without that of the operators that it calls, all profiled steps"
)
SELF_CUDA_MS = columns.duration("self_cuda_ms", "time of its kernels, all profiled steps")


@dataclass(frozen=True)
class Profile:
    """steps: steps in the trace; warmup: steps before the profiler starts, the first of them compiles.

    One more step runs under the profiler and is thrown away: what starting it costs. operators: rows of the table.
    with_stack, record_shapes, profile_memory: as of `torch.profiler.profile`; each makes the steps slower still.
    """

    kind: ClassVar[str] = OBSERVED
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "profile": TableSpec(("operator", "count", SELF_CPU_MS, SELF_CUDA_MS, "share_percent")),
        "profile_totals": TableSpec(
            (columns.count("steps", "profiled steps"), "distinct_operators", SELF_CPU_MS, SELF_CUDA_MS, "file", "bytes")
        ),
    }

    steps: int = 3
    warmup: int = 3
    operators: int = 50
    with_stack: bool = False
    record_shapes: bool = False
    profile_memory: bool = False

    def __post_init__(self) -> None:
        at_least_1(self, "steps", "warmup", "operators")

    def run(self, context: Context) -> Outcome:
        """Leave artifacts/trace.json, a row for each of the operators with the most self time, and one of totals."""
        _, step = compiled_step(context, calls=1)
        synchronise = synchroniser(context.device)
        with context.phase("warmup"):
            for _ in range(self.warmup - 1):
                step()
            synchronise()
        with context.phase("profile"):
            profiler = self._profiler(context)
            with profiler:
                for _ in range(1 + self.steps):
                    step()
                    synchronise()
                    profiler.step()
        self._leave(context, profiler)
        return Outcome(PASS)

    def _profiler(self, context: Context) -> profile:
        from torch.profiler import ProfilerActivity, profile, schedule

        if context.device.type not in ("cpu", "cuda"):
            raise Unsupported(f"the tables of this measure are of cpu and cuda, not of {context.device}")
        on_cuda = context.device.type == "cuda"
        return profile(
            activities=[ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if on_cuda else []),
            schedule=schedule(wait=0, warmup=1, active=self.steps, repeat=1),
            with_stack=self.with_stack,
            record_shapes=self.record_shapes,
            profile_memory=self.profile_memory,
        )

    def _leave(self, context: Context, profiler: profile) -> None:
        """Write the trace, and the rows: times of all profiled steps together.

        As in torch's own table, on CUDA an operator's kernels are rows of their own beside the operator: so is code
        that no operator starts (Triton's kernels, CUDA graphs). What they add up to is the time of the kernels alone.
        """
        path, name = artifact(context, "trace.json")
        profiler.export_chrome_trace(path)
        on_cuda = context.device.type == "cuda"
        # of with_stack: for the trace (torch 2.11 has none among the events)
        python = {event.name for event in profiler.events() if getattr(event, "is_python_function", False)}
        events = [event for event in profiler.key_averages() if event.key not in python]
        cpu_s = sum(_cpu_s(event) for event in events)
        if on_cuda and not any(_is_kernel(event) for event in events):
            raise Unsupported(NO_KERNELS)
        cuda_s = sum(_cuda_s(event) for event in events if _is_kernel(event)) if on_cuda else None
        self_s, total = (_cuda_s, cuda_s) if on_cuda else (_cpu_s, cpu_s)
        for event in sorted(events, key=lambda event: (-self_s(event), -_cpu_s(event), event.key))[: self.operators]:
            context.find(
                "profile",
                operator=str(event.key),
                count=int(event.count),
                self_cpu_s=_cpu_s(event),
                self_cuda_s=_cuda_s(event) if on_cuda else None,
                share_percent=100 * self_s(event) / total if total else None,
            )
        context.find(
            "profile_totals",
            steps=self.steps,
            distinct_operators=len(events),
            self_cpu_s=cpu_s,
            self_cuda_s=cuda_s,
            file=name,
            bytes=Path(path).stat().st_size,
        )


def _cpu_s(event: Any) -> float:
    return float(event.self_cpu_time_total) * MICROSECONDS


def _cuda_s(event: Any) -> float:
    return float(event.self_device_time_total) * MICROSECONDS


def _is_kernel(event: Any) -> bool:
    """True for what ran on the device itself; a range that code has named spans kernels, and is none."""
    from torch._C._autograd import DeviceType

    return event.device_type != DeviceType.CPU and not getattr(event, "is_user_annotation", False)
