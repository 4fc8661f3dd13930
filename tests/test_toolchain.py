"""What compilers make once on a machine: made once, whole, by this user; and no part of a model's cold compilation."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pytest
from fakes.leftovers import left
from fakes.sweeps import make_job, write_sweep

from orchestrator import system
from orchestrator.comparison.matching import differing
from orchestrator.execution.environment import worker_environment
from orchestrator.execution.toolchain import MAKING, NOTE, Preparation, Toolchains, key_of, run_part
from orchestrator.records import JobSpec, PluginSpec
from orchestrator.store import SweepFolder

HERE = Path(__file__).parent
TORCH_COMPILE = "orchestrator.compilers.dynamo.TorchCompile"


def job(env: dict[str, str] | None = None, device: str = "cpu", **options: object) -> JobSpec:
    made = make_job("model", env=env, compiler=PluginSpec(name="inductor", target=TORCH_COMPILE, options=options))
    return dataclasses.replace(made, workload=dataclasses.replace(made.workload, device=device))


class Making:
    """Stands in for `run_part`: makes two files and a lock, and counts."""

    def __init__(self, seconds: float = 0.0, fails: str = "") -> None:
        self.seconds, self.fails, self.parts = seconds, fails, list[str]()

    def __call__(self, part: str, folder: Path, environment: Mapping[str, str], stop: threading.Event) -> float:
        self.parts.append(part)
        write_part(part, folder)
        time.sleep(self.seconds)
        if self.fails:
            raise RuntimeError(self.fails)
        return 2.5


def write_part(part: str, folder: Path) -> None:
    for name in (f"aa/{part}.so", f"precompiled_headers/{part}.h.gch", "locks/x.lock"):
        (folder / "inductor" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "inductor" / name).write_text(part)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "orchestrator" / "toolchain"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "family"
    folder.mkdir()
    return folder


def seeded(cache: Path, toolchains: Toolchains, job: JobSpec) -> dict[str, object]:
    toolchains.seed(cache, job)
    note: dict[str, object] = json.loads((cache / NOTE).read_text())
    return note


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_it_is_made_once_and_every_cache_begins_as_its_copy(home: Path, tmp_path: Path) -> None:
    make = Making()
    notes = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        notes.append(seeded(tmp_path / name, Toolchains(worker_environment(), make), job()))
    assert make.parts == ["cpp"]
    assert notes == [{"files": 2, "toolchain": {"cpp_s": 2.5}}] * 2
    assert files(tmp_path / "b") == {"inductor/aa/cpp.so", "inductor/precompiled_headers/cpp.h.gch", NOTE}
    (made,) = home.glob("[!.]*[!k]")
    for folder in (home.parent, home, made):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    large, small = "inductor/precompiled_headers/cpp.h.gch", "inductor/aa/cpp.so"
    assert os.path.samefile(made / large, tmp_path / "a" / large)  # 150 MB, which nobody writes to
    assert not os.path.samefile(made / small, tmp_path / "a" / small)


def test_on_another_disk_what_is_large_is_a_link(home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(source: Path, target: Path) -> None:
        raise OSError("another disk")

    monkeypatch.setattr(os, "link", no_link)
    Toolchains(worker_environment(), Making()).seed(cache, job())
    assert (cache / "inductor/precompiled_headers/cpp.h.gch").is_symlink()
    assert (cache / "inductor/precompiled_headers/cpp.h.gch").read_text() == "cpp"


def test_a_part_begins_with_those_before_it(home: Path, cache: Path) -> None:
    make = Making()
    toolchains = Toolchains(worker_environment(), make)
    toolchains.prepare(job())
    note = seeded(cache, toolchains, job(options={"cpp_wrapper": True}))
    assert make.parts == ["cpp", "cpp_wrapper"]
    assert note == {"files": 4, "toolchain": {"cpp_s": 2.5, "cpp_wrapper_s": 2.5}}


def test_who_compiles_nothing_needs_none(home: Path, cache: Path) -> None:
    make = Making()
    toolchains = Toolchains(worker_environment(), make)
    eager = PluginSpec(name="eager", target="orchestrator.compilers.eager.Eager")
    for one in (make_job("model", compiler=eager), job(backend="aot_eager"), make_job("model")):
        toolchains.seed(cache, one)
    assert not make.parts
    assert not home.exists()
    assert files(cache) == set()


def test_a_later_round_keeps_the_cache_of_the_first(home: Path, cache: Path) -> None:
    (cache / "inductor").mkdir()
    make = Making()
    Toolchains(worker_environment(), make).seed(cache, job())
    assert not make.parts
    assert not (cache / NOTE).exists()


def test_the_key_changes_with_all_that_changes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment = worker_environment()
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho another 15.1\n")
    compiler.chmod(0o755)
    keys = [
        key_of(("cpp",), environment, {}),
        key_of(("cpp", "aoti"), environment, {}),
        key_of(("cpp",), {**environment, "CXX": str(compiler)}, {}),
        key_of(("cpp",), {**environment, "ATEN_CPU_CAPABILITY": "avx2"}, {}),
        key_of(("cpp",), environment, {"ANYTHING": "1"}),
    ]
    compiler.write_text("#!/bin/sh\necho another 15.2\n")
    keys.append(key_of(("cpp",), {**environment, "CXX": str(compiler)}, {}))
    for name, value in (("cpu_flags", "avx512"), ("cpu_model", "abacus"), ("torch_build", {"git": "1"})):
        with monkeypatch.context() as patched:
            patched.setattr(system, name, lambda value=value: value)
            keys.append(key_of(("cpp",), environment, {}))
    assert len(set(keys)) == len(keys)
    same = {**environment, "TORCHINDUCTOR_CACHE_DIR": "/elsewhere", "EDITOR": "vi"}
    assert key_of(("cpp",), same, {}) == keys[0]


def test_who_is_killed_leaves_nothing_half_made(home: Path, cache: Path) -> None:
    code = (
        "import os, signal, test_toolchain as t\n"
        "def make(part, folder, environment, stop):\n"
        "    t.write_part(part, folder)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "t.Toolchains(t.worker_environment(), make).prepare(t.job())"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent}"})
    assert done.returncode == -signal.SIGKILL
    assert [path.name[0] for path in home.iterdir() if path.is_dir()] == ["."]
    note = seeded(cache, Toolchains(worker_environment(), Making()), job())
    assert note == {"files": 2, "toolchain": {"cpp_s": 2.5}}
    assert len([path for path in home.iterdir() if path.is_dir()]) == 1  # the other's rest is gone


def test_of_two_at_once_one_makes_it_and_the_other_waits(home: Path) -> None:
    make = Making(seconds=0.5)
    found = []

    def prepare() -> None:
        found.append(Toolchains(worker_environment(), make).prepare(job()))

    threads = [threading.Thread(target=prepare) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert make.parts == ["cpp"]
    assert found[0] == found[1]


def test_who_waits_for_it_can_give_up(home: Path) -> None:
    """While it is made, and while another process makes it."""
    begun = threading.Event()

    def make(part: str, folder: Path, environment: Mapping[str, str], stop: threading.Event) -> float:
        begun.set()
        assert stop.wait(60)
        raise RuntimeError("stopped")

    makes, waits = (Preparation(Toolchains(worker_environment(), make), job()) for _ in range(2))
    assert not makes.come()
    assert begun.wait(60)
    assert makes.reason == MAKING
    assert not waits.come()
    assert waits.reason == ""
    for one in (waits, makes):
        one.leave()
        assert one.come()  # there is nothing to wait for
    assert [path for path in home.iterdir() if path.is_dir()] == []


def test_what_is_made_ends_when_it_is_stopped(tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(RuntimeError, match="interrupted"):
        run_part("cpp", tmp_path, worker_environment(), stop)
    assert not [one for one in psutil.process_iter() if str(tmp_path) in " ".join(command_line(one))]


def command_line(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_is_interrupted_while_it_is_made(
    home: Path, tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    compiler, called = tmp_path / "c++", tmp_path / "called"
    compiler.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec echo another 15.1\ntouch {called}\nsleep 1000\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    store = SweepFolder(tmp_path / "sweep")
    write_sweep(store, [job()])
    process = subprocess.Popen(
        [sys.executable, "-m", "fakes.sweeps", str(store), "{}"], stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not called.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, number)  # as a terminal does
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"waiting for {MAKING}".encode() in said
    assert left(mark) == []
    assert [path for path in home.iterdir() if path.is_dir()] == []
    assert store.read_result(job().id) is None


def test_a_defect_is_raised_where_it_is_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: object) -> float:
        raise ZeroDivisionError

    waits = Preparation(Toolchains(worker_environment(), defect), job())
    with pytest.raises(ZeroDivisionError):
        until(waits.come)


def until(come: Callable[[], bool]) -> None:
    while not come():
        pass


def missing(cache: Path, make: Making | None = None, environment: dict[str, str] | None = None) -> str:
    note = seeded(cache, Toolchains(environment or worker_environment(), make or Making()), job())
    assert note["files"] == 0
    assert files(cache) == {NOTE}
    (reason,) = note["toolchain"].values()  # type: ignore[attr-defined]
    return str(reason)


def test_where_it_cannot_be_made_the_cache_begins_empty_and_says_why(
    home: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Making(fails="ld: no space")
    toolchains = Toolchains(worker_environment(), make)
    assert seeded(cache, toolchains, job()) == {"files": 0, "toolchain": {"missing": "RuntimeError: ld: no space"}}
    toolchains.prepare(job())
    assert make.parts == ["cpp"]  # it is not tried for every job
    assert [path for path in home.iterdir() if path.is_dir()] == []


def test_no_compiler(home: Path, cache: Path) -> None:
    make = Making()
    assert "no C++ compiler: no-such-c++" in missing(cache, make, {**worker_environment(), "CXX": "no-such-c++"})
    assert not make.parts


def test_a_cache_that_cannot_be_written(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "Error" in missing(cache)


@pytest.mark.parametrize("which", ["parent", "root", "link", "made", "owner"])
def test_a_folder_that_others_can_have_made_is_refused(
    home: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    toolchains = Toolchains(worker_environment(), Making())
    found = toolchains.prepare(job())
    assert found is not None
    assert found.folder is not None
    if which == "link":
        found.folder.rename(tmp_path / "theirs")
        found.folder.symlink_to(tmp_path / "theirs")
    elif which == "owner":
        own = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: own + 1)
    else:
        {"parent": home.parent, "root": home, "made": found.folder}[which].chmod(0o777)
    assert "is not this user's alone" in missing(cache)


@pytest.mark.slow
def test_what_the_process_said_last_is_the_reason(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^nonsense: KeyError: 'nonsense'$"):
        run_part("nonsense", tmp_path, {**worker_environment(), "TORCHINDUCTOR_VEC_ISA_OK": "0"}, threading.Event())


def test_what_it_took_is_no_difference_between_sweeps_but_that_it_is_missing() -> None:
    before, after = {"toolchain.cpp_s": 18.2, "host": "a"}, {"toolchain.cpp_s": 9.1, "host": "b"}
    assert differing(before, after) == {"host": ("a", "b")}
    assert "toolchain.missing" in differing(before, {"toolchain.missing": "no compiler"})  # its cold figures are others


@pytest.mark.slow
def test_a_cold_job_compiles_all_of_the_model_and_nothing_of_the_toolchain(tmp_path: Path) -> None:
    """The real thing: one cold inductor job through the command, and what its cache holds beyond its beginning."""
    begin = tmp_path / "begin"
    begin.mkdir()
    plain = dataclasses.replace(job(), env={})
    note = seeded(begin, Toolchains(worker_environment()), plain)
    assert note["toolchain"]["cpp_s"] > 0  # type: ignore[index]
    began = files(begin / "inductor")
    assert _instruction_sets(begin / "inductor", forget=False) == _instruction_sets(begin / "inductor", forget=True)
    assert note["files"] == len(began)
    assert not [name for name in began if name.startswith(("fxgraph", "aotautograd")) or ".main." in name]
    command = [sys.executable, "-m", "orchestrator", "-m", "suite=tiny", "suite.models=[bert_tiny]", "rounds=1"]
    command += ["compiler=inductor", "measure=performance", "dtype=float32", "execution.keep_caches=true"]
    command += [f"measure.options.{name}=0.2" for name in ("warmup_seconds", "seconds", "pair_seconds")]
    command += [f"measure.options.{name}=0" for name in ("quiet_seconds", "extra_seconds")]
    done = subprocess.run(
        [*command, f"hydra.sweep.dir={tmp_path / 'sweep'}"],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(HERE.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    store = SweepFolder(tmp_path / "sweep")
    (compiled,) = (one for one in store.read_graph().jobs if one.compiler.name == "inductor")
    result = json.loads(store.result_file(compiled.id).read_text())
    assert result["facts"]["cache"] == "cold"
    assert result["environment"]["toolchain"] == note["toolchain"]
    cache = store.cache(compiled.family) / "inductor"
    ended = files(cache)
    assert began <= ended
    assert any(name.startswith("fxgraph") for name in ended)
    new = ended - began
    assert not [name for name in new if name.endswith(".gch")]
    assert not [name for name in new if name.endswith(".cpp") and "chk_kernel" in (cache / name).read_text()]
    shown = subprocess.run(
        [sys.executable, "-m", "orchestrator", "show", str(store)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
        capture_output=True,
        text=True,
    )
    assert f"cpp_s {note['toolchain']['cpp_s']}" in shown.stdout  # type: ignore[index]


def _instruction_sets(cache: Path, *, forget: bool) -> str:
    """Return what inductor finds in a fresh process; without starting any where the answers stand in the cache."""
    finding = """
import subprocess, sys
from torch._inductor import cpu_vec_isa
from orchestrator.worker.toolchain import find_instruction_sets
started = []
run, subprocess.run = subprocess.run, lambda *one, **more: (started.append(one), run(*one, **more))[1]
if sys.argv[1] == "forget":
    cpu_vec_isa.valid_vec_isa_list()
else:
    assert find_instruction_sets(), "no answers"
    assert not started, started
print([(str(one), one.build_arch_flags()) for one in cpu_vec_isa.valid_vec_isa_list()])
"""
    return subprocess.run(
        [sys.executable, "-c", finding, "forget" if forget else "believe"],
        env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache), "PYTHONPATH": str(HERE.parent)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
