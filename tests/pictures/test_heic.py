"""HEIC and AVIF: read where the programs for them are installed, and else refused with what to install."""

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from vitq_core.pictures import PictureFolder, heic, kinds, open_picture
from vitq_core.pictures.kinds import kind_of
from vitq_core.pictures.preprocess import Preprocessing

pillow_heif = pytest.importorskip("pillow_heif")
TINY = Preprocessing(size=8, crop_pct=1.0)
HALVES = Image.new("RGB", (64, 32), "red")
HALVES.paste((0, 0, 255), (32, 0, 64, 32))


@pytest.fixture(scope="module")
def photo() -> bytes:
    file = BytesIO()
    pillow_heif.from_pillow(HALVES).save(file, quality=95)
    return file.getvalue()


@pytest.fixture
def without_plugin(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(kinds, "find_spec", lambda name: None)
    heic.heic_formats.cache_clear()
    yield
    heic.heic_formats.cache_clear()


def corners(picture: Image.Image) -> list[str]:
    pixels = np.asarray(picture)
    return ["red" if pixel[0] > pixel[2] else "blue" for pixel in (pixels[2, 2], pixels[-3, -3])]


def test_heic_is_read_and_turned(photo: bytes) -> None:
    assert kind_of(photo[:512]) == "HEIC"
    picture = open_picture(photo)
    assert (picture.mode, picture.size, corners(picture)) == ("RGB", (64, 32), ["red", "blue"])
    exif = Image.Exif()
    exif[0x0112] = 3
    file = BytesIO()
    pillow_heif.from_pillow(HALVES).save(file, quality=95, exif=exif.tobytes())
    assert corners(open_picture(file.getvalue())) == ["blue", "red"]


def test_heic_in_folders_with_and_without_ending(photo: bytes, tmp_path: Path) -> None:
    for name in ("cat/1.HEIC", "dog/2"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(photo)
    folder = PictureFolder(tmp_path, TINY, labels=["cat", "dog"])
    assert [label for _, label in folder.files] == [0, 1]
    assert len(next(iter(folder.loader()))[0]) == 2


def test_a_damaged_heic_is_called_so(photo: bytes) -> None:
    with pytest.raises(ValueError, match=r"^IMG_1.HEIC is damaged or incomplete"):
        open_picture(photo[: len(photo) // 2], "IMG_1.HEIC")


@pytest.mark.usefixtures("without_plugin")
def test_without_the_package_heic_says_what_to_install(photo: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^IMG_1.HEIC is no picture .*pip install pillow-heif; or save"):
        open_picture(photo, "IMG_1.HEIC")
    (tmp_path / "IMG_1.HEIC").write_bytes(photo)
    with pytest.raises(ValueError, match=r"1 file, .*\(1 \.heic\)\. HEIC: .*pip install pillow-heif"):
        PictureFolder(tmp_path, TINY)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_read(tmp_path: Path) -> None:
    HALVES.save(tmp_path / "a.avif", quality=95)
    (tmp_path / "b.download").write_bytes((tmp_path / "a.avif").read_bytes())
    folder = PictureFolder(tmp_path, TINY)
    assert [corners(folder.picture(index)) for index in range(len(folder))] == [["red", "blue"]] * 2
