"""A sweep of ten thousand rows, in memory: what a page must bear. Always the same, with every kind of ending in it.

PYTHONPATH=tests python -m support.large FILE      writes its page
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

from orchestrator.records import EAGER, JobResult, JobSpec, Need, PluginSpec, Samples, Workload
from orchestrator.results import load, tables
from orchestrator.store import Sweep, SweepFolder
from support import synthetic

COMPILERS = (
    *("eager", "inductor", "inductor_max_autotune", "inductor_freezing", "aot_eager", "aot_inductor", "cudagraphs"),
    *("export", "onnxruntime", "openvino"),
)
HEADS = ("MaskedLM", "CausalLM", "SequenceClassification", "QuestionAnswering", "ConditionalGeneration")
REASONS = {
    "crash": "killed by SIGSEGV (signal 11) [see the end of the log]",
    "fail_to_run": "BackendCompilerFailed: backend='inductor' raised: LoweringException: AssertionError",
    "timeout": "no result within 600 s; the process group was killed",
    "out_of_memory": "RuntimeError: [enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory",
}


def results(root: Path, models: int = 250) -> load.SweepResults:
    """Return the results of `models` x 2 modes x 2 dtypes x 10 compilers; 250 models are 10,000 rows."""
    chance = random.Random(0)
    outcomes = []
    for model in range(models):
        name = f"Model{model // len(HEADS):02}For{HEADS[model % len(HEADS)]}"
        for mode in ("inference", "training"):
            for dtype in ("float32", "float16"):
                load_ = synthetic.workload(name, mode=mode, dtype=dtype, batch_size=2 ** (model % 6))
                outcomes += _workload(chance, load_)
    sweep = Sweep(
        argv=("-m", "suite=huggingface", "compiler=glob(*)", "mode=inference,training", "dtype=float32,float16"),
        overrides=(),
        points=({"rounds": 1},),
        created=1.8e9,
        environment={"host": "bench-01", "python": "3.11.7", "git": {"commit": "0123456789abcdef" * 2, "changed": []}},
    )
    return load.SweepResults(SweepFolder(root), sweep, tuple(outcomes))


def _workload(chance: random.Random, workload: Workload) -> list[load.JobOutcome]:
    outcomes = []
    eager_s = 10 ** chance.uniform(-3, 0)
    peak = 10 ** chance.uniform(1.7, 3.3)
    compilers = {name: SPECS[name] for name in COMPILERS}
    eager = synthetic.job(workload, compilers[EAGER])
    for name, spec in compilers.items():
        needs = [Need(job=eager.id, kind="baseline")] if name != EAGER else []
        job = synthetic.job(workload, spec, needs=needs)
        outcomes.append(load.outcome(job, _timed(chance, job, eager_s, peak)))
        if workload.mode.name == "inference" and name != EAGER:
            judged = synthetic.job(workload, spec, "accuracy")
            wrong = chance.random() < 0.01
            status, reason = ("fail_accuracy", "1 of 2 tensors are wrong, first logits") if wrong else ("pass", "")
            error = chance.uniform(1e-5, 1e-4) * (1000 if wrong else 1)
            outcomes.append(
                load.outcome(judged, synthetic.accuracy_result(judged, status=status, reason=reason, error=error))
            )
    return outcomes


def _timed(chance: random.Random, job: JobSpec, eager_s: float, peak: float) -> JobResult:
    eager = job.compiler.name == EAGER
    if not eager and chance.random() < 0.03:
        status = chance.choice(list(REASONS))
        return synthetic.failed_result(job, status, REASONS[status])
    speedup = 1.0 if eager else chance.lognormvariate(0.12, 0.18)
    noise = 0.05 if chance.random() < 0.05 else 0.01

    def samples(seconds: float, count: int) -> list[float]:
        return [seconds * chance.lognormvariate(0, noise) for _ in range(count)]

    pairs = [] if eager else list(zip(samples(eager_s, 20), samples(eager_s / speedup, 20), strict=True))
    made = synthetic.performance_result(
        job,
        latency=samples(eager_s / speedup, 30),
        first_call=eager_s * 2 if eager else chance.lognormvariate(3, 0.6),
        pairs=pairs,
        peak_mib=300 + peak * (1 if eager else chance.uniform(0.7, 1.2)),
        disturbed=["other processes used 0.62 cores (over 0.1)"] if noise > 0.01 else [],
    )
    warm = Samples(metric="warmup_latency", unit="s", better="lower", values=tuple(samples(eager_s * 1.1, 8)))
    return replace(made, samples=(warm, *made.samples))


SPECS: dict[str, PluginSpec] = {name: synthetic.compiler(name) for name in COMPILERS}


if __name__ == "__main__":
    from orchestrator.page import html

    large = results(Path(sys.argv[1]).absolute().parent)
    html.write_file(Path(sys.argv[1]), [(large, tables.build(large))])
