"""Uploads are converted right or refused with a sentence; folders and archives give labelled tensors."""

import os
import pickle
import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vitq_core.pictures import PictureFolder, open_picture
from vitq_core.pictures.decoding import MAX_BYTES
from vitq_core.pictures.preprocess import Preprocessing

RED, WHITE = (255, 0, 0), (255, 255, 255)
TINY = Preprocessing(size=8, crop_pct=1.0)
# Left half red, right half blue: turning and mirroring show.
HALVES = Image.new("RGB", (8, 4), RED)
HALVES.paste((0, 0, 255), (4, 0, 8, 4))


def encoded(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png_16(color_type: int, pixels: np.ndarray, *extra: tuple[bytes, bytes]) -> bytes:
    """A 16-bit PNG, [H, W] grey or [H, W, C], which PIL can only write for grey."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    framed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def test_plain_pictures_come_back_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "halves.png"
    HALVES.save(path)
    for source in (path, str(path), path.read_bytes()):
        assert open_picture(source).tobytes() == HALVES.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = open_picture(encoded(HALVES, exif=exif))
    corner = {1: RED, 2: None, 3: None, 4: RED, 5: RED, 6: RED, 7: None, 8: None}[orientation]
    assert picture.size == ((8, 4) if orientation < 5 else (4, 8))
    assert picture.getpixel((0, 0)) == (corner or (0, 0, 255))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_lose_the_picture() -> None:
    data = encoded(HALVES, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")
    assert open_picture(data).size == (8, 4)


def test_transparency_is_composited_on_white() -> None:
    clear = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    clear.putpixel((0, 0), (255, 0, 0, 255))
    for mode, kind in (("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "TIFF"), ("RGBA", "WEBP")):
        assert open_picture(encoded(clear.convert(mode), kind)).getpixel((1, 0)) == WHITE
    palette = Image.new("P", (2, 1), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((0, 0), 0)
    opened = open_picture(encoded(palette, transparency=1))
    assert (opened.getpixel((0, 0)), opened.getpixel((1, 0))) == (RED, WHITE)
    half = Image.new("RGBA", (1, 1), (0, 0, 0, 128))
    assert open_picture(encoded(half)).getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "RGB"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    picture = open_picture(encoded(Image.new("RGB", (3, 2), WHITE).convert(mode), kind))
    assert picture.mode == "RGB" and picture.getpixel((1, 1)) == WHITE


def test_cmyk_jpeg_keeps_its_colours() -> None:
    opened = np.array(open_picture(encoded(HALVES.convert("CMYK"), "JPEG", quality=100)), dtype=int)
    assert np.abs(opened - np.array(HALVES, dtype=int)).max() < 12


def test_16_bit_grey_is_scaled_and_not_clipped() -> None:
    values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    for data in (
        encoded(Image.fromarray(values)),
        encoded(Image.fromarray(values), "TIFF"),
        png_16(0, values),
    ):
        assert [open_picture(data).getpixel((x, 0))[0] for x in range(3)] == [0, 100, 255]
    see_through = png_16(0, values, (b"tRNS", struct.pack(">H", 257 * 100)))
    assert open_picture(see_through).getpixel((1, 0)) == WHITE


def test_16_bit_colour_and_alpha() -> None:
    rgb = np.array([[[257 * 10, 257 * 20, 257 * 30]]], dtype=np.uint16)
    assert open_picture(png_16(2, rgb)).getpixel((0, 0)) == (10, 20, 30)
    rgba = np.array([[[0, 0, 0, 0]]], dtype=np.uint16)
    assert open_picture(png_16(6, rgba)).getpixel((0, 0)) == WHITE
    assert open_picture(png_16(4, rgba[..., :2])).getpixel((0, 0)) == WHITE


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animations_give_their_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), (0, 255, 0))]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert open_picture(data).getpixel((0, 0)) == RED


def test_a_phone_picture_with_several_frames_gives_the_first() -> None:
    data = encoded(HALVES, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 4))], quality=100)
    assert np.abs(np.array(open_picture(data), dtype=int) - np.array(HALVES, dtype=int)).max() < 80


def test_refuses_what_is_no_picture(tmp_path: Path) -> None:
    text = tmp_path / "notes.png"
    text.write_text("no picture at all")
    with pytest.raises(ValueError, match=r"notes.png is not a picture in a format that can be read"):
        open_picture(text)
    with pytest.raises(ValueError, match="is empty"):
        open_picture(b"")
    with pytest.raises(ValueError, match=r"gone.png cannot be opened: No such file"):
        open_picture(tmp_path / "gone.png")
    with pytest.raises(ValueError, match=r"cannot be opened|is damaged|not a picture"):
        open_picture(tmp_path)
    with pytest.raises(ValueError, match="not a picture"):
        open_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(ValueError, match="8 or 16 bits"):
        open_picture(encoded(Image.fromarray(np.full((2, 2), 1e9, dtype=np.float32)), "TIFF"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
@pytest.mark.usefixtures("no_waiting")
def test_refuses_pipes_and_devices_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(
            ValueError, match=f"{path.name} is not a picture but a folder, a pipe or a device"
        ):
            open_picture(path)


def test_refuses_files_over_20_mb_without_reading_them(tmp_path: Path) -> None:
    big = tmp_path / "big.png"
    with big.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ValueError, match=r"big.png has 20.0 MB; pictures may have at most 20 MB"):
        open_picture(big)


@pytest.mark.parametrize("side", [7100, 12_000, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_refuses_too_many_pixels_before_decoding(side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    framed = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    idat = zlib.compress(b"\0" * 100)
    data = struct.pack(">I", len(idat)) + b"IDAT" + idat + struct.pack(">I", zlib.crc32(b"IDAT" + idat))
    with pytest.raises(ValueError, match="50 megapixels"):
        open_picture(b"\x89PNG\r\n\x1a\n" + framed + data)


KINDS = ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"]


def _detailed() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", KINDS)
def test_refuses_truncated_pictures(kind: str) -> None:
    data = encoded(_detailed(), kind)
    with pytest.raises(ValueError, match=r"damaged or incomplete|not a picture"):
        open_picture(data[: len(data) // 2], name="half")


@settings(max_examples=150)
@given(
    st.sampled_from(KINDS), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8)
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_give_a_picture_or_a_sentence(kind: str, changes: list) -> None:
    data = bytearray(encoded(_detailed().resize((12, 12)), kind))
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    try:
        assert open_picture(bytes(data)).mode == "RGB"
    except ValueError as error:
        assert str(error).startswith("the picture ")


def make_shelf(root: Path) -> Path:
    """test/<class>/<n>.png (5 cats, 2 dogs), train/, a text file and what systems leave behind."""
    for split in ("train", "test"):
        for name, count in (("cat", 5), ("great_dane", 2)):
            for index in range(count):
                path = root / "shelf" / split / name / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (10, 12), (index * 20, 0, 0)).save(path)
    (root / "shelf" / "test" / "readme.txt").write_text("not a picture")
    (root / "shelf" / "test" / "cat" / "._0.png").write_bytes(b"junk")
    return root / "shelf"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return make_shelf(tmp_path)


@pytest.fixture(scope="module")
def untouched_shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shelf(tmp_path_factory.mktemp("pictures"))


def zipped(folder: Path, prefix: str = "") -> Path:
    archive = folder.parent / f"{folder.name}.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in folder.rglob("*"):
            file.write(path, prefix + path.relative_to(folder).as_posix())
    return archive


@pytest.mark.parametrize("kind", ["folder", "zip", "zip in a wrapper"])
def test_reads_folders_and_archives_alike(shelf: Path, kind: str) -> None:
    path = shelf if kind == "folder" else zipped(shelf, "shelf-main/" if "wrapper" in kind else "")
    folder = PictureFolder(path, TINY, split="test")
    assert (len(folder), folder.labels, folder.skipped) == (7, ["cat", "great_dane"], 1)
    tensor, label = folder[6]
    assert tensor.shape == (3, 8, 8) and label == 1
    assert folder.picture(1).size == (10, 12)
    batches = list(folder.loader(4))
    assert [images.shape[0] for images, _ in batches] == [4, 3] == [4, len(batches[1][1])]
    assert torch.cat([labels for _, labels in batches]).tolist() == [0] * 5 + [1] * 2
    assert not folder.unreadable and len(folder.loader(4)) == 2


def test_class_folders_become_the_models_label_numbers(shelf: Path) -> None:
    folder = PictureFolder(shelf, TINY, split="test", labels=["fish", "Great Dane", "CAT"])
    assert [label for _, label in folder.files] == [2] * 5 + [1] * 2
    assert folder.labels == ["fish", "Great Dane", "CAT"] and folder.classes == ["cat", "great_dane"]
    with pytest.raises(
        ValueError, match=r"1 of 2 class folders match no label of the model \('great_dane'\)"
    ):
        PictureFolder(shelf, TINY, split="test", labels=["cat", "bird"])


def test_imagenet_class_folders_may_be_synsets(tmp_path: Path) -> None:
    from vitq_core.pictures.labels import checkpoint_labels

    names = checkpoint_labels({}, 1000)
    for name in ("n01440764", "goldfish"):
        (tmp_path / name).mkdir()
        HALVES.save(tmp_path / name / "a.png")
    folder = PictureFolder(tmp_path, TINY, labels=names)
    assert [names[label] for _, label in folder.files] == ["goldfish", "tench"]
    (tmp_path / "crane").mkdir()
    HALVES.save(tmp_path / "crane" / "a.png")
    with pytest.raises(ValueError, match="'crane'"):  # ImageNet has the bird and the machine
        PictureFolder(tmp_path, TINY, labels=names)


def test_flat_folders_have_no_labels(tmp_path: Path) -> None:
    HALVES.save(tmp_path / "n01440764_tench.jpg")
    HALVES.save(tmp_path / "holiday.JPG")
    folder = PictureFolder(tmp_path, TINY, labels=["tench", "goldfish"])
    assert [label for _, label in folder.files] == [-1, -1]
    assert PictureFolder(zipped(tmp_path, "photos/"), TINY).labels == []


def test_a_lone_class_folder_counts_when_the_model_knows_it(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    HALVES.save(tmp_path / "cat" / "a.png")
    assert PictureFolder(tmp_path, TINY, labels=["dog", "cat"]).files == [("cat/a.png", 1)]
    assert PictureFolder(tmp_path, TINY).files == [("a.png", -1)]


def test_splits_are_asked_for(shelf: Path) -> None:
    with pytest.raises(ValueError, match="shelf holds test, train; choose one of them as split"):
        PictureFolder(shelf, TINY)
    with pytest.raises(ValueError, match="no folder 'val' with pictures; available: test, train"):
        PictureFolder(shelf, TINY, split="val")
    assert len(PictureFolder(shelf, TINY, split="test/cat")) == 5


@settings(max_examples=25)
@given(limit=st.integers(1, 7), seed=st.integers(0, 5))
def test_a_limit_is_balanced_repeatable_and_grows(untouched_shelf: Path, limit: int, seed: int) -> None:
    def files(limit: int) -> list:
        return PictureFolder(untouched_shelf, TINY, limit=limit, seed=seed, split="test").files

    labels = [label for _, label in files(limit)]
    assert files(limit) == files(limit) == files(7)[:limit]
    assert len(set(files(limit))) == limit
    assert labels.count(1) == min(2, limit // 2)


def test_unreadable_pictures_are_left_out_and_named(shelf: Path) -> None:
    (shelf / "test" / "cat" / "2.png").write_text("no picture")
    os.truncate(shelf / "test" / "great_dane" / "0.png", 40)
    for path in (shelf, zipped(shelf)):
        folder = PictureFolder(path, TINY, split="test")
        assert sum(len(labels) for _, labels in folder.loader(3)) == 5
        assert sorted(folder.unreadable) == ["cat/2.png", "great_dane/0.png"]
        with pytest.raises(ValueError, match=r"test/cat/2.png is not a picture"):
            folder[2]


def test_refuses_what_holds_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no pictures in it"):
        PictureFolder(tmp_path, TINY)
    with pytest.raises(ValueError, match="cannot be opened: No such file"):
        PictureFolder(tmp_path / "gone", TINY)
    (tmp_path / "fake.zip").write_bytes(b"PK but no zip")
    with pytest.raises(ValueError, match=r"fake.zip is not a zip archive"):
        PictureFolder(tmp_path / "fake.zip", TINY)
    HALVES.save(tmp_path / "a.png")
    for name, value in (("limit", 0), ("limit", 2.5)):
        with pytest.raises(ValueError, match=f"{name} must be a whole number"):
            PictureFolder(tmp_path, TINY, **{name: value})
    with pytest.raises(ValueError, match="batch_size must be a whole number"):
        PictureFolder(tmp_path, TINY).loader(0)


def test_damaged_and_oversized_members_of_an_archive(tmp_path: Path) -> None:
    archive = tmp_path / "box.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        file.writestr("good.png", encoded(HALVES))
        file.writestr("huge.png", b"\0" * (MAX_BYTES + 1), zipfile.ZIP_DEFLATED)
        file.writestr("torn.png", encoded(_detailed()))
    data = bytearray(archive.read_bytes())
    data[data.rindex(b"IDAT") + 30] ^= 255
    archive.write_bytes(data)
    folder = PictureFolder(archive, TINY)
    assert sum(len(labels) for _, labels in folder.loader()) == 1
    assert "at most 20 MB" in folder.unreadable["huge.png"] and "torn.png" in folder.unreadable["torn.png"]


def test_archives_survive_pickling_for_workers(shelf: Path) -> None:
    folder = pickle.loads(pickle.dumps(PictureFolder(zipped(shelf), TINY, split="test")))
    assert torch.equal(folder[0][0], PictureFolder(shelf, TINY, split="test")[0][0])
