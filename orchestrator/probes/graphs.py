"""The graphs that torch's compilers make, as text: from their structured log, the one that TORCH_TRACE writes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOG = "torch.__trace"
STAGES = (
    "dynamo_output_graph",
    "aot_joint_graph",
    "aot_inference_graph",
    "aot_forward_graph",
    "aot_backward_graph",
    "inductor_post_grad_graph",
    "inductor_output_code",
)
"""What of the log is kept, in the order in which it is made (torch 2.11 to 2.13). Python, all of it."""


@dataclass(frozen=True)
class Graph:
    """compile_id: dynamo's number of the compilation, "0/0" as in its logs; stage: one of STAGES."""

    compile_id: str
    stage: str
    text: str


@contextmanager
def heard() -> Iterator[list[Graph]]:
    """Yield a list that gets every graph that is made inside. Making the texts takes time, which is in compilations."""
    ear = _Ear()
    log = logging.getLogger(LOG)
    log.addHandler(ear)
    try:
        yield ear.graphs
    finally:
        log.removeHandler(ear)


def write(graphs: list[Graph], folder: Path) -> None:
    """Write each graph as <compilation>_<stage>.py, with a number where a compilation has several of a stage."""
    folder.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    for graph in graphs:
        name = f"{graph.compile_id.replace('/', '_')}_{graph.stage}"
        names.append(name if name not in names else f"{name}_{len(names)}")
        (folder / f"{names[-1]}.py").write_text(graph.text, encoding="utf-8")


class _Ear(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.graphs: list[Graph] = []

    def emit(self, record: logging.LogRecord) -> None:
        metadata, text = getattr(record, "metadata", {}), getattr(record, "payload", None)
        artifact = metadata.get("artifact") or {}
        stage = next((stage for stage in STAGES if stage in metadata or stage == artifact.get("name")), None)
        if stage is None or not text:
            return
        of = f"{metadata.get('frame_id', '-')}/{metadata.get('frame_compile_id', '-')}"
        attempt = metadata.get("attempt")
        self.graphs.append(Graph(f"{of}_{attempt}" if attempt else of, stage, str(text)))
