"""Lets torchvision be imported beside a torch that its compiled part was not built for.

PyPI's torchvision is a CUDA build: beside a CPU torch its C++ library does not load, so that the operator
torchvision::nms is never defined; its Python part registers a fake for it all the same, and `import torchvision` raises
"operator torchvision::nms does not exist". timm needs torchvision, and transformers imports it wherever it and Pillow
are installed: `from transformers import BertForMaskedLM` then fails too. With the operators defined (their names,
without any code: who calls them gets torch's error) all three can be imported.

Workers do so by themselves. `python -m orchestrator.suites.torchvision_operators`, once, does it for every process of
an environment; `make sweep` and `make test` have done so in theirs.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


COMPILED = ("_C_stable", "_C")
"""What torchvision calls its compiled part: since 0.29, and before."""


STARTUP_FILE = "orchestrator_torchvision.pth"
STARTUP = r"""import sys; exec("try:
 from orchestrator.suites.torchvision_operators import define_when_imported as define
 define()
except ImportError: pass")""".replace("\n", r"\n")
"""What Python runs when it starts, of a file in site-packages; nothing is left of it where orchestrator is gone."""


class _BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Finds torchvision as Python does, and has the operators defined before its code runs."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "torchvision":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Defining(fullname, spec.loader.path)
        return spec


class _Defining(importlib.machinery.SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        define_missing()
        super().exec_module(module)


def define_when_imported() -> None:
    """Define the operators as soon as this process imports torchvision; nothing is imported before that."""
    if not any(isinstance(finder, _BeforeTorchvision) for finder in sys.meta_path):
        sys.meta_path.insert(0, _BeforeTorchvision())


@functools.cache  # the definitions live as long as the Library does
def define_missing() -> torch.library.Library | None:
    """Define the operators that torchvision's import asks for, if torchvision is installed and does not itself.

    Returns None where nothing had to be done.
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


if __name__ == "__main__":
    (Path(sysconfig.get_path("purelib")) / STARTUP_FILE).write_text(STARTUP + "\n")
