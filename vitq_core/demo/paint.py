"""Colour, texture, light, blur and noise for scenes. Pictures are float32 [H, W, 3] in 0..1."""

import colorsys

import numpy as np
from numpy import ndarray
from numpy.random import Generator

NAMED_HUES = {"wood": (0.06, 0.10), "leaf": (0.22, 0.42)}


def color(
    rng: Generator,
    light: tuple[float, float],
    hues: tuple[float, float] = (0, 1),
    saturation: tuple[float, float] = (0.1, 0.95),
) -> ndarray:
    """A random colour [3] with brightness in `light`, hue in `hues` and saturation in `saturation`."""
    rgb = colorsys.hsv_to_rgb(rng.uniform(*hues), rng.uniform(*saturation), rng.uniform(*light))
    return np.array(rgb, np.float32)


def palette(rng: Generator, background: ndarray) -> dict[str, ndarray]:
    """Colours for the roles of a shape's parts: bright on a dark `background` [3], dark on a bright one."""
    bright = (0.65, 1.0) if background.mean() < 0.5 else (0.05, 0.45)
    roles = {"body": color(rng, bright), "accent": color(rng, bright), "dark": color(rng, (0.05, 0.25))}
    roles["light"] = color(rng, (0.9, 1.0), saturation=(0, 0.15))
    return roles | {name: color(rng, bright, hues) for name, hues in NAMED_HUES.items()}


def texture(rng: Generator, x: ndarray, y: ndarray, strength: float) -> ndarray:
    """Brightness within ±`strength` at the points (x, y): stripes, checks, waves or plain."""
    kind, angle, rate, phase = rng.integers(4), rng.uniform(0, np.pi), rng.uniform(4, 14), rng.uniform(0, 6)
    along = x * np.cos(angle, dtype=np.float32) + y * np.sin(angle, dtype=np.float32)
    across = y * np.cos(angle, dtype=np.float32) - x * np.sin(angle, dtype=np.float32)
    stripes = np.sin(rate * along + phase)
    if kind == 0:
        return np.zeros_like(x)
    if kind == 1:
        return strength * np.clip(3 * stripes, -1, 1)
    if kind == 2:
        return strength * np.clip(3 * stripes * np.sin(rate * across), -1, 1)
    return strength * (0.6 * stripes + 0.4 * np.sin(0.7 * rate * across + 2 * np.sin(2 * along)))


def backdrop(rng: Generator, x: ndarray, y: ndarray) -> ndarray:
    """Background [H, W, 3]: a gradient between two related colours under two patterns."""
    light = (0.1, 0.5) if rng.random() < 0.8 else (0.7, 1.0)
    first, second = (color(rng, light, saturation=(0.05, 0.7)) for _ in range(2))
    second = first + 0.6 * (second - first)
    angle = rng.uniform(0, 2 * np.pi)
    along = 0.5 + 0.35 * (np.cos(angle) * x + np.sin(angle) * y)
    picture = first + along.clip(0, 1)[..., None].astype(np.float32) * (second - first)
    for _ in range(2):
        picture = picture + texture(rng, x, y, rng.uniform(0.02, 0.08))[..., None]
    return picture.astype(np.float32)


def light(rng: Generator, picture: ndarray, x: ndarray, y: ndarray) -> ndarray:
    """Light falling from one side: brighter there, darker opposite, with a tint."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.3)
    level = rng.uniform(0.8, 1.1) + strength * (np.cos(angle) * x + np.sin(angle) * y)
    tint = rng.uniform(0.92, 1.08, 3)
    return picture * level[..., None].astype(np.float32) * tint.astype(np.float32)


def blur(picture: ndarray, sigma: float) -> ndarray:
    """Gaussian blur, `sigma` in pixels; edges are repeated."""
    reach = int(np.ceil(2.5 * sigma))
    if sigma < 0.2 or not reach:
        return picture
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    weights /= weights.sum()
    for axis in (0, 1):
        length = picture.shape[axis]
        padded = np.pad(picture, [(reach, reach) if a == axis else (0, 0) for a in range(3)], mode="edge")
        picture = sum(w * padded.take(range(i, i + length), axis) for i, w in enumerate(weights))
    return picture


def noise(rng: Generator, picture: ndarray, strength: float) -> ndarray:
    """Independent Gaussian noise of standard deviation `strength`."""
    return picture + strength * rng.standard_normal(picture.shape, dtype=np.float32)
