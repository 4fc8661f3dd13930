"""What a result was measured with: packages, CPU and GPU, threads, environment variables that matter."""

from __future__ import annotations

import os
import platform
import socket
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "transformers", "triton", "numpy", "safetensors", "onnxruntime", "openvino", "torchao", "timm")
VARIABLES = ("OMP_", "MKL_", "KMP_", "GOMP_", "TORCH", "TRITON_", "CUDA_", "NVIDIA_", "PYTORCH_", "ATEN_", "LD_PRELOAD",
             "MALLOC_", "HF_HUB_OFFLINE")  # fmt: skip


def environment(device: torch.device) -> dict[str, Any]:
    """Return names and versions; the values of environment variables are those of this process."""
    import torch

    found: dict[str, Any] = {
        "host": socket.gethostname(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cpu": cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "torch": torch.__version__,
        "torch_git": torch.version.git_version,
        "torch_cuda": torch.version.cuda,
        "packages": {name: version for name in PACKAGES if (version := _version(name)) is not None},
        "variables": {key: value for key, value in sorted(os.environ.items()) if key.startswith(VARIABLES)},
    }
    if device.type == "cuda" and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(device)
        found["gpu"] = {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "capability": f"{properties.major}.{properties.minor}",
            "driver": _driver(),
            "cudnn": torch.backends.cudnn.version(),
        }
    return found


def cpu_model() -> str:
    """Return the CPU's name as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    import pynvml

    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return None
