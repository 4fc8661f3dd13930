"""Models of pytorch/benchmark, where its package `torchbenchmark` is installed. (PyPI's "torchbench" is another.)"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from orchestrator.plugins import Program, Unsupported, trains
from orchestrator.records import Workload
from orchestrator.suites.dropout import silence
from orchestrator.suites.example_inputs import by_name

PACKAGE = "torchbenchmark"
FOLDERS = ("models", "canary_models")
INSTALL = "git clone https://github.com/pytorch/benchmark, then in it: python install.py {model} and pip install -e ."


@dataclass(frozen=True)
class TorchbenchModel:
    """One model of pytorch/benchmark.

    model: the name of its folder in torchbenchmark/models or canary_models; None = the model's name in the suite.
    """

    model: str | None = None

    def build(self, workload: Workload, *, dropout: bool) -> Program:
        """Return the program, on the workload's device already: some models note the device that they are made for.

        Weights are what the model brings, random or downloaded when it was installed. The loss is that of PyTorch's
        benchmarks/dynamo: the mean of the outputs.

        Raises Unsupported when the package, the model or something that it imports is missing, or when it has another
        batch size than the one asked for and no choice.
        """
        import torch
        from torch._dynamo.testing import reduce_to_scalar_loss

        name = self.model or workload.builder.name
        benchmark_class = _benchmark_class(name)
        test = "train" if trains(workload.mode) else "eval"
        _check_batch_size(benchmark_class, name, test, workload.batch_size)
        with torch.random.fork_rng(), _own_seed():
            torch.manual_seed(workload.seed)
            device = workload.device.partition(":")[0]
            benchmark = benchmark_class(test=test, device=device, batch_size=workload.batch_size, extra_args=[])
            model, example = benchmark.get_module()
        if benchmark.batch_size != workload.batch_size:
            raise ValueError(f"{name} made a batch of {benchmark.batch_size}, not of {workload.batch_size}")
        if not dropout:
            silence(model)
        called, inputs = by_name(model.float(), example, f"get_module() of {name}")
        return Program(called, inputs, reduce_to_scalar_loss)


def _benchmark_class(name: str) -> Any:
    """Return the class `Model` of a model's module. Raises Unsupported."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise Unsupported(f"{PACKAGE} is not installed: {INSTALL.format(model=name)} (PyPI's torchbench is unrelated)")
    candidates = [f"{PACKAGE}.{folder}.{name}" for folder in FOLDERS]
    for candidate in candidates:
        try:
            module = importlib.import_module(candidate)
        except ModuleNotFoundError as error:
            if error.name is not None and f"{candidate}.".startswith(f"{error.name}."):
                continue
            raise Unsupported(f"{name} needs the package '{error.name}': {INSTALL.format(model=name)}") from error
        found = getattr(module, "Model", None)
        if found is None:
            raise Unsupported(f"{candidate} has no class Model")
        return found
    raise Unsupported(f"{PACKAGE} has no model '{name}': looked for {' and '.join(candidates)}")


def _check_batch_size(benchmark_class: Any, name: str, test: str, asked: int) -> None:
    if getattr(benchmark_class, "ALLOW_CUSTOMIZE_BSIZE", True):
        return
    only = getattr(benchmark_class, "DEFAULT_TRAIN_BSIZE" if test == "train" else "DEFAULT_EVAL_BSIZE", None)
    if asked != only:
        raise Unsupported(f"{name} has one batch size, {only}, not {asked}: run it with batch_size={only}")


@contextmanager
def _own_seed() -> Iterator[None]:
    """Give `torch.manual_seed` back: the package replaces it by one that always takes 1337."""
    import torch

    own = torch.manual_seed
    try:
        yield
    finally:
        torch.manual_seed = own
