"""Which model it was that was quantized, and its licence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..common.errors import VitqError
from ..models import Model, model_card
from ..models.catalogue import bundled_models
from ..models.hub_card import UNKNOWN_LICENCE
from ..models.hub_name import HubName, hub_name
from ..quantized.result import QuantizeResult

OWN_LICENCE = "apache-2.0"  # of the models that come with the studio


@dataclass(frozen=True)
class BaseModel:
    """``name``: for people. ``hub``: where it is on the Hugging Face hub, None for a model that is not from
    there. ``bundled``: whether it comes with the studio."""

    name: str
    hub: HubName | None = None
    bundled: bool = False


def base_of(given: Model | QuantizeResult) -> BaseModel:
    """By where the model that was quantized came from."""
    source = given.source if isinstance(given, QuantizeResult) else given
    if source is None:
        return BaseModel("a model given in memory")
    where = source.info.source
    if any(where == info.source for info in bundled_models()):
        return BaseModel(Path(where).name, bundled=True)
    if hub := _on_hub(where):
        return BaseModel(hub.repo, hub)
    return BaseModel("a model given in memory" if where == "memory" else Path(where).name)


def licence_of(given: Model | QuantizeResult) -> str | None:
    """The base model's licence as its page on the Hugging Face hub states it, such as "apache-2.0".

    None where there is no such page, where it states none, and where the hub cannot be asked.
    """
    base = base_of(given)
    if base.hub is None:
        return OWN_LICENCE if base.bundled else None
    try:
        stated = model_card(base.hub.id).licence
    except VitqError:
        return None
    return None if stated == UNKNOWN_LICENCE else stated


def _on_hub(source: str) -> HubName | None:
    """Only with a commit, which what is loaded from the hub has: a folder may be called `user/name` too."""
    try:
        name = hub_name(source, bare=True)
    except ValueError:
        return None
    return name if name is not None and name.is_commit else None
