"""The clock: seconds of one call, with the device's queue empty before and after it."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from orchestrator.plugins import Preparing

if TYPE_CHECKING:
    import torch


def synchroniser(device: torch.device) -> Callable[[], None]:
    """Return the function that waits until `device` has done all that it was given; nothing to wait for on a CPU."""
    if device.type == "cpu":
        return lambda: None
    import torch

    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: torch.accelerator.synchronize(device)


def make_ready(step: Callable[[], Any]) -> None:
    """Prepare a step that must be made ready, so that its next call is the step alone (`orchestrator.plugins`)."""
    if isinstance(step, Preparing):
        step.prepare()


def stopwatch(
    device: torch.device, enqueued: list[float] | None = None, meet: Callable[[], None] | None = None
) -> Callable[[Callable[[], Any]], float]:
    """Return `timed(step) -> seconds`: one call of `step`, synchronised before and after.

    A step that must be made ready is, before the clock starts (`orchestrator.plugins.Preparing`). `enqueued` gets the
    seconds until each call returned, before the second synchronisation: what the host needs to launch the step's work.
    `meet` is called last before the clock starts: other processes begin with it.
    """
    synchronise = synchroniser(device)
    now = time.perf_counter

    def timed(step: Callable[[], Any]) -> float:
        make_ready(step)
        synchronise()
        if meet is not None:
            meet()
        start = now()
        step()
        returned = now()
        synchronise()
        end = now()
        if enqueued is not None:
            enqueued.append(returned - start)
        return end - start

    return timed


def overhead(timed: Callable[[Callable[[], Any]], float], calls: int = 20) -> float:
    """Return the seconds that a stopwatch finds for a step that does nothing: they are in all that it times."""
    return statistics.median(timed(_nothing) for _ in range(calls))


def _nothing() -> None:
    pass


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep Python's collector out of what is timed, as `timeit` does, and from freeing at lines of others."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
