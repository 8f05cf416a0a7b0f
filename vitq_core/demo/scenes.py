"""Scenes: labelled synthetic pictures with every object's mask and box, the same for the same seed and index.

A scene shows one main object, which is its label, among clutter of other kinds, some of it partly in front.
All geometry is in units of the picture's shorter side, so one scene at two sizes has the same objects in
the same poses.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy import ndarray
from numpy.random import Generator
from torch import Tensor

from ..common.masks import tight_box
from . import paint
from .pose import Pose, random_pose, reach, to_object
from .shapes import SHAPES

LABELS = tuple(SHAPES)
HELD_OUT_SEED = 2  # of the scenes that judge the bundled model, which trained on others
MIN_SIZE = 16
MIN_VISIBLE = 0.0015  # share of the picture below which an object is not listed


@dataclass(frozen=True)
class SceneObject:
    """One visible object: `label` is an index into `LABELS`, `mask` bool [H, W] its visible part.

    `box` (x0, y0, x1, y1) is the mask's, in pixels; x1 and y1 are just outside.
    """

    label: int
    mask: ndarray
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Scene:
    """`image` uint8 [H, W, 3], `label` the main object's, `objects` with the main one first."""

    image: ndarray
    label: int
    objects: tuple[SceneObject, ...]


def scene(index: int, seed: int = 0, size: int | tuple[int, int] = 64) -> Scene:
    """Scene number `index` of the sequence `seed`; `size` is one side or (height, width) in pixels.

    Labels are balanced: indices 0..L-1 show each of the L `LABELS` once, so do L..2·L-1, and so on.
    Raises ValueError for a negative index or seed and for sides under 16 pixels.
    """
    height, width = _checked(index, seed, size)
    rng = np.random.default_rng([seed, index])
    x, y = _grid(height, width)
    label = scene_label(index, seed)
    poses, main = _arrange(rng, label, (width / min(height, width), height / min(height, width)))
    picture = paint.backdrop(rng, x, y)
    owner = np.full((height, width), -1, np.int8)
    for number, pose in enumerate(poses):
        _draw(rng, picture, owner, number, pose, x, y)
    return Scene(_photograph(rng, picture, x, y), label, _objects(poses, owner, main))


def scene_label(index: int, seed: int = 0) -> int:
    """The label of `scene(index, seed)` without drawing it."""
    group, place = divmod(index, len(LABELS))
    return int(np.random.default_rng([seed, group, 1]).permutation(len(LABELS))[place])


def scene_batch(
    indices: Iterable[int], seed: int = 0, size: int | tuple[int, int] = 64
) -> tuple[Tensor, Tensor]:
    """The scenes `indices` as images float32 [N, 3, H, W] in 0..1 and labels int64 [N]."""
    scenes = [scene(int(i), seed, size) for i in indices]
    if not scenes:
        raise ValueError("a batch needs at least one index")
    images = torch.from_numpy(np.stack([s.image for s in scenes])).permute(0, 3, 1, 2)
    return images.float() / 255, torch.tensor([s.label for s in scenes])


def _checked(index: int, seed: int, size: int | tuple[int, int]) -> tuple[int, int]:
    if index < 0 or seed < 0:
        raise ValueError(f"index and seed must not be negative, got index {index} and seed {seed}")
    height, width = (size, size) if np.ndim(size) == 0 else size
    if min(height, width) < MIN_SIZE:
        raise ValueError(f"a scene is at least {MIN_SIZE} pixels high and wide, not {height}×{width}")
    return height, width


def _grid(height: int, width: int) -> tuple[ndarray, ndarray]:
    """Pixel centres, 0 in the middle, ±1 at the edges of the shorter side."""
    short = min(height, width)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return (2 * x + 1 - width) / short, (2 * y + 1 - height) / short


def _arrange(rng: Generator, label: int, extent: tuple[float, float]) -> tuple[list[Pose], int]:
    """Poses back to front, and which is the main one; `extent` is half the picture's width and height."""
    main = random_pose(rng, label, rng.uniform(0.55, 0.85), 0.22, (1, 1))
    behind = [_clutter(rng, label, extent) for _ in range(rng.integers(0, 4))]
    before = []
    if rng.random() < 0.4:
        angle, reach = rng.uniform(0, 2 * np.pi), main.radius * rng.uniform(0.7, 1.1)
        spot = (main.x + reach * np.cos(angle), main.y + reach * np.sin(angle))
        before = [_clutter(rng, label, extent, spot)]
    return [*behind, main, *before], len(behind)


def _clutter(rng: Generator, label: int, extent: tuple[float, float], spot: tuple | None = None) -> Pose:
    other = (label + int(rng.integers(1, len(LABELS)))) % len(LABELS)
    pose = random_pose(rng, other, rng.uniform(0.12, 0.26), 0.95, extent)
    return pose if spot is None else replace(pose, x=spot[0], y=spot[1])


def _draw(
    rng: Generator, picture: ndarray, owner: ndarray, number: int, pose: Pose, x: ndarray, y: ndarray
) -> None:
    """Paint one object into `picture` and its number into `owner`, in the window that it can reach."""
    window = reach(pose, x, y)
    behind = picture[window].reshape(-1, 3)
    colors = paint.palette(rng, behind.mean(0) if len(behind) else np.zeros(3))
    u, v = to_object(pose, x[window], y[window])
    pattern = paint.texture(rng, u, v, rng.uniform(0.03, 0.13))[..., None]
    shade = rng.uniform(-0.15, 0.15) * v[..., None]
    outline, fade = rng.uniform(0.5, 1.1), rng.uniform(0.8, 1.0)
    sharpness = pose.radius * min(picture.shape[:2]) / 2  # pixels per unit of distance
    covered = np.zeros(u.shape, bool)
    for role, distance in SHAPES[LABELS[pose.label]].parts(u, v, pose.vary):
        alpha = np.clip(0.5 - distance * sharpness, 0, 1)[..., None] * fade
        edge = np.clip(0.5 + (distance + 0.06) * sharpness, 0, 1)[..., None]
        fill = colors[role] * (1 + (outline - 1) * edge) + pattern + shade
        picture[window] += alpha * (fill - picture[window])
        covered |= distance < 0
    owner[window][covered] = number


def _photograph(rng: Generator, picture: ndarray, x: ndarray, y: ndarray) -> ndarray:
    """Light, blur and noise; the blur grows with the root of the size, so that large scenes stay sharp."""
    picture = paint.light(rng, picture, x, y)
    picture = paint.blur(picture, rng.uniform(0, 0.9) * (min(picture.shape[:2]) / 64) ** 0.5)
    picture = paint.noise(rng, picture, rng.uniform(0, 0.06))
    return (255 * picture.clip(0, 1) + 0.5).astype(np.uint8)


def _objects(poses: list[Pose], owner: ndarray, main: int) -> tuple[SceneObject, ...]:
    numbers = [main, *(n for n in range(len(poses)) if n != main)]
    masks = ((poses[n].label, owner == n) for n in numbers)
    shown = [(label, mask) for label, mask in masks if mask.mean() >= MIN_VISIBLE]
    return tuple(SceneObject(label, mask, tuple(map(int, tight_box(mask)))) for label, mask in shown)
