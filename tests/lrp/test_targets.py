"""Which class of each picture is explained: handed out batch by batch, refused if there is none."""

import numpy as np
import pytest
import torch

import vitq_core as vq
from tests.pairs import in_turn
from vitq_core.lrp.targets import Targets, check_batch_size

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "given",
    [
        [0, 1, 2, 3, 4],
        (0, 1, 2, 3, 4),
        range(5),
        torch.arange(5),
        torch.arange(5, dtype=torch.uint8),
        torch.arange(5, dtype=torch.int32),
        np.arange(5),
        [torch.tensor(i) for i in range(5)],
    ],
)
def test_one_class_for_each_picture(given: object) -> None:
    targets = Targets(given, 5)
    assert targets.take(2, CPU).tolist() == [0, 1]
    taken = targets.take(3, CPU)
    assert taken.tolist() == [2, 3, 4] and taken.dtype == torch.int64
    targets.check_used()


@pytest.mark.parametrize("given", [3, torch.tensor(3), np.int64(3)])
def test_the_same_class_for_all(given: object) -> None:
    targets = Targets(given, None)
    assert targets.take(2, CPU).tolist() == [3, 3] and targets.take(1, CPU).tolist() == [3]
    targets.check_used()


def test_none_stands_for_the_predictions() -> None:
    targets = Targets(None, 3)
    assert targets.take(3, CPU) is None
    targets.check_used()


UNUSABLE = {
    "float": 1.0,
    "whole floats": [0.0, 1.0],
    "not a number": float("nan"),
    "bool": True,
    "bools": [True, False],
    "string": "cat",
    "digit": "1",
    "strings": ["a", "b"],
    "bytes": b"1",
    "nested": [[0, 1]],
    "ragged": [[0], [0, 1]],
    "empty": [],
    "nothing inside": [None, None],
    "set": {0, 1},
    "dict": {"cat": 1},
    "huge": 2**70,
    "object": object(),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_classes(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"targets must be (class numbers|one class number for each picture), got"
    ):
        Targets(UNUSABLE[name], 2)


@pytest.mark.parametrize("given", [1j, [1j, 2j]])
def test_complex_numbers_are_no_classes(given: object) -> None:
    with pytest.raises(ValueError, match="targets must be"):
        Targets(given, 2)


@pytest.mark.parametrize("count", [1, 3])
def test_a_wrong_number_is_said_before_anything_runs(count: int) -> None:
    with pytest.raises(ValueError, match=f"one class for each of 2 pictures, got {count}"):
        Targets([0] * count, 2)


def test_a_wrong_number_of_a_stream_is_said_when_it_shows() -> None:
    targets = Targets([0, 1, 2], None)
    targets.take(2, CPU)
    with pytest.raises(ValueError, match="there are 3 targets but only 2 pictures"):
        targets.check_used()
    with pytest.raises(ValueError, match="there are more pictures than the 3 targets"):
        targets.take(2, CPU)


@pytest.mark.parametrize("size", [1, 32, 10**9])
def test_batch_sizes(size: int) -> None:
    check_batch_size(size)


@pytest.mark.parametrize("size", [0, -1, True, False, 1.5, 2.0, "3", None, torch.tensor(2)])
def test_batch_sizes_that_are_none(size: object) -> None:
    with pytest.raises(ValueError, match="batch_size must be a whole number above 0, got"):
        check_batch_size(size)


# Through relevance


@pytest.mark.parametrize("given", [2, [4, 0, 1, 2, 3, 3], torch.tensor([1, 1, 0, 0, 4, 4])])
@pytest.mark.parametrize("batch_size", [4, 32])
def test_the_classes_explained_are_the_ones_asked_for(model, images, given: object, batch_size: int) -> None:
    found = vq.relevance(model, images, given, batch_size)
    assert torch.equal(found.targets, torch.as_tensor(given).expand(6))


def test_predictions_are_explained_by_default(model, images) -> None:
    with torch.no_grad():
        assert torch.equal(vq.relevance(model, images).targets, model(images).argmax(1))


def test_another_class_has_another_explanation(model, images) -> None:
    maps = [vq.relevance(model, images[:1], target).heatmaps for target in (0, 1)]
    assert (maps[0] - maps[1]).abs().max() > 0.1 * maps[0].abs().max()


@pytest.mark.parametrize(
    ("targets", "batch_size"),
    in_turn(
        [(5, 5), (-1, -1), (-5, -5), ([0, 1, 2, 3, 4, 5], 5), ([0, 0, 0, 0, 0, -1], -1), (10**12, 10**12)],
        [2, 32],
    ),
)
def test_classes_the_model_does_not_have(model, images, targets: tuple[object, int], batch_size: int) -> None:
    given, wrong = targets
    with pytest.raises(
        ValueError, match=f"target class {wrong} is out of range: the model has classes 0 to 4"
    ):
        vq.relevance(model, images, given, batch_size)


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_classes_is_refused_by_relevance(model, images, name: str) -> None:
    with pytest.raises(ValueError, match="targets must be"):
        vq.relevance(model, images, UNUSABLE[name])


@pytest.mark.parametrize("count", [5, 7])
def test_a_wrong_number_of_classes(model, images, count: int) -> None:
    with pytest.raises(ValueError, match=f"targets must be one class for each of 6 pictures, got {count}"):
        vq.relevance(model, images, [0] * count)
    sentence = "more pictures than the 5 targets" if count == 5 else "7 targets but only 6 pictures"
    with pytest.raises(ValueError, match=sentence):
        vq.relevance(model, [images[:4], images[4:]], [0] * count)
