"""Pictures become RGB in bands: the same values as all at once, in little memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.pairs import in_turn
from vitq_core.pictures import open_picture, rgb
from vitq_core.pictures.decoding import MAX_SIDE

SIDE = 4000
MODES = ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LA", "PA", "RGBA", "I", "I;16", "I;16B"]


def picture_of(mode: str) -> Image.Image:
    """13 × 9 pixels of noise."""
    rng = np.random.default_rng(0)
    if mode.startswith("I"):
        kind = {"I": "<i4", "I;16": "<u2", "I;16B": ">u2"}[mode]
        return Image.fromarray(rng.integers(0, 2**16, (9, 13)).astype(kind))
    noise = Image.fromarray(rng.integers(0, 256, (9, 13, 4), dtype=np.uint8), "RGBA")
    return noise.convert(mode) if mode.endswith("A") else noise.convert("RGB").convert(mode)


def at_once(picture: Image.Image) -> Image.Image:
    """The naive twin of `to_rgb`: whole copies, floating point."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):
        values = np.asarray(picture, dtype=np.float64)
        scaled = np.round(values / 257)
        scaled[values == picture.info.get("transparency")] = 255
        return Image.merge("RGB", [Image.fromarray(scaled.astype(np.uint8))] * 3)
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    return picture.convert("RGB")


@pytest.mark.parametrize(("mode", "orientation"), in_turn(MODES, range(10), times=3))
def test_bands_give_what_the_whole_gives(mode: str, orientation: int, monkeypatch) -> None:
    monkeypatch.setattr(rgb, "BAND_PIXELS", 13 * 2)
    picture = picture_of(mode)
    picture.getexif()[0x0112] = orientation
    if mode == "P":
        picture.info["transparency"] = picture.getpixel((3, 3))
    elif mode.startswith("I"):
        picture.info["transparency"] = int(np.asarray(picture)[5, 5])
    made, expected = rgb.to_rgb(picture), at_once(picture)
    assert (made.mode, made.size) == ("RGB", expected.size)
    assert made.tobytes() == expected.tobytes()


def test_every_value_of_16_bits_is_rounded_as_by_division() -> None:
    values = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    seen = np.asarray(rgb.to_rgb(Image.fromarray(values)))[..., 0]
    assert (seen == np.round(values / 257.0)).all()


def test_values_out_of_range_are_refused_by_name_wherever_they_are(monkeypatch) -> None:
    monkeypatch.setattr(rgb, "BAND_PIXELS", 4)
    for value in (-1, 2**16):
        picture = Image.new("I", (4, 4))
        picture.putpixel((2, 3), value)
        with pytest.raises(ValueError, match=r"^scan.tif has pixel values .* 8 or 16 bits"):
            rgb.to_rgb(picture, "scan.tif")
    with pytest.raises(ValueError, match=r"^the picture has pixel values"):
        rgb.to_rgb(Image.new("F", (4, 4)))


def test_what_needs_nothing_is_not_copied_and_what_does_is_left_alone() -> None:
    plain = picture_of("RGB")
    assert rgb.to_rgb(plain) is plain
    turned = picture_of("RGB")
    turned.getexif()[0x0112] = 6
    assert rgb.to_rgb(turned).size == (9, 13)
    assert (turned.size, turned.getexif()[0x0112]) == ((13, 9), 6)


MEASURE = """
import resource, sys
from vitq_core.pictures import open_picture
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
open_picture(sys.argv[1])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="systems count memory in different units")
@pytest.mark.parametrize(("mode", "limit"), [("I;16", 8.5), ("RGBA", 11)])
def test_the_memory_is_that_of_the_picture_and_its_result(mode: str, limit: float, tmp_path: Path) -> None:
    """`limit` in bytes per pixel: PIL has 2 or 4 of the picture and 4 of the result, and a band is extra."""
    path = tmp_path / "large.png"
    Image.new(mode, (SIDE, SIDE)).save(path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURE, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert float(run.stdout) < limit * SIDE**2 / 2**20


def test_refuses_a_side_of_more_than_a_million(tmp_path: Path) -> None:
    for size in ((1, MAX_SIDE + 1), (MAX_SIDE + 1, 1)):
        Image.new("1", size).save(tmp_path / "line.png")
        with pytest.raises(ValueError, match=r"line.png has .* pixels; a side may have at most 1,000,000"):
            open_picture(tmp_path / "line.png")
    Image.new("1", (MAX_SIDE, 1)).save(tmp_path / "line.png")
    assert open_picture(tmp_path / "line.png").size == (MAX_SIDE, 1)
