"""Rotate the heads before anything is measured: no channel of a query, key or value stays loud."""

from __future__ import annotations

from ..graph.rotation import rotate_heads
from ..recipes.steps import ROTATED, add_pass
from .base import Run


@add_pass("rotate_heads", gives=(ROTATED,), weight=0.1)
def rotate(run: Run) -> None:
    """In place; what the model answers stays."""
    run.monitor.report(0.0, "Rotating attention heads")
    rotate_heads(run.prepared.module, run.prepared.family)
