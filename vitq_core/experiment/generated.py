"""Calibration pictures that a model makes itself from noise, where a person has none."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor

from PIL import Image
from torch import Tensor
from torch.nn import functional

from ..generation import generate_images
from ..models import Model
from ..pictures.preprocess import Preprocessing
from .measure import Cancel, Progress
from .samples import Sample, Source, in_memory

ITERATIONS = 30  # of each of the two passes, as measured in docs/data_free.json; published are 500
KEPT = 4  # sets of pictures
NOT_REAL = (
    "Ranges were measured on pictures made from noise; real ones are the safer choice where there are some."
)
NO_LABELS = " No pictures of the model's own kind are built in, so how often it is right is not known."


@dataclass(frozen=True, eq=False)
class Generated:
    """Made by `model` to calibrate on; those that `judging` holds out are to be judged by."""

    model: Model
    judging: Source
    iterations: int = field(default_factory=lambda: ITERATIONS)
    _made: dict[tuple[int, int], list[Sample]] = field(default_factory=dict, repr=False)

    @property
    def key(self) -> tuple:
        return ("generated", self.iterations, *self.judging.key)

    @property
    def about(self) -> str:
        return f"To calibrate: made from noise by the model itself. To test: {self.judging.about}"

    @property
    def warning(self) -> str:
        return NOT_REAL + (NO_LABELS if self.judging.warning else "")

    def calibration(
        self, count: int, seed: int, progress: Progress | None = None, cancel: Cancel | None = None
    ) -> list[Sample]:
        """The same pictures for the same seed, made once. Raises Cancelled, and VitqError for a model that
        none can be made for."""
        if (count, seed) not in self._made:
            images = generate_images(self.model, count, seed, self.iterations, progress, cancel)
            pictures = [as_picture(image, self.model.preprocessing) for image in images]
            while len(self._made) >= KEPT:
                del self._made[next(iter(self._made))]
            self._made[count, seed] = [
                in_memory(f"picture {i + 1} from noise", None, picture) for i, picture in enumerate(pictures)
            ]
        return self._made[count, seed]

    def held_out(self, count: int) -> list[Sample]:
        return self.judging.held_out(count)


def calibration_of(
    source: Source, count: int, seed: int, progress: Progress | None = None, cancel: Cancel | None = None
) -> list[Sample]:
    """`source.calibration`; where they have to be made first, that can be followed and stopped."""
    if isinstance(source, Generated):
        return source.calibration(count, seed, progress, cancel)
    return source.calibration(count, seed)


def as_picture(image: Tensor, preprocessing: Preprocessing) -> Image.Image:
    """The picture of which `preprocessing` makes `image` [3, H, W] again, to half a grey level: where that
    crops, its edges are drawn out."""
    pixels = preprocessing.seen(image)
    above, below = _margins(image.shape[1], preprocessing.crop_pct)
    left, right = _margins(image.shape[2], preprocessing.crop_pct)
    framed = functional.pad(pixels[None], (left, right, above, below), mode="replicate")[0]
    return Image.fromarray((framed * 255).round().byte().permute(1, 2, 0).numpy())


def _margins(side: int, kept: float) -> tuple[int, int]:
    """Before and behind: what a centre crop takes off."""
    whole = floor(side / kept)
    before = round((whole - side) / 2)
    return before, whole - side - before
