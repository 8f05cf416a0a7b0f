"""config.json of timm's format: which architecture, with which arguments, and how pictures are prepared."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import timm
from timm.models import PretrainedCfg
from torch import nn

from ...common.errors import VitqError
from ...common.words import brief
from ..hub_errors import CONFIG
from .building import Build

_FIELDS = {item.name for item in fields(PretrainedCfg)} - {"url", "file", "state_dict", "hf_hub_id", "source"}


@dataclass(frozen=True)
class Described:
    """What is built: timm's `architecture` with `arguments`; `pretrained` is what timm calls pretrained_cfg.

    `classes`: how many, where somebody says so. `source` is blamed for what does not fit.
    """

    architecture: str
    arguments: dict[str, Any]
    pretrained: dict[str, Any] | None
    classes: int | None
    source: str

    @property
    def what(self) -> str:
        """The model in words."""
        return (
            f"{self.architecture} as {'timm builds it' if self.pretrained is None else f'its {CONFIG} says'}"
        )

    @property
    def sized(self) -> bool:
        """Whether somebody says of which size the model's pictures are."""
        return "img_size" in self.arguments or bool((self.pretrained or {}).get("fixed_input_size"))

    def build(self, **changes: Any) -> Build:
        """What makes the model, without its weights; `changes` replace arguments."""
        arguments = {**self.arguments, **changes}
        return lambda: _create(self.architecture, self.pretrained, arguments)


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """The config.json of `folder` without what is null, which stands for nothing said.

    Raises VitqError where it is missing, damaged or no table.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise VitqError(f"{name} has no {CONFIG} in {folder}; a model folder holds {CONFIG} and its weights")
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        raise VitqError(f"the {CONFIG} of {name} is damaged: {brief(error)}") from error
    return without_nulls(config) if isinstance(config, dict) else {}


def described(config: Mapping[str, Any], name: str) -> Described:
    """What `config`, of the folder `name`, asks for. Raises VitqError for what names no model of timm's."""
    architecture = config.get("architecture")
    if not isinstance(architecture, str):
        raise VitqError(f"the {CONFIG} of {name} names no timm architecture, so it is not a timm model")
    if not timm.is_model(architecture):
        raise VitqError(
            f"timm {timm.__version__} has no architecture {architecture!r:.80}, which {name} asks for"
        )
    arguments = _table(config, "model_args", name)
    pretrained = _pretrained(config, arguments, name)
    said = [table["num_classes"] for table in (arguments, pretrained) if "num_classes" in table]
    if len({repr(count) for count in said}) > 1:
        raise VitqError(f"the {CONFIG} of {name} says {said[1]} classes but builds a model of {said[0]}")
    classes = said[0] if said and isinstance(said[0], int) else None
    return Described(architecture, arguments, pretrained, classes, f"the {CONFIG} of {name}")


def _pretrained(config: Mapping[str, Any], arguments: dict[str, Any], name: str) -> dict[str, Any]:
    """timm's pretrained_cfg; in its oldest format the whole file is one. What this timm does not know is of
    another version of it, or of a program that wrote the file."""
    nested = "pretrained_cfg" in config
    found = {"label_names": config["labels"]} if "labels" in config and not nested else {}
    found |= _table(config, "pretrained_cfg", name) if nested else config
    found |= {
        key: config[key] for key in ("num_classes", "label_names", "label_descriptions") if key in config
    }
    found = {key: value for key, value in found.items() if key in _FIELDS}
    if any(
        arguments.get(key) == value for key, value in (("dynamic_img_size", True), ("strict_img_size", False))
    ):
        found["fixed_input_size"] = False  # older exports keep what the weights they began with had
    return found


def _table(config: Mapping[str, Any], key: str, name: str) -> dict[str, Any]:
    table = config.get(key, {})
    if not isinstance(table, Mapping):
        raise VitqError(f"{key} in the {CONFIG} of {name} must be a table, got {table!r:.80}")
    return dict(table)


def without_nulls(value: Any) -> Any:
    """Of what json.loads gives."""
    if not isinstance(value, dict):
        return value
    return {key: without_nulls(part) for key, part in value.items() if part is not None}


def _create(architecture: str, pretrained: dict[str, Any] | None, arguments: dict[str, Any]) -> nn.Module:
    own = {**pretrained, "architecture": architecture} if pretrained else None
    return timm.create_model(architecture, pretrained=False, pretrained_cfg=own, **arguments)
