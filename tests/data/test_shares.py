"""Every picture goes to one worker, however many there are and whatever the pictures come in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms.functional import to_tensor

from vitq_core.common.batch import Batch, unpacked
from vitq_core.common.spans import Span, covered, merged
from vitq_core.data.batches import iterated
from vitq_core.data.shares import Share, cuttable, part_of
from vitq_core.pictures import PictureFolder

LOADERS: dict[str, Callable[[Tensor], object]] = {
    "tensor": lambda images: images,
    "batches": lambda images: images.split(3),
    "generator": lambda images: (batch for batch in images.split(2)),
    "data loader": lambda images: DataLoader(TensorDataset(images, numbers(images)), batch_size=4),
    "one that leaves out": lambda images: DataLoader(TensorDataset(images), batch_size=1, shuffle=True),
}


def numbered(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float32)[:, None, None, None].expand(count, 1, 1, 1)


def numbers(images: Tensor) -> Tensor:
    return images[:, 0, 0, 0].long()


def seen(loader: object, share: Share, most: int = 3) -> tuple[list[int], list[Span]]:
    """The numbers on the pictures of a worker's share, and where they stand."""
    pictures = cuttable(loader, share.of)
    if pictures is None:
        batches = (Batch((unpacked(item)[0],)) for item in iterated(loader))
        found = [(span, batch.args[0]) for span, batch in share.streamed(batches)]
    else:
        found = [(span, unpacked(item)[0]) for span, item in share.cut(pictures, most)]
    return [n for _, part in found for n in numbers(part).tolist()], [span for span, _ in found]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(sorted(LOADERS)), count=st.integers(0, 20), of=st.integers(1, 7))
def test_every_picture_goes_to_one_worker(kind: str, count: int, of: int) -> None:
    if kind == "one that leaves out" and not count:
        return  # a random sampler of nothing is refused by torch
    torch.manual_seed(0)
    shares = [seen(LOADERS[kind](numbered(count)), Share(rank, of)) for rank in range(of)]
    if kind != "one that leaves out":
        assert Counter(n for found, _ in shares for n in found) == Counter(range(count))
    spans = [span for _, spans in shares for span in spans]
    assert merged(spans) == ([(0, count)] if count else [])
    assert sum(covered(spans) for _, spans in shares) == count


@settings(max_examples=20)
@given(done=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=3), of=st.integers(1, 4))
def test_what_is_done_is_done_once(done: list[Span], of: int) -> None:
    images = numbered(20)
    left = set(range(20)) - {n for start, stop in done for n in range(start, stop)}
    for kind in ("tensor", "batches", "data loader"):
        shares = [seen(LOADERS[kind](images), Share(rank, of, tuple(done)))[0] for rank in range(of)]
        assert Counter(n for found in shares for n in found) == Counter(left)


@pytest.fixture
def folder(tmp_path) -> PictureFolder:
    for n in range(7):
        Image.new("L", (1, 1), n).save(tmp_path / f"{n}.png")
    (tmp_path / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return PictureFolder(tmp_path, lambda picture: to_tensor(picture.convert("L")) * 255)


@pytest.mark.parametrize("of", [1, 2, 3, 9])
def test_a_folder_is_decoded_by_each_worker_in_part(folder, monkeypatch, of: int) -> None:
    read: list[int] = []
    picture = PictureFolder.picture
    monkeypatch.setattr(PictureFolder, "picture", lambda self, i: read.append(i) or picture(self, i))
    shares = [seen(folder.loader(2), Share(rank, of), most=2)[0] for rank in range(of)]
    assert sorted(n for found in shares for n in found) == [0, 1, 2, 4, 5, 6]
    assert sorted(read) == list(range(7)), "each file once by all together"


def test_large_shares_are_of_whole_batches() -> None:
    """So that they are the batches that one worker alone would have."""
    images = numbered(160)
    spans = [seen(images, Share(rank, 2), most=10)[1] for rank in range(2)]
    assert spans[0] + spans[1] == [(start, start + 10) for start in range(0, 160, 10)]


def test_a_stream_that_ends_too_early_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="there are only 4 pictures, fewer than the 6 seen before"):
        seen(LOADERS["batches"](numbered(4)), Share(done=((0, 6),)))


def test_a_part_keeps_its_right_answers() -> None:
    batch = Batch((numbered(5),), truth=torch.arange(5))
    assert part_of(batch, 0, 5) is batch
    assert part_of(batch, 1, 3).truth.tolist() == [1, 2] == numbers(part_of(batch, 1, 3).args[0]).tolist()
    assert part_of(Batch((numbered(5),)), 1, 3).truth is None
