"""What a message advises works: each remedy is planned, or run.

Of a wrong input the remedy is taken from what is really said. All others stand in `raise` statements: they are found in
the source, so that a new one without a command here that takes it fails.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import synthetic
from support.command import command, said
from support.wrong_inputs import WRONG, here

import orchestrator
from orchestrator.cli import VERBS

__all__ = ["here"]  # a fixture

WRITE = re.compile(r"write ((?:[\w./]+=\S+ ?)+)")
VALUE = re.compile(r"(\S+)=\S+: write (?:a time as )?(\w+),")
MEANT = re.compile(r"did you mean '([^']+)'")
UNKNOWN = re.compile(r"unknown (\w+) '([^']+)'")
ADVISED = [line for line, message in WRONG if "write " in message or "did you mean" in message]


def remedy(line: str, said_: str) -> list[str]:
    """Return the words that a message advises to write instead of what was wrong of a line."""
    if found := WRITE.search(said_):
        words = found[1].split()
        kept = [word.rstrip(".,;'") if not word.endswith("']") else word for word in words]
        return [word.replace("[A,B]", "[bert_small,llama_small]") for word in kept]
    if "a space has split" in said_:
        return ["".join(line.split())]
    if found := VALUE.search(said_):
        above = "compiler.options." if "compiler.options" in said_ else ""
        return [f"{above}{found[1]}={found[2]}"]
    meant = MEANT.search(said_)
    assert meant is not None, said_
    if unknown := UNKNOWN.search(said_):
        what, name = unknown.groups()
        if what == "verb":
            return [meant[1]]
        if what in ("key", "option"):
            (word,) = [word for word in line.split() if name in word]
            key, _, value = word.partition("=")
            above = key.rpartition(".")[0]
            beside = re.findall(r"Only (\S+) has it", said_)
            full = meant[1] if "." in meant[1] or not above else f"{above}.{meant[1]}"
            return [*beside, f"{full}={value}"]
        return [f"{what}={meant[1]}"]
    (word,) = [word for word in line.split() if "=" in word][-1:]
    key, _, value = word.partition("=")
    return [*line.split()[:-1], f"{key}={value}".replace(_wrong(said_), meant[1])]


def _wrong(said_: str) -> str:
    found = re.search(r"(?:has no \w+(?: or \w+)? |=)'?([\w.-]+)'?[^:]*: did you mean|(\w+\.py) cannot be read", said_)
    assert found is not None, said_
    return found[1] or found[2]


def as_files(line: str) -> bool:
    """Files are mended in the file: what is said there has the same words as on a command line."""
    return ".yaml" in line


@pytest.mark.parametrize("line", [line for line in ADVISED if not as_files(line)])
def test_what_a_message_says_to_write_is_planned(line: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = said(capsys, *line.split(), *(["dry_run=true"] if "=" in line and "dry_run" not in line else []))
    words = remedy(line, err)
    if words[0] in VERBS:
        assert command(words[0], "--help", cwd=here).returncode == 0
        return
    own = [] if any(word.startswith("dry_run") for word in words) else ["dry_run=true"]
    code, out, err = said(capsys, *words, *own)
    lacking = "cuda" in " ".join(words) and "CUDA" in err
    assert code == 0 or lacking, (words, err)
    assert out or lacking


# -- all others, by where they stand in the source

ADVICE = re.compile(
    r"(?<![\w.\[{=-])(?:(\+?[a-z][a-z_0-9]*(?:[./][a-zA-Z_0-9]+)*=(?:\[[^\]\s]*\]|\{[^}\s]*\}|[^\s,;:)'\"`\]]+))"
    r"|(--[a-z][a-z-]*[a-z])(?![a-z-]| …))"
)
ERRORS = re.compile(r"\w*Error|Unsupported|Outcome|refuse_quantized|note")
PLAN = "dry_run=true"
OWN = "suite=user suite.models=[net.py:Net]"

PLANNED = {
    "compiler=jit_trace": f"compiler=jit_trace {PLAN}",
    "keep_outputs=true": f"keep_outputs=true measure=accuracy {PLAN}",
    "measure=accuracy": f"measure=accuracy keep_outputs=true {PLAN}",
    "measure=performance": f"measure=performance randomize_input=true {PLAN}",
    "suite.common.build.config.mem_len=null": "suite=transformers suite.models=[XLNetLMHeadModel] "
    f"suite.common.build.config.mem_len=null {PLAN}",
    "suite.common.build.config.reuse_len=null": "suite=transformers suite.models=[XLNetLMHeadModel] "
    f"suite.common.build.config.reuse_len=null {PLAN}",
    "suite.common.build.labels={}": "suite=transformers suite.models=[BertModel] "
    f"suite.common.build.labels={{}} {PLAN}",
    "suite.common.build.labels.labels={shape:[batch],high:2}": "suite=transformers suite.models=[BertModel] "
    f"suite.common.build.labels.labels={{shape:[batch],high:2}} {PLAN}",
    "suite.common.build.loss=mean": f"{OWN} suite.common.build.loss=mean mode=training {PLAN}",
    "batch_size=1": f"suite=tiny batch_size=1 {PLAN}",
    "batch_size=2": f"suite=tiny compiler.options.dynamic=batch batch_size=2 {PLAN}",
    "batch_size=8": f"suite=tiny measure=batch_invariance batch_size=8 {PLAN}",
    "batch_sizes=[1,2,4]": f"suite=tiny measure=dynamic_shapes measure.options.batch_sizes=[1,2,4] {PLAN}",
    "build=base": f"build=base,transformers==5.20.0 {PLAN}",
    "builds.NAME.python=PATH": f"build=base,own builds.own.python={sys.executable} {PLAN}",
    "builds.NAME.requirements=[...]": f"build=own builds.own.requirements=[transformers==5.20.0] {PLAN}",
    "compiled_autograd=true": f"mode=training compiler.options.compiled_autograd=true {PLAN}",
    "compiler=eager": f"compiler=eager measure=operators {PLAN}",
    "compiler=inductor": f"compiler=inductor measure=cache_lookup {PLAN}",
    "device=cpu": f"device=cpu {PLAN}",
    "device=cuda": f"device=cuda {PLAN}",
    "device=xpu": f"device=xpu {PLAN}",
    "dry_run=true": PLAN,
    "dtype=bfloat16": f"quantization=int4_weight_only dtype=bfloat16 {PLAN}",
    "dtype=float32": f"compiler=openvino dtype=float32 {PLAN}",
    "dynamic=batch": f"suite=tiny compiler.options.dynamic=batch batch_size=2 {PLAN}",
    "exclude=[{compiler:inductor}]": f"compiler=eager,inductor exclude=[{{compiler:inductor}}] {PLAN}",
    "hydra.sweep.dir=FOLDER": f"hydra.sweep.dir=elsewhere {PLAN}",
    "key=value": f"compiler=eager {PLAN}",
    "measure=profile": f"measure=profile {PLAN}",
    "mode.options.cache=dynamic": f"suite=generation_tiny mode=decode mode.options.cache=dynamic {PLAN}",
    "mode.options.labels=true": f"mode=training mode.options.labels=true {PLAN}",
    "mode=inference": f"suite=tiny measure=batch_invariance mode=inference {PLAN}",
    "mode=training": f"mode=training compiler=inductor_compiled_autograd {PLAN}",
    "online=true": f"suite=transformers suite.models=[Qwen/Qwen3-0.6B] online=true {PLAN}",
    "parallel=ddp": f"parallel=ddp ranks=2 mode=training {PLAN}",
    "parallel=fsdp2": f"parallel=fsdp2 ranks=2 mode=training {PLAN}",
    "parallel=none": f"parallel=none {PLAN}",
    "quantization=none": f"quantization=none {PLAN}",
    "shard=1/2": f"shard=1/2 {PLAN}",
    "shard=2/2": f"shard=2/2 {PLAN}",
    "shard=1/5": f"shard=1/5 suite=huggingface {PLAN}",
    "shard=2/5": f"shard=2/5 suite=huggingface {PLAN}",
    "shard=5/5": f"shard=5/5 suite=huggingface {PLAN}",
    "suite.common.build.class_name=LlamaForCausalLM": "suite=transformers suite.models=[Qwen/Qwen3-0.6B] "
    f"suite.common.build.class_name=LlamaForCausalLM {PLAN}",
    "suite.common.sequence_length=null": f"suite=huggingface suite.common.sequence_length=null {PLAN}",
    "suite.models=[...]": f"{OWN} {PLAN}",
    "suite=generation": f"suite=generation mode=decode {PLAN}",
    "suite=user": f"{OWN} {PLAN}",
    "transformers==5.20.0": f"build=transformers==5.20.0 {PLAN}",
    "zip=[dtype,batch_size]": f"dtype=float32,float16 batch_size=1,2 zip=[dtype,batch_size] {PLAN}",
    "--cfg": "--cfg job",
    "--help": "--help",
    "--config-dir": f"--config-dir own {PLAN}",
}
READ = {
    "model=T5*": "rerun latest --only model=T5*,compiler=inductor --dry-run",
    "speedup=0.03": "diff latest~1 latest --threshold speedup=0.03",
    "resume=SWEEP": "resume=latest --trust dry_run=true",
    "--accept": "gate latest --against base.json --accept",
    "--against": "gate latest --against base.json --accept",
    "--force": "gate latest --against base.json --accept --force",
    "--csv": "report latest --csv",
    "--json": "report latest --json",
    "--html": "report latest latest~1 --html page.html",
    "--root": "history --root outputs",
    "--model": "history --model *5*",
    "--failed": "rerun latest --failed --dry-run",
    "--only": "rerun latest --only compiler=inductor --dry-run",
    "--rounds": "rerun latest --rounds 2 --dry-run",
    "--job": "rerun latest --job {job} --dry-run",
    "--in-process": "rerun latest --job {job} --in-process --dry-run",
    "--trust": "rerun latest --trust --dry-run",
    "--strict": "rerun latest --dry-run",
    "--watch": "report latest --html page.html",
}
ELSEWHERE = {
    "hydra/launcher=joblib": "tests/test_end_to_end.py",
    "--compiler": "tests/test_import.py",
    "--device": "tests/test_import.py",
    "--into": "tests/test_merge.py",
    "--over": "tests/test_bisect.py",
    "--no-deps": "an option of pip",
    "dtype=...": "an argument of o.compare: tests/test_python_runs.py",
    "folder=...": "an argument of o.sweep: tests/test_python_runs.py",
}


def advices() -> Iterator[str]:
    """Yield what the messages of errors advise: "key=value" and "--flag"; what is only named with its value is none."""
    for file in sorted(Path(orchestrator.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ERRORS.fullmatch(
                getattr(node.func, "id", getattr(node.func, "attr", ""))
            ):
                for part in (*node.args, *(keyword.value for keyword in node.keywords)):
                    for setting, flag in ADVICE.findall(_text(part)):
                        if "…" not in setting:
                            yield setting or flag


def _text(node: ast.AST) -> str:
    """Return the text that an expression makes, with … for what is put in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return " ".join(_text(part) for part in ast.iter_child_nodes(node))


def test_every_advice_of_the_source_is_executed_by_a_test() -> None:
    known = PLANNED.keys() | READ.keys() | ELSEWHERE.keys()
    found = set(advices())
    assert found - known == set()
    assert known - found == set()


@pytest.mark.parametrize("advice", PLANNED)
def test_what_a_planning_message_advises_is_planned(
    advice: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "own" / "compiler").mkdir(parents=True)
    code, out, err = said(capsys, *PLANNED[advice].split())
    assert (code, err) == (0, ""), err
    assert out


@pytest.fixture
def sweeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two sweeps of one model that failed once; return the id of a job."""
    monkeypatch.chdir(tmp_path)
    for name in ("10-00-00", "11-00-00"):
        sweep = synthetic.SyntheticSweep(tmp_path / "outputs" / "2026-01-01" / name)
        eager = sweep.performance("T5Small", "eager", latency=0.2)
        sweep.performance("T5Small", "inductor", baseline=eager, pairs=[(0.2, 0.1)] * 20)
        bad = synthetic.job("T5Small", "aot_eager")
        sweep.add(bad, synthetic.failed_result(bad, "crash", "it died"))
        sweep.write()
    return eager.id


@pytest.mark.parametrize("advice", READ)
def test_what_a_message_about_sweeps_advises_is_run(
    advice: str, sweeps: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = said(capsys, *READ[advice].format(job=sweeps).split())
    assert code in (0, 1), err  # 1: a job failed, or a difference was found
    assert out or err
