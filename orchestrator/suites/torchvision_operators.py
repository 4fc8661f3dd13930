"""Lets torchvision be imported beside a torch that its compiled part was not built for.

PyPI's torchvision is a CUDA build: beside a CPU torch its C++ library does not load, so that the operator
torchvision::nms is never defined; its Python part registers a fake for it all the same, and `import torchvision` raises
"operator torchvision::nms does not exist". timm needs torchvision, and transformers imports it wherever it and Pillow
are installed: `from transformers import BertForMaskedLM` then fails too. With the operators defined (their names,
without any code: who calls them gets torch's error) all three can be imported.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


COMPILED = ("_C_stable", "_C")
"""What torchvision calls its compiled part: since 0.29, and before."""


@functools.cache  # the definitions live as long as the Library does
def define_missing() -> torch.library.Library | None:
    """Define the operators that torchvision's import asks for, if torchvision is installed and does not itself.

    To be called before anything imports torchvision. Returns None where nothing had to be done.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    import torch

    if hasattr(torch.ops.torchvision, "nms") or _loads(Path(spec.origin).parent):
        return None
    library = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    return library


def _loads(folder: Path) -> bool:
    """Return whether the compiled part of torchvision loads into this torch, as its own import would find it."""
    import torch

    names = [f"{name}{suffix}" for name in COMPILED for suffix in importlib.machinery.EXTENSION_SUFFIXES]
    for compiled in (folder / name for name in names):
        if compiled.exists():
            try:
                torch.ops.load_library(str(compiled))
            except OSError:
                return False
            return True
    return False
