"""Builds: the Python environments that jobs can run in, from the configuration to the record that jobs have.

What is asked for is written down so that it names the same thing later: a wheel with the hash of its content, a branch
of a git repository as its commit. So a job's id says what it ran with, as far as whoever asked has said it.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError, did_you_mean
from orchestrator.records import BASE, Build
from orchestrator.typed_json import Json
from orchestrator.validity import check_name

REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[^]]*\])?\s*([=<>!~]=|<|>|@)\s*\S|git\+|.*\.whl$")
"""What `build` takes without a name of its own: "transformers==5.20.0", a wheel, "git+https://..."."""
FROM_GIT = re.compile(
    r"(?P<before>(?:.*@\s*)?git\+)(?P<url>\w+://(?:[^/@#]*@)?[^@#]+)(?:@(?P<revision>[^#]+))?(?P<rest>#.*)?"
)
COMMIT = re.compile(r"[0-9a-f]{40}")
GIT_S = 60
KEYS: Mapping[str, str] = {"python": "a text", "requirements": "a list of texts", "setup": "a text"}
"""Of `schema.BuildConf`: what each takes, in words."""
LIST = re.compile(r"(?:[^,\[\]]|\[[^\]]*\]|,(?=\s*[<>=!~]))+")
"""One of several requirements: a comma in brackets, or before a second bound, is its own."""


def build_of(name: str, builds: Mapping[str, Json]) -> Build | None:
    """Return the build that `build=name` asks for, None for the command's own environment.

    builds: those that the configuration describes, by name; all are looked at. Raises UsageError.
    """
    for described, conf in builds.items():
        _check(described, conf)
    if name in builds:
        return _described(name, builds[name])
    if name == BASE:
        return None
    if not REQUIREMENT.match(name):
        if "," in name:
            raise UsageError(f"build: {name}: in a file several are a list: build: [{', '.join(name.split(','))}]")
        raise UsageError(
            f"unknown build '{name}': {did_you_mean(name, [BASE, *builds])}. Describe it as "
            "builds.NAME.requirements=[...] or builds.NAME.python=PATH, or write one requirement of pip's, as in "
            "build=base,transformers==5.20.0"
        )
    return Build(name=name, requirements=(_pinned(name, f"build={name}"),))


def quoted_requirements(text: str) -> str:
    """Return requirements of a command line, "a==1,b>=2,<3" or a list of them, as Hydra's grammar takes them."""
    if any(mark in text for mark in "'\"{}()"):
        return text
    inner, is_list = (text[1:-1], True) if text.startswith("[") and text.endswith("]") else (text, False)
    items = [f"'{item.strip()}'" if "=" in item or "[" in item else item for item in LIST.findall(inner)]
    return f"[{','.join(items)}]" if is_list else ",".join(items)


def _check(name: str, conf: Json) -> None:
    where = f"builds.{name}"
    try:
        check_name(name, "build")
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not isinstance(conf, Mapping):
        raise UsageError(f"{where} is {conf!r}: write a map, as in builds.{name}.requirements=[transformers==5.20.0]")
    for key, value in conf.items():
        if key not in KEYS:
            raise UsageError(f"unknown key '{where}.{key}': {did_you_mean(str(key), KEYS)}")
        texts = [value] if key != "requirements" else value if isinstance(value, list) else [None]
        if value is not None and not all(isinstance(text, str) for text in texts):
            raise UsageError(f"{where}.{key} is {value!r}: it must be {KEYS[key]}")
    if not any(conf.values()):
        raise UsageError(f"{where}: it is the command's own environment: give it python, requirements or setup")


def _described(name: str, conf: Mapping[str, Any]) -> Build:
    python = conf.get("python")
    return Build(
        name=name,
        python=None if python is None else os.path.abspath(os.path.expanduser(python)),
        requirements=tuple(_pinned(str(one), f"builds.{name}.requirements") for one in conf.get("requirements") or ()),
        setup=conf.get("setup"),
    )


def _pinned(text: str, where: str) -> str:
    """Return a requirement that names the same thing later, where it names a file or a branch."""
    text = text.strip()
    if not text or text.startswith("-") or not text.isprintable():
        raise UsageError(f"{where}: {text!r} is no requirement: write one as in transformers==5.20.0, without options")
    if found := FROM_GIT.fullmatch(text):
        return _at_a_commit(found, where)
    if "://" in text or " @ " in text:
        return text
    path = Path(text).expanduser()
    if path.is_dir() and ("/" in text or text.startswith(".")):
        raise UsageError(
            f"{where}: {text} is a folder, whose content changes under its name: build a wheel of it, or write "
            f"git+file://{path.absolute()}@COMMIT"
        )
    if "/" in text or text.endswith(".whl"):
        if not path.is_file():
            raise UsageError(f"{where}: there is no file {text}")
        return f"{path.absolute().as_uri()}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}"
    return text


def _at_a_commit(found: re.Match[str], where: str) -> str:
    url, revision = found["url"], found["revision"] or "HEAD"
    if COMMIT.fullmatch(revision):
        return found[0]
    command = ["git", "ls-remote", "--", url, revision, f"{revision}^{{}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_S, errors="replace", check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"{where}: git ls-remote {url}: {error}") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it failed"])[-1]
        raise UsageError(f"{where}: git ls-remote {url}: {last}")
    commits = dict(line.split("\t")[::-1] for line in done.stdout.splitlines())
    names = (f"refs/tags/{revision}^{{}}", f"refs/tags/{revision}", f"refs/heads/{revision}", revision)
    commit = next((commits[name] for name in names if name in commits), None)
    if commit is None:
        raise UsageError(f"{where}: {url} has no branch or tag {revision}; of a commit write all 40 digits")
    return f"{found['before']}{url}@{commit}{found['rest'] or ''}"
