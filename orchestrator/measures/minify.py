"""A short script that shows a wrong result of inductor's, made of the model by PyTorch's minifier.

Every graph that inductor compiles is run beside the same graph in eager and in float64, in this process
(`torch._dynamo.config.repro_after="aot"`, `repro_level=4`). The first that is wrong is cut down, in a process of its
own, to the smallest graph that still is; the script is run once more to see that it shows the failure.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from orchestrator.measures.compiled import dynamo_compiler
from orchestrator.measures.context import Context
from orchestrator.plugins import DynamoCompiler, Outcome, Unsupported
from orchestrator.records import FAIL_ACCURACY, OBSERVED, PASS

FOLDER = "artifacts/repro"
LAUNCHER = "minifier_launcher.py"
REPRO = "repro.py"
FAILURE = "AccuracyError"

_OPERATOR = re.compile(r"= torch\.ops\.")
_SAVE_DIR = re.compile(r"save_dir='([^']*)'")
_STORAGE = re.compile(r"reader\.storage\('([0-9a-f]+)'")
_OF_THIS_PROCESS = re.compile(
    r"^(os\.environ\['(TORCHINDUCTOR_CACHE_DIR|TRITON_CACHE_DIR|\w+_DATA_PTR)'\]|torch\._dynamo\.config\.debug_dir_root).*\n",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Minify:
    """repro_tolerance: absolute and relative, as in `accuracy`; what lies within is right.
    seconds: for the minifier; what it has by then is kept.
    """

    kind: ClassVar[str] = OBSERVED

    repro_tolerance: float = 1e-3
    seconds: float = 1200.0

    def run(self, context: Context) -> Outcome:
        compiler = dynamo_compiler(context, "the minifier cuts inductor's graphs")
        if compiler.backend != "inductor":
            raise Unsupported(
                f"the minifier cuts inductor's graphs, not those of {compiler.backend}: compiler=inductor"
            )
        work = (context.folder / "artifacts" / "minifier").absolute()
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        if not self._fails(context, compiler, work):
            shutil.rmtree(work)
            return Outcome(PASS, "no failure to minify")
        with context.phase("minify"):
            start = time.perf_counter()
            ended = self._minify(context, work)
            seconds = time.perf_counter() - start
        if not (work / REPRO).exists():
            return Outcome(
                FAIL_ACCURACY, f"a graph of inductor's is wrong, and there is no script that shows it{ended}"
            )
        repro = keep(work, context.folder / FOLDER)
        with context.phase("reproduce"):
            reproduces = self._reproduces(context, repro)
        (launcher,) = work.rglob(LAUNCHER)
        context.find(
            "minify",
            file=f"{FOLDER}/{REPRO}",
            operators_before=operators(launcher),
            operators_after=operators(repro),
            reproduces=reproduces,
            minify_s=seconds,
        )
        shutil.rmtree(work)
        return Outcome(FAIL_ACCURACY, f"a graph of inductor's is wrong: {FOLDER}/{REPRO} shows it{ended}")

    def _fails(self, context: Context, compiler: DynamoCompiler, work: Path) -> bool:
        """Run one step with every graph checked; return whether one is wrong. It leaves the minifier's launcher."""
        import torch
        from torch._dynamo.debug_utils import AccuracyError

        with context.phase("build"):
            program = context.build(dropout=False)
        context.seed()
        checking: dict[str, Any] = {
            "repro_after": "aot",
            "repro_level": 4,
            "repro_tolerance": self.repro_tolerance,
            "debug_dir_root": str(work),
        }
        # graphs are checked when they run: the compiler's own options must then still hold, to be written into the
        # script. Graphs of a cache would go unchecked. torch copies the script into the working folder.
        options = {**compiler.inductor_options(), "force_disable_caches": True}
        with (
            context.phase("compile", children=True),
            torch._dynamo.config.patch(checking),
            torch._inductor.config.patch(options),
            contextlib.chdir(work),
        ):
            forward = context.compiler.compile(program, context.workload)
            try:
                context.mode.step(program, forward, context.workload)()
            except AccuracyError:
                return True
        return False

    def _reproduces(self, context: Context, repro: Path) -> str:
        """Run the script by itself; return whether it shows the failure."""
        try:
            shown = _python(context, repro.parent, REPRO, timeout_s=self.seconds)
        except subprocess.TimeoutExpired:
            return f"not within {self.seconds:g} s"
        return "yes" if FAILURE in shown.stderr else "no"

    def _minify(self, context: Context, work: Path) -> str:
        """Run the launcher; return what is to be said of it, nothing when it ended well."""
        (launcher,) = work.rglob(LAUNCHER)
        try:
            # in one process: a query of its own per graph takes ten seconds each, and guards against crashes only
            done = _python(context, work, str(launcher), "minify", "--no-isolate", timeout_s=self.seconds, log=True)
        except subprocess.TimeoutExpired:
            return f"; not minimal: the minifier was stopped after {self.seconds:g} s (measure.options.seconds)"
        return "" if done.returncode == 0 else "; not minimal: the minifier failed, the log says how"


def keep(work: Path, folder: Path) -> Path:
    """Copy the minifier's last script, and the inputs that it reads, into `folder`, from where it runs anywhere."""
    text = (work / REPRO).read_text()
    (folder / "storages").mkdir(parents=True, exist_ok=True)
    for saved in set(_SAVE_DIR.findall(text)):
        for name in set(_STORAGE.findall(text)):
            shutil.copy(Path(saved) / "storages" / name, folder / "storages" / name)
    text = _SAVE_DIR.sub("save_dir=os.path.dirname(os.path.abspath(__file__))", _OF_THIS_PROCESS.sub("", text))
    (folder / REPRO).write_text(text)
    return folder / REPRO


def operators(script: Path) -> int:
    """Return the number of operators in a script's graph."""
    return len(_OPERATOR.findall(script.read_text()))


def _python(
    context: Context, folder: Path, *arguments: str, timeout_s: float, log: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run Python in `folder`. What it says on stderr is returned, or with `log` left in the job's log."""
    environment = os.environ | {"OMP_NUM_THREADS": str(context.workload.threads), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        timeout=timeout_s,
        stderr=None if log else subprocess.PIPE,
        text=True,
        check=False,
    )
