"""A model of the hub as a visitor sees it before it is downloaded."""

from __future__ import annotations

from vitq_core import ModelCard
from vitq_core.experiment import counted

from .markup import fact_list

MB = 10**6
TASKS = {"classification": "tells classes apart", "features": "describes pictures by numbers (no classes)"}


def model_card(card: ModelCard) -> str:
    """What it is, how large, under which licence, and which revision would be taken."""
    return fact_list(_rows(card))


def megabytes(card: ModelCard) -> str:
    return f"{card.bytes / MB:,.1f} MB" if card.bytes < 10 * MB else f"{card.bytes / MB:,.0f} MB"


def _rows(card: ModelCard) -> list[tuple[str, str]]:
    classes = f", {counted(card.classes, 'class', 'classes')}" if card.classes else ""
    height, width = card.size or (0, 0)
    return [
        ("Model", card.repo),
        ("Architecture", card.architecture),
        ("Made for", f"{TASKS.get(card.task, card.task)}{classes}"),
        ("Pictures", f"{width}×{height} pixels"),
        (
            "Size",
            f"{megabytes(card)}, {card.params:,} parameters{' (already here)' if card.downloaded else ''}",
        ),
        ("Licence", card.licence),
        ("Revision", card.revision),
    ]
