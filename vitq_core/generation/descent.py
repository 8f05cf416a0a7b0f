"""The steps from noise to pictures (PSAQ-ViT, arXiv 2203.02250)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.monitor import Monitor
from .jitter import Move, drawn_move
from .schedule import learning_rate

REACHES = (15, 30)  # pixels, of the moves in the first pass and in the second
BETAS, EPSILON = (0.5, 0.9), 1e-8


@dataclass(frozen=True)
class Step:
    """How the pictures are moved before they are looked at, and how fast it goes."""

    move: Move
    rate: float


def planned_steps(iterations: int, rate: float, generator: torch.Generator) -> Iterator[Step]:
    """Two passes; each warms up and cools down again, and the second moves pictures farther."""
    for reach in REACHES:
        for iteration in range(iterations):
            yield Step(drawn_move(reach, generator), learning_rate(iteration, iterations, rate))


def improved(
    start: Tensor,
    objective: Callable[[Tensor], Tensor],
    steps: Sequence[Step],
    bounds: tuple[Tensor, Tensor],
    monitor: Monitor,
) -> Tensor:
    """``start`` [B, C, H, W] after all ``steps`` down the ``objective`` of the moved pictures, by Adam, whose
    state stays from one pass to the next. Pixels are kept within ``bounds`` [C, 1, 1]. Raises Cancelled."""
    images = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([images], betas=BETAS, eps=EPSILON)
    low, high = (bound.to(start.device) for bound in bounds)
    for done, step in enumerate(steps):
        monitor.report(done / len(steps), f"Making pictures: step {done + 1} of {len(steps)}")
        optimizer.param_groups[0]["lr"] = step.rate
        optimizer.zero_grad()
        objective(step.move(images)).backward()
        optimizer.step()
        with torch.no_grad():
            images.copy_(images.clamp(low, high))
    return images.detach()
