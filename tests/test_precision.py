"""The axis `precision`: what it sets in torch, in which jobs, and that nothing else changes its identity for it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import synthetic
from support.plans import planned
from support.synthetic import SyntheticSweep

from orchestrator.errors import UsageError
from orchestrator.plugins import Unsupported
from orchestrator.precision import SETTINGS, use
from orchestrator.records import PluginSpec, Workload
from orchestrator.results.load import load
from orchestrator.results.tables import build
from orchestrator.typed_json import to_json

SET = """
import json, os, sys, torch
from orchestrator.precision import use
from orchestrator.records import Workload
from orchestrator.typed_json import from_json
b = torch.backends
for workload, judged, before in json.load(sys.stdin):
    if os.fork():
        os.wait()
        continue
    b.cuda.matmul.allow_tf32 = b.cudnn.allow_tf32 = before
    use(from_json(Workload, workload), judged=judged)
    after = b.cuda.matmul.allow_tf32, b.cudnn.allow_tf32, b.cuda.matmul.allow_fp16_accumulation, b.cudnn.benchmark
    print(*after, flush=True)
    os._exit(0)
"""
CASES = (  # precision, is it judged, TF32 before, what is set after: TF32 twice, float16 accumulation, benchmark
    ("default", False, False, "False False False False"),
    ("default", False, True, "True True False False"),
    ("tf32", False, False, "True True False False"),
    ("tf32", True, False, "True True False False"),
    ("ieee", False, True, "False False False False"),
    ("fp16_accumulation", False, False, "False False True False"),
    ("cudnn_benchmark", False, False, "False False False True"),
    ("cudnn_benchmark", True, False, "False False False False"),
)


def asking(precision: str, device: str = "cuda:0") -> Workload:
    mode = PluginSpec(name="inference", target="orchestrator.modes.inference.Inference")
    if precision != "default":
        mode = dataclasses.replace(mode, options={"precision": precision})
    return synthetic.workload("Bert", mode=mode, device=device)


def test_what_is_set_in_torch() -> None:
    """Each case in a process of its own: these are settings of the whole process. torch is imported once for all."""
    asked = json.dumps([(to_json(asking(precision)), judged, before) for precision, judged, before, _ in CASES])
    command = [sys.executable, "-c", SET]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    assert list(zip(CASES, done.stdout.splitlines(), strict=True)) == [(case, case[-1]) for case in CASES]


@pytest.mark.parametrize("precision", sorted(set(SETTINGS) - {"default"}))
def test_on_a_cpu_it_is_unsupported_and_says_so(precision: str) -> None:
    with pytest.raises(Unsupported, match=f"precision={precision} is of CUDA's libraries, not of cpu"):
        use(asking(precision, device="cpu"))


def test_an_unknown_precision_is_named_with_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"precision='tf23' of .*Inference: it must be one of default, ieee, tf32"):
        planned("++mode.options.precision=tf23")


def test_a_workload_of_its_own_and_the_others_are_what_they_were() -> None:
    words = ("suite=tiny", "suite.models=[bert_tiny]", "compiler=inductor", "device=cuda", "mode=inference,training")
    before = {job.id for job in planned(*words).jobs}
    assert {job.id for job in planned(*words, "precision=default").jobs} == before
    both = planned(*words, "precision=default,tf32").jobs
    assert len(both) == 2 * len(before)
    assert before < {job.id for job in both}
    for job in both:
        for need in job.needs:  # eager, reference and rounds are of the same precision
            (other,) = [other for other in both if other.id == need.job]
            assert other.workload.mode == job.workload.mode
    assert sum("inference+tf32" in job.title for job in both) * 4 == len(both)


@pytest.mark.parametrize("beside", [True, False])
def test_a_row_says_its_precision_also_when_all_have_the_same(beside: bool, tmp_path: Path) -> None:
    sweep = SyntheticSweep(tmp_path)
    for precision in ("default", "tf32") if beside else ("tf32",):
        sweep.performance(asking(precision), "eager")
    modes = [row["mode"] for row in build(load(sweep.write())).performance.rows]
    assert modes == ["inference(precision=default)"] * beside + ["inference(precision=tf32)"]
