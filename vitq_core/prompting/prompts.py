"""What a person points at: clicks and a box for one object, checked before a model is asked.

A Segment Anything answers anything with confidence: no prompt at all, clicks outside the picture, a box whose
corners are exchanged, NaN. So all of these are refused here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real

from ..common.words import counted

POINT, BOX = "a point must be (x, y) in pixels", "a box must be (x0, y0, x1, y1) in pixels"
ONLY_NEGATIVE = "Minus points alone only say what the object is not: add a point on it, or a box around it."


@dataclass(frozen=True)
class Prompt:
    """What one object is asked for with, in pixels of the upright original picture.

    ``points`` ((x, y), …), from (0, 0) to below (width, height), with as many ``labels``: 1 on the object,
    0 on what is not it. ``box`` (x0, y0, x1, y1) around it; x1 and y1 are just outside, so they reach up to
    the picture's width and height. Lists and arrays become tuples of floats. Raises ValueError for what is no
    list of pairs, no four numbers.
    """

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        points = tuple(_numbers(point, 2, POINT) for point in _listed(self.points, POINT))
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "labels", tuple(_listed(self.labels, "labels must be a list of 1 and 0")))
        if self.box is not None:
            object.__setattr__(self, "box", _numbers(self.box, 4, BOX))

    @property
    def is_single_click(self) -> bool:
        """The one prompt that is ambiguous: a part, the object or its group may be meant."""
        return len(self.points) == 1 and self.box is None


def check_prompt(prompt: object, width: int, height: int) -> None:
    """ValueError, one sentence, for a prompt that means nothing in a picture of ``width`` × ``height``."""
    if not isinstance(prompt, Prompt):
        raise ValueError(f"a prompt must be a Prompt, got {prompt!r:.80}")
    if not prompt.points and prompt.box is None:
        raise ValueError("there is no prompt: click on the object or draw a box around it")
    _check_labels(prompt)
    for point in prompt.points:
        _check_point(point, width, height)
    if prompt.box is not None:
        _check_box(prompt.box, width, height)


def hint(prompt: Prompt) -> str:
    """A sentence for a prompt that is allowed but says too little; empty for every other."""
    return ONLY_NEGATIVE if prompt.points and not any(prompt.labels) and prompt.box is None else ""


def _check_labels(prompt: Prompt) -> None:
    if len(prompt.labels) != len(prompt.points):
        raise ValueError(
            f"every point needs a label, 1 on the object or 0 beside it; there are "
            f"{counted(len(prompt.points), 'point')} and {counted(len(prompt.labels), 'label')}"
        )
    for label in prompt.labels:
        if not isinstance(label, Real) or label not in (0, 1):
            raise ValueError(f"a label must be 1 (on the object) or 0 (beside it), got {label!r:.80}")


def _check_point(point: tuple[float, float], width: int, height: int) -> None:
    x, y = point
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"{POINT}, got ({x:g}, {y:g})")
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"the click at ({x:g}, {y:g}) is outside the picture of {width}×{height} pixels")


def _check_box(box: tuple[float, float, float, float], width: int, height: int) -> None:
    x0, y0, x1, y1 = box
    shown = "({:g}, {:g}, {:g}, {:g})".format(*box)
    if not all(map(math.isfinite, box)):
        raise ValueError(f"{BOX}, got {shown}")
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"the box {shown} is empty or inverted; x0 must be below x1 and y0 below y1")
    if not (x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height):
        raise ValueError(f"the box {shown} reaches outside the picture of {width}×{height} pixels")


def _listed(given: object, rule: str) -> list:
    if isinstance(given, (str, bytes, dict)) or not isinstance(given, Iterable):
        raise ValueError(f"{rule}, got {given!r:.80}")
    try:
        return list(given)
    except TypeError as error:  # of an array of no dimension
        raise ValueError(f"{rule}, got {given!r:.80}") from error


def _numbers(given: object, count: int, rule: str) -> tuple[float, ...]:
    values = _listed(given, rule)
    if len(values) != count or not all(isinstance(value, Real) for value in values):
        raise ValueError(f"{rule}, got {given!r:.80}")
    try:
        return tuple(map(float, values))
    except OverflowError as error:
        raise ValueError(f"{rule}, got a number that is too large") from error
