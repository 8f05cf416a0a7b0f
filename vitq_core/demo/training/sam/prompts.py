"""Clicks and boxes as a person might give them, drawn for the objects of augmented scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from ....common.masks import innermost, tight_box
from .scene_maps import NOTHING

SMALLEST = 0.0008  # share of the picture: what shows less of itself is not asked for
BACKGROUND, BOX = 0.1, 0.45  # shares of the prompts; the others are one click on an object
SMALL_OFTEN = 0.25  # an object of a sixteenth of another's pixels is asked for twice as often
LOOSE, AT_MOST = 0.1, 0.02  # how far a box's sides are off at most: a share of the side, of the picture's


@dataclass(frozen=True)
class Prompt:
    """Either `click` (x, y) or `box` (x0, y0, x1, y1), in pixels; `mask` bool [S, S]: what is meant, None for
    a click on the backdrop."""

    click: tuple[float, float] | None
    box: tuple[float, float, float, float] | None
    mask: np.ndarray | None


def drawn_prompts(owners: np.ndarray, count: int, rng: Generator) -> list[Prompt]:
    """`count` prompts for a scene's `owners` [S, S], small objects more often: they are found worst."""
    numbers, areas = np.unique(owners[owners != NOTHING], return_counts=True)
    large = areas >= SMALLEST * owners.size
    shown, often = numbers[large], areas[large] ** -SMALL_OFTEN
    return [_drawn(owners, shown, often / often.sum(), rng) for _ in range(count)]


def _drawn(owners: np.ndarray, shown: np.ndarray, often: np.ndarray, rng: Generator) -> Prompt:
    kind = rng.random()
    backdrop = owners == NOTHING
    if len(shown) == 0 or (kind < BACKGROUND and backdrop.any()):
        return Prompt(anywhere(backdrop if backdrop.any() else ~backdrop, rng), None, None)
    mask = owners == rng.choice(shown, p=often)
    if kind < BACKGROUND + BOX:
        return Prompt(None, loose_box(mask, rng), mask)
    return Prompt(innermost(mask) if rng.random() < 0.5 else anywhere(mask, rng), None, mask)


def anywhere(mask: np.ndarray, rng: Generator) -> tuple[float, float]:
    """(x, y) of a pixel of `mask`, each as likely as the others."""
    place = rng.choice(np.flatnonzero(mask))
    return float(place % mask.shape[1]), float(place // mask.shape[1])


def loose_box(mask: np.ndarray, rng: Generator) -> tuple[float, float, float, float]:
    """:func:`tight_box` with each side a little off, some boxes more than others, inside the picture."""
    x0, y0, x1, y1 = tight_box(mask)
    sides = np.array([x1 - x0, y1 - y0, x1 - x0, y1 - y0])
    most = AT_MOST * max(mask.shape)
    off = np.clip(rng.normal(0, rng.uniform(0, LOOSE) * sides), -most, most)
    box = np.array([x0, y0, x1, y1]) + off
    height, width = mask.shape
    return tuple(np.clip(box, 0, [width, height, width, height]).tolist())
