"""Pictures of which the objects are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from PIL import Image

from ..demo.scenes import HELD_OUT_SEED, scene


@dataclass(frozen=True, eq=False)
class Labelled:
    """`picture` and the `masks` of its objects, bool [H, W] each at the size of the upright picture."""

    picture: Image.Image
    masks: Sequence[ndarray]

    def check(self, width: int, height: int) -> None:
        """ValueError where a mask is none of a picture of `width` × `height`, or empty."""
        for mask in self.masks:
            if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != (height, width):
                raise ValueError(f"a mask must be a bool array [{height}, {width}], as its picture is")
            if not mask.any():
                raise ValueError("a mask must have a pixel inside")


def drawn_scenes(count: int, size: int = 256, seed: int = HELD_OUT_SEED) -> Iterator[Labelled]:
    """The first `count` drawn scenes of `size` × `size` pixels with all listed objects; by default those that
    no bundled model was trained on."""
    for index in range(count):
        drawn = scene(index, seed, size)
        yield Labelled(Image.fromarray(drawn.image), [thing.mask for thing in drawn.objects])
