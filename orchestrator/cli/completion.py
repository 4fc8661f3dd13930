"""The verb `completion`: a script that makes a shell complete verbs, groups, options, keys and sweeps.

The script asks this verb for candidates at each Tab (`completion candidates WORD ...`), so that what was added to
conf/, experiments/ or outputs/ is among them at once. Names of files are read, and nothing else: no Hydra, no torch.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from orchestrator.cli import VERBS, output
from orchestrator.planning.options import Option, options, packaged
from orchestrator.store import find_sweeps

BOOLEAN = ("true", "false")
KEYS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("suite.models", "suite.filter", "suite.exclude", "device.index", "measure.timeout_s"), ()),
    **dict.fromkeys(
        ("batch_size", "sequence_length", "rounds", "rounds_min", "budget", "seed", "threads", "ranks"), ()
    ),
    **dict.fromkeys(("exclude", "zip", "grids", "effect_threshold", "shard", "resume", "tag", "compare_outputs"), ()),
    **dict.fromkeys(("dry_run", "online", "keep_outputs", "randomize_input"), BOOLEAN),
    "gate": ("accuracy",),
    **dict.fromkeys(("build", "builds"), ()),
    "execution.launcher": ("fork", "subprocess"),
    "execution.parallel": ("auto",),
    "execution.devices": ("all",),
    "execution.cpu_sets": (),
    **dict.fromkeys(("execution.shards", "execution.timeout_s", "execution.retries", "execution.env"), ()),
    **dict.fromkeys(("execution.memory_limit_gib", "execution.memory_fraction", "execution.disk_reserve_mib"), ()),
    **dict.fromkeys(("execution.keep_caches", "execution.keep_references", "execution.stop_on_failure"), BOOLEAN),
    "execution.device_lock": BOOLEAN,
}
FLAGS: Mapping[str, Sequence[str] | None] = {
    **dict.fromkeys(("--help", "--version", "--trust", "--hydra-help", "--multirun")),
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--config-dir": (),
}
"""Flags of a sweep -> their values; () for a file's name, None for none."""
NAMES_SWEEP = ("SWEEP", "REF", "BASE")
"""What verbs call an argument that may be a sweep, in their help."""
TAKE_SWEEPS = ("report", "rerun", "diff", "gate", "show", "export", "merge", "bisect")
MOST_SWEEPS = 200
PLAIN = re.compile(r"[\w.,/=+~:\[\]@%-]+")
"""A candidate is put onto the command line as it is: names with blanks, quotes or `$(` are left out."""
FLAG = re.compile(r"^ +(?:-\w(?: \S+)?, )?(--[\w-]+)(?: \[?([A-Z]+))?", re.MULTILINE)
FORMAT = re.compile(r"^ {4}([a-z]\S*)", re.MULTILINE)
"""A sub-command in argparse's help: `dynamobench` of `export`."""
MODEL = re.compile(r"^  (\w[\w.-]*):", re.MULTILINE)

BASH = r"""# orchestrator completion bash: put  eval "$(orchestrator completion bash)"  into ~/.bashrc
_orchestrator() {
  local line="${COMP_LINE:0:COMP_POINT}" words current head breaks found
  read -ra words <<< "$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  current="${words[${#words[@]}-1]}"
  breaks="${COMP_WORDBREAKS//[^=:]/}"  # where bash begins another word
  [[ -n $breaks ]] && head="${current%"${current##*[$breaks]}"}"
  COMPREPLY=()
  while IFS= read -r found; do
    COMPREPLY+=("${found#"$head"}")
  done < <("${1/#\~/$HOME}" completion candidates "${words[@]:1}" 2>/dev/null)
  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/] ]] && compopt -o nospace 2>/dev/null
  return 0
}
complete -o default -F _orchestrator orchestrator
"""
ZSH = r"""#compdef orchestrator
# orchestrator completion zsh: put  eval "$(orchestrator completion zsh)"  into ~/.zshrc, after compinit
_orchestrator() {
  local -a found open
  found=(${(f)"$(${~words[1]} completion candidates "${(@)words[2,CURRENT]}" 2>/dev/null)"})
  open=(${(M)found:#*=})
  found=(${found:#*=})
  (( $#open )) && compadd -S '' -- $open
  (( $#found )) && compadd -- $found
  (( $#open + $#found )) || _files
}
compdef _orchestrator orchestrator
"""
FISH = r"""# orchestrator completion fish: put  orchestrator completion fish | source  into ~/.config/fish/config.fish
function __orchestrator_candidates
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] completion candidates $words[2..-1] "$current" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c orchestrator -f -a '(__orchestrator_candidates)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def main(argv: Sequence[str]) -> int:
    """Run `python -m orchestrator completion`."""
    if argv[:1] == ["candidates"]:
        print("".join(f"{word}\n" for word in candidates(argv[1:])), end="")
        return 0
    parser = output.Parser(
        prog="python -m orchestrator completion",
        description="Print the script that makes a shell complete verbs, groups, options, keys and sweeps.",
        epilog='bash, zsh: eval "$(orchestrator completion bash)"; fish: orchestrator completion fish | source',
    )
    parser.add_argument("shell", choices=SCRIPTS)
    print(SCRIPTS[parser.parse_args(argv).shell], end="")
    return 0


def candidates(words: Sequence[str]) -> list[str]:
    """Return what the last of the words, as far as it is typed, may become; [] for names of files."""
    *before, current = words or [""]
    if before and before[0] in VERBS:
        found = _of_verb(before[0], before[1:], current)
    else:
        found = [*(VERBS if not before else ()), *_of_sweep(before, current)]
    return [word for word in dict.fromkeys(found) if word.startswith(current) and PLAIN.fullmatch(word)]


def _of_sweep(before: Sequence[str], current: str) -> Iterable[str]:
    asked = FLAGS.get(before[-1]) if before else None
    if asked is not None:
        return asked
    if current.startswith("-"):
        return FLAGS
    folders = [Path(after) for flag, after in itertools.pairwise(before) if flag in ("--config-dir", "-cd")]
    known = options([*folders, packaged("conf")], [Path("experiments"), packaged("experiments")])
    key, equals, value = current.partition("=")
    sign = key[: len(key) - len(key.lstrip("+"))]
    if not equals:
        return [f"{sign}{name}=" for name in (*dict.fromkeys(option.group for option in known), *KEYS)]
    done = value[: max(value.rfind(","), value.rfind("[")) + 1]  # of a list, what stands before its last value
    values = _values(key.removeprefix(sign), before, known, [*folders, packaged("conf")])
    return [f"{key}={done}{name}" for name in values if name not in done.strip("[").split(",")]


def _values(key: str, before: Sequence[str], known: Sequence[Option], folders: Sequence[Path]) -> Iterable[str]:
    if key == "suite.models":
        named = dict(word.split("=", 1) for word in before if "=" in word).get("suite", "quick")
        files = [folder / "suite" / f"{name}.yaml" for name in named.split(",") for folder in folders]
        return (model for file in files if file.is_file() for model in _models(file))
    if key == "resume":
        return _sweeps(Path("outputs"))
    return KEYS.get(key) or [option.name for option in known if option.group == key]


def _models(file: Path) -> list[str]:
    _, _, catalog = file.read_text(encoding="utf-8", errors="replace").partition("\ncatalog:")
    return MODEL.findall(re.split(r"^\w", catalog, maxsplit=1, flags=re.MULTILINE)[0])


def _of_verb(verb: str, before: Sequence[str], current: str) -> Iterable[str]:
    if verb == "completion":
        return SCRIPTS
    text = _help(verb)
    formats = FORMAT.findall(text) if verb in ("export", "import") else []
    if before and before[0] in formats:
        text = _help(verb, before[0])
    elif formats:
        return formats if not current.startswith("-") else ("--help",)
    flags = dict(FLAG.findall(text))
    if current.startswith("-"):
        return flags
    asked = flags.get(before[-1], "") if before else ""
    if asked and asked not in NAMES_SWEEP:
        return ()
    if verb == "options":
        return {option.group for option in options([packaged("conf")], [packaged("experiments")])}
    roots = [Path(after) for flag, after in itertools.pairwise(before) if flag == "--root"]
    return _sweeps(roots[-1] if roots else Path("outputs")) if verb in TAKE_SWEEPS else ()


def _help(verb: str, *more: str) -> str:
    """Return what `VERB --help` prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        importlib.import_module(VERBS[verb][0]).main([*more, "--help"])
    return printed.getvalue()


def _sweeps(root: Path) -> Iterator[str]:
    yield from ("latest", "latest~1")
    yield from (sweep.name for sweep in itertools.islice(find_sweeps(root), MOST_SWEEPS))
