"""What a batch is, in one place: what a loader may give, and what a model is called with."""

from __future__ import annotations

from collections import UserDict

import pytest
import torch
from torch import nn

from vitq_core.common.batch import Batch, unpacked

PICTURES, LABELS = torch.zeros(2, 3, 4, 4), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("given", "labelled"),
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
def test_what_a_loader_may_give(given: object, labelled: bool) -> None:
    pictures, labels = unpacked(given)
    assert pictures is PICTURES and labels is (LABELS if labelled else None)


@pytest.mark.parametrize(("given", "has"), [({"x": 1, "labels": 2}, "'x', 'labels'"), ({}, "nothing")])
def test_a_dict_without_pictures_is_a_sentence(given: dict, has: str) -> None:
    with pytest.raises(ValueError, match=rf"its pictures as 'pixel_values' or 'images' .*; it has {has}"):
        unpacked(given)


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
    few = batch.first(2)
    assert (len(few), few.truth, few.kwargs) == (2, None, {"multimask_output": True})
    assert batch.through(lambda given, multimask_output: (len(given), multimask_output)) == (3, True)
    assert Batch((torch.zeros(5, 3, 4, 4),)).first(2).args[0].shape == (2, 3, 4, 4)
