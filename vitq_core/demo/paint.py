"""Colour, texture, light, blur and noise for scenes. Pictures are float32 [H, W, 3] in 0..1."""

import colorsys

import numpy as np
from numpy import ndarray
from numpy.random import Generator

NAMED_HUES = {"wood": (0.06, 0.10), "leaf": (0.22, 0.42)}


def color(
    rng: Generator, hues: tuple[float, float] = (0, 1), light: tuple[float, float] = (0.15, 1.0)
) -> ndarray:
    """A random colour [3] with its hue in `hues` and its brightness in `light`."""
    rgb = colorsys.hsv_to_rgb(rng.uniform(*hues), rng.uniform(0.1, 0.95), rng.uniform(*light))
    return np.array(rgb, np.float32)


def palette(rng: Generator, background: ndarray) -> dict[str, ndarray]:
    """Colours for the roles of a shape's parts; the body's mostly differs from the `background` [3]."""
    body = color(rng)
    for _ in range(6):
        if np.abs(body - background).mean() > 0.25:
            break
        body = color(rng)
    roles = {"body": body, "accent": color(rng), "dark": color(rng, light=(0.05, 0.25))}
    roles["light"] = (0.85 + 0.15 * color(rng)).clip(0, 1)
    roles |= {name: color(rng, hues, (0.25, 0.75)) for name, hues in NAMED_HUES.items()}
    return roles


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
    first, second = color(rng), color(rng)
    second = first + 0.6 * (second - first)
    angle = rng.uniform(0, 2 * np.pi)
    along = 0.5 + 0.35 * (np.cos(angle) * x + np.sin(angle) * y)
    picture = first + along.clip(0, 1)[..., None].astype(np.float32) * (second - first)
    for _ in range(2):
        picture = picture + texture(rng, x, y, rng.uniform(0.02, 0.1))[..., None]
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
