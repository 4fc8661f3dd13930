"""Where the time of compiling goes: torch's own events, folded into phases that do not overlap.

torch tells the start and end of what it does while it compiles (`torch._dynamo.utils.dynamo_timed`, which also fills
`compilation_time_metrics`) to its `ChromiumEventLogger`. Events nest, and kernels are compiled in several threads: at
each moment one phase counts, that of the innermost event of the calling thread, or where it has none (autograd runs a
backward pass in a thread of the device) of another. So their seconds can be added up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from orchestrator.records import FIRST_RUN

Event = tuple[float, int, bool, str]
"""When (`time.perf_counter`), in which thread, whether it starts, its name."""

EVENTS: Mapping[str, tuple[str, ...]] = {
    "dynamo": ("dynamo", "entire_frame_compile", "bytecode_tracing", "build_guards", "fullgraph_capture"),
    "backend": ("backend_compile", "inductor_import"),
    "aot_autograd": (
        *("create_aot_dispatcher_function", "aot_collect_metadata", "aot_trace_joint_graph"),
        *("min_cut_rematerialization_partition", "entire_backward_compile", "compiled_autograd"),
    ),
    "joint_graph": ("_recursive_pre_grad_passes", "_recursive_joint_graph_passes"),
    "post_grad": ("_recursive_post_grad_passes", "additional_fake_tensor_prop"),
    "lowering": (
        *("inductor_compile", "compile_fx.<locals>.fw_compiler_base", "compile_fx.<locals>.bw_compiler"),
        *("fx_codegen_and_compile", "GraphLowering.run"),
    ),
    "scheduling": ("Scheduler.__init__", "Scheduler.fused_nodes", "Scheduler.create_combo_kernel_nodes"),
    "code_generation": (
        *("GraphLowering.compile_to_fn", "code_gen", "GraphLowering.codegen", "GraphLowering.codegen_subgraph"),
        *("Scheduler.codegen", "PythonWrapperCodegen.generate", "CppWrapperCpu.generate", "CppWrapperGpu.generate"),
        "generate_kernel_code_from_nodes",
    ),
    "kernel_compilation": (
        *("compile_file", "PyCodeCache.load_by_key_path", "async_compile.precompile", "async_compile.wait"),
        *("AotCodeCompiler.compile", "aoti_precompile_header", "aoti_compile_fatbin", "reload_kernel_in_parent"),
        *("CachingAutotuner.slow_precompile_config", "StaticAutotunerFuture.warm_precompile"),
    ),
    "autotuning": (
        *("benchmark_fused_nodes", "benchmark_codegened_module", "CachingAutotuner.benchmark_all_configs"),
        *("CachingAutotuner.coordinate_descent_tuning", "CachingAutotuner.combo_sequential_autotune"),
    ),
    "compile_cache": (
        *("inductor_codecache_torch_key", "CacheBase.get_system.triton_key", "AOTAutogradCache.inductor_load"),
        *("GraphPickler.loads", "TritonBundler.collect", "TritonBundler.read_and_emit"),
        *("TritonBundler.load_cached_static_autotuners", "remote_fx_graph_cache_get", "remote_fx_graph_cache_put"),
    ),
}
"""One of `records.COMPILE_PHASES` -> events of torch 2.11 to 2.13 that begin it. Others belong to what is around."""
LOGGER = ("ChromiumEventLogger", "get_chromium_event_logger", "CHROMIUM_EVENT_LOG")
"""What of `torch._dynamo.utils` is used."""
ENDINGS: Mapping[str, str] = {"_template_autotuning": "autotuning", "_template_precompiling": "autotuning"}
"""End of an event's name -> phase: the operator is named before it."""
_PHASE_OF = {event: phase for phase, events in EVENTS.items() for event in events}


@contextmanager
def recorded() -> Iterator[list[Event]]:
    """Keep torch's events while inside, of all threads, in time order; none of a torch that tells them otherwise."""
    import torch._dynamo.utils as dynamo

    events: list[Event] = []
    if not all(hasattr(dynamo, name) for name in LOGGER):  # torch's own business: no timing fails for it
        yield events
        return

    class Recording(dynamo.ChromiumEventLogger):
        def log_event_start(self, event_name: str, *args: Any, **options: Any) -> None:
            super().log_event_start(event_name, *args, **options)
            events.append((time.perf_counter(), threading.get_ident(), True, event_name))

        def log_event_end(self, event_name: str, *args: Any, **options: Any) -> None:
            events.append((time.perf_counter(), threading.get_ident(), False, event_name))
            super().log_event_end(event_name, *args, **options)

    before = dynamo.get_chromium_event_logger()
    dynamo.CHROMIUM_EVENT_LOG = Recording()
    try:
        yield events
    finally:
        dynamo.CHROMIUM_EVENT_LOG = before


def folded(events: Iterable[Event], seconds: float, thread: int | None = None) -> dict[str, float]:
    """Return phase -> seconds, and under `FIRST_RUN` what is left of `seconds`, the whole; nothing without an event.

    `thread`: the one that calls, by default this one.
    """
    own = threading.get_ident() if thread is None else thread
    # thread -> (event, phase) that are open, innermost last
    open_in: dict[int, list[tuple[str, str | None]]] = {own: []}
    found: dict[str, float] = {}
    last = 0.0
    for when, where, starts, name in sorted(events, key=lambda event: event[0]):
        if (phase := _now(open_in, own)) is not None:
            found[phase] = found.get(phase, 0.0) + when - last
        last = when
        stack = open_in.setdefault(where, [])
        if starts:
            stack.append((name, _phase(name, stack[-1][1] if stack else None)))
        elif any(name == other for other, _ in stack):
            while stack.pop()[0] != name:  # torch ends what an exception left open together with what is around it
                pass
    return {**found, FIRST_RUN: seconds - sum(found.values())} if found else {}


def _phase(event: str, around: str | None) -> str | None:
    ended = (phase for end, phase in ENDINGS.items() if event.endswith(end))
    return _PHASE_OF.get(event) or next(ended, around)


def _now(open_in: Mapping[int, list[tuple[str, str | None]]], own: int) -> str | None:
    """Return the phase that counts now: the calling thread's, else that of the first other one that has an event."""
    stack = open_in[own] or next((stack for stack in open_in.values() if stack), [])
    return stack[-1][1] if stack else None
