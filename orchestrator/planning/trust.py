"""What a stored sweep would run or use besides our own code: asked about before a sweep that someone sent runs again.

Its plug-ins are looked up in the allowed packages only (`orchestrator.plugins`), and that is no danger. These are:

- variables of its jobs: LD_PRELOAD, PYTHONPATH, CXX, ORCHESTRATOR_PLUGIN_PACKAGES, ... name code. Those of
  `HARMLESS_VARIABLES` only choose among what is there already;
- options of plug-ins that name code: a plug-in says so itself (`foreign_code`), and a text that looks like a file, a
  URL or `package.module:name` counts as such whatever the plug-in says;
- the network (`online=true`): models are downloaded by names that the sweep chooses;
- the command line of a sweep that a Hydra launcher ran: resuming composes it again, from the folders that it names.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.files import read_bytes
from orchestrator.plugins import foreign_code, instantiate
from orchestrator.records import JobSpec, PluginSpec
from orchestrator.store import Sweep

HARMLESS_VARIABLES = frozenset(
    {
        *("OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "OMP_SCHEDULE", "OMP_DYNAMIC", "OMP_WAIT_POLICY"),
        *("OMP_STACKSIZE", "OMP_MAX_ACTIVE_LEVELS", "OMP_NESTED", "GOMP_CPU_AFFINITY", "GOMP_SPINCOUNT"),
        *("KMP_AFFINITY", "KMP_BLOCKTIME", "KMP_HW_SUBSET", "MKL_NUM_THREADS", "MKL_DYNAMIC", "MKL_CBWR"),
        *("MKL_ENABLE_INSTRUCTIONS", "OPENBLAS_NUM_THREADS", "ATEN_CPU_CAPABILITY", "TOKENIZERS_PARALLELISM"),
        *("DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "DNNL_DEFAULT_FPMATH_MODE", "ONEDNN_DEFAULT_FPMATH_MODE"),
        *("CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "CUDA_DEVICE_MAX_CONNECTIONS", "CUDA_MODULE_LOADING"),
        *("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
        *("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_NO_CUDA_MEMORY_CACHING", "PYTHONHASHSEED"),
        *("MALLOC_ARENA_MAX", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"),
        *("TORCHINDUCTOR_COMPILE_THREADS", "TORCHINDUCTOR_MAX_AUTOTUNE", "TORCHINDUCTOR_FREEZING"),
        *("TORCHINDUCTOR_CPP_WRAPPER", "TORCHINDUCTOR_COORDINATE_DESCENT_TUNING", "TORCHINDUCTOR_LAYOUT_OPTIMIZATION"),
    }
)
"""Variables that set how many, how long or which of what is there. OMP_TOOL_LIBRARIES and TORCH_LOGS_OUT, for example,
are not among them: the one loads a library, the other writes a file."""
HARMLESS_VALUE = re.compile(r"[\w.,:;=+{}()|* -]*")
"""Without "/": no such variable needs a path."""
PLACE = re.compile(r"[/\\~:]|^\.|\.(py|sh|so|dll|bin|onnx|pkl|pth|pt2?)\b")
"""A text that may name a file, a URL, a repository of a hub, or `package.module:name`."""
LISTED = 80
"""So many characters of a value are shown."""


def foreign(jobs: Iterable[JobSpec], online: bool) -> tuple[str, ...]:
    """Return what running these jobs of a stored sweep would run or use that is not ours: a phrase each, sorted.

    online: the sweep asks for the network.
    """
    found: set[str] = set()
    specs: dict[int, tuple[PluginSpec, str]] = {}  # by identity: a plan shares its records
    environments: set[tuple[tuple[str, str], ...]] = set()
    for job in jobs:
        environments.add(tuple(sorted(job.env.items())))
        parts = {"model": job.workload.builder, "mode": job.workload.mode, "compiler": job.compiler}
        for what, spec in {**parts, "measure": job.measure}.items():
            specs.setdefault(id(spec), (spec, what))
    for variables in environments:
        found.update(_variables(variables))
    for spec, what in specs.values():
        found.update(_of_plugin(spec, what))
    if online:
        found.add("the network (online=true)")
    return tuple(sorted(found))


def command_line(sweep: Sweep) -> str:
    """Return the phrase for the stored command line, which is composed again."""
    return f"the configuration that its command line names: {_short(' '.join(sweep.argv))}"


def _variables(variables: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, value in variables:
        if name not in HARMLESS_VARIABLES or not HARMLESS_VALUE.fullmatch(value):
            yield f"the environment variable {name}={_short(value)}"


def _of_plugin(spec: PluginSpec, what: str) -> Iterator[str]:
    title = f"{what} '{spec.name}'"
    try:
        plugin = instantiate(spec)
    except (UsageError, TypeError, ValueError):
        plugin = None  # its job will say so, in its row
    for phrase in foreign_code(plugin):
        yield f"{title}: {phrase}"
    for path, text in [("name", spec.name), *_texts(spec.options, "")]:  # of a model's name some make a place
        if PLACE.search(text):
            yield f"{title}: {path}={_short(text)}{_hash(text)}"


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield path, str(key)
            yield from _texts(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item, path)


def _hash(text: str) -> str:
    """Return " (SHA-256 ...)" of the file that a text names, "" where there is none: it tells files apart."""
    for name in (text, text.rpartition(":")[0]):
        try:
            return f" (SHA-256 {hashlib.sha256(read_bytes(Path(name))).hexdigest()})"
        except (OSError, ValueError):
            continue
    return ""


def _short(text: str) -> str:
    return repr(text if len(text) <= LISTED else text[: LISTED - 1] + "…")
