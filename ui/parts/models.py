"""Which of the engine's models a page offers: those whose task it can show."""

from __future__ import annotations

import vitq_core as vq

CLASSIFIES = ("classification", "features")
SEGMENTS = ("segmentation",)


def offered(tasks: tuple[str, ...] = CLASSIFIES) -> list[vq.ModelInfo]:
    """Bundled ones first."""
    return sorted(
        (info for info in vq.list_models() if info.task in tasks), key=lambda info: not info.bundled
    )


def ids(tasks: tuple[str, ...] = CLASSIFIES) -> list[str]:
    return [info.id for info in offered(tasks)]


def choices(tasks: tuple[str, ...] = CLASSIFIES) -> list[tuple[str, str]]:
    """(text, id) of each."""
    return [(info.title if info.bundled else f"{info.title} (download)", info.id) for info in offered(tasks)]
