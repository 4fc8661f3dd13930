"""A model and its inputs as `orchestrator.compare` saved them: what the file beside them uses, in a job, to read them.

Functions of a notebook come as bytecode. Here they share the globals of one real module, as they did there: Dynamo
looks a global up in `sys.modules`, and a model that is read twice in one process must not bring its globals twice.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BY_VALUE = "cloudpickle.cloudpickle"


@dataclass(frozen=True)
class Saved:
    """The files `<name>.<part>` beside `file`, which is `<name>.py`.

    sha256: part -> hexadecimal digest of its file. python: major and minor version with which they were saved. folders:
    where the modules are found that they name, after all that is installed.

    Raises RuntimeError in another Python: its bytecode is another. Else all parts are read once, for what they import,
    which is no part of what is measured; their tensors stay on the disk.
    """

    file: str
    sha256: Mapping[str, str]
    python: Sequence[int]
    folders: Sequence[str]

    def __post_init__(self) -> None:
        if tuple(sys.version_info[:2]) != tuple(self.python):
            saved = ".".join(map(str, self.python))
            raise RuntimeError(f"this model was saved by Python {saved}, and bytecode is for one version: use that one")
        sys.path += [folder for folder in self.folders if folder not in sys.path]
        for part in self.sha256:
            self._load(part, mmap=True)

    def read(self, part: str) -> Any:
        """Return the object, on the CPU, a new one each time. Raises ValueError where the file is another one."""
        return self._load(part)

    def _load(self, part: str, **how: Any) -> Any:
        import torch

        path = Path(self.file).with_suffix(f".{part}")
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.sha256[part]:
            raise ValueError(f"{path} is not the file that was saved: its content is another")
        reader: Any = types.SimpleNamespace(Unpickler=self._unpickler(), load=pickle.load, __name__=__name__)
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=reader, **how)

    def _unpickler(self) -> type[pickle.Unpickler]:
        module = sys.modules.setdefault(self._module, types.ModuleType(self._module))

        class Unpickler(pickle.Unpickler):
            def find_class(self, origin: str, name: str) -> Any:
                found = super().find_class(origin, name)
                if origin != BY_VALUE:
                    return found
                return {"_make_function": _maker(found, module), "_function_setstate": _setter(found)}.get(name, found)

        return Unpickler

    @property
    def _module(self) -> str:
        return f"_notebook_{self.sha256['model'][:12]}"


def _maker(make: Any, module: types.ModuleType) -> Any:
    def made(code: types.CodeType, _: Any, *others: Any) -> Any:
        """The second argument would be the function's own globals."""
        return make(code, vars(module), *others)

    return made


def _setter(set_state: Any) -> Any:
    def state(function: types.FunctionType, state: Any) -> Any:
        """A global that is there stays: the first object is the one that compiled code has seen."""
        own, slots = state
        new = {name: value for name, value in slots["__globals__"].items() if name not in function.__globals__}
        return set_state(function, (own, {**slots, "__globals__": new}))

    return state
