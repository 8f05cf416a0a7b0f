"""From a picture to the tensor a model was trained on. Anything else here looks like quantization loss."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config

from ..common.checks import check_name
from .decoding import plain_picture

# Below this side there is nothing to spare: a picture is resized to the model's size and not zoomed into.
SMALL = 128
# Resizing the shorter side of a 1 × 50,000,000 picture would make it 224 × 10^10, so such ones are cut first.
LONGEST = 10
LARGEST = 16_384  # pixels of a side; nothing that computes could hold more


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre crop, scale to 0..1, normalise; calling it does so.

    `size` is (height, width) in pixels, `crop_pct` the share of the resized shorter side that the crop keeps,
    `interpolation` and `crop_mode` are timm's words, `mean` and `std` are per channel for pixels in 0..1.
    Raises ValueError for a mean, std, size or crop of a wrong type or out of range.
    """

    size: tuple[int, int] = (224, 224)
    crop_pct: float = 0.875
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    crop_mode: str = "center"

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three_numbers(name, getattr(self, name)))
        object.__setattr__(self, "size", _height_and_width(self.size))
        if min(self.std) <= 0:
            raise ValueError(f"std must be three positive numbers, got {self.std}")
        if not isinstance(self.crop_pct, Real) or not 0 < self.crop_pct <= 1:
            raise ValueError(f"crop_pct must be above 0 and at most 1, got {self.crop_pct!r:.80}")
        if max(self.size) / self.crop_pct > LARGEST:
            raise ValueError(
                f"crop_pct must be at least {max(self.size) / LARGEST:.3g} for this size: before the crop "
                f"pictures have at most {LARGEST} pixels a side, got {self.crop_pct!r:.80}"
            )
        check_name("interpolation", self.interpolation, INTERPOLATIONS)
        check_name("crop_mode", self.crop_mode, _CROP_MODES)

    @classmethod
    def from_timm(cls, config: Mapping[str, Any]) -> "Preprocessing":
        """What timm does for a `pretrained_cfg`; models below 128 pixels do not crop unless it says so."""
        resolved = resolve_data_config(pretrained_cfg=dict(config))
        channels, *size = resolved["input_size"]
        if channels != 3:
            raise ValueError(
                f"the model takes pictures of {channels} channels; only RGB (3 channels) is supported"
            )
        crop_pct = resolved["crop_pct"] if config.get("crop_pct") else default_crop(min(size))
        return cls(
            size=tuple(size),
            crop_pct=crop_pct,
            interpolation=resolved["interpolation"],
            mean=resolved["mean"],
            std=resolved["std"],
            crop_mode=resolved["crop_mode"],
        )

    def __call__(self, picture: Image.Image) -> torch.Tensor:
        """A normalised float tensor [3, H, W] of a picture of any size and mode; ValueError if it is none."""
        return self._transform(_at_most(plain_picture(picture, "preprocessing"), LONGEST))

    def seen(self, image: torch.Tensor) -> torch.Tensor:
        """[3, H, W] from 0 to 1: what a picture that was prepared, `image`, looks like to the model."""
        mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (self.mean, self.std))
        return (image * std + mean).clamp(0, 1)

    def describe(self) -> str:
        """One sentence for reports."""
        height, width = self.size
        kept = f"{self.crop_mode} crop of {100 * self.crop_pct:g} %"
        return (
            f"Pictures are resized to {width}×{height} px ({self.interpolation}, {kept}) "
            f"and normalised with mean {_listed(self.mean)} and std {_listed(self.std)}."
        )

    @cached_property
    def _transform(self) -> Any:
        return create_transform(
            input_size=(3, *self.size),
            is_training=False,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
            crop_pct=self.crop_pct,
            crop_mode=self.crop_mode,
        )


INTERPOLATIONS = ("bicubic", "bilinear", "nearest", "lanczos", "box", "hamming")
_CROP_MODES = ("center", "squash", "border")


def default_crop(side: int) -> float:
    """The crop where nothing is said: timm's 0.875, and none for pictures of less than 128 pixels."""
    return 0.875 if side >= SMALL else 1.0


def _three_numbers(name: str, numbers: Any) -> tuple[float, ...]:
    try:
        values = tuple(float(x) for x in numbers)
    except (TypeError, ValueError):
        values = ()
    if len(values) != 3 or not all(map(math.isfinite, values)):
        raise ValueError(
            f"{name} must be three finite numbers, one for each of red, green and blue, got {numbers!r}"
        )
    return values


def _height_and_width(size: Any) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else size
    if (
        not isinstance(pair, tuple | list)
        or len(pair) != 2
        or not all(isinstance(x, int) and 0 < x <= LARGEST for x in pair)
    ):
        raise ValueError(
            f"size must be a positive number of pixels or (height, width) up to {LARGEST}, got {size!r:.80}"
        )
    return tuple(pair)


def _at_most(picture: Image.Image, ratio: int) -> Image.Image:
    """`picture`, cut around its centre where one side is more than `ratio` times the other."""
    longest = ratio * min(picture.size)
    if max(picture.size) <= longest:
        return picture
    width, height = (min(side, longest) for side in picture.size)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _listed(numbers: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{x:g}" for x in numbers) + ")"
