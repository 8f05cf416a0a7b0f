"""The models that the tabs offer: each those whose answers it can show and judge."""

import vitq_core as vq
from vitq_core import ModelInfo

SHOWN = ("classification", "features")
SEGMENTS = ("segmentation",)  # answers prompts, which one tab alone asks for
ALL = SHOWN + SEGMENTS


def offered_models(tasks: tuple[str, ...] = SHOWN) -> list[ModelInfo]:
    """Those of one of these tasks. Everything in the studio asks this and not the engine."""
    return [info for info in vq.list_models() if info.task in tasks]


def offered_ids(tasks: tuple[str, ...] = SHOWN) -> list[str]:
    """What a request may name."""
    return [info.id for info in offered_models(tasks)]


def offered(model_id: object, tasks: tuple[str, ...] = SHOWN) -> ModelInfo | None:
    """The one of that id, None where there is none."""
    return next((info for info in offered_models(tasks) if info.id == model_id), None)


def task_of(model_id: object) -> str:
    """Empty for what is no model's id."""
    info = offered(model_id, ALL)
    return "" if info is None else info.task


def choices(tasks: tuple[str, ...] = SHOWN) -> list[tuple[str, str]]:
    """(text, id) of each, bundled ones first."""
    models = sorted(offered_models(tasks), key=lambda info: not info.bundled)
    return [(info.title if info.bundled else f"{info.title} (download)", info.id) for info in models]
