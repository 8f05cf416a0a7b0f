"""Signed distances to simple figures at points (x, y): negative inside; y points downwards."""

import numpy as np
from numpy import ndarray

Distance = ndarray


def disc(x: ndarray, y: ndarray, cx: float, cy: float, r: float) -> Distance:
    """Circle of radius `r` around (cx, cy)."""
    return np.hypot(x - cx, y - cy) - r


def box(x: ndarray, y: ndarray, cx: float, cy: float, w: float, h: float, corner: float = 0.0) -> Distance:
    """Rectangle of half-sizes `w`, `h` around (cx, cy), its corners rounded by `corner`."""
    dx, dy = np.abs(x - cx) - (w - corner), np.abs(y - cy) - (h - corner)
    return np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0) - corner


def ellipse(x: ndarray, y: ndarray, cx: float, cy: float, w: float, h: float) -> Distance:
    """Ellipse of half-axes `w`, `h`; the distance is exact on the outline only."""
    return (np.hypot((x - cx) / w, (y - cy) / h) - 1) * min(w, h)


def polygon(x: ndarray, y: ndarray, *corners: tuple[float, float]) -> Distance:
    """Polygon through `corners`, in either direction."""
    nearest, inside = np.full(x.shape, np.inf, x.dtype), np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        ex, ey = bx - ax, by - ay
        px, py = x - ax, y - ay
        along = np.clip((px * ex + py * ey) / (ex * ex + ey * ey), 0, 1)
        nearest = np.minimum(nearest, (px - ex * along) ** 2 + (py - ey * along) ** 2)
        if ey:
            inside ^= ((py < 0) != (y < by)) & (px < ex * py / ey)
    return np.where(inside, -1, 1) * np.sqrt(nearest)


def union(*distances: Distance) -> Distance:
    """Inside any of them."""
    return np.minimum.reduce(distances)


def cut(distance: Distance, *holes: Distance) -> Distance:
    """Inside `distance` and outside all `holes`."""
    return np.maximum.reduce([distance, *(-hole for hole in holes)])
