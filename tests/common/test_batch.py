"""What a batch is, in one place: what a loader may give, and what a model is called with."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vitq_core.common.batch import Batch, unpacked

PICTURES, LABELS = torch.zeros(2, 3, 4, 4), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("thing", "labelled"),
    [
        (PICTURES, False),
        ((PICTURES,), False),
        ((PICTURES, LABELS), True),
        ([PICTURES, LABELS, "names"], True),
        ({"pixel_values": PICTURES}, False),
        ({"labels": LABELS, "pixel_values": PICTURES}, True),
        (UserDict(pixel_values=PICTURES, labels=LABELS), True),
        ({"image": PICTURES, "label": LABELS}, True),
        ({"images": PICTURES, "label": LABELS, "path": ["a", "b"]}, True),
    ],
)
def test_what_a_loader_may_give(thing: object, labelled: bool) -> None:
    pictures, labels = unpacked(thing)
    assert pictures is PICTURES and labels is (LABELS if labelled else None)


@pytest.mark.parametrize(("thing", "has"), [({"x": 1, "labels": 2}, "'x', 'labels'"), ({}, "nothing")])
def test_a_dict_without_pictures_is_a_sentence(thing: dict, has: str) -> None:
    with pytest.raises(ValueError, match=rf"its pictures as 'pixel_values' or 'images' .*; it has {has}"):
        unpacked(thing)


def test_a_batch_goes_where_the_model_is() -> None:
    batch = Batch((PICTURES, [LABELS, "name"]), {"points": {"at": PICTURES}, "size": (4, 4)}, truth=LABELS)
    moved = batch.on(nn.Linear(2, 2, dtype=torch.float64))
    assert len(moved) == 2 and moved.truth is LABELS
    assert moved.args[0].dtype == moved.kwargs["points"]["at"].dtype == torch.float64
    assert moved.args[1][0].dtype == torch.int64 and moved.args[1][1] == "name"
    assert moved.kwargs["size"] == (4, 4)
    assert batch.on(nn.Flatten()) is batch


def test_a_batch_of_records_has_a_first_picture_a_size_and_a_device() -> None:
    """As Segment Anything takes them: a list with a dict for each picture."""
    records = [{"image": torch.zeros(3, 8, 6 + i), "original_size": (8, 6 + i)} for i in range(3)]
    batch = Batch((records,), {"multimask_output": True}, truth="masks")
    assert len(batch) == 3
    assert batch.shape == (3, 8, 6)
    assert batch.device == torch.device("cpu")
    few = batch[:2]
    assert (len(few), few.truth, few.kwargs) == (2, None, {"multimask_output": True})
    assert batch.through(lambda held, multimask_output: (len(held), multimask_output)) == (3, True)
    assert Batch((torch.zeros(5, 3, 4, 4),))[:2].args[0].shape == (2, 3, 4, 4)


# Some of its pictures


def records(count: int) -> list[dict]:
    return [
        {"image": torch.full((3, 4 + i, 5), float(i)), "boxes": torch.zeros(1 + i, 4)} for i in range(count)
    ]


def numbers(batch: Batch) -> list[int]:
    """Of its pictures."""
    return [
        int(picture.flatten()[0])
        for held in batch.pictures
        for picture in (held if held.ndim == 4 else [held])
    ]


def tensor_batch(count: int) -> Batch:
    pictures = torch.arange(float(count))[:, None, None, None].expand(count, 3, 4, 5).clone()
    return Batch((pictures, "other"), {"how": 1}, truth=torch.arange(count))


def record_batch(count: int) -> Batch:
    return Batch((records(count), "other"), {"how": 1}, truth=["masks"] * count)


KINDS = pytest.mark.parametrize("make", [tensor_batch, record_batch])


def called_alike(batch: Batch) -> bool:
    return batch.args[1:] == ("other",) and batch.kwargs == {"how": 1} and batch.truth is None


@KINDS
@given(data=st.data())
def test_slices_are_those_of_a_list(make: Callable, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 7))
    rows = data.draw(st.slices(count).filter(lambda rows: (rows.step or 1) > 0))  # as tensors take them
    part = make(count)[rows]
    assert numbers(part) == list(range(count))[rows] and len(part) == len(range(count)[rows])
    assert called_alike(part)


@KINDS
@pytest.mark.parametrize("index", [[], [3], [2, 0, 2]])
def test_pictures_are_chosen_by_their_numbers(make: Callable, index: list[int]) -> None:
    part = make(5)[torch.tensor(index, dtype=torch.long)]
    assert numbers(part) == index and called_alike(part)


@KINDS
@pytest.mark.parametrize("size", [1, 2, 3, 7, 9])
def test_split_and_joined_it_is_the_same(make: Callable, size: int) -> None:
    parts = list(make(7).split(size))
    assert [numbers(part) for part in parts] == [
        list(range(start, min(start + size, 7))) for start in range(0, 7, size)
    ]
    assert all(called_alike(part) for part in parts)
    whole = Batch.joined(parts)
    assert numbers(whole) == list(range(7)) and called_alike(whole)
    assert list(make(0).split(size)) == []


def test_joined_records_keep_all_that_is_theirs() -> None:
    first, second = Batch((records(2),)), Batch((records(4)[2:],))
    (held,) = Batch.joined([first, second]).args
    assert all(x is y for x, y in zip(held, [*first.args[0], *second.args[0]], strict=True))
    assert len(first) == len(second) == 2


@KINDS
def test_other_pixels_leave_the_rest(make: Callable) -> None:
    batch = make(3)
    changed = batch.with_pictures([pixels + 4 for pixels in batch.pictures])
    assert numbers(changed) == [4, 5, 6] and numbers(batch) == [0, 1, 2]
    assert changed.args[1:] == batch.args[1:] and changed.truth is batch.truth
    others = [x for x in batch.tensors if x.shape[-1] == 4]
    assert all(x is y for x, y in zip(others, [x for x in changed.tensors if x.shape[-1] == 4], strict=True))
    with pytest.raises(ValueError):
        batch.with_pictures([torch.zeros(1)] * 2)


def test_single_precision_for_floats_alone() -> None:
    given = {"image": torch.zeros(3, 2, 2).double(), "boxes": torch.zeros(1, 4).half(), "size": (2, 2)}
    batch = Batch(([given],), {"n": torch.tensor([1])}).to("cpu")
    (record,) = batch.args[0]
    assert record["image"].dtype == record["boxes"].dtype == torch.float32 and record["size"] == (2, 2)
    assert batch.kwargs["n"].dtype == torch.int64 and given["image"].dtype == torch.float64
    assert len(batch.tensors) == 3


def test_a_change_reaches_every_tensor() -> None:
    batch = Batch(([{"image": torch.ones(1)}], [torch.ones(2), None]), {"x": {"y": torch.ones(3)}}, truth=5)
    doubled = batch.with_tensors(lambda x: 2 * x)
    assert [x.tolist() for x in doubled.tensors] == [[2], [2, 2], [2, 2, 2]]
    assert doubled.args[1][1] is None and doubled.truth == 5
    assert [x.tolist() for x in batch.tensors] == [[1], [1, 1], [1, 1, 1]]
