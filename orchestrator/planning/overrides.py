"""How a text is written in Hydra's grammar of overrides. Without Hydra, which takes long to import."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError

BEFORE_A_QUOTE = re.compile(r"(\\*)('|\Z)")
OTHER_TYPE = re.compile(r"|null|true|false|[+-]?(inf|nan|[0-9][0-9_.]*(e[+-]?[0-9]+)?|\.[0-9]+)", re.IGNORECASE)
"""Text that Hydra's grammar would take for something else than text."""

EMPTY_MAP = re.compile(r"\{\s*\}")
LEADING_ZEROS = re.compile(r"0[0-9]+")
EFFECTIVE = re.compile(
    r"hydra(\.sweep\.dir|\.sweeper\.params|[./]launcher|\.searchpath|\.job\.(env_set|name)|[./]callbacks|[./](job|hydra)_logging"
    r"|\.verbose)(\.|@|$)"
)
"""Hydra's keys that do something in a sweep: it has one folder, no runs of its own, and one sweeper."""

NAME = re.compile(r"(suite|compiler|quantization|mode|measure)\.name")
"""What a group's choice is called in tables, whatever it is."""


SUFFIXES = (".yaml", ".yml")
"""Of experiment files."""


def quoted(text: str) -> str:
    """Return `text` as one value, whatever characters it has.

    In quotes a backslash is itself, but for those in front of a quote, or of the closing one: they are doubled.
    """
    return "'" + BEFORE_A_QUOTE.sub(lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text) + "'"


def value(text: str) -> str:
    """Return a string as one value, quoted where it is more than a plain word."""
    plain = all((c.isascii() and c.isalnum()) or c in "_-./:" for c in text)
    return text if plain and not OTHER_TYPE.fullmatch(text) else quoted(text)


def key_of(override: str) -> str:
    """Return the key that an override sets, adds or takes away."""
    return override.partition("=")[0].lstrip("+~")


def check_written(overrides: Iterable[str]) -> None:
    """Refuse, by UsageError, what would have no effect, another one than is meant, or than the same text in a file."""
    overrides = list(overrides)
    own = {override.partition(".target=")[0].lstrip("+") for override in overrides if ".target=" in override}
    for override in overrides:
        key, _, text = override.partition("=")
        key, text = key.lstrip("+~"), text.strip()
        if EMPTY_MAP.fullmatch(text) and override.startswith("suite.") and not key.endswith(".build.labels"):
            raise UsageError(
                f"{override}: an empty map is merged with what is there and changes nothing; remove a key by ~{key}.KEY"
            )
        if LEADING_ZEROS.fullmatch(text):
            raise UsageError(
                f"{override}: a number with a leading zero is octal in a YAML file: write {key}={int(text)}"
            )
        if (named := NAME.fullmatch(key)) and named[1] not in own:
            raise UsageError(
                f"{override}: it chooses nothing and gives the rows another name: write {named[1]}={text} "
                f"(a name for a class of your own goes with {named[1]}.target=)"
            )
        if key == "hydra.sweep.dir" and text in ("", "''", '""', "null"):
            raise UsageError(
                f"{override}: name the folder of the sweep, or leave this out: then it is one below outputs/"
            )
        if re.match(r"hydra[./@]", key) and not EFFECTIVE.match(key):
            raise UsageError(
                f"{override}: it has no effect here. Those of Hydra that have: hydra.sweep.dir, hydra.sweeper.params, "
                "hydra/launcher and hydra.launcher, hydra.searchpath, hydra.job.env_set and hydra.job.name, "
                "hydra/callbacks and hydra.callbacks, hydra/job_logging, hydra/hydra_logging and hydra.verbose"
            )


def literal(given: Any) -> str:
    """Return a value of YAML as the grammar writes it: {a: [1, null]} as "{a:[1,null]}"."""
    if isinstance(given, Mapping):
        return "{" + ",".join(f"{value(str(key))}:{literal(item)}" for key, item in given.items()) + "}"
    if isinstance(given, (list, tuple)):
        return "[" + ",".join(map(literal, given)) + "]"
    if isinstance(given, str):
        return value(given)
    return "null" if given is None else str(given).lower() if isinstance(given, bool) else str(given)


def override(key: str, given: Any) -> str:
    """Return "key=value" of a value of YAML. A text is taken as the command line would: "a,b" are two values."""
    return f"{key}={given if isinstance(given, str) else literal(given)}"


def is_file(word: str) -> bool:
    """Return whether a word of the command line is the path of an experiment file."""
    return word.endswith(SUFFIXES) and "=" not in word


def is_path(name: str) -> bool:
    """Return whether an experiment is named by its path."""
    return name.endswith(SUFFIXES) or ("/" in name and Path(name).expanduser().is_file())


def path_in(argv: Sequence[str], name: str) -> str | None:
    """Return the path by which a command line named the experiment that is called `name`; None where by its name."""
    items = [item for word in argv for item in ([word] if is_file(word) else experiments_in(word))]
    return next((item for item in items if is_path(item) and Path(item).stem == name), None)


def experiments_in(override: str) -> list[str]:
    """Return the experiments that an override names, by name or by path."""
    key, _, value = override.partition("=")
    if key.lstrip("+") != "experiment":
        return []
    return [item.strip().strip("'\"") for item in value.strip("[]").split(",")]
