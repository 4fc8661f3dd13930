"""Sweep folders as an attacker would send them. Each says what is wrong with it; nothing in them is meant to work."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.records import PluginSpec
from orchestrator.store import Sweep, SweepFolder
from support import synthetic

PAYLOAD = "evil_payload"
"""A module that writes a file when it is imported; it lies in the sweep folder."""
BODY = "import os\nopen(os.environ['EVIL_WITNESS'], 'a').write(__name__)\n"
SHADOWS = ("rich", "pandas", "numpy", "torch", "yaml", "hydra", "omegaconf", "psutil", "pynvml", "sitecustomize")
"""Names of modules of which the folder has its own."""


def sweep(root: Path) -> SweepFolder:
    """Return a sweep that can be read, all of whose classes are in a module of its own, which lies in the folder."""
    made = synthetic.SyntheticSweep(root)
    load = synthetic.workload("Bert")
    load = dataclasses.replace(
        load,
        builder=PluginSpec(name="Bert", target=f"{PAYLOAD}.Model", options={"file": f"{root}/{PAYLOAD}.py:Model"}),
        mode=PluginSpec(name="inference", target=f"{PAYLOAD}.Inference"),
    )
    eager = made.performance(load, PluginSpec(name="eager", target=f"{PAYLOAD}.Eager"))
    inductor = PluginSpec(name="inductor", target=f"{PAYLOAD}.Compiler", options={"command": "touch /tmp/x"})
    made.performance(load, inductor, baseline=eager, pairs=[(0.2, 0.1)] * 20)
    spec = synthetic.job(load, inductor, "accuracy")
    made.add(spec, synthetic.accuracy_result(spec))
    failed = synthetic.job(load, PluginSpec(name="broken", target=f"{PAYLOAD}.Broken"))
    made.add(failed, synthetic.failed_result(failed, "crash", "it died"))
    made.add(synthetic.job(load, PluginSpec(name="waiting", target=f"{PAYLOAD}.Waiting")))
    folder = made.write()
    folder.log_file(failed.id).write_text("the end\n")
    for name in (PAYLOAD, *SHADOWS):
        (root / f"{name}.py").write_text(BODY)
    (root / "conf").mkdir()
    (root / "conf" / "config.yaml").write_text("hydra:\n  callbacks:\n    x: {_target_: os.system, command: 'false'}\n")
    header = Sweep(argv=("--config-dir", str(root / "conf")), overrides=(), points=({"execution": {}},), created=1000.0)
    folder.write_plan(header, folder.read_graph())
    return folder


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the JSON value of a file; `change` returns the new one, or None for the one that it has changed."""
    value = json.loads(path.read_text())
    changed = change(value)
    path.write_text(json.dumps(value if changed is None else changed))
