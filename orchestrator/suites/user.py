"""Models of the user's own code: a class or function of a file or a module. docs/suites.md says what it must provide.

The code runs in the job's process only. Planning reads the file's source (`user_source`), nothing reads it afterwards,
and neither reports nor comparisons import it.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.errors import UsageError
from orchestrator.plugins import Program
from orchestrator.probes.observed import tensors_in
from orchestrator.records import Workload
from orchestrator.suites import user_files, user_source
from orchestrator.suites.dropout import silence
from orchestrator.suites.example_inputs import by_name
from orchestrator.suites.rules import EXAMPLE, KEY, check
from orchestrator.suites.user_inputs import from_code, from_rules
from orchestrator.suites.user_source import INPUTS
from orchestrator.typed_json import Json

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class UserModel:
    """A class or function without required arguments that makes a `torch.nn.Module`.

    model: "/absolute/path/to/file.py:Name" or "package.module:Name". sha256: of the file, in hexadecimal. arguments:
    keyword arguments of the class or function. inputs: rules (`orchestrator.suites.rules`) instead of what the code
    gives: of the parameters of `forward` by name, or a list of them by position. loss: what training differentiates,
    where the model says nothing of it: the sum, or the mean of the means, of its outputs' floating tensors.
    """

    model: str
    sha256: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Any] | Sequence[Any] = field(default_factory=dict)
    loss: Literal["sum", "mean"] | None = None

    @classmethod
    def named(cls, asked: str) -> tuple[str, Json]:
        """Return the row's name and the options of what `suite.models` names. Raises UsageError."""
        place, _, name = asked.rpartition(":")
        if name.isidentifier() and _is_file(place):
            path = user_files.absolute(place)
            return name, {"model": f"{path}:{name}", **user_files.described(path)}
        if name.isidentifier() and place and all(part.isidentifier() for part in place.split(".")):
            return name, {"model": asked}
        raise UsageError(
            f"suite.models: '{asked}' names no model: write path/to/file.py:ClassName or package.module:function"
        )

    def check_when_planned(self) -> None:
        """Raise ValueError for what the source, or a rule, says is wrong; nothing of the code is run."""
        check(self.inputs)
        file = Path(self._place) if _is_file(self._place) else user_source.of_module(self._place)
        if file is not None:
            user_source.check(file, self._name, list(self.arguments), inputs=bool(self.inputs))

    def load(self, workload: Workload) -> None:
        """Import the code before anything is measured. Raises what it raises."""
        self._module()

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        """Return the model that the code makes, its inputs and its loss.

        Raises ValueError that says what the code lacks, and whatever the code raises.
        """
        import torch

        module = self._module()
        make = getattr(module, self._name, None)
        if not callable(make):
            known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
            raise ValueError(
                f"{self._place} has no class or function '{self._name}': it has {', '.join(known) or 'none'}"
            )
        if isinstance(make, torch.nn.Module):
            raise ValueError(
                f"'{self._name}' of {self._place} is a model that is made already: name the class or function that "
                "makes it: each job makes its own, with its seed"
            )
        with torch.random.fork_rng(devices=[]), _no_exit(self.model):
            torch.default_generator.manual_seed(workload.seed)
            model = make(**self.arguments)
            if not isinstance(model, torch.nn.Module):
                raise ValueError(f"{self.model} made a {type(model).__name__}: it must be or return a torch.nn.Module")
            given, batch = self._given(model, module, workload)
            origin = KEY if self.inputs else f"{INPUTS}() of {self.model}"
            called, inputs = by_name(model, given, origin)
            samples = batch()
        if not dropout:
            silence(model)
        return Program(called, inputs, _loss_of(model, self.model, self.loss), batch_size=samples)

    def _given(self, model: torch.nn.Module, module: ModuleType, workload: Workload) -> tuple[Any, Callable[[], int]]:
        """Return what the model is called with, and what tells how many samples that is, or that they do not fit."""
        if self.inputs:
            return from_rules(model, self.inputs, workload, self.model)
        give = getattr(model, INPUTS, None) or getattr(module, INPUTS, None)
        if not callable(give):
            raise ValueError(
                f"{self.model} has no {INPUTS}(): write it as a method of the model or as a function of {self._place}; "
                "it returns a tensor, a tuple or a dict of tensors, and may take batch_size and sequence_length; or "
                f"write rules, as in '{KEY}.x={EXAMPLE}'"
            )
        return from_code(give, workload, self.model)

    @property
    def _place(self) -> str:
        return self.model.rpartition(":")[0]

    @property
    def _name(self) -> str:
        return self.model.rpartition(":")[2]

    def _module(self) -> ModuleType:
        if _is_file(self._place):
            return _execute(Path(self._place), self.sha256)
        try:
            with _no_exit(self._place):
                return importlib.import_module(self._place)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{self._place}.".startswith(f"{error.name}."):
                raise  # a module that theirs imports
            raise ValueError(
                f"there is no module '{self._place}' in the folder where the command ran, in PYTHONPATH, or installed"
            ) from error


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place


def _execute(path: Path, sha256: str | None) -> ModuleType:
    """Return the module that a file is, executed once a process: the bytes that were planned, no .pyc left behind.

    Modules beside it can be imported by it, after all that is installed: a `random.py` of theirs replaces no other.
    """
    content = user_files.read(path, sha256)
    name = f"_user_{hashlib.sha256(content).hexdigest()[:12]}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ValueError(f"{path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module  # dataclasses and pickles look their module up
    try:
        with _no_exit(str(path)):
            exec(compile(content, str(path), "exec"), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _no_exit(origin: str) -> Iterator[None]:
    """A `sys.exit()` of the code would end the job without a word."""
    try:
        yield
    except SystemExit as error:
        raise ValueError(
            f"{origin} called sys.exit({error.code!r}): guard it by `if __name__ == '__main__'`"
        ) from error


def _loss_of(model: torch.nn.Module, origin: str, asked: str | None) -> Callable[[Any], torch.Tensor]:
    """Return the loss: the model's method `loss(outputs)`, else the outputs' `loss`, else the outputs themselves.

    asked: "sum" or "mean", of all floating tensors of the outputs, instead. Called, it raises ValueError where there is
    no scalar tensor. There is no loss by default: the time of a made-up one would say nothing.
    """
    import torch

    method = getattr(type(model), "loss", None)  # not a submodule of that name, which takes something else

    def loss(outputs: Any) -> torch.Tensor:
        if asked is not None:
            return _reduced(outputs, asked, origin)
        if inspect.isfunction(method):
            found = method(model, outputs)
        elif isinstance(outputs, Mapping):
            found = outputs.get("loss")
        else:
            found = getattr(outputs, "loss", outputs)
        if not isinstance(found, torch.Tensor) or found.dim() != 0:
            what = "none" if found is None else f"a {type(found).__name__}"
            if isinstance(found, torch.Tensor):
                what = f"a tensor of shape {tuple(found.shape)}"
            raise ValueError(
                f"training needs a loss, a scalar tensor, and {origin} gives {what}: add a method loss(outputs) to the "
                "model, return a dict with 'loss', or take suite.common.build.loss=mean (or sum), of all its outputs"
            )
        return found

    return loss


def _reduced(outputs: Any, asked: str, origin: str) -> torch.Tensor:
    import torch

    found = [tensor for tensor in tensors_in(outputs) if tensor.is_floating_point() and tensor.requires_grad]
    if not found:
        raise ValueError(f"training needs a loss, and {origin} gives no floating tensor that depends on parameters")
    sums = torch.stack([tensor.sum() if asked == "sum" else tensor.mean() for tensor in found])
    return sums.sum() if asked == "sum" else sums.mean()
