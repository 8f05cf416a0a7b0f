"""However pictures come, calibration sees the same chunks; what is no picture is refused with a sentence."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from vitq_core.data import calibration_set as module
from vitq_core.data import store
from vitq_core.data.calibration_set import CalibrationPictures

SIZE = (3, 4, 4)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)


def random(count: int) -> Tensor:
    return torch.randn(count, *SIZE, generator=torch.Generator().manual_seed(0))


def once(batches: list) -> Iterator:
    yield from batches


@pytest.mark.parametrize("count", [1, 3, 4, 5, 11, 12])
def test_every_way_to_give_them_makes_the_same_chunks(count: int) -> None:
    images = random(count)
    labels = torch.zeros(count, dtype=torch.long)
    ways = [
        images,
        [images],
        list(images.split(1)),
        once(list(images.split(5))),
        once([images[:2], images[2:2], images[2:]]),
        DataLoader(TensorDataset(images, labels), batch_size=3),
        [(images, labels)],
    ]
    for way in ways:
        with CalibrationPictures(way, SIZE) as chunks:
            assert chunks.count == count
            assert len(chunks) == len(list(chunks)) == -(-count // 4)
            assert [len(chunk) for chunk in chunks] == [len(chunk) for chunk in images.split(4)]
            assert torch.equal(torch.cat(list(chunks)), images), "and they can be read again"
            assert torch.equal(chunks.first, images[:1])


def test_precision_and_gradients_are_dropped() -> None:
    for images in (random(2).double(), random(2).half(), random(2).requires_grad_()):
        (chunk,) = CalibrationPictures([images], SIZE)
        assert chunk.dtype == torch.float32 and not chunk.requires_grad


class Batch:
    """Neither a tensor nor anything like one."""


BAD = {
    "empty tensor": (torch.zeros(0, *SIZE), "no calibration pictures: give at least one"),
    "empty list": ([], "no calibration pictures"),
    "empty batches": ([torch.zeros(0, *SIZE)], "no calibration pictures"),
    "used up": (once([]), "no calibration pictures"),
    "not a number": (torch.full((2, *SIZE), torch.nan), "contain NaN or infinite values"),
    "infinite": ([random(2), random(2) / 0], "contain NaN or infinite values"),
    "integers": (torch.zeros(2, *SIZE, dtype=torch.uint8), r"preprocessed floats, got torch.uint8"),
    "channels": (torch.zeros(2, 1, 4, 4), r"takes pictures of \(3, 4, 4\), got \(1, 4, 4\)"),
    "height": ([torch.zeros(2, 3, 5, 4)], r"takes pictures of \(3, 4, 4\), got \(3, 5, 4\)"),
    "one picture": (torch.zeros(SIZE), r"must be a float tensor .* got \(3, 4, 4\)"),
    "single pictures": (list(random(3)), r"must be a float tensor .* got \(3, 4, 4\)"),
    "arrays": ([np.zeros((2, *SIZE))], "must be a float tensor .* got ndarray"),
    "dictionary": ([{"pictures": random(2)}], "must hold its pictures as 'pixel_values' .* has 'pictures'"),
    "text": ("pictures", "must be a float tensor .* got str"),
    "empty pair": ([()], "must be a float tensor .* got tuple"),
    "nothing": (None, "an iterable of batches, got NoneType"),
    "number": (3, "an iterable of batches, got int"),
    "object": (Batch(), "an iterable of batches, got Batch"),
}


@pytest.mark.parametrize("images, sentence", BAD.values(), ids=BAD)
def test_bad_pictures_are_refused(images: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        CalibrationPictures(images, SIZE)


def test_where_any_size_goes_it_is_one_size() -> None:
    with pytest.raises(ValueError, match=r"must have one size, got \(3, 4, 4\) and \(3, 8, 8\)"):
        CalibrationPictures([random(3), torch.zeros(1, 3, 8, 8)], None)


def test_a_stream_goes_to_disk_beyond_the_limit(spill: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "STORE_LIMIT", 2 * 4 * 48 * 4)
    images = random(20)
    with CalibrationPictures(once(list(images.split(3))), SIZE) as chunks:
        assert len(list(spill.rglob("*.bin"))) == 3
        assert torch.equal(torch.cat(list(chunks)), images)
    assert list(spill.iterdir()) == []


def test_no_files_are_left_by_a_stream_that_breaks(spill: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "STORE_LIMIT", 0)
    with pytest.raises(ValueError, match="NaN") as error:
        CalibrationPictures(once([random(8), random(4) * torch.nan]), SIZE)
    assert list(spill.iterdir()) == [], error  # while the traceback still holds what it holds
