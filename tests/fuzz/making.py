"""Makes cases: words and files that people, editors and enemies could write."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from support.golden_sweeps import RULES

from fuzz.running import AFTER, BEFORE, Case
from orchestrator.cli import VERBS
from orchestrator.planning.keys import Keys
from orchestrator.planning.options import packaged

ROOT = Path(__file__).parent.parent.parent
SCALARS: Sequence[Any] = (
    *(None, True, False, 0, -1, 1, 2, 1e308, 5e-324, -0.0, float("nan"), float("inf"), 10**30, 1.5, 2592000),
    *("", " ", "x", "eager", "inductor", "-1", "1e999", "010", "0x10", "1_000", "null", "~", "yes", "NaN", "1:30"),
    *(
        "${x}",
        "${oc.env:HOME}",
        "${oc.env:NOT_THERE}",
        "${suite}",
        "$HOME",
        "a" * 20_000,
        "é",
        "٣",
        "\x1b[31m",
        "\u202e",
    ),
    *("../..", "/", "/dev/null", ".", "a/b", "a:b", "a,b", "a=b", "[", "{", "]", "'", '"', "\\", "`", "#", "%s", "{}"),
    *("glob(*)", "range(1,3)", "range(1,1e9)", "choice(1,2)", "sort(a,b)", "os:system", "torch.nn:Linear", "\n", "\t"),
    *("latest", "latest~1", "latest~²", "before", AFTER, "20min", "1e9h", "3/2", "1/0", "0/0", "1/99999999999"),
)
TREES: Sequence[Any] = ([], {}, [[]], {"": 1}, [None], [{}], {"a": {"b": {"c": 1}}}, ["a", 1, None, {"b": []}], [1, 1])
MARKS = "[]{}()<>,:;='\"\\$`#!&*?|~^%@+-./ \t\n\x1b\u00e9\u202e"
SOUND = (
    *(
        "compiler=eager,inductor",
        "suite=tiny",
        "suite=quick",
        "dtype=float16",
        "mode=inference,training",
        "batch_size=1,2",
    ),
    *(
        "measure=accuracy",
        "rounds=2",
        "suite.models=[bert_tiny]",
        "exclude=[{compiler:inductor,dtype:float16}]",
        "seed=1",
    ),
    *(
        "zip=[dtype,batch_size]",
        "gate=accuracy",
        "budget=20min",
        "shard=1/2",
        "threads=1",
        "device=cpu",
        "sequence_length=8",
    ),
)
SOUND_WORDS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("report", "show", "rerun"), (AFTER,)),
    **dict.fromkeys(("ls", "history", "options", "completion", "import"), ()),
    "diff": (BEFORE, AFTER),
    "merge": (BEFORE, AFTER),
    "gate": (AFTER, "--against", BEFORE),
    "export": ("csv", AFTER, "-o", "out"),
}
OF_A_SWEEP = ("report", "show", "diff", "ls", "history", "gate", "export", "merge")


class Maker:
    """Makes cases from a source of chance; the sweeps that are damaged lie below `begin`."""

    def __init__(self, chance: random.Random, begin: Path) -> None:
        self._chance, self._begin = chance, begin
        keys = Keys([packaged("conf")])
        self._groups = keys.groups
        self._keys = [
            *keys.all(),
            *keys.groups,
            "hydra.mode",
            "hydra.sweep.dir",
            "hydra.sweeper.params",
            "~suite",
            "+x",
        ]
        self._kinds: Sequence[Callable[[], Case]] = (
            *(self._sweep, self._sweep, self._verb),
            *(self._experiment, self._option, self._csv, self._rules, self._stored, self._stored, self._stored),
        )
        files = sorted(ROOT.glob("tests/**/*.csv"))
        self._csv_files = [one for one in files if "name" in one.read_text(errors="replace").split("\n")[0].split(",")]
        self._flags = {verb: self._flags_of(module) for verb, (module, _) in VERBS.items()}

    def case(self) -> Case:
        return self._chance.choice(self._kinds)()

    # -- command lines

    def _sweep(self) -> Case:
        words = [self._chance.choice(SOUND) for _ in range(self._chance.randint(0, 3))]
        words += [self._override() for _ in range(self._chance.choice([1, 1, 1, 2, 3]))]
        self._chance.shuffle(words)
        if self._chance.random() < 0.3:
            words.insert(
                self._chance.randrange(len(words)), self._chance.choice(["-m", "--cfg", "job", "--info", "--trust"])
            )
        return Case("command line", [*words, "dry_run=true"])

    def _verb(self) -> Case:
        verb = self._chance.choice([*VERBS, "reprot"])
        return Case("verb", [verb, *self._arguments(verb)])

    def _arguments(self, verb: str) -> list[str]:
        """Return arguments that start nothing: `rerun` only shows what it would do."""
        words = list(SOUND_WORDS.get(verb, ())) if self._chance.random() < 0.7 else []
        if not words or self._chance.random() < 0.2:
            places = [BEFORE, AFTER, "latest", "latest~1", self._word()]
            words += [self._chance.choice(places) for _ in range(self._chance.randint(0, 3))]
        for _ in range(self._chance.randint(0, 3)):
            words.append(self._chance.choice(self._flags.get(verb, ["--help"])))
            if self._chance.random() < 0.6:
                words.append(self._word())
        return [*words, "--dry-run"] if verb == "rerun" else words

    def _override(self) -> str:
        key = self._chance.choice(self._keys)
        if self._chance.random() < 0.15:
            key = self._damaged(key)
        values = self._groups.get(key, ())
        value = self._chance.choice(values) if values and self._chance.random() < 0.5 else self._word()
        return self._damaged(f"{key}={value}") if self._chance.random() < 0.1 else f"{key}={value}"

    def _word(self) -> str:
        value = self._chance.choice([*SCALARS, *TREES])
        word = value if isinstance(value, str) else json.dumps(value)
        return self._damaged(word) if self._chance.random() < 0.2 else word

    @staticmethod
    def _flags_of(module: str) -> list[str]:
        text = (ROOT / f"{module.replace('.', '/')}.py").read_text() + (ROOT / "orchestrator/cli/output.py").read_text()
        return sorted(set(re.findall(r'"(--[a-z-]+)"', text))) or ["--help"]

    # -- files

    def _experiment(self) -> Case:
        return Case(
            "experiment",
            ["mine.yaml", "dry_run=true"],
            {"mine.yaml": self._file(sorted((ROOT / "experiments").glob("*.yaml")))},
        )

    def _option(self) -> Case:
        group = self._chance.choice(
            ["suite", "suite", "compiler", "mode", "measure", "dtype", "quantization", "precision"]
        )
        text = self._file(sorted((ROOT / "conf" / group).glob("*.yaml")))
        return Case(
            "option", ["--config-dir", "mine", f"{group}=own", "dry_run=true"], {f"mine/{group}/own.yaml": text}
        )

    def _rules(self) -> Case:
        text = self._text(yaml.safe_load(RULES))
        return Case("rules", ["gate", AFTER, "--against", BEFORE, "--rules", "rules.yaml"], {"rules.yaml": text})

    def _csv(self) -> Case:
        source = self._chance.choice(self._csv_files)
        text = source.read_text(errors="replace")
        for _ in range(self._chance.randint(1, 4)):
            text = self._with_a_cell(text) if self._chance.random() < 0.7 else self._damaged(text)
        return Case("csv", ["import", "dynamobench", source.name, "--into", "outputs/imported"], {source.name: text})

    def _stored(self) -> Case:
        """A sweep folder with one file that is not as it was written."""
        folder = self._begin / AFTER
        file = self._chance.choice([folder / "sweep.json", folder / "plan.json", *sorted(folder.glob("jobs/*/*.json"))])
        text = self._text(json.loads(file.read_text()), as_json=True)
        verb = self._chance.choice(OF_A_SWEEP)
        words = [verb, *SOUND_WORDS[verb]]
        if verb in ("report", "diff", "gate", "history") and self._chance.random() < 0.6:
            words.append(self._chance.choice(["--md", "--json", "--csv"]))
        return Case("sweep folder", words, {str(file.relative_to(self._begin)): text})

    def _file(self, files: Sequence[Path]) -> str:
        return self._text(yaml.safe_load(self._chance.choice(files).read_text()))

    def _text(self, tree: Any, as_json: bool = False) -> str:
        """Return a tree with some of its nodes changed, as text, sometimes damaged."""
        for _ in range(self._chance.choice([1, 1, 1, 2, 3])):
            tree = self._changed(tree)
        deep = self._chance.random() < 0.01
        if as_json:
            text = json.dumps(tree)
            text = "[" * 100_000 if deep else text
        else:
            text = yaml.safe_dump(tree, allow_unicode=True)
            text = "a: " + "[" * 5_000 if deep else text
        return self._damaged(text) if self._chance.random() < 0.15 else text

    def _changed(self, tree: Any) -> Any:
        """Return a copy of a tree in which one node is another, gone, twice there, or has another name."""
        tree = copy.deepcopy(tree)
        places = list(_places(tree))
        if not places:
            return self._chance.choice([*SCALARS, *TREES])
        holder, key = self._chance.choice(places)
        what = self._chance.randrange(6)
        if what == 0:
            del holder[key]
        elif what == 1 and isinstance(holder, dict):
            holder[self._damaged(str(key))] = holder.pop(key)
        elif what == 2 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif what == 3:
            holder[key] = [holder[key]]
        elif what == 4:
            other, name = self._chance.choice(places)
            holder[key] = copy.deepcopy(other[name])
        else:
            holder[key] = copy.deepcopy(self._chance.choice([*SCALARS, *TREES]))
        return tree

    def _with_a_cell(self, text: str) -> str:
        lines = text.split("\n")
        row = self._chance.randrange(len(lines))
        cells = lines[row].split(",")
        cells[self._chance.randrange(len(cells))] = self._word()
        lines[row] = ",".join(cells)
        return "\n".join(lines)

    def _damaged(self, text: str) -> str:
        """Return a text of which a few characters are gone, others, or there twice."""
        for _ in range(self._chance.randint(1, 3)):
            at = self._chance.randrange(len(text) + 1)
            cut = self._chance.choice([0, 0, 1, 1, 2, 10])
            new = self._chance.choice(["", self._chance.choice(MARKS), text[at : at + 5]])
            text = text[:at] + new + text[at + cut :]
        return text


def _places(tree: Any) -> Any:
    """Yield (holder, key) of all nodes below a tree."""
    items: Any = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        yield tree, key
        yield from _places(value)
