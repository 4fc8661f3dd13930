"""What a job will take, roughly. Seconds: for the estimate before a sweep, and to cut it into even shards. Memory: for
what may run side by side.

Figures from a machine with AVX2 and one thread, torch 2.13 (docs/measuring.md). Off by a factor of two or three on
any one model; ratios between jobs, which is what sharding needs, are better than that. What a plug-in takes more or
less than usual it says itself (`orchestrator.plugins.Costed`).
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.planning.quantized import parts
from orchestrator.plugins import instantiate, resolve
from orchestrator.records import PluginSpec, Workload

CPU_FLOPS = 6e10  # per thread, float32, in matrix products: 110 M parameters x 128 tokens x 2 in 0.5 s
GPU_FLOPS = 2e13  # a datacenter GPU, small batches
CPU_HALF_PENALTY = 6.0  # float16, bfloat16 and autocast without AVX512 or AMX
FLOAT64_PENALTY = 2.0
INPUTS, CALLS = 2, 3  # of a series that is judged, and its calls
TRAINING_STEP = 3.0  # backward is twice a forward
TRAINING_COMPILE = 2.5
CALL_S = 5e-3  # of the model with one token: what Python alone takes
WARM_COMPILE = 0.3  # with the compile cache of an earlier round
START = {"fork": 0.5, "subprocess": 6.0}  # until the first phase
REFERENCE_BASE = 0.2  # to write its tensors, at least
OBSERVED_STEPS = 10
DEFAULT_PARAMS_M = 25.0  # for its time: what people bring is mostly small
LARGE_PARAMS_M = 100.0  # for its memory: what is not known may be large
PROCESS_BYTES, GPU_PROCESS_BYTES = 0.6 * 2**30, 3.0 * 2**30  # torch and transformers; CUDA's libraries besides
TRAINING_COPIES = 3.0

COMPILE_BASE, COMPILE_PER_MILLION = 12.0, 0.15  # inductor, inference: 12 s for a tiny BERT, 30 s for GPT-2
QUANTIZED = 1.3  # quantising, and compiling what it adds to the graph


def step_s(workload: Workload, params_m: float | None, training: bool) -> float:
    """Return the seconds of one eager step; of a generation all of it."""
    positions = getattr(_class(workload.builder.target), "positions", 1)
    tokens, calls = max(workload.batch_size, 1) * (workload.sequence_length or positions), 0
    if hasattr(_class(workload.mode.target), "step_size"):
        tokens, calls = instantiate(workload.mode).step_size(workload)
    elif (of := getattr(_class(workload.builder.target), "tokens", None)) is not None:
        tokens = workload.batch_size * of(workload)
    operations = 2e6 * (params_m or DEFAULT_PARAMS_M) * tokens * (TRAINING_STEP if training else 1.0)
    if workload.device != "cpu":
        return operations / GPU_FLOPS + calls * CALL_S
    slower = (
        1.0 if workload.dtype == "float32" else FLOAT64_PENALTY if workload.dtype == "float64" else CPU_HALF_PENALTY
    )
    return operations * slower / (CPU_FLOPS * workload.threads) + calls * CALL_S


def factor(plugin: PluginSpec, default: float, key: str = "cost_factor") -> float:
    """Return the factor that a plug-in declares (`orchestrator.plugins.Costed`), else the default.

    Raises UsageError for one that is no number, or is negative.
    """
    return _factor(plugin.target, json.dumps(plugin.options, sort_keys=True, default=str), default, plugin.name, key)


@functools.lru_cache(1024)
def _factor(target: str, options: str, default: float, name: str, key: str) -> float:
    found = getattr(_class(target), key, default)
    if isinstance(found, property):
        found = getattr(instantiate(PluginSpec(name=name, target=target, options=json.loads(options))), key)
    if found is not default and (type(found) not in (int, float) or not 0 <= found < math.inf):
        raise UsageError(f"{target}.{key} is {found!r:.80}: write a number, 1.0 for what takes as long as usual")
    return float(found)


@functools.cache
def _class(target: str) -> type:
    return resolve(target)


def compile_s(compiler: PluginSpec, workload: Workload, params_m: float | None, training: bool) -> float:
    """Return the seconds of a cold compilation; 0 for eager. What declares no factor takes as long as inductor."""
    base, quantization = parts(compiler)
    share = factor(base, 1.0)
    if share == 0:
        return 0.0 if quantization is None else 1.0
    seconds = _usual_compile_s(params_m)
    seconds *= QUANTIZED if quantization is not None else 1.0
    usual = 1 + (TRAINING_COMPILE - 1) * min(share, 1.0) if training else 1.0  # code for the backward is what costs
    return seconds * factor(workload.mode, usual) * share


def _usual_compile_s(params_m: float | None) -> float:
    return COMPILE_BASE + COMPILE_PER_MILLION * (params_m or DEFAULT_PARAMS_M)


def performance_s(step: float, compiling: float, round: int, settings: Mapping[str, Any]) -> float:
    """Return the seconds of a performance job: compile, warm-up, steady state and, with a compiler, pairs.

    `settings` are all fields of the measure (`orchestrator.measures.performance.Performance`). Half of the time that
    may be added for a narrower interval of the pairs is counted.
    """

    def part(seconds: str, calls: str, each: float, extra: float = 0.0) -> float:
        wanted = max(float(settings.get(seconds, 0)) + extra, float(settings.get(calls, 0)) * each)
        return min(wanted, float(settings.get("max_seconds", wanted)))

    extra = float(settings.get("extra_seconds", 0)) / 2
    total = compiling * (WARM_COMPILE if round else 1.0) + step
    total += part("warmup_seconds", "warmup_calls", step) + part("seconds", "iterations", step)
    return total + (part("pair_seconds", "pairs", 2 * step, extra) if compiling else 0.0)


def accuracy_s(step: float, compiling: float) -> float:
    """Return the seconds of an accuracy job: compile, a series of steps, compare."""
    return compiling + (CALLS + 1) * step


def spared_s(compiling: float, training: bool) -> float:
    """Return the seconds that an accuracy job does not take behind the timed job of the same code: it compares what
    that has called, or, in training, compiles a twin with its cache.
    """
    return compiling * (1 - WARM_COMPILE) if training else compiling


def observed_s(step: float, compiling: float, params_m: float | None, measure: PluginSpec) -> float:
    """Return the seconds of a job that is neither timed nor judged: compile, some steps, perhaps several times.

    What does not let the compiler finish says how much of a compilation it is (`compile_factor`).
    """
    compiling = min(compiling, factor(measure, math.inf, "compile_factor") * _usual_compile_s(params_m))
    return factor(measure, 1.0) * (compiling + OBSERVED_STEPS * step)


def reference_bytes(workload: Workload, params_m: float | None, training: bool) -> float:
    """Return the bytes that a reference leaves on the disk, at least: in training all gradients, of two inputs, twice.

    Once in float64 and once as the workload has its parameters. The outputs of the model come on top.
    """
    if not training or params_m is None:
        return 0.0
    return workload.ranks * INPUTS * params_m * 1e6 * (8 + (2 if workload.dtype in ("float16", "bfloat16") else 4))


def memory_bytes(workload: Workload, params_m: float | None, training: bool) -> float:
    """Return the bytes of the machine's memory that a job that times nothing takes, roughly: its process, the weights
    once as the workload has them and once in float64, in training also gradients and what the optimizer keeps. What a
    step computes in between is not in it, nor are processes of a compiler. Of several ranks, all of them.
    """
    weights = (params_m or LARGE_PARAMS_M) * 1e6 * (8 + 4) * (TRAINING_COPIES if training else 1.0)
    process = GPU_PROCESS_BYTES if workload.device != "cpu" else PROCESS_BYTES
    return (process + weights) * workload.ranks


def reference_s(step: float) -> float:
    """Return the seconds of a reference job: two eager series of calls and one in float64."""
    return CALLS * (2 + FLOAT64_PENALTY) * step + REFERENCE_BASE
