"""What one visitor pointed at in one picture, and what they did before: values that never change.

A page keeps one `Visit` for each visitor; every gesture makes a new one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import vitq_core as vq

from ..parts.prompt_canvas import Box, Click, Drag, Point

MAX_OBJECTS = 24
MAX_POINTS = 64  # on one object
KEPT_STEPS = 200


@dataclass(frozen=True)
class Picture:
    """Names a picture and keeps nothing of it. `kind`: scene, photograph or file; `size`: width, height."""

    kind: str
    which: int | str
    name: str
    size: tuple[int, int]

    @property
    def key(self) -> str:
        """Says nothing of where an upload lies."""
        return hashlib.sha256(f"{self.kind}:{self.which}".encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Thing:
    """One object and how it was pointed at; `labels` are 1 on it and 0 beside it. All in pixels."""

    points: tuple[Point, ...] = ()
    labels: tuple[int, ...] = ()
    box: Box | None = None

    def __bool__(self) -> bool:
        return bool(self.points) or self.box is not None

    @property
    def only_beside(self) -> bool:
        """Whether nothing says where the object is."""
        return bool(self.points) and not any(self.labels) and self.box is None

    def prompt(self) -> vq.Prompt:
        """Raises ValueError for one that makes no sense."""
        return vq.Prompt(points=self.points, labels=self.labels, box=self.box)

    def within(self, size: tuple[int, int], of: tuple[int, int]) -> Thing:
        """The same in a picture made `size` from one of size `of`."""
        x, y = (small / large for small, large in zip(size, of, strict=True))
        points = tuple((left * x, top * y) for left, top in self.points)
        box = self.box and (self.box[0] * x, self.box[1] * y, self.box[2] * x, self.box[3] * y)
        return Thing(points, self.labels, box)


@dataclass(frozen=True)
class Visit:
    """`active`: which of `things` the next gesture is about; `past`: earlier (things, active), in order."""

    picture: Picture
    things: tuple[Thing, ...] = (Thing(),)
    active: int = 0
    past: tuple[tuple[tuple[Thing, ...], int], ...] = ()

    @property
    def thing(self) -> Thing:
        return self.things[self.active]

    @property
    def pointed(self) -> list[tuple[int, Thing]]:
        """(number, thing) of each that was pointed at."""
        return [(number, thing) for number, thing in enumerate(self.things) if thing]


def point_at(visit: Visit, gesture: Click | Drag) -> Visit:
    """One click more on the active object, or a box around it in place of its earlier one.

    Raises ValueError for one click too many.
    """
    thing = visit.thing
    if isinstance(gesture, Drag):
        return _with(visit, replace(thing, box=gesture.box))
    if len(thing.points) >= MAX_POINTS:
        raise ValueError(f"An object may have {MAX_POINTS} clicks; undo some, or begin a new object.")
    points, labels = (*thing.points, gesture.place), (*thing.labels, int(gesture.positive))
    return _with(visit, replace(thing, points=points, labels=labels))


def new_object(visit: Visit) -> Visit:
    """The next gesture begins another object: the one that is still empty, where there is one.

    Raises ValueError for one object too many.
    """
    empty = next((number for number, thing in enumerate(visit.things) if not thing), None)
    if empty is not None:
        return select_object(visit, empty)
    if len(visit.things) >= MAX_OBJECTS:
        raise ValueError(f"A picture may have {MAX_OBJECTS} objects; clear it, or undo some.")
    return _next(visit, (*visit.things, Thing()), len(visit.things))


def select_object(visit: Visit, number: Any) -> Visit:
    """The next gesture is about object `number`. Raises ValueError where there is none."""
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(visit.things):
        raise ValueError(f"There is no such object; choose one of {len(visit.things)}.")
    return replace(visit, active=number)


def undo(visit: Visit) -> Visit:
    """As it was before the last gesture, new object or clearing."""
    if not visit.past:
        return visit
    *past, (things, active) = visit.past
    return replace(visit, things=things, active=active, past=tuple(past))


def clear(visit: Visit) -> Visit:
    """Nothing pointed at; that too can be undone."""
    return _next(visit, (Thing(),), 0) if visit.pointed else visit


def _with(visit: Visit, thing: Thing) -> Visit:
    things = tuple(thing if number == visit.active else old for number, old in enumerate(visit.things))
    return _next(visit, things, visit.active)


def _next(visit: Visit, things: tuple[Thing, ...], active: int) -> Visit:
    past = (*visit.past, (visit.things, visit.active))[-KEPT_STEPS:]
    return Visit(visit.picture, things, active, past)
