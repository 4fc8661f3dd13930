"""Whatever is written, nobody sees a traceback: properties of everything that reads what people write or exchange.

Each is asked with some dozens of examples, the same in every run. `PROPERTIES=20000 pytest tests/test_properties.py`
asks with so many, and other ones each time; what that finds becomes an `@example`.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import dataclasses
import io
import json
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from support import synthetic
from support.plans import loader

from orchestrator.__main__ import main
from orchestrator.comparison import rules
from orchestrator.errors import UsageError, printable
from orchestrator.exchange import dynamobench
from orchestrator.files import checked, read_json
from orchestrator.markdown import INVISIBLE
from orchestrator.planning import grid, replay, resume
from orchestrator.planning import selection as matching
from orchestrator.planning.compose import compose
from orchestrator.planning.composer import Composer
from orchestrator.planning.points import PointReader
from orchestrator.planning.suites import read_suite
from orchestrator.records import JobResult, JobSpec, PluginSpec, Workload
from orchestrator.results import configuration, details, exports
from orchestrator.results import row_commands as reproduce
from orchestrator.results.tables import Table
from orchestrator.store import Sweep, SweepFolder
from orchestrator.typed_json import from_json, to_json

EXAMPLES = int(os.environ.get("PROPERTIES", "0"))
quick = settings(
    max_examples=EXAMPLES or 50,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink) if EXAMPLES else (Phase.explicit, Phase.generate),
)
many = settings(quick, max_examples=EXAMPLES or 200)
few = settings(quick, max_examples=EXAMPLES or 25)

LOADER = loader()

# -- what people, and others, write

NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**400, 1e308, -0.0, 5e-324, 1e-300])
)
NASTY = st.sampled_from(
    [
        "",
        " ",
        "\0",
        "\n",
        "\x1b[2J",
        "\x9b31m",
        "\u202e",
        "\ud800",
        "../../x",
        "/etc/passwd",
        "=1+1",
        "@SUM(1)",
        "<script>",
        "${oc.env:HOME}",
        "${a}",
        "%s%n",
        "nan",
        "inf",
        "-inf",
        "null",
        "true",
        "1e999",
        "9" * 5000,
        "a" * 10_000,
        "`x`",
        "$(x)",
        "';x",
        "[a](b)",
        "|",
        "\\",
        "*",
        "?",
        "[",
        "[!",
        "[z-a]",
        "(a+)+$",
        "~",
        "~x",
        "a=b",
        "a,b",
        "a:b",
        "{",
        "}",
        "[]",
        "{}",
    ]
)
TEXTS = st.one_of(st.text(max_size=30), NASTY, st.text(alphabet="abc=,[]{}()'\"\\:$*?!~+-.|0 ", max_size=30))
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=8
)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


UTF8 = st.text(st.characters(codec="utf-8"), max_size=20)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | UTF8,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(UTF8, inner, max_size=4),
    max_leaves=10,
)
"""What JSON can hold and `checked` lets through: it gets further than the strange values, and does other harm."""
STRANGE = st.one_of(VALUES, PLAIN, st.sampled_from([63, 65, 400]).map(deep))


@st.composite
def changed(draw: st.DrawFn, original: Any) -> Any:
    """Return a JSON value with a few of its parts replaced, left out, or added."""
    value = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        node, parent, key = value, None, None
        while isinstance(node, (dict, list)) and node and draw(st.integers(0, 4)):
            parent = node
            key = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            node = node[key]
        what = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        other = draw(st.one_of(PLAIN, STRANGE))
        if parent is None:
            value = other if what == "replace" else value
        elif what == "remove":
            del parent[key]
        elif what == "add" and isinstance(parent, dict):
            parent[draw(TEXTS)] = other
        else:
            parent[key] = other
    return value


def dumped(value: Any) -> bytes:
    """Return JSON as anybody may write it: with NaN, and halves of characters."""
    return json.dumps(value).encode(errors="surrogatepass")


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Return a file's content cut off, or with some bytes that are others, or something else altogether."""
    how = draw(st.sampled_from(["cut", "flip", "insert", "other"]))
    place = draw(st.integers(0, max(len(content) - 1, 0)))
    if how == "cut":
        return content[:place]
    noise = draw(st.binary(min_size=1, max_size=8))
    if how == "other":
        return noise
    return content[:place] + noise + content[place + (len(noise) if how == "flip" else 0) :]


@contextlib.contextmanager
def only(*expected: type[Exception]) -> Iterator[None]:
    """Let the errors through that a reader promises, and check that they can be read."""
    try:
        yield
    except expected as error:
        message = str(error).strip()
    else:
        return
    assert message


# -- records and JSON

JOB = synthetic.job(synthetic.workload("Bert"), "inductor", env={"OMP_NUM_THREADS": "1"})
RESULT = synthetic.performance_result(JOB, pairs=[(0.2, 0.1)] * 6)


@many
@given(STRANGE)
def test_any_json_is_a_record_or_a_value_error(value: Any) -> None:
    for kind in (JobSpec, JobResult, Workload, PluginSpec, Sweep):
        with only(ValueError):
            from_json(kind, value)


@many
@given(changed(to_json(RESULT)))
def test_a_changed_result_is_a_record_or_a_value_error(value: Any) -> None:
    with only(ValueError):
        assert from_json(JobResult, to_json(from_json(JobResult, value))) == from_json(JobResult, value)


@many
@given(st.dictionaries(UTF8, PLAIN, max_size=4))
def test_what_a_worker_can_write_is_read_back_but_for_escapes(
    tmp_path_factory: pytest.TempPathFactory, facts: Any
) -> None:
    folder = SweepFolder(_place(tmp_path_factory) / "plain")
    result = JobResult(job_id=JOB.id, status="pass", facts=facts, started=1.0, ended=2.0)
    folder.write_result(result)
    assert folder.read_result(JOB.id) == dataclasses.replace(result, facts=checked(copy.deepcopy(facts)))


@many
@given(st.one_of(st.binary(max_size=60), STRANGE.map(dumped), damaged(dumped(to_json(RESULT)))))
@example(b"[" * 100_000)
@example(b"1e999")
@example(b"NaN")
@example(b"-Infinity")
@example(b'"\\ud800"')
@example(b"9" * 5000)
@example(b"")
def test_any_file_is_json_or_a_value_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = _place(tmp_path_factory) / "any.json"
    file.write_bytes(content)
    with only(ValueError):
        value = read_json(file)
        assert checked(value) == value
        json.dumps(value, allow_nan=False).encode()


def _place(factory: pytest.TempPathFactory) -> Path:
    place = factory.getbasetemp() / "properties"
    place.mkdir(exist_ok=True)
    return place


# -- sweep folders, and files that gate, diff and history read


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep as it should be, with its baseline file and its tables."""
    place = tmp_path_factory.mktemp("good")
    made = synthetic.SyntheticSweep(place / "outputs" / "2026-01-01" / "10-00-00")
    eager = made.performance("Bert", "eager", latency=0.2)
    made.performance("Bert", "inductor", baseline=eager, latency=0.1, pairs=[(0.2, 0.1)] * 20)
    made.accuracy(synthetic.workload("Bert", batch_size=1), "inductor")
    failed = synthetic.job("T5", "inductor", env={"OMP_NUM_THREADS": "1"})
    made.add(failed, synthetic.failed_result(failed, "crash", "it died"))
    folder = made.write()
    folder.log_file(failed.id).write_text("the end of it\n")
    point = {
        "compiler": {"name": "inductor"},
        "measure": {"name": "performance"},
        "rounds": 1,
        "effect_threshold": 0.01,
        "execution": {"timeout_s": 600.0, "retries": 1, "parallel": 1},
        "exclude": [],
        "online": False,
    }
    header = Sweep(
        argv=("compiler=inductor",),
        overrides=("compiler=inductor",),
        points=(point,),
        created=1000.0,
        environment={"host": "x", "packages": {"torch": "2"}, "gpus": [{"name": "H"}]},
        grid=(("compiler=inductor",),),
    )
    folder.write_plan(header, folder.read_graph())
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["gate", str(folder), "--against", str(place / "baseline.json"), "--accept"]) == 0
    for form in ("json", "csv"):
        tables = io.StringIO()
        with contextlib.redirect_stdout(tables):
            main(["report", str(folder), f"--{form}"])
        (place / f"tables.{form}").write_text(tables.getvalue())
    return place


FILES = ("sweep.json", "plan.json", "jobs/{}/job.json", "jobs/{}/result.json", "jobs/{}/log.txt", "lock")


@few
@given(data=st.data())
def test_no_sweep_folder_shows_anyone_a_traceback(
    good: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Parts of its files are others, or missing, or the files are no JSON at all."""
    place = _place(tmp_path_factory) / "outputs"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(good / "outputs", place)
    folder = SweepFolder(place / "2026-01-01" / "10-00-00")
    jobs = [job.id for job in folder.read_graph().jobs]
    for _ in range(data.draw(st.integers(1, 2))):
        file = folder.root / data.draw(st.sampled_from(FILES)).format(data.draw(st.sampled_from(jobs)))
        content = file.read_bytes() if file.exists() else b"x"
        if file.suffix == ".json" and data.draw(st.integers(0, 3)):
            with contextlib.suppress(ValueError):
                content = dumped(data.draw(changed(json.loads(content))))
        else:
            content = data.draw(damaged(content))
        file.write_bytes(content)
    read_all(folder, good, jobs)


def read_all(folder: SweepFolder, good: Path, jobs: list[str]) -> None:
    """Run every verb on the folder; each ends with one of its codes, and what it says can do nothing to a terminal."""
    place, baseline = str(folder), str(good / "baseline.json")
    quiet(["ls", "--root", str(folder.root.parents[1])])
    quiet(["show", place])
    for job in jobs[1:]:
        quiet(["show", f"{place}:{job}"])
    quiet(["show", f"{place}:{jobs[1]}", "--json"])
    for form in ("--json", "--md", "--csv"):
        quiet(["report", place, form])
    quiet(["report", place])
    quiet(["gate", place, "--against", baseline, "--junit", str(folder.root / "junit.xml")])
    quiet(["gate", place, "--against", str(folder.root / "accepted.json"), "--accept", "--force"])
    quiet(["diff", baseline, place, "--all"])
    quiet(["diff", f"{place}:{jobs[0]}", f"{place}:{jobs[1]}", "--all"])
    quiet(["history", "--root", str(folder.root.parents[1]), "--svg", str(folder.root / "history.svg")])
    quiet(["rerun", place, "--dry-run"])
    quiet(["rerun", place, "--dry-run", "--failed", "--rounds", "2"])
    quiet([f"resume={place}", "dry_run=true"])


def quiet(arguments: list[str]) -> int:
    """Run the command in this process; return its code. Anything that is raised fails the test."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as end:  # argparse
            code = end.code if isinstance(end.code, int) else 2
    assert code in (0, 1, 2), arguments
    said = out.getvalue() + err.getvalue()
    strange = [place for place, one in enumerate(said) if not one.isprintable() and one != "\n"]
    strange = [place for place in strange if said[max(place - 1, 0) : place + 1] != f"@{INVISIBLE}"]  # nobody is called
    assert [said[max(place - 30, 0) : place + 30] for place in strange] == [], arguments
    said.encode()
    return code


@few
@given(data=st.data())
def test_no_file_that_is_compared_with_shows_anyone_a_traceback(
    good: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(["baseline.json", "tables.json", "tables.csv"]))
    content = (good / name).read_bytes()
    if name.endswith(".json") and data.draw(st.integers(0, 3)):
        content = dumped(data.draw(changed(json.loads(content))))
    elif name.endswith(".csv") and data.draw(st.booleans()):
        rows = list(csv.reader(io.StringIO(content.decode())))
        row = rows[data.draw(st.integers(0, len(rows) - 1))]
        row[data.draw(st.integers(0, len(row) - 1))] = str(data.draw(SCALARS))
        text = io.StringIO()
        csv.writer(text).writerows(rows)
        content = text.getvalue().encode(errors="surrogatepass")
    else:
        content = data.draw(damaged(content))
    file = _place(tmp_path_factory) / name
    file.write_bytes(content)
    sweep = str(good / "outputs" / "2026-01-01" / "10-00-00")
    quiet(["diff", str(file), sweep, "--all"])
    quiet(["diff", sweep, str(file), str(file), "--json"])
    quiet(["gate", sweep, "--against", str(file)])
    quiet(["gate", sweep, "--against", str(file), "--accept"])
    file.write_bytes(content)
    quiet(["history", "--root", str(good / "outputs"), str(file)])


# -- CSV files of other tools

COLUMNS_OF_THEIRS = [
    "dev",
    "name",
    "batch_size",
    "speedup",
    "abs_latency",
    "compilation_latency",
    "compression_ratio",
    "eager_peak_mem",
    "dynamo_peak_mem",
    "calls_captured",
    "accuracy",
    "tag",
]
CELLS = st.one_of(
    TEXTS, NUMBERS.map(str), st.sampled_from(["cpu", "cuda", "Bert", "0", "pass", "OOM", "infra_error", "1.5"])
)


@many
@given(
    header=st.one_of(st.permutations(COLUMNS_OF_THEIRS), st.lists(CELLS, max_size=6)),
    rows=st.lists(st.lists(CELLS, max_size=12), max_size=4),
    cut=st.integers(0, 10),
    name=st.sampled_from(
        ["inductor_huggingface_amp_training_cuda_performance.csv", "x_y_float32_inference_cpu_accuracy.csv", "z.csv"]
    ),
)
def test_no_csv_of_another_tool_shows_anyone_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, header: list[str], rows: list[list[str]], cut: int, name: str
) -> None:
    place = _place(tmp_path_factory)
    text = io.StringIO()
    csv.writer(text, escapechar="\\").writerows([header, *rows])
    content = text.getvalue().encode(errors="surrogatepass")
    (place / name).write_bytes(content[: len(content) - cut])
    shutil.rmtree(place / "imported", ignore_errors=True)
    quiet(["import", "dynamobench", str(place / name), "--into", str(place / "imported" / "x")])
    if (place / "imported").exists():
        assert quiet(["report", str(place / "imported" / "x"), "--csv"]) in (0, 1)


@many
@given(TEXTS)
def test_any_file_name_is_read_or_is_none(name: str) -> None:
    found = dynamobench.parse_name(name)
    assert found is None or str(found)
    assert "/" not in dynamobench.word(name)
    assert dynamobench.word(name) not in ("", ".", "..")


# -- what stands on a command line


@many
@given(st.lists(TEXTS, min_size=1, max_size=3).map(",".join))
@example("model=[")
@example("model=" + "*" * 50 + "x")
@example("model=" + "a" * 100_000)
def test_any_only_is_a_rule_or_a_usage_error(good: Path, text: str) -> None:
    graph = SweepFolder(good / "outputs" / "2026-01-01" / "10-00-00").read_graph()
    with only(UsageError):
        rule = matching.parse_only(text, details.ONLY)
        details.select(SweepFolder(good), graph.jobs, {k: v for k, v in rule.items() if k != "status"})
    with only(UsageError):
        replay.matching(graph, [text])
    for key in matching.KEYS:
        with only(UsageError):
            replay.matching(graph, [f"{key}={text}"])


KEYS = st.sampled_from(
    [
        "compiler",
        "dtype",
        "batch_size",
        "rounds",
        "seed",
        "exclude",
        "zip",
        "grids",
        "resume",
        "online",
        "suite.filter",
        "suite.models",
        "compiler.options.dynamic",
        "compiler.options.options",
        "execution.env.A",
        "execution.timeout_s",
        "execution",
        "gate",
        "shard",
        "experiment",
        "threads",
        "effect_threshold",
        "hydra.sweep.dir",
        "measure.options.pairs",
    ]
)
OVERRIDES = st.one_of(
    TEXTS,
    st.builds("{}={}".format, KEYS, st.one_of(TEXTS, NUMBERS.map(str))),
    st.builds("{}{}={}".format, st.sampled_from(["+", "++", "~", ""]), TEXTS, TEXTS),
    st.sampled_from(
        [
            "rounds=range(1,1000000000000)",
            "a=choice(1,2)",
            "a=glob(*)",
            "a=range(0,1,1e-300)",
            "a=interval(0,1)",
            "a=tag(x,choice(1))",
            "a=sort(3,2)",
            "a=shuffle(range(1,5))",
            "a=" + "[" * 90,
            "a=int(x)",
            "a=range(1,nan)",
        ]
    ),
)


@many
@given(st.lists(OVERRIDES, min_size=1, max_size=3))
@example(["a=range(1,1000000000000)"])
@example(["a=range(1,1000)", "b=range(1,1000)", "c=range(1,1000)"])
@example(["a=range(0,nan)"])
@example(["a=range(0,1,0)"])
def test_any_override_is_a_grid_or_a_usage_error(overrides: list[str]) -> None:
    with only(UsageError):
        assert len(grid.expand(overrides, {}, [], [], LOADER)) <= grid.MOST_POINTS
    with only(UsageError):
        resume.read(overrides)
    for override in overrides:
        assert grid.normalise(grid.normalise(override)) == grid.normalise(override)


@few
@given(st.lists(OVERRIDES, min_size=1, max_size=2))
@example(["seed=99999999999999999999"])
@example(["execution.timeout_s=inf"])
@example(["batch_size=99999999999999999999"])
@example(["compiler.options.options={a:{b:.inf}}"])
@example(["rounds=1000000000"])
@example(["seed=${seed}"])
def test_any_command_line_is_a_plan_or_a_usage_error(overrides: list[str]) -> None:
    """As far as Hydra composes it: its flags and its file names are not in it."""
    words = [word for word in overrides if not word.startswith(("-", "hydra")) and word]
    quiet(["dry_run=true", "suite.models=[bert_tiny]", "suite=tiny", *words])


# -- configurations

SUITE = {
    "name": "s",
    "target": "orchestrator.suites.known.KnownModel",
    "models": None,
    "filter": None,
    "exclude": None,
    "common": {"batch_size": {"cpu": 2}, "tolerance": {"inference": 1e-3}},
    "catalog": {
        "a": {"build": {"kind": "sleep"}, "skip": [{"reason": "x", "dtype": "float16"}]},
        "b": {"build": {"kind": "fail"}},
    },
}


@many
@given(changed(SUITE))
def test_any_suite_is_models_or_a_usage_error(conf: Any) -> None:
    """Hydra's schema lets only these keys through, and maps where maps are."""
    if isinstance(conf, Mapping) and conf.keys() >= SUITE.keys() and _as_hydra_has_it(conf):
        with only(UsageError):
            assert read_suite(conf).models is not None


def _as_hydra_has_it(conf: Mapping[str, Any]) -> bool:
    maps = all(isinstance(conf[key], Mapping) for key in ("common", "catalog"))
    texts = all(conf[key] is None or isinstance(conf[key], str) for key in ("filter", "exclude"))
    models = [] if conf["models"] is None else conf["models"]
    return maps and texts and isinstance(models, list) and all(isinstance(model, str) for model in models)


@pytest.fixture(scope="module")
def point() -> dict[str, Any]:
    return Composer(LOADER, compose(LOADER, "config", [])).point(["suite=tiny", "measure=performance"])


@few
@given(data=st.data())
def test_options_of_plug_ins_are_checked(point: dict[str, Any], data: st.DataObject) -> None:
    """What OmegaConf's schema leaves open: options, env, exclude."""
    conf = copy.deepcopy(point)
    options = st.dictionaries(
        st.sampled_from(["backend", "mode", "dynamic", "options", "fullgraph"]) | TEXTS, STRANGE, max_size=3
    )
    for group in ("compiler", "measure", "mode"):
        conf[group]["options"] = data.draw(options)
    conf["exclude"] = data.draw(st.lists(STRANGE, max_size=2))
    conf["execution"]["env"] = data.draw(st.dictionaries(TEXTS, TEXTS, max_size=2))
    conf["seed"], conf["execution"]["timeout_s"] = data.draw(st.integers()), data.draw(st.floats())
    with only(UsageError):
        PointReader().read(conf)


# -- the rules of a gate


@many
@given(st.one_of(st.text(max_size=60), STRANGE.map(lambda value: json.dumps(value)), TEXTS))
@example("a: &a [*a]")
@example("flaky: &a [&b [x, x], *b, *b]")
@example("thresholds: {speedup: 0x" + "f" * 5000 + "}")
@example("thresholds: {0x" + "f" * 5000 + ": 1}")
@example("[" * 5000)
@example("? {}\n: x")
@example("flaky: [{model: x, reason: y, expires: 2026-99-99}]")
def test_any_yaml_is_rules_or_a_usage_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = _place(tmp_path_factory) / "rules.yaml"
    file.write_bytes(text.encode(errors="surrogatepass"))
    with only(UsageError):
        rules.read(file)


@many
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(rules.SECTIONS, STRANGE)))
def test_any_sections_are_rules_or_a_usage_error(data: Any) -> None:
    with only(UsageError):
        rules.parse(data, "rules")


# -- what goes out

NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=20)


@many
@given(NAMES)
@example("$(touch x)")
@example("'; touch x; '")
@example("a b\\'c")
@example('`x`"')
@example("[a,b]")
@example("!x")
@example("0")
@example("1e5")
@example("null")
@example("true")
@example("²")
def test_a_command_is_what_it_says_whatever_a_model_is_called(name: str) -> None:
    """Pasted into a shell it is the words that it was made of, and Hydra reads the name out of them."""
    load, spec = synthetic.workload(name), PluginSpec(name=name, target="x.Y")
    words = shlex.split(reproduce.command(load, spec, ["performance"]))
    assert words[:3] == ["python", "-m", "orchestrator"]
    found = {override.key_or_group: override.value() for override in grid.parse(words[3:], LOADER)}
    assert found["suite.models"] == [name]
    assert found["compiler"] == name
    for key in ("compiler.options.x", "execution.env.A"):
        (override,) = grid.parse(shlex.split(shlex.quote(configuration.override(key, name))), LOADER)
        assert override.value() == name


@many
@given(st.text(max_size=40) | NASTY)
def test_a_cell_is_no_formula_no_markup_and_no_escape(text: str) -> None:
    table = Table.of(("model", "reason"), [{"model": text, "reason": "r"}])
    written = exports.to_csv(table)
    (header, row) = csv.reader(io.StringIO(written))
    assert header == ["model", "reason"]
    assert not row[0].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert all(character.isprintable() or character in "\r\n" for character in written)
    markdown = exports.to_markdown("summary", table)
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(markdown)
    kinds = {child.type for token in tokens for child in token.children or ()}
    assert kinds <= {"text", "code_inline", "softbreak", "text_special"}
    rows = [token for token in tokens if token.type == "tr_open"]
    assert len(rows) in (0, 2)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("www.example.org", "www\\.example.org"),
        ("see https://example.org/x", "see https\\://example.org/x"),
        ("pytorch/pytorch#12", "pytorch/pytorch#\u200b12"),
        ("fixed by GH-12", "fixed by GH-\u200b12"),
        ("WWW.example.org", "WWW\\.example.org"),
        ("@someone", "@\u200bsomeone"),
    ],
)
def test_what_github_alone_takes_for_a_link_is_broken(text: str, written: str) -> None:
    table = Table.of(("model", "reason"), [{"model": text, "reason": "r"}])
    assert f"| {written} |" in exports.to_markdown("summary", table)


@many
@given(st.text(max_size=200) | NASTY)
def test_printable_lines_are_printable(text: str) -> None:
    assert all(line.isprintable() for line in printable(text))


@many
@given(st.text(alphabet="\x1b[]\x9b0;?\x07\\ab", max_size=2000))
@example("\x1b]" * 50_000)
@example("\x1b[" + "0" * 100_000)
@example("\x9b" * 100_000)
def test_escapes_are_found_in_no_time(text: str) -> None:
    """No text makes the expression go over it again and again."""
    import time

    began = time.process_time()
    printable(text)
    assert time.process_time() - began < 2.0
