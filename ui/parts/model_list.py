"""The models that the tabs offer: those whose answers they can show and judge."""

import vitq_core as vq
from vitq_core import ModelInfo

# Segment Anything answers prompts, which no form here asks for.
SHOWN = ("classification", "features")


def offered_models() -> list[ModelInfo]:
    """Those of a task in SHOWN. Everything in the studio asks this and not the engine."""
    return [info for info in vq.list_models() if info.task in SHOWN]


def offered_ids() -> list[str]:
    """What a request may name."""
    return [info.id for info in offered_models()]


def offered(model_id: object) -> ModelInfo | None:
    """The one of that id, None where there is none."""
    return next((info for info in offered_models() if info.id == model_id), None)
