"""However pictures come, calibration sees the same chunks; what is no picture is refused with a sentence."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from vitq_core.common.batch import Batch
from vitq_core.data import store
from vitq_core.data.batches import Collate
from vitq_core.data.calibration_set import CalibrationPictures
from vitq_core.data.store import Scratch
from vitq_core.tasks import TASKS

SIZE = (3, 4, 4)
COLLATE = partial(TASKS["classification"].collate, size=SIZE)
RECORDED = TASKS["segmentation"].collate


def calibrating_on(images: object, collate: Collate = COLLATE) -> CalibrationPictures:
    """In small chunks."""
    return CalibrationPictures(images, collate, chunk=4)


def joined(batches: CalibrationPictures) -> Tensor:
    return Batch.joined(list(batches)).args[0]


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
        with calibrating_on(way) as chunks:
            assert chunks.count == count
            assert len(chunks) == len(list(chunks)) == -(-count // 4)
            assert [len(chunk) for chunk in chunks] == [len(chunk) for chunk in images.split(4)]
            assert torch.equal(joined(chunks), images), "and they can be read again"
            assert torch.equal(chunks.first(1).args[0], images[:1])
            assert torch.equal(chunks.first(7).args[0], images[:7])


def test_precision_and_gradients_are_dropped() -> None:
    for images in (random(2).double(), random(2).half(), random(2).requires_grad_()):
        (chunk,) = calibrating_on([images])
        (pixels,) = chunk.tensors
        assert pixels.dtype == torch.float32 and not pixels.requires_grad


class Neither:
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
    "object": (Neither(), "an iterable of batches, got Neither"),
}


@pytest.mark.parametrize("images, sentence", BAD.values(), ids=BAD)
def test_bad_pictures_are_refused(images: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        calibrating_on(images)


@pytest.mark.parametrize("before", [3, 4, 5, 8])
def test_where_any_size_goes_it_is_one_size(before: int) -> None:
    with pytest.raises(ValueError, match=r"must have one size, got \(3, 4, 4\) and \(3, 8, 8\)"):
        calibrating_on([random(before), torch.zeros(1, 3, 8, 8)], TASKS["classification"].collate)


def test_a_stream_goes_to_disk_beyond_the_limit(spill: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "STORE_LIMIT", 2 * 4 * 48 * 4)
    images = random(20)
    with calibrating_on(once(list(images.split(3)))) as chunks:
        assert len(list(spill.rglob("*.bin"))) == 3
        assert torch.equal(joined(chunks), images)
    assert list(spill.iterdir()) == []


def test_no_files_are_left_by_a_stream_that_breaks(spill: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "STORE_LIMIT", 0)
    with pytest.raises(ValueError, match="NaN") as error:
        calibrating_on(once([random(8), random(4) * torch.nan]))
    assert list(spill.iterdir()) == [], error  # while the traceback still holds what it holds


WAYS = {
    "tensor": lambda x: x,
    "batches": lambda x: once(list(x.split(3))),
    "singly": lambda x: list(x.split(1)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("every", "most"), [(2, 11), (4, 8), (4, 9), (3, 100), (1, 5), (20, 11)])
def test_parted_gives_each_picture_to_one_of_the_two(way: str, every: int, most: int) -> None:
    images = random(11)
    numbers = torch.arange(min(most, 11))
    with calibrating_on(WAYS[way](images)) as pictures:
        chosen = numbers % every == every - 1
        if bool(chosen.all()):
            with pytest.raises(ValueError, match="no calibration pictures"):
                pictures.parted(every, most)
            return
        rest, held = pictures.parted(every, most)
        with rest:
            assert torch.equal(held.args[0], images[numbers[chosen]])
            assert torch.equal(joined(rest), images[numbers[~chosen]])
            assert [len(chunk) for chunk in rest] == [len(part) for part in numbers[~chosen].split(4)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("limit", [0, 2**20])
@pytest.mark.parametrize("most", [1, 4, 7, 11, 50])
def test_kept_pictures_are_read_in_chunks_and_by_number(spill: Path, way: str, limit: int, most: int) -> None:
    images = random(11)
    with calibrating_on(WAYS[way](images)) as pictures, Scratch(limit) as scratch:
        kept = pictures.kept(most, scratch)
        count = min(most, 11)
        assert len(kept) == kept.rows == count
        assert [len(batch) for batch in kept] == [len(part) for part in images[:count].split(4)]
        assert torch.equal(Batch.joined(list(kept)).args[0], images[:count])
        for index in (torch.arange(count).flip(0), torch.tensor([0]), torch.tensor([count - 1, 0, 0])):
            assert torch.equal(kept[index].args[0], images[index])
        kept[torch.tensor([0])].args[0].zero_()  # a copy
        assert torch.equal(kept[torch.tensor([0])].args[0], images[:1])
        kept.close()
        assert scratch.held == 0
    assert not spill.exists() or list(spill.iterdir()) == []


# Records: pictures that differ in size, each with tensors of its own


def record(number: int) -> dict:
    """Every third is asked with clicks, with boxes, with both."""
    size, prompts = (3 + number % 3, 4 + number % 2), 1 + number % 2
    clicks = {"point_coords": torch.full((prompts, 1, 2), 1.0), "point_labels": torch.ones(prompts, 1)}
    boxes = {"boxes": torch.tensor([[0.0, 0.0, 1.0, number + 1.0]]).repeat(prompts, 1)}
    image = torch.full((3, *size), number / 16)
    asked = (clicks, boxes, clicks | boxes)[number % 3]
    return {"image": image, "original_size": (size[0] + number, size[1])} | asked


def same(batch: Batch, records: list[dict]) -> bool:
    """Whether it is of these records, names and all."""
    return (
        len(batch) == len(records)
        and batch.args[1:] == (True,)
        and all(
            held.keys() == given.keys()
            and held["original_size"] == given["original_size"]
            and all(torch.equal(held[name], x) for name, x in given.items() if isinstance(x, Tensor))
            for held, given in zip(batch.args[0], records, strict=True)
        )
    )


RECORDS = [record(number) for number in range(7)]
GIVEN: dict[str, Callable] = {
    "singly": lambda: RECORDS,
    "in lists": lambda: [RECORDS[:3], RECORDS[3:4], [], RECORDS[4:]],
    "once": lambda: once([RECORDS[:5], RECORDS[5:]]),
}


@pytest.mark.parametrize("limit", [0, 2**20])
@pytest.mark.parametrize("given", GIVEN)
def test_records_come_one_at_a_time_as_they_were(
    spill: Path, monkeypatch: pytest.MonkeyPatch, given: str, limit: int
) -> None:
    monkeypatch.setattr(store, "STORE_LIMIT", limit)
    with CalibrationPictures(GIVEN[given](), RECORDED, chunk=1) as pictures:
        assert pictures.count == len(pictures) == 7
        for _ in range(2):
            assert all(same(each, [r]) for each, r in zip(pictures, RECORDS, strict=True))
        assert same(pictures.first(4), RECORDS[:4]) and same(pictures.first(90), RECORDS)
        rest, held = pictures.parted(3, 6)
        with rest:
            assert same(held, [RECORDS[2], RECORDS[5]])
            others = [RECORDS[number] for number in (0, 1, 3, 4)]
            assert all(same(each, [r]) for each, r in zip(rest, others, strict=True))
    assert not spill.exists() or list(spill.iterdir()) == []


@pytest.mark.parametrize("limit", [0, 2**20])
def test_kept_records_are_read_by_number(spill: Path, limit: int) -> None:
    with CalibrationPictures(RECORDS, RECORDED, chunk=1) as pictures, Scratch(limit) as scratch:
        kept = pictures.kept(6, scratch)
        assert len(kept) == 6 and kept.rows is None
        assert all(same(each, [r]) for each, r in zip(kept, RECORDS[:6], strict=True))
        for index in ([0], [5], [4, 1, 1, 0], [*range(6)]):
            assert same(kept[torch.tensor(index)], [RECORDS[number] for number in index])
        held = scratch.held
        answers = kept.new()
        for number in range(6):
            answers.append({"answer": torch.full((1 + number, 2), float(number))})
        assert torch.equal(answers[torch.tensor([4])]["answer"], torch.full((5, 2), 4.0))
        answers.close()
        assert scratch.held == held
        kept.close()
        assert scratch.held == 0
    assert not spill.exists() or list(spill.iterdir()) == []


def test_a_record_that_cannot_be_meant_is_refused_and_leaves_no_files(
    spill: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "STORE_LIMIT", 0)
    for bad, sentence in (({"image": RECORDS[0]["image"]}, "asks nothing"), (random(2), "lists of dicts")):
        with pytest.raises(ValueError, match=sentence) as error:
            CalibrationPictures(once([*RECORDS[:3], bad]), RECORDED, chunk=1)
        assert list(spill.iterdir()) == [], error
    for nothing in ([], [[]], once([])):
        with pytest.raises(ValueError, match="no calibration pictures"):
            CalibrationPictures(nothing, RECORDED, chunk=1)
