"""Pictures as callers give them: one tensor or batches of any sizes, with or without labels, checked."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tests.pairs import in_turn
from vitq_core.common.batch import PIECE, Batch, checked
from vitq_core.data.batches import Watched, iterated, length_of, streamed
from vitq_core.tasks import TASKS

SIZE = (3, 4, 4)
COLLATE = partial(TASKS["classification"].collate, size=SIZE)


@pytest.fixture
def pictures() -> Tensor:
    return torch.arange(7.0)[:, None, None, None].expand(7, *SIZE).clone()


def numbers(batches: list[Batch]) -> list[list[int]]:
    return [batch.args[0][:, 0, 0, 0].int().tolist() for batch in batches]


STREAMS = {
    "tensor": (lambda x: x, [[0, 1, 2], [3, 4, 5], [6]]),
    "list": (lambda x: [x[:2], x[2:]], [[0, 1], [2, 3, 4], [5, 6]]),
    "generator": (lambda x: (x[i : i + 1] for i in range(7)), [[i] for i in range(7)]),
    "pairs": (lambda x: [(x[:4], torch.zeros(4)), [x[4:], "labels"]], [[0, 1, 2], [3], [4, 5, 6]]),
    "dicts": (
        lambda x: [{"pixel_values": x[:4], "labels": torch.zeros(4)}, {"image": x[4:]}],
        [[0, 1, 2], [3], [4, 5, 6]],
    ),
    "one dict": (lambda x: {"labels": torch.zeros(7), "images": x}, [[0, 1, 2], [3, 4, 5], [6]]),
    "alone in a tuple": (lambda x: [(x,)], [[0, 1, 2], [3, 4, 5], [6]]),
}


@pytest.mark.parametrize("name", STREAMS)
def test_batches_are_no_larger_than_asked(pictures: Tensor, name: str) -> None:
    make, expected = STREAMS[name]
    assert numbers(list(streamed(make(pictures), COLLATE, 3))) == expected


@pytest.mark.parametrize(("name", "skip"), in_turn(STREAMS, range(8), times=3))
def test_skipping(pictures: Tensor, name: str, skip: int) -> None:
    """What was seen before an interruption is not seen again."""
    batches = numbers(list(streamed(STREAMS[name][0](pictures), COLLATE, 3, skip)))
    assert [i for batch in batches for i in batch] == list(range(skip, 7))


@pytest.mark.parametrize("name", STREAMS)
def test_more_skipped_than_there_are_is_a_sentence(pictures: Tensor, name: str) -> None:
    with pytest.raises(ValueError, match="only 7 pictures, fewer than the 9 seen before"):
        list(streamed(STREAMS[name][0](pictures), COLLATE, 3, 9))


def test_empty_batches_are_passed_over(pictures: Tensor) -> None:
    batches = list(streamed([pictures[:2], pictures[:0], pictures[2:]], COLLATE, 9))
    assert numbers(batches) == [[0, 1], [2, 3, 4, 5, 6]]


def test_nothing_is_read_before_it_is_needed(pictures: Tensor) -> None:
    def endless():
        while True:
            yield pictures

    stream = streamed(endless(), COLLATE, 7)
    assert numbers([next(stream), next(stream)]) == [list(range(7))] * 2


RECORDS = [
    {"image": torch.full((3, 4 + i, 5), i / 8), "boxes": torch.tensor([[0, 0, 1.0, 1]])} for i in range(5)
]


@pytest.mark.parametrize("skip", range(6))
@pytest.mark.parametrize(
    "make", [lambda x: [x[:2], x[2:]], lambda x: (each for each in x), lambda x: [[], x, []]]
)
def test_records_are_streamed_as_pictures_are(make, skip: int) -> None:
    found = list(streamed(make(RECORDS), TASKS["segmentation"].collate, 2, skip))
    assert all(1 <= len(batch) <= 2 for batch in found)
    images = [record["image"] for batch in found for record in batch.args[0]]
    assert len(images) == 5 - skip
    assert all(torch.equal(a, b["image"]) for a, b in zip(images, RECORDS[skip:], strict=True))


def test_a_single_record_is_a_stream() -> None:
    (found,) = streamed(RECORDS[3], TASKS["segmentation"].collate, 2)
    assert torch.equal(found.args[0][0]["image"], RECORDS[3]["image"])


UNUSABLE = {
    "one picture": (torch.zeros(SIZE), r"\[N, channels, height, width\], got \(3, 4, 4\)"),
    "array": (np.zeros((2, *SIZE)), "must be a float tensor .* got ndarray"),
    "string": ("cat.png", "must be a float tensor .* got str"),
    "nothing": (None, "must be a float tensor .* got NoneType"),
    "bytes": (torch.zeros(2, *SIZE, dtype=torch.uint8), r"got torch\.uint8; use model\.preprocess"),
    "integers": (torch.zeros(2, *SIZE, dtype=torch.int64), r"preprocessed floats, got torch\.int64"),
    "bools": (torch.zeros(2, *SIZE, dtype=torch.bool), r"preprocessed floats, got torch\.bool"),
    "wrong size": (torch.zeros(2, 3, 4, 5), r"takes pictures of \(3, 4, 4\), got \(3, 4, 5\)"),
    "wrong channels": (torch.zeros(2, 1, 4, 4), r"takes pictures of \(3, 4, 4\), got \(1, 4, 4\)"),
    "NaN": (torch.full((2, *SIZE), float("nan")), "the pictures contain NaN or infinite values"),
    "infinite": (torch.full((2, *SIZE), float("inf")), "the pictures contain NaN or infinite values"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_pictures(pictures: Tensor, name: str) -> None:
    images, sentence = UNUSABLE[name]
    with pytest.raises(ValueError, match=sentence):
        checked(images, SIZE)
    stream = streamed([(pictures, 0), (images, 0)], COLLATE, 7)
    assert len(next(stream)) == 7
    with pytest.raises(ValueError, match=sentence):
        next(stream)


@pytest.mark.parametrize("index", [0, PIECE - 1, PIECE, 2 * PIECE])
def test_a_single_bad_value_is_seen_wherever_it_is(index: int) -> None:
    images = torch.zeros(2 * PIECE + 1, *SIZE)
    images[index, 2, 3, 1] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        checked(images, SIZE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_floats_are_taken_without_their_history(dtype: torch.dtype) -> None:
    images = torch.ones(2, *SIZE, dtype=dtype, requires_grad=True)
    taken = checked(images, None)
    assert torch.equal(taken, images) and taken.dtype == dtype and not taken.requires_grad


@pytest.mark.parametrize("thing", [None, 5, 1.5, object()])
def test_what_cannot_be_iterated(thing: object) -> None:
    with pytest.raises(ValueError, match=f"a tensor or an iterable of batches, got {type(thing).__name__}"):
        iterated(thing)
    with pytest.raises(ValueError, match="a tensor or an iterable of batches"):
        list(streamed(thing, COLLATE, 2))


class Unsized(Dataset):
    """As PyTorch's abstract datasets: asking for the length raises something of its own."""

    def __len__(self) -> int:
        raise NotImplementedError


def test_length_is_asked_for_gently(pictures: Tensor) -> None:
    assert length_of([pictures]) == length_of(DataLoader(pictures, 7)) == 1
    assert length_of({"pixel_values": pictures, "labels": 0}) == 1
    assert length_of(iter([pictures])) is length_of(Unsized()) is length_of(3) is None


def test_only_a_tensor_can_be_counted_beforehand(pictures: Tensor) -> None:
    assert Watched(pictures).count == 7 and Watched([pictures]).count is None


def test_the_share_of_a_tensor_is_that_of_its_pictures(pictures: Tensor) -> None:
    watched = Watched(pictures)
    assert watched.images is pictures and [watched.share(seen) for seen in (0, 7)] == [0, 1]


@pytest.mark.parametrize("kind", ["list", "loader"])
def test_the_share_of_batches_is_that_of_those_read(pictures: Tensor, kind: str) -> None:
    batches = list(pictures.split(2)) if kind == "list" else DataLoader(pictures, 2)
    watched = Watched(batches)
    assert watched.share(5) == 0
    assert [watched.share(0) for _ in watched.images] == [0.25, 0.5, 0.75, 1]


def test_the_share_of_a_stream_is_unknown(pictures: Tensor) -> None:
    watched = Watched(iter(pictures.split(2)))
    assert [watched.share(2) for _ in watched.images] == [0.0] * 4


def test_a_length_that_is_too_small_does_no_harm(pictures: Tensor) -> None:
    class Short(list):
        def __len__(self) -> int:
            return 3

    watched = Watched(Short(pictures.split(2)))
    assert [watched.share(0) for _ in watched.images] == pytest.approx([1 / 3, 2 / 3, 1, 1])
