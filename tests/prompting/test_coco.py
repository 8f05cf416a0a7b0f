"""COCO's files: outlines become masks, crowds are counted, what is damaged is named and left out."""

import json
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from tests.nasty import PATHS, VALUES, named, sentence
from vitq_core.prompting import CocoPictures, RunLengths
from vitq_core.prompting.coco import outlined

SQUARE = [2, 1, 6, 1, 6, 5, 2, 5]
DAMAGED = {
    "no polygon": [[1, 2, 3]],
    "an odd polygon": [[1, 1, 5, 1, 5, 5, 1]],
    "text": [["a"] * 6],
    "no number": [[float("nan")] * 6],
    "far away": [[1e30] * 6],
    "nested": [[[1, 1], [2, 2], [3, 3]]],
    "nothing": [],
    "none": None,
    "outside": [[100, 100, 110, 100, 105, 110]],
    "of another size": RunLengths.of(np.ones((3, 3), bool)).as_coco(),
    "broken run lengths": {"size": [9, 12], "counts": "P"},
}


def entry(number: int, **changes) -> dict:
    return {"id": number, "file_name": f"{number}.png", "width": 12, "height": 9} | changes


def annotation(number: int, image: int, segmentation: object, **changes) -> dict:
    return {"id": number, "image_id": image, "segmentation": segmentation, "iscrowd": 0} | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures; a square, a mask as run lengths, a crowd."""
    images = tmp_path / "data" / "images"
    images.mkdir(parents=True)
    for number in (1, 2):
        Image.new("RGB", (12, 9), (number, 0, 0)).save(images / f"{number}.png")
    runs = RunLengths.of(np.eye(9, 12, dtype=bool)).as_coco()
    write(tmp_path / "data", [
        annotation(1, 1, [SQUARE]),
        annotation(2, 1, runs),
        annotation(3, 2, [SQUARE, [8, 6, 10, 6, 10, 8, 8, 8]]),
        annotation(4, 2, runs, iscrowd=1),
    ])  # fmt: skip
    return tmp_path / "data"


def write(folder: Path, annotations: list, images: list | None = None) -> None:
    content = {"images": images or [entry(1), entry(2)], "annotations": annotations, "categories": []}
    (folder / "instances.json").write_text(json.dumps(content))


def zipped(folder: Path) -> Path:
    path = folder.parent / "data.zip"
    with ZipFile(path, "w") as archive:
        for file in folder.rglob("*.*"):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_masks_are_those_of_the_file(folder: Path, packed: bool) -> None:
    source = CocoPictures(zipped(folder) if packed else folder)
    square, diagonal = np.zeros((9, 12), bool), np.eye(9, 12, dtype=bool)
    square[1:5, 2:6] = True
    for _ in range(2):
        first, second = source
        assert first.picture.getpixel((0, 0)) == (1, 0, 0)
        assert [np.array_equal(*pair) for pair in zip(first.masks, (square, diagonal), strict=True)] == [
            True
        ] * 2
        square_and_more = square.copy()
        square_and_more[6:8, 8:10] = True
        assert len(second.masks) == 1 and np.array_equal(second.masks[0], square_and_more)
    assert (len(source), source.crowds, source.left_out) == (2, 1, {})


def test_the_file_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    (folder / "instances.json").rename(tmp_path / "labels.json")
    assert len(next(iter(CocoPictures(folder / "images", tmp_path / "labels.json"))).masks) == 2


def test_pictures_are_found_by_their_whole_names_first(folder: Path) -> None:
    (folder / "more").mkdir()
    Image.new("RGB", (12, 9), (9, 0, 0)).save(folder / "more" / "1.png")
    images = [entry(1, file_name=name) for name in ("images/1.png", "more/1.png", "elsewhere/2.png")]
    write(folder, [], images)
    assert [each.picture.getpixel((0, 0))[0] for each in CocoPictures(folder)] == [1, 9, 2]


def test_a_pixel_is_inside_where_its_middle_is() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:20, :30] + 0.5
    for _ in range(20):
        a, b, c = rng.uniform(-5, 35, (3, 2))
        sides = [(q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0]) for p, q in ((a, b), (b, c), (c, a))]
        expected = np.logical_and.reduce([s > 0 for s in sides]) | np.logical_and.reduce(
            [s < 0 for s in sides]
        )
        if expected.any():
            assert np.array_equal(outlined([np.concatenate([a, b, c]).tolist()], 30, 20), expected)


def test_a_hole_that_the_outline_leaves_stays_one() -> None:
    ring = [0, 0, 9, 0, 9, 9, 0, 9, 0, 0, 3, 3, 3, 6, 6, 6, 6, 3, 3, 3]
    expected = np.ones((9, 9), bool)
    expected[3:6, 3:6] = False
    assert np.array_equal(outlined([ring], 9, 9), expected)


@pytest.mark.parametrize(
    "segmentation", **named(DAMAGED | {k: v for k, v in VALUES.items() if k != "a dict"})
)
def test_a_damaged_outline_is_a_sentence(segmentation: object) -> None:
    with pytest.raises(ValueError) as caught:
        outlined(segmentation, 12, 9)
    assert "\n" not in sentence(caught.value)


def test_what_is_damaged_is_named_and_the_rest_is_read(folder: Path) -> None:
    (folder / "images" / "3.png").write_bytes(b"no picture")
    images = [entry(1), entry(3), entry(4), entry(2, width=13), "text", {}]
    write(
        folder,
        [annotation(7, 1, [[1, 2]]), annotation(8, 1, [SQUARE]), "text", annotation(9, 99, [SQUARE])],
        images,
    )
    source = CocoPictures(folder)
    (only,) = source
    assert len(only.masks) == 1
    assert set(source.left_out) == {"annotation 7", "2.png", "3.png", "4.png", "None"}
    for text in source.left_out.values():
        sentence(text)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"images": 3, "annotations": []}', "\ud800", "[" * 10**5]
)
def test_a_file_that_is_none_is_a_sentence(folder: Path, content: str) -> None:
    (folder / "instances.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=r"instances\.json") as caught:
        CocoPictures(folder)
    sentence(caught.value)


def test_one_of_several_files_has_to_be_named(folder: Path) -> None:
    (folder / "more.json").write_text("{}")
    with pytest.raises(ValueError, match="2 json files; name the one"):
        CocoPictures(folder)
    with pytest.raises(ValueError, match="0 json files"):
        CocoPictures(folder / "images")


@pytest.mark.parametrize("path", **named({name: path for name, path in PATHS.items() if path is not None}))
def test_paths_that_name_nothing_are_sentences(folder: Path, path: object) -> None:
    for given in ((path, None), (folder, path)):
        with pytest.raises(ValueError) as caught:
            CocoPictures(*given)
        sentence(caught.value)
