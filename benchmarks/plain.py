"""The plain way: one model, compiler and experiment in a process of its own, as PyTorch's benchmarks/dynamo does it.

    python benchmarks/plain.py FOLDER JOB [TOOLCHAIN]

Does what a job of the sweep in FOLDER does, on the same model, with the same compiler, and prints its findings as JSON
in the last line. TOOLCHAIN: what the cache folder began with.

performance: one eager call (`validate_model`), 5 eager and 5 compiled calls, and 30 pairs of one eager and one compiled
call in turn (`--repeat`). accuracy: two calls each (`--iterations`) in float64, in eager twice, and compiled, on copies
of the model, compared by `torch._dynamo.utils.same`; deterministic, and inductor draws random numbers as eager does.
All as in its `common.py`.
"""

from __future__ import annotations

import copy
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.records import JobSpec
from orchestrator.store import SweepFolder

PERFORMANCE, ACCURACY = "performance", "accuracy"
WARM_UP, PAIRS, ITERATIONS = 5, 30, 2
Step = Callable[[], Any]


class Plain:
    """The process: what it builds, and how many seconds each of its phases took (`seconds`)."""

    def __init__(self, job: JobSpec, toolchain: Path | None) -> None:
        self.seconds: dict[str, float] = {}
        self.job, self.workload = job, job.workload
        with self.phase("import"):
            import torch

            from orchestrator.plugins import instantiate
            from orchestrator.worker.run import modules
            from orchestrator.worker.toolchain import enter

            for module in modules(job):
                importlib.import_module(module)
            if toolchain is not None:
                enter(toolchain)
            torch.set_num_threads(self.workload.threads)
            self.builder, self.mode = instantiate(self.workload.builder), instantiate(self.workload.mode)
            self.compiler = instantiate(job.compiler)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start

    def build(self) -> Any:
        """Return the program, in the workload's dtype."""
        import torch

        from orchestrator.precision import cast

        with self.phase("build"):
            program = self.builder.build(self.workload, dropout=self.mode.training)
            return cast(program, self.workload.dtype, torch.device(self.workload.device))

    def eager(self, program: Any) -> Step:
        step: Step = self.mode.step(program, program.model, self.workload)
        return step

    def compiled(self, program: Any) -> Step:
        step: Step = self.mode.step(program, self.compiler.compile(program, self.workload), self.workload)
        return step

    def performance(self) -> list[tuple[float, float]]:
        """Return the pairs: seconds of an eager and of a compiled call."""
        program = self.build()
        eager = self.eager(program)
        with self.phase("validate"):
            eager()
        with self.phase("warm-up"):
            for _ in range(WARM_UP):
                eager()
        with self.phase("compile"):
            compiled = self.compiled(program)
            compiled()
        with self.phase("warm-up"):
            for _ in range(WARM_UP - 1):
                compiled()
        with self.phase("pairs"):
            return [(seconds(eager), seconds(compiled)) for _ in range(PAIRS)]

    def accuracy(self) -> bool:
        """Return whether compiled code gave what eager gives. Raises RuntimeError where eager differs from itself."""
        import torch
        from torch._dynamo.utils import same
        from torch._inductor import config

        from orchestrator.precision import cast

        torch.use_deterministic_algorithms(True)
        config.fallback_random = True
        given = self.job.measure.options
        program = self.build()
        with self.phase("validate"):
            self.eager(program)()
        with self.phase("float64"):
            double = cast(copy.deepcopy(program), "float64", torch.device(self.workload.device))
            exact = repeated(self.eager(double))
        with self.phase("eager"):
            first, second = (repeated(self.eager(copy.deepcopy(program))) for _ in range(2))
        with self.phase("compare"):
            if not same(first, second, None, cos_similarity=False, tol=0):
                raise RuntimeError("two eager runs differ")
        with self.phase("compile"):  # and the second call
            result = repeated(self.compiled(copy.deepcopy(program)))
        with self.phase("compare"):
            larger = bool(given["larger_multiplier"])
            limits = {"tol": given["tolerance"], "use_larger_multiplier_for_smaller_tensor": larger}
            return bool(same(first, result, exact, cos_similarity=bool(given["cosine"]), **limits))


def repeated(step: Step) -> Any:
    for _ in range(ITERATIONS - 1):
        step()
    return step()


def seconds(step: Step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    folder, name, *toolchain = sys.argv[1:]
    job = next(job for job in SweepFolder(folder).read_graph().jobs if job.id == name)
    plain = Plain(job, Path(toolchain[0]) if toolchain else None)
    found = plain.performance() if job.measure.name == PERFORMANCE else plain.accuracy()
    print(json.dumps({"found": found, "seconds": plain.seconds}))


if __name__ == "__main__":
    main()
