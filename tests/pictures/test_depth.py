"""Which value is white in a picture of more than 8 bits, and colour of 16 bits read exactly."""

import zlib

import numpy as np
import pytest
from PIL import Image

from tests.pictures.test_folder import encoded, png_16
from tests.pictures.tiff_files import tiff
from vitq_core.pictures import open_picture

NOISE = np.random.default_rng(0)


def grey(data: bytes) -> list[int]:
    """The first row."""
    return np.asarray(open_picture(data, "scan.tif"))[0, :, 0].tolist()


def row(*values: int, kind: str = "u2") -> np.ndarray:
    return np.array([values], kind)


@pytest.mark.parametrize("container", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("values", "seen"),
    [
        ((0, 100, 255), [0, 100, 255]),  # 8 bits
        ((0, 512, 1023), [0, 128, 255]),  # 10 bits
        ((0, 2048, 4095), [0, 128, 255]),  # 12 bits
        ((0, 2048, 3000), [0, 128, 187]),  # 12 bits, though the brightest is not white
        ((0, 8192, 16383), [0, 128, 255]),  # 14 bits
        ((0, 8192, 16384), [0, 32, 64]),  # 16 bits as soon as a value needs them
        ((0, 257, 257 * 30), [0, 1, 30]),  # a dark one of 8 bits, spread over 16
        ((0, 0, 0), [0, 0, 0]),
    ],
)
def test_white_is_the_largest_value_of_the_smallest_depth_that_holds_all(container, values, seen) -> None:
    assert grey(encoded(Image.fromarray(row(*values)), container)) == seen


def test_a_graymap_says_itself_what_is_white() -> None:
    assert grey(b"P5 3 1 4095\n" + row(0, 100, 2048, kind=">u2").tobytes()) == [0, 6, 128]
    assert grey(b"P5 3 1 65535\n" + row(0, 2048, 4095, kind=">u2").tobytes()) == [0, 128, 255]


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_tags_of_a_tiff_count(order: str) -> None:
    dark = row(0, 100, 200)[..., None]
    assert grey(tiff(dark, order=order, t281=4095)) == [0, 6, 12]
    assert grey(tiff(dark, order=order, t281=3900)) == [0, 6, 12]
    assert grey(tiff(dark, order=order, t281=100)) == [0, 100, 200]  # it says less than there is
    if order == "<":
        assert grey(tiff(row(0, 2048, 4095)[..., None], t262=0)) == [255, 127, 0]  # 0 is white


def test_a_packed_tiff_of_12_bits_says_so() -> None:
    """Two values in three bytes."""
    data = bytearray(tiff(np.frombuffer(bytes([0x01, 0x00, 0x80]), np.uint8)[None, :, None]))
    start = int.from_bytes(data[4:8], "little")
    for index in range(int.from_bytes(data[start : start + 2], "little")):
        place = start + 2 + 12 * index
        tag = int.from_bytes(data[place : place + 2], "little")
        if tag in (256, 258):
            data[place + 8 : place + 10] = {256: 2, 258: 12}[tag].to_bytes(2, "little")
    assert grey(bytes(data)) == [round(0x010 / 4095 * 255), round(0x080 / 4095 * 255)]


@pytest.mark.parametrize(("kind", "order"), [("f4", "<"), ("f4", ">"), ("i4", "<"), ("i2", "<")])
def test_values_without_a_range_are_read_by_what_the_file_says_and_else_refused(
    kind: str, order: str
) -> None:
    values = row(-100, 0, 100, kind=kind)[..., None]
    assert grey(tiff(values, order=order, t340=-100.0, t341=100.0)) == [0, 128, 255]
    for told in ({}, {"t341": 100.0}, {"t340": 100.0, "t341": 100.0}):
        with pytest.raises(ValueError, match=r"^scan.tif has pixel values .*SMaxSampleValue.* 8 or 16 bits"):
            open_picture(tiff(values, order=order, **told), "scan.tif")


def test_whole_numbers_of_32_bits_are_read_where_16_hold_them() -> None:
    assert grey(tiff(row(0, 2048, 4095, kind="u4")[..., None])) == [0, 128, 255]


def test_not_a_number_is_black() -> None:
    values = row(np.nan, 0.5, 1.0, kind="f4")[..., None]
    assert grey(tiff(values, t340=0.0, t341=1.0)) == [0, 128, 255]


RGB = NOISE.integers(0, 4096, (9, 13, 3)).astype(np.uint16)
SEEN = np.round(RGB / 4095 * 255).astype(np.uint8)


@pytest.mark.parametrize(
    "data",
    [
        png_16(2, RGB),
        tiff(RGB),
        tiff(RGB, order=">"),
        tiff(RGB, planar=True),
        tiff(RGB, order=">", planar=True),
    ],
    ids=["png", "little", "big", "planes", "big planes"],
)
def test_colour_of_12_bits_in_16_is_exact(data: bytes) -> None:
    assert (np.asarray(open_picture(data)) == SEEN).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("compression", "predictor"), [(8, 1), (8, 2), (32946, 2)])
def test_colour_of_16_bits_that_is_packed(order: str, compression: int, predictor: int) -> None:
    """By deflate, as most are; 2: of each pixel its difference from the one on the left."""
    values = np.diff(RGB, axis=1, prepend=np.uint16(0)) if predictor == 2 else RGB
    packed = zlib.compress(values.astype(f"{order}u2").tobytes())
    assert len(packed) <= RGB.nbytes
    made = bytearray(tiff(np.zeros_like(RGB), order=order, t259=compression, t317=predictor))
    made[8 : 8 + len(packed)] = packed
    assert (np.asarray(open_picture(bytes(made))) == SEEN).all()


def test_colour_of_the_whole_range_stays_as_it_is() -> None:
    bright = RGB * 16
    for data in (png_16(2, bright), tiff(bright)):
        assert (np.asarray(open_picture(data)) == np.round(bright / 257.0)).all()


def test_transparency_has_a_range_of_its_own() -> None:
    pixels = np.concatenate([RGB[..., :1], np.full((9, 13, 1), 65535, np.uint16)], 2)
    seen = np.asarray(open_picture(png_16(4, pixels)))[..., 0]
    assert (seen == np.round(RGB[..., 0] / 4095 * 255)).all()
    clear = np.concatenate([RGB, np.zeros((9, 13, 1), np.uint16)], 2)
    assert (np.asarray(open_picture(png_16(6, clear))) == 255).all()


def test_exif_turns_colour_of_16_bits_too() -> None:
    turned = np.asarray(open_picture(tiff(RGB, t274=6)))
    assert (turned == np.rot90(SEEN, -1)).all()


@pytest.mark.parametrize(("bands", "kind"), [(5, "u1"), (7, "u2"), (3, "f4"), (1, "f8")])
def test_tiffs_that_cannot_be_read_say_what_is_in_them(bands: int, kind: str) -> None:
    data = tiff(np.ones((4, 4, bands), kind))
    with pytest.raises(ValueError, match=r"^tile.tif is a TIFF of \d .*save") as caught:
        open_picture(data, "tile.tif")
    assert f"of {bands} bands" in str(caught.value) or f"of {bands} × " in str(caught.value)
