"""Models of the hub that somebody asked this server for: known by their names, and listed to nobody."""

from __future__ import annotations

from typing import Any

import vitq_core as vq
from vitq_core import ModelCard, ModelInfo

from .cache import Cache

PREFIX = "hf-hub:"
SHORT = 7  # digits of a commit, where people read it
_cards: Cache[ModelCard] = Cache(256)


def look_up(text: Any) -> ModelCard:
    """What the hub says of a model, whose card this server then knows. Raises as `vq.model_card` does."""
    card = vq.model_card(text)
    _cards.put(card.id, card)
    return card


def known(model_id: Any) -> ModelInfo | None:
    """Of a model of the hub whose id names a commit: looked up since the server started, or downloaded."""
    if not isinstance(model_id, str) or not model_id.startswith(PREFIX) or "@" not in model_id:
        return None
    card = _cards.get(model_id)
    if card is None:
        try:
            card = vq.model_card(model_id, offline=True)
        except (ValueError, vq.VitqError):
            return None
        if card.id != model_id:  # a branch, which may mean something else tomorrow
            return None
        _cards.put(model_id, card)
    return card.info


def called(model_id: str) -> str:
    """For people: user/name and the first digits of the commit."""
    repo, at, revision = model_id.removeprefix(PREFIX).partition("@")
    return f"{repo}{at}{revision[:SHORT]}"
