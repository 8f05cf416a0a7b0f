"""A picture becomes what Segment Anything's own predictor makes of it; what cannot be meant is a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from segment_anything.utils.transforms import ResizeLongestSide

from vitq_core.pictures.longest_side import LongestSide

from .test_preprocess import noise


@pytest.mark.parametrize("size", [(300, 200), (37, 90), (128, 128), (1, 1)])
def test_is_the_packages_own_transform(size: tuple[int, int]) -> None:
    theirs = ResizeLongestSide(128).apply_image(np.array(noise(*size)))
    ours = LongestSide(128)(noise(*size))
    assert ours.dtype == torch.float32 and torch.equal(ours, torch.tensor(theirs).permute(2, 0, 1).float())


@settings(max_examples=30)
@given(st.integers(1, 128), st.integers(1, 128), st.sampled_from(["RGB", "L", "RGBA", "P", "CMYK", "1"]))
def test_any_picture_fits_into_the_square(width: int, height: int, mode: str) -> None:
    tensor = LongestSide(64)(noise(width, height, mode))
    assert tensor.shape[0] == 3 and max(tensor.shape[1:]) == 64
    assert tensor.min() >= 0 and tensor.max() <= 255


def test_a_picture_stands_as_its_exif_says(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.jpg", exif=exif)
    with Image.open(tmp_path / "turned.jpg") as picture:
        assert LongestSide(64)(picture).shape == (3, 64, 32)


def test_a_picture_too_narrow_for_the_model_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="1×600 pixels, too narrow for a model of 128: no row or column"):
        LongestSide(128)(noise(1, 600))
    assert LongestSide(1024)(noise(1, 600)).shape == (3, 1024, 2)


@pytest.mark.parametrize("picture", [None, "picture.png", np.zeros((4, 4, 3))], ids=["none", "name", "array"])
def test_what_is_no_picture_is_refused(picture: object) -> None:
    with pytest.raises(ValueError, match="preprocessing takes a PIL picture"):
        LongestSide(64)(picture)


@pytest.mark.parametrize("side", [0, -1, 1.5, True, "64", None, 10**6])
def test_a_side_that_is_none_is_refused(side: object) -> None:
    with pytest.raises(ValueError, match="side must be a positive number of pixels"):
        LongestSide(side)


def test_it_says_what_it_does() -> None:
    assert LongestSide(64).size == (64, 64)
    assert LongestSide(64).describe().startswith("Pictures are resized so that the longer side has 64 px;")
