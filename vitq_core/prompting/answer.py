"""What a Segment Anything says to one prompt."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class Answer:
    """Candidates for one object.

    ``masks`` bool [C, H, W] at the size of the upright original picture; ``ious`` float32 [C], what the model
    believes their IoUs to be; ``low_res`` float32 [C, h, w], its logits, which a next prompt may build on.
    C is 3 for a single click (part, object, group) and 1 otherwise.
    """

    masks: ndarray = field(repr=False)
    ious: ndarray
    low_res: ndarray = field(repr=False)

    @property
    def chosen(self) -> int:
        """Which candidate the model believes in most."""
        return int(np.argmax(self.ious))

    @property
    def mask(self) -> ndarray:
        """The chosen candidate, bool [H, W]."""
        return self.masks[self.chosen]
