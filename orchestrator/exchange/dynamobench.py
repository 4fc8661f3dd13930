"""The format of PyTorch's benchmarks/dynamo: names of files, columns, units and statuses, and ours beside them.

Its scripts read these files by column name: `runner.py --visualize-logs` (which opens, for every compiler asked for,
`{compiler}_{suite}_{dtype}_{mode}_{device}_{performance|accuracy}.csv`), `check_accuracy.py`, `check_perf_csv.py`,
`check_graph_breaks.py`. A run that failed is a speed-up of 0 in a performance file; what happened to it stands
in the accuracy file only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

from orchestrator.records import (
    COMPARISON_ERROR,
    CRASH,
    EAGER_FAIL_TO_RUN,
    EAGER_TWO_RUNS_DIFFER,
    FAIL_ACCURACY,
    FAIL_TO_RUN,
    INFRASTRUCTURE,
    MODEL_FAIL_TO_LOAD,
    NOT_RUN,
    OUT_OF_MEMORY,
    PASS,
    PASS_DUE_TO_SKIP,
    RANDOM,
    TIMEOUT,
    UNSUPPORTED,
)

TESTINGS = ("performance", "accuracy")
IDENTITY = ("dev", "name", "batch_size")
COUNTERS: Mapping[str, str] = {
    "calls_captured": "captured_calls",
    "unique_graphs": "graphs",
    "fallbacks_to_eager": "fallbacks",
    "graph_breaks": "graph_breaks",
    "unique_graph_breaks": "unique_graph_breaks",
    "autograd_captures": "autograd_captures",
    "autograd_compiles": "autograd_compiles",
    "cudagraph_skips": "cudagraph_skips",
}
"""Their counter -> ours (`orchestrator.probes.counters`), in the order of their columns."""
FIGURES = ("speedup", "abs_latency", "compilation_latency", "compression_ratio", "eager_peak_mem", "dynamo_peak_mem")
"""x, ms, s, x, GB, GB (10**9 bytes)."""
TOKENS = ("eager_latency", "input_tokens_per_second", "output_tokens_per_second")
"""ms, 1/s, 1/s: columns that the newest version adds for generation, behind the others in files that have such rows."""
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "performance": (*IDENTITY, *FIGURES, *COUNTERS),
    "accuracy": (*IDENTITY, "accuracy", *COUNTERS, "compilation_latency"),
}
GB = 1e9

SAME = (
    PASS,
    PASS_DUE_TO_SKIP,
    FAIL_ACCURACY,
    FAIL_TO_RUN,
    EAGER_FAIL_TO_RUN,
    EAGER_TWO_RUNS_DIFFER,
    MODEL_FAIL_TO_LOAD,
    TIMEOUT,
)
"""Statuses that are words of theirs, and mean the same."""
TO_THEIRS: Mapping[str, str] = {
    **{word: word for word in SAME},
    COMPARISON_ERROR: "fail_accuracy",  # so theirs calls it too
    OUT_OF_MEMORY: "OOM",
    CRASH: "fail_to_run",  # they write no row at all then, and a gate over rows passes
    RANDOM: "pass_due_to_skip",  # theirs lists the models that draw numbers, and skips them
    UNSUPPORTED: "fail_to_run",
    INFRASTRUCTURE: "infra_error",
    NOT_RUN: "infra_error",  # a row that is missing would pass their gates
}
"""Our status -> the word in the column `accuracy`."""
EAGER_PHASES = ("eager_1st_run", "eager_2nd_run")
"""Phases of the reference job with which their word begins when eager failed in it."""

TO_OURS: Mapping[str, str] = {
    **{word: word for word in SAME},
    "not_bitwise_equivalent": FAIL_ACCURACY,
    "warmup_failed": FAIL_TO_RUN,
    "eager_1st_run_fail": EAGER_FAIL_TO_RUN,
    "eager_2nd_run_fail": EAGER_FAIL_TO_RUN,
    "eager_1st_run_OOM": OUT_OF_MEMORY,
    "eager_2nd_run_OOM": OUT_OF_MEMORY,
    "OOM": OUT_OF_MEMORY,
    "infra_error": INFRASTRUCTURE,
    "worker_fail": CRASH,
}
"""Every word of theirs (but those that end in a batch size, see `status_of`) -> our status."""
PER_BATCH = {"fail_to_run_at_batch_": FAIL_TO_RUN, "fail_batch_invariance_at_": FAIL_ACCURACY}

SUITES = ("torchbench", "huggingface", "timm_models")
DTYPES = ("float32", "float16", "bfloat16", "float64", "amp", "amp_bf16", "amp_fp16")
MODES = ("inference", "training")
COMPILERS: Mapping[str, str] = {"dynamo_eager": "eager"}
"""Our compiler -> theirs, where they differ. Their "eager" is dynamo with a backend that compiles nothing; plain eager
is the other side of every speed-up, and has no file."""


@dataclass(frozen=True)
class FileName:
    """What the name of a file says of all its rows."""

    compiler: str
    suite: str
    dtype: str
    mode: str
    device: str
    testing: str

    def __str__(self) -> str:
        return f"{self.compiler}_{self.suite}_{self.dtype}_{self.mode}_{self.device}_{self.testing}.csv"


NAME = re.compile(
    rf"(?P<front>.+)_(?P<dtype>{'|'.join(sorted(DTYPES, key=len, reverse=True))})_(?P<mode>{'|'.join(MODES)})"
    rf"_(?P<device>.+)_(?P<testing>{'|'.join(TESTINGS)})\.csv"
)


def parse_name(text: str, suite: str | None = None) -> FileName | None:
    """Return what a file's name says, None where it is not made so.

    Compilers and suites both have underscores in their names: the end of what stands in front is taken for a suite
    when it is `suite` or one of theirs, else its last word is.
    """
    found = NAME.fullmatch(text)
    if found is None:
        return None
    front = found["front"]
    known = next((name for name in (suite, *SUITES) if name and front.endswith(f"_{name}")), front.rpartition("_")[2])
    compiler = front.removesuffix(known).rstrip("_")
    if not compiler:
        return None
    return FileName(compiler, known, found["dtype"], found["mode"], found["device"], found["testing"])


def word(text: str) -> str:
    """Return a name as one word of a file's name: anything but letters, digits, "_", "." and "-" becomes "-"."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.") or "none"


def numbered(name: str, sign: str = "-") -> Iterator[str]:
    """Yield a name, then it with 2, 3, ...: names may differ in characters only that a file's name does not have."""
    yield name
    for number in count(2):
        yield f"{name}{sign}{number}"


def dtype_of(ours: str) -> str:
    """Return their name of a precision: both kinds of autocast are "amp"."""
    return "amp" if ours.startswith("amp_") else ours


def status_of(theirs: str) -> str | None:
    """Return our status for a word of theirs, None where the word is not known."""
    begins = next((status for begin, status in PER_BATCH.items() if theirs.startswith(begin)), None)
    return TO_OURS.get(theirs, begins)


def word_of(status: str, phase: str) -> str:
    """Return their word for our status; `phase` is where the job, or the reference that it needed, failed."""
    if phase in EAGER_PHASES and status in (OUT_OF_MEMORY, EAGER_FAIL_TO_RUN):
        return f"{phase}_{'OOM' if status == OUT_OF_MEMORY else 'fail'}"
    return TO_THEIRS[status]
