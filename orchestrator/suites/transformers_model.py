"""Any Hugging Face model: a class by name, a config on this machine, or one on the Hub. Random weights always.

What is built is a config's architecture, never a checkpoint: its speed and memory do not depend on what the weights
are, and nothing has to be downloaded. Code that comes with a config (`auto_map`) is never executed.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError, first_line
from orchestrator.plugins import Unsupported
from orchestrator.records import Workload
from orchestrator.suites import transformers_source, user_files
from orchestrator.suites.configured import configure
from orchestrator.suites.huggingface import HuggingFaceModel, find_class
from orchestrator.suites.inputs import ClassFamily
from orchestrator.suites.shrunk import shrunk
from orchestrator.typed_json import Json

HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
CONFIG_FILE = "config.json"

TASKS = ("SEQ_TO_SEQ_CAUSAL_LM", "MASKED_LM", "CAUSAL_LM", "IMAGE_CLASSIFICATION", "SEQUENCE_CLASSIFICATION")
TABLES = (*(f"MODEL_FOR_{task}_MAPPING_NAMES" for task in TASKS), "MODEL_MAPPING_NAMES")
"""Tables of transformers that are asked, in this order, for the class of a config that names none."""


@dataclass(frozen=True)
class TransformersModel(HuggingFaceModel):
    """A class, a config or a repository, as `suite.models` names it.

    model: absolute path of a folder with a config.json, or of a config's file; or the id of a repository of the Hub;
    None = the class of `class_name`, or of the row's name. sha256: of the local file's content, in hexadecimal. The
    class is `class_name`, else the config's `architectures[0]`, else what transformers has for its `model_type`.
    `config`, `inputs`, `labels` and the others are as for HuggingFaceModel; a class without a rule for its labels has
    none.
    """

    model: str | None = None
    sha256: str | None = None

    @classmethod
    def named(cls, asked: str) -> tuple[str, Json]:
        """Return the row's name and the options of what `suite.models` names. Raises UsageError.

        A path has a / in it, or begins with . or ~. What begins with a capital letter is a class, the rest is the id of
        a repository: its last part names the row.
        """
        if asked.isidentifier() and asked[0].isupper():
            return asked, {}
        path = user_files.absolute(asked)
        if asked[:1] in (".", "/", "~") or ("/" in asked and path.exists()):
            name = path.stem if path.suffix == ".json" else path.name
            return user_files.row_name(name), {"model": str(path), **user_files.described(_config_file(path))}
        if HUB_ID.fullmatch(asked):
            return asked.rpartition("/")[2], {"model": asked}
        raise UsageError(
            f"suite.models: '{asked}' is no class of transformers, no folder with a {CONFIG_FILE} and no id of the "
            "Hub: write BertForMaskedLM, ./path/to/folder or google-bert/bert-base-uncased"
        )

    @classmethod
    def default_length(cls, name: str, build: Mapping[str, Any]) -> int | None:
        """Return the length of a row's inputs where none is asked for; None for a model that has none (images).

        Found without importing transformers (`transformers_source`): tokens of text, samples or frames of sound.
        """
        named, stored = cls._planned(name, build)
        return transformers_source.default_length(named, {**stored, **dict(build.get("config") or {})})

    @classmethod
    def tokens(cls, workload: Workload) -> int:
        """Return the positions of one sample, for the estimate: a second of sound, 16,000 samples, has 50 of them."""
        named, _ = cls._planned(workload.builder.name, workload.builder.options)
        return transformers_source.positions(named, workload.sequence_length)

    @classmethod
    def _planned(cls, name: str, build: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the name of the class, as far as it is known before a job, and what its config's file says."""
        model, class_name = build.get("model"), build.get("class_name")
        if model is None:
            return class_name or name, {}
        path = _config_file(Path(model)) if os.path.isabs(model) else _cached(model)
        try:
            stored = {} if path is None else json.loads(path.read_bytes())
        except (OSError, ValueError):
            stored = {}  # the job says what is wrong with it
        if not isinstance(stored, dict):
            stored = {}
        named = class_name or next(iter(stored.get("architectures") or ()), None)
        named = named or transformers_source.class_of(str(stored.get("model_type")), TABLES)
        return str(named or ""), stored

    def preload_modules(self, workload: Workload) -> tuple[str, ...]:
        """Return the module of the class, where finding it needs no network: transformers imports it late."""
        if self.model is None:
            return super().preload_modules(workload)
        if not os.path.isabs(self.model):
            return ()
        try:
            return (str(find_class(self._architecture(self._stored(self.model))).__module__),)
        except (Unsupported, ValueError):
            return ()  # `build` says so, in a row

    def _chosen(self, workload: Workload) -> tuple[Any, Any, ClassFamily]:
        if self.model is None:
            return super()._chosen(workload)
        stored = self._stored(self.model)
        name = self._architecture(stored)
        model_class, family = find_class(name), self._family(name)
        takes = model_class.config_class.model_type
        if stored.get("model_type", takes) != takes:
            raise ValueError(f"{self.model} is a config of '{stored['model_type']}', but {name} takes one of '{takes}'")
        if self.shrunk:
            stored = shrunk(model_class.config_class.from_dict(dict(stored)))
        return model_class, configure(model_class, {**family.config, **self.config}, stored), family

    def _family(self, class_name: str) -> ClassFamily:
        """Return the class's family; one without labels where there is no rule: then it can be run, but not trained."""
        try:
            return super()._family(class_name)
        except ValueError:
            return ClassFamily({})

    def _stored(self, model: str) -> Mapping[str, Any]:
        """Return what the config's file says. Raises Unsupported or ValueError for what nothing can be built from."""
        local = os.path.isabs(model)
        text = user_files.read(_config_file(Path(model)), self.sha256) if local else _from_hub(model)
        try:
            stored = json.loads(text)
        except ValueError as error:
            raise ValueError(f"the {CONFIG_FILE} of {model} is not JSON: {error}") from error
        if not isinstance(stored, dict):
            raise ValueError(f"the {CONFIG_FILE} of {model} is not an object")
        if "auto_map" in stored and self.class_name is None:
            raise Unsupported(
                f"{model} brings model code of its own (auto_map in its {CONFIG_FILE}), and code that comes with a "
                "config is never executed: name a class of transformers that takes this config, as in "
                "suite.common.build.class_name=LlamaForCausalLM, or run code that you trust with suite=user"
            )
        if "quantization_config" in stored:
            raise Unsupported(
                f"{model} is quantised (quantization_config in its {CONFIG_FILE}), which needs its weights; what is "
                "built here has random ones: take the config of the model before quantisation"
            )
        return stored

    def _architecture(self, stored: Mapping[str, Any]) -> str:
        """Return the name of the class to build."""
        if self.class_name is not None:
            return self.class_name
        if stored.get("architectures"):
            return str(stored["architectures"][0])
        kind = stored.get("model_type")
        if kind is None:
            raise ValueError(
                f"the {CONFIG_FILE} of {self.model} has neither architectures nor model_type: name the class "
                "as suite.common.build.class_name"
            )
        from transformers.models.auto import modeling_auto

        for table in (getattr(modeling_auto, name) for name in TABLES):
            if kind in table:
                return str(table[kind] if isinstance(table[kind], str) else table[kind][0])
        version = importlib.metadata.version("transformers")
        raise Unsupported(f"transformers {version} has no model of the type '{kind}' ({self.model})")


def _config_file(path: Path) -> Path:
    return path if path.suffix == ".json" else path / CONFIG_FILE


def _cached(repository: str) -> Path | None:
    """Return the config.json of a repository of the Hub that is in the local cache."""
    import huggingface_hub

    found = huggingface_hub.try_to_load_from_cache(repository, CONFIG_FILE)
    return Path(found) if isinstance(found, str) else None


def _from_hub(repository: str) -> bytes:
    """Return the config.json of a repository of the Hub, from the network or the local cache; no code, no weights.

    Raises Unsupported where the Hub cannot be asked, ValueError when it has no such file for us.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(huggingface_hub.hf_hub_download(repository, CONFIG_FILE)).read_bytes()
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        why = "jobs are offline" if huggingface_hub.constants.HF_HUB_OFFLINE else "the Hub cannot be reached"
        raise Unsupported(
            f"the {CONFIG_FILE} of '{repository}' is not on this machine, and {why}: take online=true, or give a "
            "folder that has it, as ./folder"
        ) from error
    except HfHubHTTPError as error:
        raise ValueError(f"the Hub has no {CONFIG_FILE} of '{repository}' for you: {first_line(error)}") from error
