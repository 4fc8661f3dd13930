"""Seconds that a job will take, roughly: for the estimate before a sweep, and to cut it into even shards.

Figures from a machine with AVX2 and one thread, torch 2.13 (docs/measuring.md). Off by a factor of two or three on
any one model; ratios between jobs, which is what sharding needs, are better than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.planning.quantized import parts
from orchestrator.records import PluginSpec, Workload

CPU_FLOPS = 6e10  # per thread, float32, in matrix products: 110 M parameters x 128 tokens x 2 in 0.5 s
CUDA_FLOPS = 2e13  # a datacenter GPU, small batches
CPU_HALF_PENALTY = 6.0  # float16, bfloat16 and autocast without AVX512 or AMX
FLOAT64_PENALTY = 2.0
INPUTS, CALLS = 2, 3  # of a series that is judged, and its calls
TRAINING_STEP = 3.0  # backward is twice a forward
TRAINING_COMPILE = 2.5
GRAPHS: Mapping[str, float] = {"Generate": 2.0}  # of the prompt, and of one token
CALL_S = 5e-3  # of the model with one token: what Python alone takes
WARM_COMPILE = 0.3  # with the compile cache of an earlier round
START = {"fork": 0.5, "subprocess": 6.0}  # until the first phase
OBSERVED_STEPS = 10
TRIES: Mapping[str, float] = {"LargestBatch": 12.0}  # doublings to some hundred, and as many halvings; each compiles
DEFAULT_PARAMS_M = 100.0

COMPILE_BASE, COMPILE_PER_MILLION = 12.0, 0.15  # inductor, inference: 12 s for a tiny BERT, 30 s for GPT-2
BACKENDS: Mapping[str, float] = {
    "eager": 0.12,
    "ts": 0.12,
    "aot_eager": 0.2,
    "aot_eager_decomp_partition": 0.25,
    "cudagraphs": 0.3,
    "inductor": 1.0,
}
MODES: Mapping[str, float] = {"max-autotune": 1.4, "max-autotune-no-cudagraphs": 1.4}
OPTIONS: Mapping[str, float] = {"cpp_wrapper": 1.4, "freezing": 1.2}
DYNAMIC = 1.9
COMPILED_AUTOGRAD = 1.3
AHEAD: Mapping[str, float] = {
    "JitTrace": 0.06,
    "Export": 0.1,
    "OnnxRuntime": 0.3,
    "OpenVINOBackend": 0.2,
    "OpenVINOConvert": 0.2,
    "AOTInductor": 2.0,
}
"""Class of a compiler that is not torch.compile -> its share of inductor's time (docs/compilers.md)."""
QUANTIZED = 1.3  # quantising, and compiling what it adds to the graph


def step_s(workload: Workload, params_m: float | None, training: bool) -> float:
    """Return the seconds of one eager step; of a generation all of it."""
    tokens, calls = workload.batch_size * (workload.sequence_length or 1), 0
    if _class_of(workload.mode) == "Decode":
        tokens = workload.batch_size
    elif _class_of(workload.mode) == "Generate":
        calls = int(workload.mode.options.get("new_tokens", 0))
        tokens += workload.batch_size * calls
    operations = 2e6 * (params_m or DEFAULT_PARAMS_M) * tokens * (TRAINING_STEP if training else 1.0)
    if workload.device.startswith("cuda"):
        return operations / CUDA_FLOPS + calls * CALL_S
    slower = (
        1.0 if workload.dtype == "float32" else FLOAT64_PENALTY if workload.dtype == "float64" else CPU_HALF_PENALTY
    )
    return operations * slower / (CPU_FLOPS * workload.threads) + calls * CALL_S


def _class_of(plugin: PluginSpec) -> str:
    return plugin.target.rpartition(".")[2]


def compile_s(compiler: PluginSpec, workload: Workload, params_m: float | None, training: bool) -> float:
    """Return the seconds of a cold compilation; 0 for eager."""
    base, quantization = parts(compiler)
    kind, seconds = _class_of(base), COMPILE_BASE + COMPILE_PER_MILLION * (params_m or DEFAULT_PARAMS_M)
    if kind == "Eager":
        return 0.0 if quantization is None else 1.0
    seconds *= QUANTIZED if quantization is not None else 1.0
    seconds *= TRAINING_COMPILE if training else GRAPHS.get(_class_of(workload.mode), 1.0)
    return seconds * (AHEAD[kind] if kind in AHEAD else _of_dynamo(base.options))


def _of_dynamo(options: Mapping[str, Any]) -> float:
    """Return the share of inductor's time that `torch.compile` takes with these options."""
    factor = BACKENDS.get(options.get("backend", "inductor"), 1.0) * MODES.get(options.get("mode") or "", 1.0)
    factor *= DYNAMIC if options.get("dynamic") else 1.0
    factor *= COMPILED_AUTOGRAD if options.get("compiled_autograd") else 1.0
    for key, value in (options.get("options") or {}).items():
        factor *= OPTIONS.get(key, 1.0) if value else 1.0
    return factor


def performance_s(step: float, compiling: float, round: int, settings: Mapping[str, Any]) -> float:
    """Return the seconds of a performance job: compile, warm-up, steady state and, with a compiler, pairs.

    `settings` are all fields of the measure (`orchestrator.measures.performance.Performance`). Half of the time that
    may be added for a narrower interval is counted.
    """

    def part(seconds: str, calls: str, each: float, extra: float = 0.0) -> float:
        wanted = max(float(settings.get(seconds, 0)) + extra, float(settings.get(calls, 0)) * each)
        return min(wanted, float(settings.get("max_seconds", wanted)))

    extra = float(settings.get("extra_seconds", 0)) / 2
    total = compiling * (WARM_COMPILE if round else 1.0) + step
    total += part("warmup_seconds", "warmup_calls", step) + part("seconds", "iterations", step, extra)
    return total + (part("pair_seconds", "pairs", 2 * step, extra) if compiling else 0.0)


def accuracy_s(step: float, compiling: float) -> float:
    """Return the seconds of an accuracy job: compile, a series of steps, compare."""
    return compiling + (CALLS + 1) * step


def observed_s(step: float, compiling: float, measure: PluginSpec) -> float:
    """Return the seconds of a job that is neither timed nor judged: compile, some steps, perhaps several times."""
    return TRIES.get(_class_of(measure), 1.0) * (compiling + OBSERVED_STEPS * step)


def reference_bytes(workload: Workload, params_m: float | None, training: bool) -> float:
    """Return the bytes that a reference leaves on the disk, at least: in training all gradients, of two inputs, twice.

    Once in float64 and once as the workload has its parameters. The outputs of the model come on top.
    """
    if not training or params_m is None:
        return 0.0
    return INPUTS * params_m * 1e6 * (8 + (2 if workload.dtype in ("float16", "bfloat16") else 4))


def reference_s(step: float) -> float:
    """Return the seconds of a reference job: two eager series of calls and one in float64."""
    return CALLS * (2 + FLOAT64_PENALTY) * step + 1.0
