"""What inductor makes once on a machine, whatever it compiles: test programs of instruction sets, compiled headers.

    python -m orchestrator.worker.toolchain PART FILE

makes one part (`orchestrator.execution.toolchain`) in this process's compile caches, without any graph or kernel in
them, and writes the seconds that it took into FILE. `enter` is a job's side: it finds there what was made.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestrator.files import read_json, write_json
from orchestrator.worker.process import die_with_parent

HEADERS = "precompiled_headers"
ANSWERS = "instruction_sets.json"
"""In inductor's cache: what the test programs of the CPU's instruction sets said when the toolchain was made."""
TRITON = "triton"
OPTIONS: dict[str, dict[str, Any]] = {"cpp": {}, "cpp_wrapper": {"cpp_wrapper": True}}
"""Inductor's options by part: each has flags, and so headers, of its own; so has "aoti"."""


def enter(note: Path) -> tuple[dict[str, Any] | None, int]:
    """Give this job's inductor headers of its own: torch keeps them in a folder that others can have made.

    Return what is known of the toolchain, None of a job that needs none, and how many files it put into the cache.
    """
    codecache = sys.modules.get("torch._inductor.codecache")
    if codecache is not None and hasattr(codecache, "_HEADER_DIR"):
        _keep_headers(codecache, Path(os.environ["TORCHINDUCTOR_CACHE_DIR"], HEADERS))
    try:
        found = read_json(note)
    except FileNotFoundError:
        return None, 0
    if found["files"]:
        find_instruction_sets()
    return found["toolchain"], found["files"]


def find_instruction_sets() -> dict[str, bool]:
    """Have inductor find the CPU's instruction sets; return what the test programs said, by name.

    Every process would load them once more, for no model's sake (1 s). What they said where the toolchain was made
    stands in its cache (`ANSWERS`) and is believed; whatever else is asked is tried.
    """
    from torch._inductor import cpu_vec_isa

    answers: dict[str, bool] = {}
    with suppress(FileNotFoundError):
        answers = read_json(Path(os.environ["TORCHINDUCTOR_CACHE_DIR"], ANSWERS))
    tried = cpu_vec_isa.VecISA.check_build

    def check_build(isa: cpu_vec_isa.VecISA, code: str) -> bool:
        key = hashlib.sha256(f"{isa.build_arch_flags()} {code}".encode()).hexdigest()
        if key not in answers:
            answers[key] = tried(isa, code)
        return answers[key]

    cpu_vec_isa.VecISA.check_build = check_build  # type: ignore[assignment, method-assign]
    try:
        cpu_vec_isa.valid_vec_isa_list()
    finally:
        cpu_vec_isa.VecISA.check_build = tried  # type: ignore[method-assign]
    return answers


def make(part: str) -> float:
    """Make one part in the folders of this process's environment; return the seconds that it took, imports apart."""
    if part == TRITON:
        from triton.runtime import driver

        start = time.perf_counter()
        driver.active.utils  # noqa: B018 - compiles what talks to the driver (cuda_utils)
        return time.perf_counter() - start
    import torch
    from torch._inductor import codecache, compile_fx  # noqa: F401

    torch.set_num_threads(1)
    cache = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    start = time.perf_counter()
    answers = find_instruction_sets()
    seconds = time.perf_counter() - start
    write_json(cache / ANSWERS, answers)
    if not hasattr(codecache, "_HEADER_DIR"):
        return seconds
    _keep_headers(codecache, cache / HEADERS)
    inner = codecache._precompile_header

    def timed(*arguments: Any, **keywords: Any) -> Any:
        nonlocal seconds
        start = time.perf_counter()
        try:
            return inner(*arguments, **keywords)
        finally:
            seconds += time.perf_counter() - start

    codecache._precompile_header = timed  # type: ignore[assignment]
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp()  # the graph and its kernel are thrown away
    _compile_something(part)
    if not list((cache / HEADERS).glob("*.gch")):  # clang's name the place where they were made: they cannot be moved
        for file in (cache / HEADERS).glob("*.*"):
            file.unlink()
    return seconds


def _compile_something(part: str) -> None:
    import torch

    model, inputs = torch.nn.Softplus(), torch.ones(2, 64)
    with torch.no_grad():
        if part == "aoti":
            program = torch.export.export(model, (inputs,))
            torch._inductor.aoti_compile_and_package(program, package_path=os.path.join(tempfile.mkdtemp(), "a.pt2"))
        else:
            torch.compile(model, options=OPTIONS[part])(inputs)


def _keep_headers(codecache: Any, folder: Path) -> None:
    codecache._HEADER_DIR, codecache._HEADER_LOCK_DIR = str(folder), str(folder / "locks")


def main() -> None:
    die_with_parent(signal.SIGKILL)
    part, file = sys.argv[1:]
    write_json(Path(file), make(part))


if __name__ == "__main__":
    main()
