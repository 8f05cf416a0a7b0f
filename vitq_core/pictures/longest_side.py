"""From a picture to what Segment Anything takes: its longer side at the model's size, values as they are."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from segment_anything.utils.transforms import ResizeLongestSide

from .decoding import plain_picture
from .preprocess import LARGEST


@dataclass(frozen=True)
class LongestSide:
    """Resize so that the longer side has `side` pixels; calling it does so.

    Nothing is cropped, padded or normalised: `Sam` pads and normalises what it is given. Raises ValueError
    for a `side` that is no positive number of pixels.
    """

    side: int = 1024

    def __post_init__(self) -> None:
        if isinstance(self.side, bool) or not isinstance(self.side, int) or not 0 < self.side <= LARGEST:
            raise ValueError(
                f"side must be a positive number of pixels up to {LARGEST}, got {self.side!r:.80}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the padded square that the model computes with."""
        return self.side, self.side

    def __call__(self, picture: Image.Image) -> torch.Tensor:
        """A float tensor [3, h, w] of 0..255: the `image` of a record that `Sam.forward` takes.

        Raises ValueError for what is no picture, is damaged, or so narrow that nothing of its width is left.
        """
        rgb = plain_picture(picture, "preprocessing")
        resize = ResizeLongestSide(self.side)
        if not all(resize.get_preprocess_shape(rgb.height, rgb.width, self.side)):
            raise ValueError(
                f"the picture has {rgb.width}×{rgb.height} pixels, too narrow for a model of {self.side}: "
                "no row or column of it would be left; cut it into pieces"
            )
        return torch.from_numpy(resize.apply_image(np.asarray(rgb))).permute(2, 0, 1).float()

    def describe(self) -> str:
        """One sentence for reports."""
        return (
            f"Pictures are resized so that the longer side has {self.side} px; "
            "the model itself normalises and pads them."
        )
