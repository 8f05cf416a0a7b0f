"""Before anything is measured: keys and values lose their means, and no channel of a head stays loud.

In full precision the model stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from ..graph.heads import centre_heads, rotate_heads
from ..recipes.steps import CENTRED, ROTATED, add_pass
from .base import Run


@add_pass("centre_heads", gives=(CENTRED,))
def centre(run: Run) -> None:
    """In place; the means are those of the calibration pictures."""
    centre_heads(run.prepared.module, run.prepared.family, _reported(run))


def _reported(run: Run) -> Iterator[Tensor]:
    """The calibration pictures, each chunk told to who watches the run, or wants it to stop."""
    seen = 0
    for chunk in run.pictures:
        run.monitor.report(seen / run.pictures.count, "Centring attention heads")
        yield chunk
        seen += len(chunk)


@add_pass("rotate_heads", gives=(ROTATED,), weight=0.1)
def rotate(run: Run) -> None:
    """In place."""
    run.monitor.report(0.0, "Rotating attention heads")
    rotate_heads(run.prepared.module, run.prepared.family)
