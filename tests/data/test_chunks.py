"""A store keeps order and values, holds little in memory and leaves no files."""

from pathlib import Path

import pytest
import torch

from vitq_core.data.chunks import TensorStore


def test_reads_back_in_order_as_often_as_asked(spill: Path) -> None:
    tensors = [torch.full((3, 5), float(i)) for i in range(6)]
    with TensorStore(limit=2 * 60) as store:
        for tensor in tensors:
            store.append(tensor)
        assert len(store) == 6
        for _ in range(2):
            assert all(torch.equal(a, b) for a, b in zip(store, tensors, strict=True))


def test_beyond_the_limit_it_goes_on_in_files_that_go_away(spill: Path) -> None:
    with TensorStore(limit=100) as store:
        for _ in range(4):
            store.append(torch.zeros(10))
        assert len(list(spill.rglob("*.pt"))) == 2
    assert list(spill.iterdir()) == []
    assert len(store) == 0


def test_files_go_away_after_an_error(spill: Path) -> None:
    with pytest.raises(KeyError), TensorStore(limit=0) as store:
        store.append(torch.zeros(10))
        assert list(spill.iterdir())
        raise KeyError
    assert list(spill.iterdir()) == []


def test_a_view_is_written_alone(spill: Path) -> None:
    with TensorStore(limit=0) as store:
        store.append(torch.zeros(100_000)[:10])
        (file,) = spill.rglob("*.pt")
        assert file.stat().st_size < 10_000


def test_what_fits_touches_no_disk(spill: Path) -> None:
    with TensorStore() as store:
        store.append(torch.zeros(10))
    assert not spill.exists()
