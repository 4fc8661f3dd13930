"""`compare`: a model that lives in a notebook, run by jobs in fresh processes like any other.

How it gets there: model and inputs are saved into the folder of the sweep, `models/`, with a small Python file beside
them that a job loads (suite=user). That file is what the plan names: it holds the digests of what it reads. So `rerun`
and `resume` run the very weights and inputs that were given, and nothing unpickles them but the job.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.api.result import Result
from orchestrator.api.running import in_folder, overrides, reserved, run
from orchestrator.errors import UsageError, in_one_line
from orchestrator.store import MODELS
from orchestrator.suites.example_inputs import batches_in, by_name
from orchestrator.suites.user_source import INPUTS

if TYPE_CHECKING:
    import torch

NOTEBOOK = "__main__"
FLOATS = ("float32", "bfloat16", "float16")
PLACES = ("site-packages", "dist-packages")

SOURCE = '''\
"""{name}, as orchestrator.compare was given it: what a job runs to have it again. Written by a program."""

from orchestrator.suites.saved import Saved

_saved = Saved(__file__, sha256={digests!r}, python={python!r}, folders={folders!r})


def {name}():
    return _saved.read("model")


{inputs}
'''
FIXED = f'def {INPUTS}():\n    return _saved.read("inputs")'
DRAWN = f'{INPUTS} = _saved.read("inputs")'


def compare(
    model: torch.nn.Module,
    inputs: Any,
    compilers: str | Sequence[str] = ("eager", "inductor"),
    *,
    dtype: str | Sequence[str] | None = None,
    mode: str | Sequence[str] = "inference",
    name: str | None = None,
    check: bool = False,
    progress: bool = True,
    config_dir: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    **keys: Any,
) -> Result:
    """Run a model of this notebook under several compilers, in fresh processes, and return the sweep.

    model: as it is now, with its weights; it is not changed. inputs: a tensor, a tuple (`model(*inputs)`) or a dict
    (`model(**inputs)`) of tensors and of what holds some (docs/suites.md), the batch first; or a function that returns
    such, with keywords `batch_size` and `sequence_length` if it has them: then each job draws them anew from its seed.
    compilers, dtype, mode: one, or several; dtype is by default what the model's parameters have. name: of the rows, by
    default that of its class.
    keys, check, progress, config_dir, folder: as of `sweep` (`rounds=5`, `measure=["performance", "accuracy"]`).

    Classes and functions of the notebook itself are saved by value (that needs the package cloudpickle), those of
    modules by name: the job imports them, from the folders where this process finds its modules.

    Raises UsageError for a model that cannot be saved, and for inputs that do not fit; all else as `sweep`.
    """
    called = _name(model, name)
    if not callable(inputs):
        inputs, size = _checked(model, inputs)
        if keys.setdefault("batch_size", size) != size:
            raise UsageError(
                f"batch_size={keys['batch_size']}: the inputs are a batch of {size}; give a function of it"
            )
    for key in ("suite", "suite.models", "resume", "experiment"):
        if key in keys:
            raise UsageError(f"{key}: compare runs the model that it is given; `sweep` takes this key")
    chosen = {"compiler": compilers, "mode": mode, "dtype": dtype or _dtype(model), **keys}
    with reserved(folder) as place:
        file = _save(place.root / MODELS, called, model, inputs)
        asked = overrides((), {"suite": "user", "suite.models": [f"{file}:{called}"], **chosen})
        return run(place, [*asked, in_folder(place)], check=check, progress=progress, config_dir=config_dir)


def _name(model: Any, name: str | None) -> str:
    import torch

    if hasattr(model, "_orig_mod"):
        raise UsageError("model: give the model itself, not what torch.compile made of it")
    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"model: a {type(model).__name__} is no torch.nn.Module")
    called = name if name is not None else type(model).__name__.strip("_")
    if not re.fullmatch(r"[A-Za-z]\w*", called, re.ASCII) or called == INPUTS:
        raise UsageError(f"name={called!r}: a name begins with a letter, and has letters, digits and _")
    return called


def _checked(model: torch.nn.Module, inputs: Any) -> tuple[Any, int]:
    """Return the inputs without their history, and their batch: the first that they may have."""
    try:
        tensors = by_name(model, inputs, "inputs")[1].values()
    except ValueError as error:
        raise UsageError(str(error)) from error
    memo: dict[int, Any] = {id(one): one.detach().requires_grad_(one.requires_grad) for one in tensors}
    return copy.deepcopy(inputs, memo), next(batches_in(inputs), 1)


def _dtype(model: torch.nn.Module) -> str:
    """Return the dtype of the model's floating parameters. Raises UsageError where they have several."""
    found = {str(one.dtype).removeprefix("torch.") for one in model.parameters() if one.is_floating_point()}
    known = sorted(found & {*FLOATS})
    if len(known) > 1:
        raise UsageError(f"the model's parameters have several dtypes ({', '.join(known)}): write dtype=...")
    return known[0] if known else FLOATS[0]


def _save(folder: Path, name: str, model: torch.nn.Module, inputs: Any) -> Path:
    """Write the model, its inputs and the file that loads them; return the latter."""
    digests = {}
    for part, given in (("model", model), ("inputs", inputs)):
        file = folder / f"{name}.{part}"
        _write(file, part, given)
        with open(file, "rb") as written:
            digests[part] = hashlib.file_digest(written, "sha256").hexdigest()
    source = SOURCE.format(
        name=name,
        python=tuple(sys.version_info[:2]),
        digests=digests,
        folders=[path for path in map(os.path.abspath, sys.path) if os.path.isdir(path) and not _installed(path)],
        inputs=DRAWN if callable(inputs) else FIXED,
    )
    file = folder / f"{name}.py"
    file.write_text(source, encoding="utf-8")
    return file


def _write(file: Path, part: str, given: Any) -> None:
    """Save the model or its inputs. Raises UsageError where that is not possible."""
    import torch

    by_value: dict[str, Any] = {}
    if importlib.util.find_spec("cloudpickle") is not None:
        import cloudpickle

        by_value = {"pickle_module": cloudpickle}
    else:
        own = [one for one in (given.modules() if part == "model" else [given]) if _of_notebook(one)]
        if own:
            what = getattr(own[0], "__name__", type(own[0]).__name__)
            raise UsageError(
                f"{part}: '{what}' is defined here, in no module that a job could import: pip install cloudpickle, or "
                "write it into a file and import it"
            )
    try:
        torch.save(given, file, **by_value)
    except OSError as error:
        raise UsageError(f"{part}: {file} cannot be written: {error}") from error
    except Exception as error:  # whatever an object's own code raises when it is pickled
        raise UsageError(
            f"{part}: it cannot be saved for a job ({in_one_line(error)}): write it as a class or function in a file, "
            "and sweep suite=user (docs/suites.md)"
        ) from error


def _of_notebook(one: Any) -> bool:
    return NOTEBOOK in (type(one).__module__, getattr(one, "__module__", None))


def _installed(folder: str) -> bool:
    """Return whether a folder of sys.path belongs to the interpreter: a fresh process has it, too."""
    return folder.endswith(PLACES) or folder.startswith(os.path.dirname(os.__file__))
