"""Where an object of a scene is, how large, and how it is turned."""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from .shapes import SHAPES


@dataclass(frozen=True)
class Pose:
    """`x`, `y` and `radius` in picture units (±1 at the edges of the shorter side), `turn` in radians.

    `stretch` and `shear` bend the object a little, `mirror` is 1 or -1, and `vary` sets its proportions.
    """

    label: int
    x: float
    y: float
    radius: float
    turn: float
    stretch: float
    shear: float
    mirror: int
    vary: float


def random_pose(
    rng: Generator, label: int, radius: float, spread: float, extent: tuple[float, float]
) -> Pose:
    """A pose for the shape number `label`, centred within ±`spread` times `extent` (half width, height)."""
    tilt = list(SHAPES.values())[label].tilt
    x, y = (rng.uniform(-spread, spread) * e for e in extent)
    return Pose(
        label=label,
        x=x,
        y=y,
        radius=radius,
        turn=rng.uniform(-tilt, tilt),
        stretch=np.exp(rng.uniform(-0.13, 0.13)),
        shear=rng.uniform(-0.15, 0.15),
        mirror=int(rng.choice([-1, 1])),
        vary=rng.random(),
    )


def reach(pose: Pose, x: ndarray, y: ndarray) -> tuple[slice, slice]:
    """Rows and columns of the pixels (x, y) that the object can reach; empty where it is outside."""
    columns = np.flatnonzero(np.abs(x[0] - pose.x) < 1.5 * pose.radius)
    rows = np.flatnonzero(np.abs(y[:, 0] - pose.y) < 1.5 * pose.radius)
    return tuple(slice(i[0], i[-1] + 1) if len(i) else slice(0, 0) for i in (rows, columns))


def to_object(pose: Pose, x: ndarray, y: ndarray) -> tuple[ndarray, ndarray]:
    """Picture coordinates in the object's own: moved, turned, sheared, stretched and mirrored."""
    cos, sin = float(np.cos(pose.turn)), float(np.sin(pose.turn))
    dx = (x - np.float32(pose.x)) / np.float32(pose.radius)
    dy = (y - np.float32(pose.y)) / np.float32(pose.radius)
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    u = u + np.float32(pose.shear) * v
    return pose.mirror * u / np.float32(pose.stretch), v * np.float32(pose.stretch)
