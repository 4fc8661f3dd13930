"""What somebody meant who wrote what there is not: other words for keys and options, keys further down, near names.

Advice never crosses meanings: a word that means something here leads there ("gpu" to device=cuda), however near another
name is to it in letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from orchestrator.errors import did_you_mean, near, suggestion
from orchestrator.planning import foreign_flags
from orchestrator.planning.keys import Keys

MODELS = "suite.models"


def _words(table: Mapping[str, str]) -> dict[str, str]:
    return {word: meaning for meaning, words in table.items() for word in words.split()}


KEYS = _words(
    {
        MODELS: "model models network net modelname checkpoint arch architecture",
        "compiler": "backend backends compile engine framework runtime comp torchcompile dynamobackend",
        "quantization": "quantize quantise quantisation quant quantized",
        "dtype": "type datatype torchdtype floattype amp autocast",
        "mode": "scenario",
        "measure": "measurement metric metrics task what check benchmark",
        "batch_size": "batch bs batches minibatch",
        "sequence_length": "seqlen seq length maxlength seqlength maxlen context contextlength tokens",
        "rounds": "repeat repeats repetitions runs trials iters times replicas n",
        "device": "gpu accelerator hardware dev target",
        "device.index": "gpuindex deviceid gpuid cudadevice deviceindex",
        "seed": "randomseed rng manualseed",
        "threads": "cores cpus numthreads nthreads numcores ompnumthreads cpu",
        "ranks": "worldsize nproc nprocs nprocpernode numprocesses numranks processesperjob",
        "execution.devices": "gpus cudavisibledevices visibledevices deviceids slots",
        "execution.cpu_sets": "cpuset taskset affinity pin pinning numactl",
        "execution.parallel": "jobs workers parallelism numworkers concurrency processes",
        "execution.env": "environment variables",
        "execution.memory_limit_gib": "memory memlimit ram maxmemory",
        "budget": "timelimit maxtime walltime duration deadline",
        "dry_run": "dry plan planonly noop preview simulate",
        "experiment": "config conf file yaml configfile configname experiments",
        "suite": "collection dataset set",
        "suite.filter": "grep match pattern only select include",
        "exclude": "skip ignore except without",
        "online": "network internet download hub offline",
        "hydra.sweep.dir": "output out outdir outputdir folder outputs savedir logdir",
        "measure.options.warmup_seconds": "warmup warmups warmupsteps",
        "measure.options.iterations": "iterations steps loops numiterations",
        "compiler.options": "options",
        "resume": "continue restart",
        "gate": "judgefirst",
        "build": "venv virtualenv conda interpreter python package packages versions pip requirements",
    }
)
"""Other words for keys, in small letters without signs -> the key."""

OPTIONS: Mapping[str, Mapping[str, str]] = {
    "compiler": _words(
        {
            "inductor": "torchcompile compile compiled dynamo torchinductor default triton",
            "eager": "none baseline pytorch torch nocompile reference",
            "jit_trace": "torchscript jit trace torchjittrace torchscriptjittrace script torchjit",
            "onnx_dynamo": "onnx ort onnxruntime onnxrt dynamoonnx dynamoonnxaotinline dynamoonnxaotoptimize",
            "onnx_torchscript": "torchscriptonnx",
            "dynamo_eager": "overhead",
            "identity": "nothing null noop",
            "tensorrt": "trt torchtensorrt",
            "aot_inductor": "aoti aotinductor aot exportaotinductor",
            "cudagraphs": "cudagraph graphs aotcudagraphs cudagraphsts",
            "openvino": "ov",
            "export": "torchexport",
            "xla": "torchxla tpu",
        }
    ),
    "dtype": _words(
        {
            "float32": "fp32 f32 float single full full32 32",
            "float16": "fp16 f16 half 16",
            "bfloat16": "bf16 bfloat brainfloat brain",
            "amp_bfloat16": "amp autocast mixed mixedprecision ampbf16 autocastbf16 bf16mixed bf16amp",
            "amp_float16": "ampfp16 autocastfp16 fp16mixed 16mixed fp16amp",
        }
    ),
    "device": _words(
        {
            "cuda": "gpu nvidia cudagpu rocm hip amd",
            "cpu": "host intel x86",
            "auto": "any default",
            "xpu": "intelgpu arc ponte level0 sycl",
        }
    ),
    "mode": _words(
        {
            "inference": "eval infer evaluation predict test forward fwd inferencing",
            "training": "train fit fwdbwd backward finetune sgd",
            "generate": "generation gen sample autoregressive",
            "training_adamw": "adamw",
            "training_adam": "adam",
        }
    ),
    "measure": _words(
        {
            "performance": "speed speedup latency time timing timings perf benchmark throughput memory runtime bench",
            "accuracy": "correctness correct acc numerics judge error",
            "flops": "flop macs flopcount",
            "profile": "profiler trace kernels",
            "explain": "graphbreaks breaks graphs",
            "recompilations": "recompiles recompile",
            "dynamic_shapes": "dynamic shapes",
            "largest_batch": "maxbatch maxbatchsize batchfinder",
        }
    ),
    "suite": _words(
        {
            "huggingface": "hf huggingfaces hub",
            "timm": "timmmodels vision images imagemodels",
            "torchbench": "torchbenchmark tb benchmark",
            "transformers": "anytransformers",
            "user": "own mine custom my local file",
            "quick": "default small demo",
        }
    ),
    "quantization": _words(
        {
            "int8_dynamic": "dynamic ptq dynamicint8 w8a8",
            "int8_weight_only": "weightonly w8a16 int8wo",
            "int4_weight_only": "w4a16 int4wo 4bit",
            "none": "off no null false noquant",
        }
    ),
    "parallel": _words(
        {
            "ddp": "distributeddataparallel dataparallel dp distributed dist",
            "fsdp2": "fsdp fsdp1 fullyshard fullysharded fullyshardeddataparallel zero zero3 deepspeed",
            "tensor": "tp tensorparallel tensorparallelism megatron",
            "none": "off no null false",
        }
    ),
    "precision": _words({"tf32": "high medium allowtf32", "ieee": "highest strict", "fp16_accumulation": "fp16acc"}),
}
"""Other words for the options of a group."""

NOT_THERE: Mapping[str, str] = {
    "float64": "float64 is what references are computed in, not what is timed",
    "mps": "Apple's GPUs are not measured, for sweeps run on Linux: device=cpu",
    "tpu": "on a TPU take compiler=xla",
    "hpu": "Intel's Gaudi is not measured: device=cpu, device=cuda or device=xpu",
    "torchao": "quantisation is a group of its own, over any compiler: compiler=inductor quantization=int8_dynamic",
    "optimus": "its passes are options of inductor: compiler.options.options={pre_grad_fusion_options:{}}",
    **dict.fromkeys(
        ("nnc", "nvfuser", "tsnnc", "tsnvfuser", "tsnvfusercudagraphs", "aotnvfuser", "nvprimsnvfuser", "primsnvfuser"),
        "torch has removed it: TorchScript behind dynamo is compiler=dynamo_ts, traced compiler=jit_trace",
    ),
    **dict.fromkeys(
        ("nativert", "exportnativert", "aotprecompile", "cachingprecompile"),
        "that is a private interface of torch, not offered: compiler=aot_inductor is the nearest",
    ),
    **dict.fromkeys(
        ("compilephases", "phases", "compiletime", "compilationmetrics"),
        "all compiled code tells where its compile time goes: measure=performance, tables/compile_phases.csv",
    ),
    "fp8": "float8 is not offered: quantization=int8_dynamic is the nearest",
}
"""What people ask for that nothing here is, in small letters without signs."""
HAVING = ("dtype", "device", "parallel", "precision", "compiler", "measure")
"""The groups in which they ask for it."""
ALIASES = {"double": "float64", "fp64": "float64", "f64": "float64", "64": "float64", "float8": "fp8"}
INDEXED = re.compile(r"(cuda|gpu)[:_]?(\d+)")

OPENED = re.compile(r"[\[{(]")
CLOSED = re.compile(r"[\]})]")

VERBS = _words(
    {
        "ls": "list sweeps dir",
        "diff": "compare cmp",
        "report": "table tables summary results html",
        "show": "view info describe status inspect cat job",
        "rerun": "repeat redo reproduce replay",
        "options": "compilers models suites groups choices available measures modes dtypes",
        "export": "save dump convert",
        "import": "load read",
        "gate": "ci assert",
        "history": "trend trends log timeline",
    }
)
SWEEPS = ("run", "sweep", "bench", "benchmark", "start", "go", "exec", "execute", "launch", "measure", "time", "test")
BOOLEANS = ("dry_run", "online")
AS_FLAGS = {"help": "--help", "version": "--version", "plan": "dry_run=true", "resume": "resume=latest"}


def plain(word: str) -> str:
    """Return a word in small letters without signs: "Batch-Size" and "batch_size" are one."""
    return re.sub(r"[\W_]", "", word.lower().removeprefix("torch.")) or word


def key(name: str, keys: Keys, known: Sequence[str] = ()) -> str:
    """Return what to say of a key that there is not. known: what may stand in its place; of a root key all of those."""
    last = name.rpartition(".")[2]
    legal = list(known) or [one for one in keys.all() if "." not in one]
    meant = None if "." in name and near(last, known) else _key(name, keys)
    if meant is None:
        return did_you_mean(last, legal)
    example = f"write {MODELS}=[A,B] to name models. " if meant == MODELS else suggestion([meant])
    if meant.startswith("measure.options.") and len(found := keys.having(meant)) == 1:  # a sweep has two measures
        example += f"Only measure={found[0]} has it. "
    return example + did_you_mean("", legal)


def _key(name: str, keys: Keys) -> str | None:
    """Return the key that a name means: of that name but for signs, by another word, further down, or by a slip."""
    word = plain(name.rpartition(".")[2])
    everything = list(keys.all())
    roots = {plain(one): one for one in everything if "." not in one}
    if same := roots.get(word) or KEYS.get(word) or roots.get(word.removesuffix("s")):
        return same
    ends: dict[str, str] = {}
    for one in everything:
        end = one.rpartition(".")[2]
        ends.setdefault(plain(end), one)
        ends.setdefault(plain(re.sub(r"_(s|gib|mib|seconds)$", "", end)), one)
    if word in ends:
        return ends[word]
    slip = near(name, roots.values()) or [ends[found] for found in near(word, ends)]
    return slip[0] if len(slip) == 1 else None


def option(group: str, name: str, keys: Keys, known: Sequence[str]) -> str:
    """Return what to say of an option that a group has not."""
    word = plain(name)
    word = ALIASES.get(word, word)
    if word in NOT_THERE and group in HAVING:
        return f"{NOT_THERE[word]}. {did_you_mean('', known)}"
    if group == "device" and (found := INDEXED.fullmatch(name.lower())):
        return f"write device=cuda device.index={found[2]}"
    if group == "parallel" and word.isdecimal():
        return (
            f"write execution.parallel={word} for jobs side by side, parallel=ddp ranks={word} for one job's processes"
        )
    if group == "suite" and (place := _of_models(name, keys)):
        return f"write {place}"
    own = OPTIONS.get(group, {}).get(word)
    if same := [own] if own is not None and own in known else [one for one in known if plain(one) == word]:
        return f"{suggestion(same)}{did_you_mean('', known)}"
    if other := _elsewhere(group, name, keys):
        return f"that is no {group}: write {other}. {did_you_mean('', known)}"
    # of dtypes all numbers that mean something are told above; a model of another number is another model
    return f"{suggestion(near(name, sorted(known), numbers=group == 'dtype'))}{did_you_mean('', known)}"


def _elsewhere(group: str, name: str, keys: Keys) -> str | None:
    """Return "group=option" of another group that has the option, by its own name, another word, or as a part."""
    word = plain(name)
    own = keys.groups.get(group, ())
    others = [one for one in keys.groups if one != group]
    for other in others:
        meaning = OPTIONS.get(other, {}).get(word)
        same = [one for one in keys.groups[other] if plain(one) == word]
        if same or (meaning in keys.groups[other] and not near(name, own, parts=False)):
            return f"{other}={same[0] if same else meaning}"
    for other in others if not near(name, own) else ():
        if other != "suite" and (found := near(name, keys.groups[other], typos=False)):
            return " or ".join(f"{other}={part}" for part in found)
    return None


def _of_models(name: str, keys: Keys) -> str | None:
    """Return how a model is asked for whose name, or file, was given as a suite."""
    if ".py" in name:
        return f"suite=user {MODELS}=[{name if ':' in name else f'{name}:ClassName'}]"
    for suite, models in keys.catalogs.items():
        for model in models:
            if model.lower() == name.lower():
                return f"suite={suite} {MODELS}=[{model}]"
    return None


def verb(word: str, rest: Sequence[str], verbs: Sequence[str], keys: Keys) -> str:
    """Return what to say of a first word that is no verb."""
    if rest and rest[0].startswith("="):
        return f"write {word}={''.join(rest[:2]).removeprefix('=')}, without spaces around '='"
    if word.lower() in SWEEPS:
        return (
            "a sweep has no verb: write its keys, as in compiler=eager,inductor, or a file, as in experiments/mine.yaml"
        )
    if word.lower() in AS_FLAGS:
        return f"write {AS_FLAGS[word.lower()]}"
    if meaning := VERBS.get(plain(word)):
        return did_you_mean(meaning, verbs)
    if not near(word, verbs):
        if written := next(_as_override(word, None, keys), None):
            return f"a sweep is key=value: write {written}"
        if other := _elsewhere("", word, keys):
            return f"a sweep is key=value: write {other}"
    return f"{did_you_mean(word, verbs)}. A sweep is key=value, see --help"


def word(before: str, text: str, rest: Sequence[str], verbs: Sequence[str], keys: Keys) -> str:
    """Return what to say of a later word without "=". before: the one in front of it; rest: those behind it."""
    key, equals, value = before.partition("=")
    if equals and (
        value.endswith((",", "[", "{", "(", "=")) or len(OPENED.findall(value)) > len(CLOSED.findall(value))
    ):
        return f"a space has split {before} {text}: write it without spaces, or in quotes, as in '{key}={value} {text}'"
    if text.startswith(","):
        return f"a space has split {before}{text}: write it without spaces, or in quotes"
    name, colon, value = text.partition(":")
    if colon and (written := next(_as_override(name, value.strip() or None, keys), None)):
        return f"write {written}"
    if text in verbs:
        return f"a verb stands first: {', '.join(verbs)}"
    return verb(text, rest, verbs, keys)


def flag(text: str, value: str | None, keys: Keys) -> str:
    """Return what to say of a flag that there is not: keys are written without dashes."""
    name, equals, own = text.lstrip("-").partition("=")
    if told := foreign_flags.meaning(name):
        return told
    written = next(_as_override(name, own if equals else value, keys), None)
    written = written or _elsewhere("", name, keys)
    if written is None:
        return "there is no such flag (--help), and no such key: a sweep is key=value, as in compiler=eager,inductor"
    return f"keys have no dashes before them: write {written}"


def _as_override(name: str, value: str | None, keys: Keys) -> Iterator[str]:
    """Yield how a key is set that somebody wrote as a word or a flag."""
    meant = _key(name, keys)
    if meant == MODELS:
        yield f"{MODELS}=[{value or 'A,B'}]"
    elif meant in BOOLEANS and value is None:
        yield f"{meant}=true"
    elif meant is not None:
        yield f"{meant}={value or '...'}"
