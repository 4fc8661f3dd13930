"""What a result was measured with: packages, CPU and GPU, threads, environment variables that matter."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import system
from orchestrator.probes import gpu

if TYPE_CHECKING:
    import torch

ORIGIN = 12
"""Characters of a commit or a hash: as many as tell two builds of one version apart."""


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
        "installed": installed(),
        "variables": system.variables(),
    }


def installed(places: Sequence[str] | None = None) -> str:
    """Return all distributions that can be imported, as "torch==2.13.0 ...": of two of a name the first in sys.path.

    By the names of their folders (PyPA, Recording installed projects): to read the metadata of all takes longer than
    many a job. What pip took from elsewhere than an index has the beginning of its commit or hash: "a==1.0@1a2b3c4d".
    """
    found: dict[str, str] = {}
    for place in sys.path if places is None else places:
        with contextlib.suppress(OSError):  # an entry that is no folder, or is not there
            for entry in sorted(os.listdir(place)):
                stem, _, kind = entry.rpartition(".")
                if kind in ("dist-info", "egg-info"):
                    name, _, version = stem.partition("-")
                    name, version = re.sub(r"[-_.]+", "-", name).lower(), version.partition("-py")[0]
                    found.setdefault(name, f"{name}=={version}{_origin(Path(place, entry))}")
    return " ".join(found[name] for name in sorted(found))


def _origin(folder: Path) -> str:
    """Return "@" and the beginning of a commit or a hash, "" for what came from an index (PEP 610)."""
    try:
        told = json.loads((folder / "direct_url.json").read_text())
        told = told.get("vcs_info", {}).get("commit_id") or told.get("archive_info", {}).get("hash", "")
    except (OSError, ValueError, AttributeError):  # of an index, or nothing that pip wrote
        return ""
    told = str(told).rpartition("=")[2][:ORIGIN]
    return f"@{told}" * bool(told)


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
