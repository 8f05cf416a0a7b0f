"""Rows in memory and in files: the same values, within the limit, nothing left behind."""

import errno
import os
import resource
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vitq_core.common.errors import VitqError
from vitq_core.data.store import Cache, Rows


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def filled(cache: Cache, values: Tensor, sizes: tuple[int, ...] = (2, 1)) -> Rows:
    """Appended in batches of these sizes, then the rest."""
    rows = cache.rows(len(values))
    for part in values.tensor_split(torch.tensor(sizes).cumsum(0).tolist()):
        if len(part):
            rows.append(part)
    return rows


def files(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file()]


@settings(max_examples=30)
@given(
    shape=st.lists(st.integers(1, 5), min_size=0, max_size=3),
    count=st.integers(1, 20),
    in_files=st.booleans(),
    size=st.integers(1, 7),
    data=st.data(),
)
def test_what_is_read_is_what_was_appended(tmp_path_factory, shape, count, in_files, size, data) -> None:
    with pytest.MonkeyPatch.context() as patch, Cache(0 if in_files else 2**20) as cache:
        patch.setenv("VITQ_HOME", str(tmp_path_factory.mktemp("home")))
        values = noise(count, *shape)
        sizes = tuple(data.draw(st.lists(st.integers(1, 4), max_size=3)))
        rows = filled(cache, values, sizes)
        assert len(rows) == rows.count == count
        assert rows.shape == values.shape
        index = torch.tensor(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=9)))
        assert torch.equal(rows[index], values[index])
        start = data.draw(st.integers(0, count - 1))
        parts = list(rows.split(size, start))
        assert torch.equal(torch.cat(parts), values[start:])
        assert max(len(part) for part in parts) <= size
        rows[index].zero_()  # a copy
        assert torch.equal(rows[index], values[index])


def test_the_limit_is_kept(spill) -> None:
    each = 4 * 10 * 6  # bytes
    with Cache(2 * each) as cache:
        held = []
        rows = []
        for seed in range(4):
            rows.append(filled(cache, noise(10, 6, seed=seed)))
            held.append(cache.held)
        assert held == [each, 2 * each, 2 * each, 2 * each]
        assert [path.stat().st_size for path in files(spill)] == [each, each]
        rows[0].close()
        assert cache.held == each
        again = filled(cache, noise(10, 6, seed=9))  # there is room in memory now
        assert cache.held == 2 * each and len(files(spill)) == 2
        for seed, each_rows in enumerate(rows[1:], start=1):
            assert torch.equal(next(each_rows.split(10)), noise(10, 6, seed=seed))
        for each_rows in (*rows[1:], again, again):  # closed twice is closed
            each_rows.close()
        assert cache.held == 0
        assert files(spill) == []
    assert list(spill.iterdir()) == []


@pytest.mark.parametrize("error", [None, KeyError])
def test_files_go_with_the_context(spill, error: type | None) -> None:
    def use() -> None:
        with Cache(0) as cache:
            filled(cache, noise(3, 2))
            assert len(files(spill)) == 1
            if error:
                raise error

    if error:
        with pytest.raises(error):
            use()
    else:
        use()
    assert list(spill.iterdir()) == []


def test_rows_of_nothing_appended_take_no_room(spill) -> None:
    with Cache(0) as cache:
        rows = cache.rows(5)
        assert len(rows) == 0 and cache.held == 0
        rows.close()
    assert not spill.exists()


def test_a_full_disk_is_a_sentence(spill, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    sentence = f"1 MB of activations do not fit into {spill}: No space left on device; fewer pictures"
    with pytest.raises(VitqError, match=sentence), Cache(0) as cache:
        cache.rows(1000).append(noise(3, 250))
    assert list(spill.iterdir()) == []


def test_a_file_that_may_not_grow_is_a_sentence_not_a_signal(spill) -> None:
    """A mapped file that the disk has no room for would kill the process at the first write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Cache(0) as cache:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            cache.rows(1000).append(torch.ones(1, 20))
            with pytest.raises(VitqError, match=r"0 MB of activations do not fit into .*: File too large;"):
                cache.rows(1000).append(torch.ones(1, 30))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(spill.iterdir()) == []
