"""The things scenes are made of: each function draws one with signed distances, in units of its radius."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from .geometry import Distance, box, cut, disc, ellipse, polygon, union

Parts = list[tuple[str, Distance]]


@dataclass(frozen=True)
class Shape:
    """`parts(x, y, vary)` gives what to paint, back to front, as (role in the palette, distance).

    `vary` in 0..1 changes proportions. `tilt` is the largest rotation in radians (π: any direction will do).
    """

    parts: Callable[[ndarray, ndarray, float], Parts]
    tilt: float


SHAPES: dict[str, Shape] = {}


def _shape(tilt: float = 0.5) -> Callable:
    def register(parts: Callable) -> Callable:
        SHAPES[parts.__name__] = Shape(parts, tilt)
        return parts

    return register


def _around(count: int, radius: float, turn: float = 0.0) -> list[tuple[float, float]]:
    angles = 2 * np.pi * np.arange(count) / count + turn
    return [(radius * float(np.sin(a)), -radius * float(np.cos(a))) for a in angles]


@_shape(np.pi)
def circle(x, y, vary):
    return [("body", disc(x, y, 0, 0, 0.88))]


@_shape(np.pi)
def ring(x, y, vary):
    return [("body", np.abs(np.hypot(x, y) - 0.7) - 0.14 - 0.1 * vary)]


@_shape(0.5)
def square(x, y, vary):
    return [("body", box(x, y, 0, 0, 0.74, 0.74))]


@_shape(0.5)
def triangle(x, y, vary):
    return [("body", polygon(x, y, (0, -0.8 - 0.15 * vary), (0.9, 0.66), (-0.9, 0.66)))]


@_shape(np.pi)
def star(x, y, vary):
    inner = _around(5, 0.36 + 0.12 * vary, np.pi / 5)
    return [("body", polygon(x, y, *(p for pair in zip(_around(5, 1), inner, strict=True) for p in pair)))]


@_shape(0.5)
def cross(x, y, vary):
    width = 0.2 + 0.12 * vary
    return [("body", union(box(x, y, 0, 0, 0.9, width), box(x, y, 0, 0, width, 0.9)))]


@_shape(0.6)
def heart(x, y, vary):
    side = 0.5
    half = side / np.sqrt(2)
    diamond = box((x + y - 0.05) / np.sqrt(2), (x - y + 0.05) / np.sqrt(2), 0, 0, side, side)
    return [
        ("body", union(diamond, disc(x, y, -half, 0.05 - half, side), disc(x, y, half, 0.05 - half, side)))
    ]


@_shape(0.7)
def crescent(x, y, vary):
    return [("body", cut(disc(x, y, 0, 0, 0.92), disc(x, y, 0.4 + 0.15 * vary, -0.1, 0.74)))]


@_shape(0.8)
def arrow(x, y, vary):
    neck, shaft = 0.05 + 0.2 * vary, 0.16 + 0.1 * vary
    half = [(0.98, 0), (neck, 0.7), (neck, shaft), (-0.95, shaft)]
    return [("body", polygon(x, y, *half, *((px, -py) for px, py in half[:0:-1])))]


@_shape(0.35)
def house(x, y, vary):
    top = -0.1 - 0.15 * vary
    return [
        ("body", box(x, y, 0, (top + 0.8) / 2, 0.66, (0.8 - top) / 2)),
        ("accent", polygon(x, y, (0, top - 0.72), (0.88, top + 0.03), (-0.88, top + 0.03))),
        ("dark", box(x, y, 0.25, 0.52, 0.15, 0.28)),
        ("light", box(x, y, -0.28, 0.3, 0.17, 0.16)),
    ]


@_shape(0.35)
def tree(x, y, vary):
    trunk = ("wood", box(x, y, 0, 0.6, 0.13, 0.38))
    if vary < 0.5:
        crown = union(
            *(disc(x, y, cx, cy, r) for cx, cy, r in ((-0.35, 0, 0.4), (0.35, 0, 0.4), (0, -0.42, 0.46)))
        )
    else:
        levels = ((-0.98, -0.3, 0.44), (-0.6, 0.06, 0.58), (-0.25, 0.45, 0.72))
        crown = union(*(polygon(x, y, (0, top), (half, low), (-half, low)) for top, low, half in levels))
    return [trunk, ("leaf", crown)]


@_shape(0.35)
def car(x, y, vary):
    roof = -0.42 - 0.12 * vary
    wheels = union(disc(x, y, -0.52, 0.36, 0.22), disc(x, y, 0.52, 0.36, 0.22))
    return [
        ("body", polygon(x, y, (-0.62, -0.02), (-0.38, roof), (0.3, roof), (0.6, -0.02))),
        ("light", polygon(x, y, (-0.42, -0.04), (-0.27, roof + 0.12), (0.22, roof + 0.12), (0.4, -0.04))),
        ("body", box(x, y, 0, 0.14, 0.98, 0.23, 0.12)),
        ("dark", wheels),
        ("light", wheels + 0.13),
    ]


@_shape(0.6)
def fish(x, y, vary):
    return [
        ("accent", polygon(x, y, (0.3, 0), (0.98, -0.48), (0.82, 0), (0.98, 0.48))),
        ("accent", polygon(x, y, (-0.25, -0.3), (0.2, -0.75), (0.25, -0.2))),
        ("body", ellipse(x, y, -0.2, 0, 0.74, 0.38 + 0.12 * vary)),
        ("light", disc(x, y, -0.62, -0.1, 0.13)),
        ("dark", disc(x, y, -0.63, -0.1, 0.07)),
    ]


@_shape(np.pi)
def flower(x, y, vary):
    count = 5 + int(2.99 * vary)
    petals = (disc(x, y, cx, cy, 1.75 / count + 0.03) for cx, cy in _around(count, 0.6))
    return [("body", union(*petals)), ("accent", disc(x, y, 0, 0, 0.32))]


@_shape(0.3)
def cloud(x, y, vary):
    puffs = ((-0.55, 0.18, 0.34), (-0.15, -0.12, 0.42 + 0.08 * vary), (0.35, 0.0, 0.36), (0.68, 0.24, 0.26))
    return [("body", union(box(x, y, 0.03, 0.3, 0.72, 0.22, 0.2), *(disc(x, y, *puff) for puff in puffs)))]


@_shape(0.7)
def key(x, y, vary):
    head = cut(disc(x, y, -0.55, 0, 0.4), disc(x, y, -0.6, 0, 0.19))
    teeth = [box(x, y, cx, 0.22, 0.07, 0.15 + 0.06 * vary) for cx in (0.55, 0.82)]
    return [("body", union(head, box(x, y, 0.35, 0, 0.58, 0.1), *teeth))]


@_shape(0.4)
def mushroom(x, y, vary):
    cap = cut(ellipse(x, y, 0, 0.05, 0.9, 0.85 + 0.1 * vary), box(x, y, 0, 0.6, 1.2, 0.5))
    dots = union(disc(x, y, -0.4, -0.2, 0.13), disc(x, y, 0.12, -0.48, 0.15), disc(x, y, 0.5, -0.12, 0.12))
    return [("light", box(x, y, 0, 0.4, 0.22 + 0.08 * vary, 0.5, 0.12)), ("body", cap), ("light", dots)]


@_shape(0.35)
def boat(x, y, vary):
    return [
        ("wood", box(x, y, -0.02, -0.2, 0.045, 0.75)),
        ("light", polygon(x, y, (0.07, -0.9), (0.07, 0.22), (0.62 + 0.15 * vary, 0.22))),
        ("light", polygon(x, y, (-0.11, -0.72), (-0.11, 0.22), (-0.58, 0.22))),
        ("body", polygon(x, y, (-0.92, 0.34), (0.92, 0.34), (0.58, 0.82), (-0.62, 0.82))),
    ]


@_shape(0.5)
def bolt(x, y, vary):
    corners = (
        (0.25, -0.98),
        (-0.55, 0.12),
        (-0.06, 0.12),
        (-0.3, 0.98),
        (0.58, -0.22),
        (0.08, -0.22),
        (0.5, -0.98),
    )
    return [("body", polygon(x, y, *corners))]


@_shape(0.45)
def umbrella(x, y, vary):
    scallops = [disc(x, y, cx, 0.14, 0.26) for cx in (-0.66, -0.22, 0.22, 0.66)]
    canopy = cut(ellipse(x, y, 0, 0.1, 0.92, 0.85 + 0.1 * vary), *scallops, box(x, y, 0, 0.7, 1.2, 0.58))
    hook = cut(np.abs(disc(x, y, 0.15, 0.74, 0.17)) - 0.05, box(x, y, 0.15, 0.5, 0.4, 0.24))
    return [("accent", union(box(x, y, -0.02, 0.2, 0.05, 0.55), hook)), ("body", canopy)]
