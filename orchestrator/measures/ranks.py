"""Several ranks by torch.distributed: `orchestrator.measures.group` for more than one process."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator import columns
from orchestrator.columns import TableSpec
from orchestrator.measures.calls import Call, inputs_of
from orchestrator.measures.group import OWN_LATENCY, Group, Tensors, Timed, Value
from orchestrator.measures.outputs import digest
from orchestrator.measures.parallelism import Parallelism
from orchestrator.plugins import Compiler, Forward, Outcome, Program
from orchestrator.probes.clock import stopwatch
from orchestrator.records import PASS, STATUSES, Workload

if TYPE_CHECKING:
    import torch

    from orchestrator.measures.context import Context

TABLE = "ranks"
SPEC = TableSpec(
    (
        columns.count("rank", "which of the job's processes"),
        columns.text("rank_device", "the GPU that it ran on"),
        columns.text("rank_status", "its own verdict, where that is no pass; the row has the worst of all ranks"),
        columns.duration("own_step_ms", "median of its steady steps by its own clock, waiting for the others included"),
        columns.memory(
            "own_parameters_mib", "parameters that it holds: with fsdp2 and tensor its parts", "lower", exact=True
        ),
        columns.memory("own_peak_mib", "its steady-state peak over the level before the model existed", "lower"),
    )
)


class Elsewhere(RuntimeError):
    """Another rank has raised: its own error says why."""


class Ranks(Group):
    """Several processes by torch.distributed: gloo, and on CUDA NCCL for what is on the device.

    What is agreed on goes by gloo through a group of its own, so that it never mixes with what is measured. how: how
    they share the model; meeting: a file at which they find each other; timeout_s: for any of them to answer.
    Raises RuntimeError where they do not find each other.
    """

    wraps: ClassVar[bool] = True

    def __init__(
        self, rank: int, size: int, how: Parallelism, device: torch.device, meeting: str, timeout_s: float
    ) -> None:
        import torch
        import torch.distributed as dist
        from torch.distributed import FileStore  # type: ignore[attr-defined]

        self.rank, self.size, self._how, self.replicas = rank, size, how, how.replicas
        self._parameter_bytes = 0
        timeout = timedelta(seconds=timeout_s)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=FileStore(meeting, size),
            rank=rank,
            world_size=size,
            timeout=timeout,
        )
        self._own = dist.new_group(backend="gloo", timeout=timeout)

    def stopwatch(
        self, device: torch.device, enqueued: list[float] | None = None, own: list[float] | None = None
    ) -> Timed:
        clock = stopwatch(device, enqueued, self.meet)

        def timed(step: Callable[[], Any]) -> float:
            seconds = clock(step)
            if own is not None:
                own.append(seconds)
            return self.longest(seconds)

        return timed

    def meet(self) -> None:
        self.longest(0.0)

    def longest(self, seconds: float) -> float:
        import torch
        import torch.distributed as dist

        value = torch.tensor(seconds, dtype=torch.float64)
        dist.all_reduce(value, dist.ReduceOp.MAX, group=self._own)
        return float(value)

    def elapsed(self, since: float) -> float:
        import torch
        import torch.distributed as dist

        value = torch.tensor(perf_counter() - since, dtype=torch.float64)
        dist.broadcast(value, src=0, group=self._own)
        return float(value)

    def gather(self, what: str, value: Any) -> list[Any]:
        """Return the values of all ranks. Raises RuntimeError where another rank gathers something else."""
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, (what, value), group=self._own)
        if len({name for name, _ in found}) > 1:
            words = ", ".join(f"rank {rank}: {name}" for rank, (name, _) in enumerate(found))
            raise RuntimeError(f"the ranks have gone apart ({words})")
        return [value for _, value in found]

    def agreed(self, value: Value) -> Value:
        found: Value = self.gather("agreed", value)[0]
        return found

    def first(self, text: str) -> str:
        found = self.gather("text", text)
        return next((f"rank {rank}: {one}" for rank, one in enumerate(found) if one), "")

    def eager(self, program: Program) -> Forward:
        return self._how.shared(program.model)

    def compile(self, compiler: Compiler, program: Program, workload: Workload) -> Forward:
        compiled = self._how.compile(compiler, program, workload)
        self._parameter_bytes = sum(held_bytes(parameter) for parameter in program.model.parameters())
        return compiled

    def own_inputs(self, inputs: dict[str, torch.Tensor], draw: Callable[[int], Tensors]) -> dict[str, torch.Tensor]:
        if not self.rank or not self._how.own_inputs:
            return inputs
        call = Call(f"fresh {self.rank}", self.rank)
        return dict(inputs_of(inputs, [call], {call.inputs: draw(self.rank)})[call.inputs])

    def averaged(self, model: torch.nn.Module, training: bool, call: Callable[[], Tensors]) -> Tensors:
        """Gradients are the mean over the ranks, in float64 and rounded once; with DDP buffers begin as rank 0's, in
        training.

        That is what DDP and FSDP2 make of them, by other means; with tensor parallelism the ranks' are the same. What
        one rank raises is raised in all.
        """
        import torch.distributed as dist

        if training and self.replicas:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)
        left: dict[str, torch.Tensor] = {}
        error: Exception | None = None
        try:
            left = dict(call())
        except Exception as raised:  # noqa: BLE001 - raised again, when the others know
            error = raised
        known = {name: (one.shape, one.dtype) for name, one in left.items() if name.startswith("grad.")}
        found = self.gather("call", (None if error is None else f"{type(error).__name__}: {error}", known))
        if error is not None:
            raise error
        for rank, (raised_there, _) in enumerate(found):
            if raised_there is not None:
                raise Elsewhere(f"rank {rank}: {raised_there}")
        for name, (shape, dtype) in {name: one for _, names in found for name, one in names.items()}.items():
            left[name] = self._mean(left.get(name), shape, dtype)
        return left

    def _mean(self, tensor: torch.Tensor | None, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Return the mean of a CPU tensor over the ranks; one that has none counts as zeros."""
        import torch
        import torch.distributed as dist

        total = torch.zeros(shape, dtype=torch.float64) if tensor is None else tensor.double()
        dist.all_reduce(total, group=self._own)
        return (total / self.size).to(dtype)

    def unequal_parameters(self, model: torch.nn.Module) -> str:
        if not self.replicas:  # each has a part, or rounds for itself
            return ""
        own = {name: digest(parameter.detach().cpu()) for name, parameter in model.named_parameters()}
        found = self.gather("parameters", own)
        for rank, theirs in enumerate(found):
            for name, value in theirs.items():
                if value != found[0].get(name):
                    return f"rank {rank} has another {name} than rank 0"
        return ""

    def conclude(self, context: Context, outcome: Outcome) -> Outcome:
        """Keep a row of each rank of a timed job, and of each that found something wrong; facts of memory are those of
        the rank that has the highest peak, the verdict that of the worst.
        """
        own = next((sample.values for sample in context.samples if sample.metric == OWN_LATENCY), ())
        facts = {key: context.facts[key] for key in ("accuracy", "measured", "memory") if key in context.facts}
        found = self.gather("end", (outcome, own, facts, str(context.device), self._parameter_bytes))
        peaks = [_own_peak(facts.get("memory", {})) for _, _, facts, *_ in found]
        for rank, (theirs, latencies, seen, device, held) in enumerate(found):
            for kind, why in seen.get("measured", {}).items():
                context.measured.setdefault(kind, f"rank {rank}: {why}")
            if latencies and rank:
                context.add(f"{OWN_LATENCY}_{rank}", "s", "none", latencies)
            if latencies or theirs.status != PASS:
                context.find_asked(
                    TABLE,
                    SPEC,
                    rank=rank,
                    rank_device=None if context.device.type == "cpu" else device,
                    rank_status=None if theirs.status == PASS else theirs.status,
                    own_step_s=statistics.median(latencies) if latencies else None,
                    own_parameters_bytes=held or None,
                    own_peak_bytes=peaks[rank],
                )
        if highest := max(peak or 0 for peak in peaks):
            context.facts["memory"] = found[peaks.index(highest)][2]["memory"]
        worst = min(range(self.size), key=lambda rank: (STATUSES.index(found[rank][0].status), rank))
        if "accuracy" in found[worst][2]:
            context.facts["accuracy"] = found[worst][2]["accuracy"]
        verdict: Outcome = found[worst][0]
        return replace(verdict, reason=f"rank {worst}: {verdict.reason}") if verdict.reason else verdict


def held_bytes(parameter: torch.Tensor) -> int:
    """Return the bytes of a parameter in this rank: of one that is cut (`DTensor`) those of its part."""
    local = getattr(parameter, "to_local", lambda: parameter)()
    return int(local.numel() * local.element_size())


def _own_peak(memory: Mapping[str, Any]) -> int | None:
    """Return the bytes of the steady phase's peak over the base, on CUDA of torch's tensors; None without such."""
    cuda, base = memory.get("cuda"), memory.get("base")
    phases, base = (cuda, memory["cuda_base"]["allocated"]) if cuda else (memory.get("phases") or {}, base)
    if "steady" not in phases or base is None:
        return None
    return int(phases["steady"]["peak"] - base)
