"""What a result was measured with: packages, CPU and GPU, threads, environment variables that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator import system
from orchestrator.probes import gpu

if TYPE_CHECKING:
    import torch


def environment() -> dict[str, Any]:
    """Return names and versions; the values of environment variables are those of this process."""
    import torch

    return {
        **system.host(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "torch": torch.__version__,
        "torch_git": torch.version.git_version,
        "torch_cuda": torch.version.cuda,
        "packages": system.packages(),
        "variables": system.variables(),
    }


def gpu_environment(device: torch.device) -> dict[str, Any]:
    """Return {"gpu": what is known of a GPU}, nothing where there is none. Initialises CUDA."""
    import torch

    if device.type == "xpu" and torch.xpu.is_available() and (device.index or 0) < torch.xpu.device_count():
        found = torch.xpu.get_device_properties(device)
        return {"gpu": {"name": found.name, "memory_bytes": found.total_memory, "driver": found.driver_version}}
    if device.type != "cuda" or not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
        return {}
    properties = torch.cuda.get_device_properties(device)
    return {
        "gpu": {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "capability": f"{properties.major}.{properties.minor}",
            "driver": system.driver(),
            "cudnn": torch.backends.cudnn.version(),
            **gpu.settings(device),
        }
    }
