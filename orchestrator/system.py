"""What a figure depends on besides the code that is measured, found without importing torch.

Packages, the build of torch, the CPU, the GPUs and their driver, environment variables that matter. Both the header of
a sweep and every result have it: a comparison of two sweeps begins with what differs here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import socket
from collections.abc import Callable, Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from orchestrator.errors import UsageError

PACKAGES = (
    *("torch", "transformers", "triton", "numpy", "safetensors", "onnxruntime", "openvino", "torchao", "timm"),
    *("torchvision", "torch-tensorrt", "hydra-core", "omegaconf", "nvidia-cublas", "nvidia-cublas-cu12"),
)
VARIABLES = (
    *("OMP_", "MKL_", "KMP_", "GOMP_", "TORCH", "TRITON_", "CUDA_", "NVIDIA_", "PYTORCH_", "ATEN_", "LD_PRELOAD"),
    *("MALLOC_", "HF_HUB_OFFLINE", "CUBLAS_", "NCCL_", "DNNL_", "ONEDNN_", "CXX", "CC", "LC_ALL", "PYTHONHASHSEED"),
)
"""Beginnings of the names of environment variables that change figures."""
COMPILE_THREADS = "TORCHINDUCTOR_COMPILE_THREADS"
SLOT = "ORCHESTRATOR_SLOT"
MEMORY_FRACTION = "ORCHESTRATOR_MEMORY_FRACTION"
"""Share of a CUDA device's memory that a job's torch may have."""
DEBUG_FOLDER = "TORCH_COMPILE_DEBUG_DIR"
"""Where torch makes the folder torch_compile_debug."""
OF_A_JOB = frozenset(
    (
        *("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "PYTORCH_KERNEL_CACHE_PATH"),
        *(COMPILE_THREADS, DEBUG_FOLDER),
    )
)
"""Set for a job: folders of its own, its share of the cores while it compiles. They tell nothing about a machine."""

JOBS_NEED: Mapping[str, Callable[[], bool]] = {
    "file locks (fcntl)": lambda: importlib.util.find_spec("fcntl") is not None,
    "limits of a process (resource)": lambda: importlib.util.find_spec("resource") is not None,
    "fork": lambda: hasattr(os, "fork"),
    "process groups": lambda: hasattr(os, "killpg"),
    "CPU affinity": lambda: hasattr(os, "sched_getaffinity"),
    "/proc": Path("/proc/self/status").exists,
}
"""What starts, ends and measures jobs: all of Linux, some of other systems."""

OF_COMPILERS = ("TORCH_", "TORCHDYNAMO_", "TORCHINDUCTOR_", "TRITON_", "AOT_", "FUNCTORCH_")
"""What a compiler does: options of a compiler that no table would show, if they came from somebody's shell."""
OF_THREADS = ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_DYNAMIC", "MKL_NUM_THREADS", "MKL_DYNAMIC",
              "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS")  # fmt: skip
"""How many threads: the workload says so (`threads=N`)."""
OF_THE_SHELL = ("PYTHON", "LC_", "LANG")
"""The interpreter's switches and the locale: of whoever types the command, fixed for a job."""
KEPT = (
    *("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONSAFEPATH", "PYTHONPLATLIBDIR"),
    *("PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE"),
)
"""... but for what says where code is found."""
PLACES = ("_PATH", "_DIR", "_HOME")
"""Ends of the names of variables that say where something is, not what it does."""


def host() -> dict[str, Any]:
    """Return the names of the machine, its system, Python and CPU; its memory, and the CPUs that may be used."""
    return {
        "host": socket.gethostname(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cpu": cpu_model(),
        "architecture": platform.machine(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "affinity": cpu_ranges(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "",
    }


def cpu_ranges(cpus: Collection[int]) -> str:
    """Return "0-3,8" of the numbers of CPUs, as Linux writes them."""
    first = [cpu for cpu in sorted(cpus) if cpu - 1 not in cpus]
    last = [cpu for cpu in sorted(cpus) if cpu + 1 not in cpus]
    return ",".join(str(one) if one == other else f"{one}-{other}" for one, other in zip(first, last, strict=True))


def cpus_of(text: str) -> tuple[int, ...]:
    """Return the CPUs that "0-3,8" names, sorted. Raises ValueError."""
    if not re.fullmatch(r"\d{1,6}(-\d{1,6})?(,\d{1,6}(-\d{1,6})?)*", text):
        raise ValueError(f"{text!r} names no CPUs: write 0-3 or 0,2,4-7")
    ends = [tuple(map(int, part.split("-"))) for part in text.split(",")]
    found = sorted(cpu for end in ends for cpu in range(end[0], end[-1] + 1))
    if not found or len(found) != len(set(found)) or any(end[0] > end[-1] for end in ends):
        raise ValueError(f"{text!r} names a CPU twice, or none: write 0-3 or 0,2,4-7")
    return tuple(found)


def slot(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return what this process has of the machine: {"number", "cpus": "0-7" or "", "gpu": UUID or ""}; {} without one.

    A worker has it from the scheduler (`orchestrator.execution.slots`).
    """
    text = environment.get(SLOT)
    return dict(json.loads(text)) if text else {}


def packages() -> dict[str, str]:
    """Return the versions of those of `PACKAGES` that are installed, from their metadata."""
    return {name: version for name in PACKAGES if (version := _version(name)) is not None}


def variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment variables that change figures, sorted by name."""
    wanted = {name: value for name, value in environment.items() if name.startswith(VARIABLES)}
    return {name: value for name, value in sorted(wanted.items()) if name not in OF_A_JOB}


def left_out(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the variables of a shell that would change figures unseen: jobs do not get them (`execution.env`)."""
    return sorted(
        name
        for name in environment
        if name in OF_THREADS or (name.startswith(OF_COMPILERS) and not name.endswith(PLACES))
    )


def inherited(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what jobs get of a shell's environment.

    Not `left_out`, nor the interpreter's switches and the locale, which are fixed. What tunes the machine (affinity,
    allocators, the libraries' own) is given to jobs as it is, and recorded (`variables`).
    """
    gone = {*left_out(environment), *(name for name in environment if name.startswith(OF_THE_SHELL))} - {*KEPT}
    return {name: value for name, value in environment.items() if name not in gone}


def torch_build() -> dict[str, str | None]:
    """Return {"git", "cuda"} of the installed torch, as its version.py says; both None where it says nothing."""
    text = _version_of_torch()
    return {"git": _assigned("git_version", text), "cuda": _assigned("cuda", text)}


def torch_has_xpu() -> bool:
    """Return whether the installed torch is built for Intel's GPUs."""
    return bool(_assigned("xpu", _version_of_torch()))


def _version_of_torch() -> str:
    spec = importlib.util.find_spec("torch")
    file = Path(spec.origin).with_name("version.py") if spec is not None and spec.origin is not None else None
    return file.read_text(encoding="utf-8") if file is not None and file.is_file() else ""


def gpus() -> list[dict[str, Any]]:
    """Return name and bytes of memory of every NVIDIA GPU, none where there is no driver."""
    import pynvml

    try:
        return [
            {"name": str(pynvml.nvmlDeviceGetName(h)), "memory_bytes": int(pynvml.nvmlDeviceGetMemoryInfo(h).total)}
            for h in _gpu_handles()
        ]
    except pynvml.NVMLError:
        return []


def _gpu_handles() -> list[Any]:
    """Return NVML's handles of all GPUs, in its order. Raises NVMLError where there is no driver."""
    import pynvml

    pynvml.nvmlInit()
    return [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]


def gpu_uuids(device: str, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the UUID of a CUDA device ("cuda:1") of a process with this environment; none where NVML cannot be read.

    CUDA_VISIBLE_DEVICES renumbers devices. Where CUDA's order may be another than the driver's (GPUs of several
    kinds, and CUDA_DEVICE_ORDER is not PCI_BUS_ID) it may be any of them: then all. A MIG slice has its own.
    """
    import pynvml

    index = int(device.partition(":")[2] or 0)
    try:
        handles = _gpu_handles()
        uuids = [str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
        kinds = {str(pynvml.nvmlDeviceGetName(handle)) for handle in handles}
    except pynvml.NVMLError:
        return []
    names = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    chosen = names[index] if index < len(names) else str(index)
    if chosen.startswith("MIG-"):
        return [chosen]
    if not chosen.isdecimal():
        return [uuid for uuid in uuids if uuid.startswith(chosen)] or uuids
    if len(kinds) > 1 and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        return uuids
    return [uuids[int(chosen)]] if int(chosen) < len(uuids) else uuids


def driver() -> str | None:
    """Return the version of the NVIDIA driver, None where there is none."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return None


def cpu_model() -> str:
    """Return the CPU's name as the system tells it."""
    told = _cpuinfo("model name")
    return platform.processor() or platform.machine() if told is None else told


def cpu_flags() -> str:
    """Return the instruction sets of the CPU as the kernel tells them, "" where it does not."""
    return _cpuinfo("flags", "Features") or ""


def _cpuinfo(*names: str) -> str | None:
    """Return the first value of one of these names in the kernel's description of the CPUs; None without one."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else ()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(names)), None)


def need_linux() -> None:
    """Raise UsageError where jobs cannot be run: what is not there, and where they can be. To read needs none of it."""
    absent = [name for name, is_there in JOBS_NEED.items() if not is_there()]
    if absent:
        raise UsageError(
            f"jobs run on Linux only: Python on this machine ({platform.system()}) has no {', no '.join(absent)}. "
            "On Windows use WSL2, elsewhere a container or a virtual machine with Linux. What reads works here: "
            "dry_run=true, ls, show, report, diff, gate, history, export, import"
        )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _assigned(name: str, text: str) -> str | None:
    """Return the string that a line of torch/version.py assigns to `name` (with or without an annotation)."""
    found = re.search(rf"^{name}\b[^=\n]*=\s*'([^']+)'", text, re.MULTILINE)
    return found.group(1) if found else None
