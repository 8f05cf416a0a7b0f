"""How fast a step of the making is (PSAQ-ViT, arXiv 2203.02250)."""

from __future__ import annotations

from math import cos, pi

WARM_UP = 5  # the published 100 of 500 iterations, as a part of any number of them: one of so many


def learning_rate(iteration: int, iterations: int, top: float) -> float:
    """Of one of ``iterations``, counted from 0: a line up to ``top``, then half a cosine down to 0."""
    rising = max(iterations // WARM_UP, 1)
    if iteration < rising:
        return top * (iteration + 1) / rising
    return top * (1 + cos(pi * (iteration - rising) / (iterations - rising))) / 2
