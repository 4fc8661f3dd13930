"""XLA: dynamo's back-end `openxla`, with the model on an XLA device."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator.compilers.captured import cpu_or_cuda, inference_only
from orchestrator.compilers.packages import require
from orchestrator.plugins import Forward, Program
from orchestrator.records import Workload

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class XLA:
    """`torch.compile(model.to(xla), backend="openxla")` on the XLA device of the workload's kind (PJRT_DEVICE).

    The model moves there, so eager gets a model of its own; inputs and outputs are copied at every call, and the copies
    are part of the latency. torch_xla 2.9, the newest, is built for torch 2.9 and does not load with another one.
    """

    changes_model: ClassVar[bool] = True

    def check(self, workload: Workload) -> None:
        inference_only(workload, "the parameters are on the XLA device, out of an optimizer's reach")
        cpu_or_cuda(workload, "XLA's device")
        os.environ.setdefault("PJRT_DEVICE", "CUDA" if workload.device.startswith("cuda") else "CPU")
        require("XLA", "torch_xla")

    def compile(self, program: Program, workload: Workload) -> Forward:
        import torch
        import torch_xla

        device = torch_xla.device()
        program.model.to(device).eval()
        compiled = torch.compile(program.model, backend="openxla")

        def forward(**inputs: torch.Tensor) -> Any:
            from torch.utils._pytree import tree_map_only

            outputs = compiled(**{name: tensor.to(device) for name, tensor in inputs.items()})
            torch_xla.sync()
            return tree_map_only(torch.Tensor, lambda tensor: tensor.to(workload.device), outputs)

        return forward
