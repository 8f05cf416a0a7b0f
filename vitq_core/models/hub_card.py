"""What a model of the Hugging Face hub is, before it is downloaded."""

import os
from dataclasses import dataclass

from huggingface_hub import HfApi
from huggingface_hub.hf_api import ModelInfo as HubInfo

from ..common.errors import VitqError
from ..common.words import counted
from . import hub
from .catalogue import SEGMENTATION, ModelInfo
from .hub_check import Described, check_worth
from .hub_errors import CONFIG, PICKLED, WEIGHTS, Unreachable, gated, missing, of_client, without
from .hub_name import HubName, hub_name

UNKNOWN_LICENCE = "not stated"


@dataclass(frozen=True)
class ModelCard:
    """What there is to know of a model of the hub.

    `id` is what `load_model` takes, with the commit in it, so that it always means the same files.
    `revision`: that commit, 40 digits. `params` and `classes`: how many, 0 where there is no head or only the
    weights tell. `bytes`: of the weights. `size`: (height, width) of its pictures in pixels, or None.
    `licence` as its page states it, or "not stated". `downloaded`: whether it needs no network any more.
    """

    id: str
    repo: str
    revision: str
    architecture: str
    task: str
    params: int
    classes: int
    size: tuple[int, int] | None
    bytes: int
    licence: str
    downloaded: bool

    @property
    def info(self) -> ModelInfo:
        """As the catalogue has its own models."""
        name = HubName(self.repo, self.revision)
        return ModelInfo(self.id, name.short, self.task, self.params, False, name.source, self.summary)

    @property
    def summary(self) -> str:
        height, width = self.size or (0, 0)
        seen = f" on pictures of {width}×{height} pixels" if self.size else ""
        what = f"{counted(self.classes, 'class', 'classes')}" if self.classes else "no classes, only features"
        what = "outlines what is pointed at" if self.task == SEGMENTATION else what
        return f"{self.architecture}: {what}{seen}. From {HubName(self.repo, self.revision).short}."


def model_card(model_id: str, offline: bool = False) -> ModelCard:
    """The card of `hf-hub:user/name`, `user/name` or a page's address, each with `@revision` or without.

    Only the hub's own description and config.json are read, and nothing is downloaded. Where the hub cannot
    be reached, or `offline`, it is the card of what is downloaded. Raises ValueError for what names no model
    of the hub, VitqError for a model that cannot be had or used, with the reason.
    """
    name = hub_name(model_id, bare=True) if isinstance(model_id, str) else None
    if name is None:
        raise ValueError(
            f"{model_id!r:.80} is no model of the Hugging Face hub; type user/name, or paste the address of "
            "its page"
        )
    if offline:
        return _card_of_downloaded(name)
    try:
        return _asked(name)
    except Unreachable:
        if hub.downloaded(name) is None:
            raise
        return _card_of_downloaded(name)


def _asked(name: HubName) -> ModelCard:
    info = _info(name)
    if info.private or info.disabled:
        raise missing(name.repo)
    if info.gated:
        raise gated(name.repo)
    at = name.at(info.sha or name.revision)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    weights = next((filename for filename in (WEIGHTS, PICKLED) if filename in sizes), None)
    if CONFIG not in sizes or weights is None:
        raise without(name.repo, CONFIG if CONFIG not in sizes else WEIGHTS)
    hub.check_size(name.repo, sizes[weights])
    config = hub.read_small(hub.remote_file(at, CONFIG))
    found = check_worth(config, weights, sizes[weights], name.repo)
    card = _card(at, found, sizes[weights], _licence(info))
    if card.downloaded:  # what a branch is just now, for when the network is away
        hub.remember(name, at.revision)
    return card


def _info(name: HubName) -> HubInfo:
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=False)
    try:
        return api.model_info(name.repo, revision=name.revision, files_metadata=True, timeout=hub.SECONDS)
    except (
        Exception
    ) as error:  # the client lets errors of its HTTP library through, another one in each version
        raise of_client(error, name, "the description") from error


def _card_of_downloaded(name: HubName) -> ModelCard:
    folder = hub.downloaded(name)
    if folder is None or not (folder / CONFIG).is_file():
        raise VitqError(f"{name.short} is not downloaded")
    weights = next(folder / filename for filename in (WEIGHTS, PICKLED) if (folder / filename).is_file())
    size = weights.stat().st_size
    found = check_worth((folder / CONFIG).read_bytes(), weights.name, size, name.repo)
    return _card(name.at(folder.name), found, size, UNKNOWN_LICENCE)


def _card(name: HubName, found: Described, size: int, licence: str) -> ModelCard:
    return ModelCard(
        name.id, name.repo, name.revision, found.architecture, found.task, found.params, found.classes,
        found.size, size, licence, hub.downloaded(name) is not None,
    )  # fmt: skip


def _licence(info: HubInfo) -> str:
    stated = getattr(info.card_data, "license", None) or getattr(info.card_data, "license_name", None)
    tagged = next((tag.partition(":")[2] for tag in info.tags or () if tag.startswith("license:")), None)
    stated = stated if isinstance(stated, str) else tagged
    return stated or UNKNOWN_LICENCE
