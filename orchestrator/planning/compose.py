"""Composition by Hydra, and its errors as one message each.

Hydra's own message for a typo is a traceback or names neither the file nor the nearest legal key: here every error of
composition becomes a `UsageError`.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from orchestrator.errors import UsageError, did_you_mean, near, suggestion
from orchestrator.planning import meant
from orchestrator.planning.keys import INTERNAL, Keys

LAUNCHERS = {
    "joblib": "hydra-joblib-launcher",
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
    "ray": "hydra-ray-launcher",
}
"""Launchers of Hydra's that run shards, and the packages that they are in."""


def compose(loader: ConfigLoader, config_name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose the configuration of the whole sweep; overrides that sweep are left out. Raises UsageError."""
    with explained():
        return loader.load_configuration(config_name, list(overrides), run_mode=RunMode.MULTIRUN)


@contextmanager
def explained() -> Iterator[None]:
    """Turn every error of Hydra, OmegaConf and YAML inside into a UsageError with the nearest legal name."""
    try:
        yield
    except MissingConfigException as error:
        raise UsageError(_missing_config(error)) from error
    except OverrideParseException as error:
        problem = error.message.partition("\nSee http")[0].replace(f"Error parsing override '{error.override}'", "")
        problem = _first_paragraph(problem).partition(" expecting {")[0]
        if "==" in error.override:
            written = error.override.removeprefix("++")  # which `normalise` puts in front of keys that may be new
            raise UsageError(f"{written}: write {written.replace('==', '=', 1)}, with one '='") from error
        raise UsageError(
            f"cannot read the override '{error.override}': {problem} (quote special characters)"
        ) from error
    except yaml.YAMLError as error:
        raise UsageError(_bad_yaml(error)) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(_message(error)) from error
    except RecursionError as error:
        frames = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)][::-1]
        names = (local.get(name) for name in ("config_path", "path") for local in frames)
        file = next((name for name in names if isinstance(name, str)), "a configuration file")
        raise UsageError(f"{file}: it is nested too deeply, or its defaults come back to it") from error
    except (OSError, ValueError, AssertionError, TypeError, AttributeError) as error:
        hint = "; values of all models of a suite go under 'common'" if "defaults list" in str(error) else ""
        raise UsageError(f"the configuration cannot be composed: {error or type(error).__name__}{hint}") from error


@contextmanager
def explained_values() -> Iterator[None]:
    """Turn what is wrong with a value that is read later, an interpolation of what is not there, into a UsageError."""
    try:
        yield
    except OmegaConfBaseException as error:
        raise UsageError(_message(error)) from error


def _missing_config(error: MissingConfigException) -> str:
    """ "Could not find 'compiler/inducter'": a group's option, or a file that a defaults list names."""
    if not error.missing_cfg_file or error.options is None:
        return _first_paragraph(str(error))
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    if group == "hydra/launcher":
        return _missing_launcher(option, error.options)
    if group.startswith("hydra"):
        return f"unknown {group} '{option}': {did_you_mean(option, error.options)}"
    return f"unknown {group or 'configuration'} '{option}': {meant.option(group, option, _keys(), error.options)}"


def _missing_launcher(option: str, installed: Sequence[str]) -> str:
    """Launchers are plug-ins of Hydra's, and their packages are not called as they are."""
    if option in LAUNCHERS:
        return f"hydra/launcher={option} is not installed: pip install {LAUNCHERS[option]}"
    others = [f"{name} (pip install {package})" for name, package in LAUNCHERS.items() if name not in installed]
    meant_by = suggestion(near(option, sorted({*installed, *LAUNCHERS})))
    return f"unknown hydra/launcher '{option}': {meant_by}Available: {', '.join([*sorted(installed), *others])}"


def _keys() -> Keys:
    """Return the keys of the configuration that the command looks in."""
    hydra = GlobalHydra.instance()
    return Keys.of(hydra.config_loader()) if hydra.is_initialized() else Keys([])


def _bad_yaml(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"a configuration file is not YAML: {error}"
    problem = getattr(error, "problem", None) or getattr(error, "context", None) or "cannot be read"
    return f"{mark.name}, line {mark.line + 1}, column {mark.column + 1}: not YAML: {problem}"


def _message(error: Exception) -> str:
    """Return the text of an error of composition: where, what, and the nearest legal key."""
    where = _where(str(error))
    root = _omegaconf_error(error)
    if root is None:
        return _first_paragraph(str(error))
    if isinstance(root, (ConfigAttributeError, ConfigKeyError)) and isinstance(root.parent_node, DictConfig):
        known = sorted({str(key) for key in root.parent_node} - INTERNAL)
        return f"{where}unknown key '{root.full_key}': {meant.key(str(root.full_key), _keys(), known)}"
    what = str(root).splitlines()[0]
    if "is not a ListConfig" in what:
        what = f"{root.full_key} is a list: write {root.full_key}=[{_value(where)}]"
    elif root.full_key and not where.startswith(f"{root.full_key}="):
        what += f" (key: {root.full_key})"
    return where + what


def _value(where: str) -> str:
    """Return the value of the override that a message begins with."""
    return where.partition("=")[2].removesuffix(": ") or "..."


def _where(text: str) -> str:
    """Return the file or the override that Hydra's message names, as a prefix."""
    found = re.match(r"In '(?P<file>[^']+)'|Error merging override (?P<override>.+)", text)
    return "" if found is None else f"{found['file'] or found['override']}: "


def _omegaconf_error(error: BaseException) -> OmegaConfBaseException | None:
    """Return the outermost error of OmegaConf's: the one that knows key and parent, and has its text filled in."""
    chain: BaseException | None = error
    while chain is not None and not isinstance(chain, OmegaConfBaseException):
        chain = chain.__cause__ or chain.__context__
    return chain


def _first_paragraph(text: str) -> str:
    return " ".join(text.strip().partition("\n\n")[0].split())
