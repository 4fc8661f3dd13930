"""A short script that shows a wrong result of inductor's, made of the model by PyTorch's minifier.

Every graph that inductor compiles is run beside the same graph in eager and in float64, in this process
(`torch._dynamo.config.repro_after="aot"`, `repro_level=4`). The first that is wrong is cut down, in a process of its
own, to the smallest graph that still is; the script is run once more to see that it shows the failure.

That sees graphs, not results: what goes wrong before them (while AOTAutograd makes them of dynamo's) or between them
is in none. Where no graph is wrong a script of the whole model is run (`orchestrator.measures.whole_model`); where its
results are wrong, so is each graph of dynamo's until one shows it, as a script that needs torch alone. It is not cut
down: the minifier of dynamo's graphs checks them while dynamo traces, where many of them fail for reasons of their own.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator import columns
from orchestrator.columns import TableSpec
from orchestrator.measures import whole_model
from orchestrator.measures.compiled import dynamo_compiler
from orchestrator.measures.context import Context
from orchestrator.plugins import DynamoCompiler, Outcome, Unsupported
from orchestrator.precision import AUTOCAST_TO
from orchestrator.records import EAGER_TWO_RUNS_DIFFER, FAIL_ACCURACY, OBSERVED, PASS

if TYPE_CHECKING:
    import torch

FOLDER = "artifacts/repro"
LAUNCHER = "minifier_launcher.py"
REPRO = "repro.py"
MODEL = "model.py"
FAILURE = "AccuracyError"

COMPARISON = """
if __name__ == "__main__":
    import os
    from torch._dynamo.debug_utils import AccuracyError, InputReader

    def wrong(one, two):
        if not isinstance(one, torch.Tensor) or not one.is_floating_point():
            return not (torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two)
        limit = max({tolerance}, torch.finfo(one.dtype).eps ** 0.5)
        error = (one.double() - two.double()).nan_to_num().norm() / one.double().nan_to_num().norm()
        print(f"{{one.dtype}} {{list(one.shape)}}: |eager - compiled| / |eager| = {{error:.3g}}, limit {{limit:.3g}}")
        return not torch.equal(one.isfinite(), two.isfinite()) or error > limit

    def run(model):
        reader = InputReader(save_dir=os.path.dirname(os.path.abspath(__file__)))
        load_args(reader)
        with torch.no_grad(), torch.autocast("{device}", {autocast}):
            return model(*reader.args)

    eager, compiled = run(mod), run(torch.compile(mod, backend="inductor"))
    if any([wrong(one, two) for one, two in zip(eager, compiled, strict=True)]):
        raise AccuracyError("inductor's result is not eager's")
"""
_OPERATOR = re.compile(r"= torch\.ops\.")
_SAVE_DIR = re.compile(r"save_dir='([^']*)'")
_STORAGE = re.compile(r"reader\.storage\('([0-9a-f]+)'")
_OF_THIS_PROCESS = re.compile(
    r"^(os\.environ\['(TORCHINDUCTOR_CACHE_DIR|TRITON_CACHE_DIR|TORCH_COMPILE_DEBUG_DIR|\w+_DATA_PTR)'\]|torch\._dynamo\.config\.debug_dir_root).*\n",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Minify:
    """repro_tolerance: absolute and relative, as in `accuracy`; what lies within is right.
    seconds: for the minifier; what it has by then is kept.
    """

    kind: ClassVar[str] = OBSERVED
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "minify": TableSpec(
            (
                "file",
                columns.count("operators_before", "operators of the graph that is wrong"),
                columns.count("operators_after", "operators of the script's graph", "lower"),
                columns.text("reproduces", "yes or no: the script was run, and shows the failure"),
                columns.duration("minify_s", "time of the minifier"),
            )
        ),
    }

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
            return self._by_results(context, compiler)
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
        options = _uncached(compiler)
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

    def _by_results(self, context: Context, compiler: DynamoCompiler) -> Outcome:
        """Compare what the model returns, where every graph of inductor's is right."""
        start = time.perf_counter()
        folder = context.folder / FOLDER
        whole_model.write(folder / MODEL, context.job, self.repro_tolerance)
        with context.phase("results", children=True):
            shown = _python(context, folder, MODEL, timeout_s=self.seconds)
        if FAILURE not in shown.stderr:
            shutil.rmtree(folder)
            if shown.returncode != 0:
                raise RuntimeError(f"the script that compares the results failed: {shown.stderr.strip()[-2000:]}")
            if whole_model.EAGER_DIFFERS in shown.stdout:
                return Outcome(EAGER_TWO_RUNS_DIFFER, f"every graph of inductor's is right, but {shown.stdout.strip()}")
            return Outcome(PASS, "every graph of inductor's is right, and so are the results: nothing to minify")
        with context.phase("graphs", children=True):
            count = self._wrong_graph(context, compiler, folder)
        if count is None:
            name, what = MODEL, "the whole model by orchestrator,"
        else:
            name, what = REPRO, "a graph of dynamo's, not minimal,"
        context.find(
            "minify",
            file=f"{FOLDER}/{name}",
            operators_before=count,
            operators_after=count,
            reproduces="yes",
            minify_s=time.perf_counter() - start,
        )
        wrong = f"the results are wrong although every graph of inductor's is right: {FOLDER}/{name}, {what} shows it"
        return Outcome(FAIL_ACCURACY, f"{wrong} ({shown.stderr.strip().splitlines()[-1]})")

    def _wrong_graph(self, context: Context, compiler: DynamoCompiler, folder: Path) -> int | None:
        """Leave a script with the first of dynamo's graphs that is wrong; return its number of operators, if any."""
        import torch
        from torch._dynamo.repro.after_dynamo import generate_dynamo_fx_repro_string

        dtype = AUTOCAST_TO.get(context.workload.dtype)
        comparison = COMPARISON.format(
            tolerance=self.repro_tolerance,
            device=context.device.type,
            autocast=f"torch.{dtype or 'bfloat16'}, enabled={dtype is not None}",
        )
        until = time.perf_counter() + self.seconds
        for graph, inputs in dynamo_graphs(context, compiler):
            if time.perf_counter() > until:
                break
            with torch._inductor.config.patch(_uncached(compiler)):
                text = generate_dynamo_fx_repro_string(graph, inputs, "inductor", save_dir=str(folder))
            (folder / REPRO).write_text(movable(text.partition("if __name__")[0]) + comparison)
            if self._reproduces(context, folder / REPRO) == "yes":
                return len([node for node in graph.graph.nodes if node.op.startswith("call_")])
            (folder / REPRO).unlink()
        shutil.rmtree(folder / "storages", ignore_errors=True)  # of scripts that did not show it
        return None

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
    (folder / REPRO).write_text(movable(text))
    return folder / REPRO


def movable(text: str) -> str:
    """Return a script of torch's that reads its inputs beside itself, and has no paths of this process."""
    return _SAVE_DIR.sub("save_dir=os.path.dirname(os.path.abspath(__file__))", _OF_THIS_PROCESS.sub("", text))


def dynamo_graphs(context: Context, compiler: DynamoCompiler) -> list[tuple[torch.fx.GraphModule, list[Any]]]:
    """Return dynamo's graphs of one step, in their order, with copies of what each was called with first."""
    import torch

    seen: dict[torch.fx.GraphModule, list[Any]] = {}

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            if graph not in seen:
                seen[graph] = [x.detach().clone() if isinstance(x, torch.Tensor) else x for x in given]
            return graph(*given)

        return run

    torch._dynamo.reset()
    program = context.build(dropout=False)
    context.seed()
    context.mode.step(program, compiler.capture(program, backend), context.workload)()
    return list(seen.items())


def _uncached(compiler: DynamoCompiler) -> dict[str, Any]:
    """Return inductor's options; graphs of a cache would not be compiled."""
    return {**compiler.inductor_options(), "force_disable_caches": True}


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
        stdout=None if log else subprocess.PIPE,
        stderr=None if log else subprocess.PIPE,
        text=True,
        check=False,
    )
