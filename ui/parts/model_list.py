"""The models that the tabs offer: each those whose answers it can show and judge."""

from collections.abc import Iterable
from typing import Any

import vitq_core as vq
from vitq_core import ModelInfo

from . import hub_models, own_models
from .checks import one_of

SHOWN = ("classification", "features")
SEGMENTS = ("segmentation",)  # answers prompts, which one tab alone asks for
ALL = SHOWN + SEGMENTS
ANOTHER = "Another model"  # what the page calls where a model of the hub or of a file is brought


def offered_models(tasks: tuple[str, ...] = SHOWN) -> list[ModelInfo]:
    """Those of one of these tasks. Everything in the studio asks this and not the engine."""
    return [info for info in vq.list_models() if info.task in tasks]


def offered_ids(tasks: tuple[str, ...] = SHOWN) -> list[str]:
    """What a request may name."""
    return [info.id for info in offered_models(tasks)]


def offered(model_id: object, tasks: tuple[str, ...] = SHOWN) -> ModelInfo | None:
    """The one of that id, also one that was brought from the hub or a file; None where there is none."""
    listed = next((info for info in offered_models(ALL) if info.id == model_id), None)
    info = listed or hub_models.known(model_id) or own_models.known(model_id)
    return info if info is not None and info.task in tasks else None


def wrong_model(model_id: object, tasks: tuple[str, ...] = SHOWN) -> str:
    """Why a request may not name it; empty where it may."""
    if offered(model_id, tasks) is not None:
        return ""
    if isinstance(model_id, str) and offered(model_id, ALL) is None:
        if model_id.startswith(hub_models.PREFIX):
            return f"{called(model_id)} is not known here: look it up under “{ANOTHER}” first."
        if model_id.startswith(own_models.PREFIX):
            return f"{called(model_id)} is not here any more: bring its file again under “{ANOTHER}”."
    return one_of(model_id, offered_ids(tasks))


def called(model_id: Any) -> str:
    """For people; of a model that is listed, its id."""
    for kind in (hub_models, own_models):
        if str(model_id).startswith(kind.PREFIX):
            return kind.called(str(model_id))
    return str(model_id)


def task_of(model_id: object) -> str:
    """Empty for what is no model's id."""
    info = offered(model_id, ALL)
    return "" if info is None else info.task


def choices(tasks: tuple[str, ...] = SHOWN) -> list[tuple[str, str]]:
    """(text, id) of each, bundled ones first."""
    models = sorted(offered_models(tasks), key=lambda info: not info.bundled)
    return [(info.title if info.bundled else f"{info.title} (download)", info.id) for info in models]


def choices_with(own: Iterable[object], tasks: tuple[str, ...] = ALL) -> list[tuple[str, str]]:
    """All, and those of `own` that are none of them, by which one visitor's page knows what it brought."""
    listed = choices(tasks)
    ids = {model_id for _, model_id in listed}
    others = [each for each in dict.fromkeys(own) if each not in ids and task_of(each) in tasks]
    return [*listed, *((called(each), each) for each in others)]
