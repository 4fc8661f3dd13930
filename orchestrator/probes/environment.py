"""What a result was measured with: packages, CPU and GPU, threads, environment variables that matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator import system

if TYPE_CHECKING:
    import torch


def environment(device: torch.device) -> dict[str, Any]:
    """Return names and versions; the values of environment variables are those of this process."""
    import torch

    found: dict[str, Any] = {
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
    if device.type == "cuda" and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(device)
        found["gpu"] = {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "capability": f"{properties.major}.{properties.minor}",
            "driver": system.driver(),
            "cudnn": torch.backends.cudnn.version(),
        }
    return found
