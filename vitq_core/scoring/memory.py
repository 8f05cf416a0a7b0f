"""How many pictures are scored at a time: propagation keeps what every operation gave."""

from __future__ import annotations

from ..graph.prepared import PreparedModel

HELD_BYTES = 2.5e9  # what may be held at a time, about
# Bytes held per number that a layer gives: measured with DeiT-Base, relevance in float32.
PER_OUTPUT = 32


def at_once(prepared: PreparedModel, most: int) -> int:
    """Pictures that are scored together: ``most``, or as many as there is room for."""
    held = PER_OUTPUT * sum(layer.outputs for layer in prepared.layers.values())
    return max(1, min(most, prepared.task.chunk, int(HELD_BYTES / max(held, 1))))
