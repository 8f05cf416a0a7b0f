"""In memory and in files: the same values, within the limit, nothing left behind."""

import errno
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map, tree_structure

from vitq_core.common.errors import StorageError
from vitq_core.data import store as module
from vitq_core.data.store import ActivationStore, Scratch, TreeStore


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def filled(scratch: Scratch, values: Tensor, sizes: tuple[int, ...] = (2, 1)) -> ActivationStore:
    """Appended in batches of these sizes, then the rest."""
    store = ActivationStore(scratch, len(values))
    for part in cut(values, sizes):
        store.append(part)
    return store


def cut(values: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
    parts = values.tensor_split(torch.tensor(sizes).cumsum(0).tolist()) if sizes else [values]
    return [part for part in parts if len(part)]


def files(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file()]


@settings(max_examples=30)
@given(
    shape=st.lists(st.integers(1, 5), min_size=0, max_size=3),
    count=st.integers(1, 20),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16]),
    in_files=st.booleans(),
    announced=st.booleans(),
    data=st.data(),
)
def test_what_is_read_is_what_was_appended(
    tmp_path_factory, shape, count, dtype, in_files, announced, data
) -> None:
    with pytest.MonkeyPatch.context() as patch, Scratch(0 if in_files else 2**20) as scratch:
        patch.setenv("VITQ_HOME", str(tmp_path_factory.mktemp("home")))
        values = random(count, *shape).to(dtype)
        parts = cut(values, tuple(data.draw(st.lists(st.integers(1, 4), max_size=3))))
        store = ActivationStore(scratch, count if announced else None)
        for part in parts:
            store.append(part)
        assert len(store) == count
        for _ in range(2):
            read = list(store)
            assert all(torch.equal(a, b) and a.dtype == dtype for a, b in zip(read, parts, strict=True))
        if announced:
            index = torch.tensor(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=9)))
            assert torch.equal(store[index], values[index])
            store[index].zero_()  # a copy
            assert torch.equal(store[index], values[index])


@pytest.mark.parametrize("limit", [0, 2**20])
def test_tensors_of_several_shapes_are_read_in_order(spill, limit: int) -> None:
    tensors = [random(3, 5), random(2), random(0, 4), random(1, 2, 3).double()]
    with ActivationStore(Scratch(limit)) as store:
        for tensor in tensors:
            store.append(tensor)
        assert all(torch.equal(a, b) for a, b in zip(store, tensors, strict=True))
        for number, tensor in enumerate(tensors):
            assert torch.equal(store[torch.tensor([number])], tensor)
        store[torch.tensor([0])].zero_()  # a copy
        assert torch.equal(store[torch.tensor([0])], tensors[0])
        store.append(random(2, 5))
        assert torch.equal(store[torch.tensor([4, 0])], torch.cat((random(2, 5), tensors[0])))
        with pytest.raises(IndexError):
            store[torch.tensor([5])]


# Trees


def trees(leaf: st.SearchStrategy) -> st.SearchStrategy:
    """Tuples, lists and dicts in each other."""
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        ),
        max_leaves=6,
    )


SHAPES = st.lists(st.integers(1, 3), max_size=2).map(tuple)
OTHERS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.text(max_size=2))
SHAPED = trees(st.one_of(SHAPES.map(torch.Size), OTHERS))  # sizes in place of tensors
KINDS = [torch.float32, torch.float16, torch.int64, torch.bool]


def of_shapes(tree: Any, rows: int, seed: int) -> Any:
    """With a tensor [rows, …] for each size."""
    made = iter(range(seed, seed + 100))

    def tensor(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Size):
            return leaf
        number = next(made)
        return (4 * random(rows, *leaf, seed=number)).to(KINDS[number % len(KINDS)])

    return tree_map(tensor, tree, is_leaf=lambda leaf: isinstance(leaf, torch.Size))


def alike(a: Any, b: Any) -> bool:
    """Of one build, with equal leaves of equal types."""
    pairs = zip(tree_leaves(a), tree_leaves(b), strict=False)
    return tree_structure(a) == tree_structure(b) and all(
        type(x) is type(y) and (x.dtype == y.dtype and torch.equal(x, y) if isinstance(x, Tensor) else x == y)
        for x, y in pairs
    )


def rows_at(tree: Any, index: Any) -> Any:
    return tree_map(lambda x: x[index] if isinstance(x, Tensor) else x, tree)


@settings(max_examples=60)
@given(shapes=SHAPED, count=st.integers(1, 9), in_files=st.booleans(), data=st.data())
def test_trees_of_announced_rows_come_back(tmp_path_factory, shapes, count, in_files, data) -> None:
    whole = of_shapes({"always": torch.Size([2]), "drawn": shapes}, count, 0)
    with pytest.MonkeyPatch.context() as patch, Scratch(0 if in_files else 2**20) as scratch:
        patch.setenv("VITQ_HOME", str(tmp_path_factory.mktemp("home")))
        store = TreeStore(scratch, count)
        assert len(store) == 0 and list(store) == []
        size = data.draw(st.integers(1, count))
        parts = [rows_at(whole, slice(start, start + size)) for start in range(0, count, size)]
        for part in parts:
            store.append(part)
        assert len(store) == count
        for _ in range(2):
            assert all(alike(*pair) for pair in zip(store, parts, strict=True))
        index = torch.tensor(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=5)))
        assert alike(store[index], rows_at(whole, index))
        tree_map(lambda x: x.zero_() if isinstance(x, Tensor) else x, store[index])  # a copy
        assert alike(store[index], rows_at(whole, index))
        store.close()
        store.close()
        assert scratch.held == 0 and len(store) == 0


@settings(max_examples=60)
@given(many=st.lists(SHAPED, min_size=1, max_size=4), in_files=st.booleans(), data=st.data())
def test_trees_of_builds_of_their_own_come_back(tmp_path_factory, many, in_files, data) -> None:
    """Places that hold a tensor in one tree, and in another a number or nothing."""
    given = [of_shapes(tree, 1 + number, 10 * number) for number, tree in enumerate(many)]
    with pytest.MonkeyPatch.context() as patch, Scratch(0 if in_files else 2**20) as scratch:
        patch.setenv("VITQ_HOME", str(tmp_path_factory.mktemp("home")))
        with TreeStore(scratch) as store:
            for tree in given:
                store.append(tree)
            assert len(store) == len(given)
            for _ in range(2):
                assert all(alike(*pair) for pair in zip(store, given, strict=True))
            for number in data.draw(st.permutations(range(len(given)))):
                assert alike(store[torch.tensor([number])], given[number])
        assert scratch.held == 0 and len(store) == 0


@pytest.mark.parametrize("limit", [0, 2**20])
def test_trees_of_one_build_come_behind_each_other(spill, limit: int) -> None:
    with Scratch(limit) as scratch:
        store = TreeStore(scratch)
        store.append({"other": random(1)})
        parts = [((random(rows, 2), [rows]), {"x": random(rows).double()}) for rows in (1, 3, 2)]
        for part in parts:
            store.append(part)
        ((both, number), named) = store[torch.tensor([3, 1])]
        assert torch.equal(both, torch.cat((parts[2][0][0], parts[0][0][0]))) and number == [2]
        assert torch.equal(named["x"], torch.cat((parts[2][1]["x"], parts[0][1]["x"])))


def test_a_store_of_trees_on_its_own_has_a_limit_of_its_own(spill, monkeypatch) -> None:
    monkeypatch.setattr(module, "STORE_LIMIT", 100)
    with TreeStore() as store:
        for _ in range(2):
            store.append((torch.zeros(10), {"more": torch.zeros(10)}))
        assert [path.stat().st_size for path in files(spill)] == [40] * 2
    assert list(spill.iterdir()) == []


@pytest.mark.parametrize("limit", [0, 2**20])
def test_what_is_appended_is_copied_and_loses_its_history(spill, limit: int) -> None:
    values = torch.ones(3, 2, requires_grad=True)
    with Scratch(limit) as scratch:
        store = filled(scratch, values)
        with torch.no_grad():
            values.zero_()
        assert torch.equal(torch.cat(list(store)), torch.ones(3, 2))
        assert not store[torch.tensor([0])].requires_grad


@pytest.mark.parametrize("limit", [0, 2**20])
def test_more_rows_than_announced_or_other_ones_are_an_error(spill, limit: int) -> None:
    with Scratch(limit) as scratch:
        store = filled(scratch, random(3, 2))
        with pytest.raises(RuntimeError):
            store.append(random(1, 2))
        other = ActivationStore(scratch, 4)
        other.append(random(2, 2))
        with pytest.raises(RuntimeError):
            other.append(random(2, 3))


def test_the_limit_is_kept(spill) -> None:
    each = 4 * 10 * 6  # bytes
    with Scratch(2 * each) as scratch:
        held = []
        stores = []
        for seed in range(4):
            stores.append(filled(scratch, random(10, 6, seed=seed)))
            held.append(scratch.held)
        assert held == [each, 2 * each, 2 * each, 2 * each]
        assert [path.stat().st_size for path in files(spill)] == [each, each]
        stores[0].close()
        assert scratch.held == each
        again = filled(scratch, random(10, 6, seed=9))  # there is room in memory now
        assert scratch.held == 2 * each and len(files(spill)) == 2
        for seed, store in enumerate(stores[1:], start=1):
            assert torch.equal(torch.cat(list(store)), random(10, 6, seed=seed))
        for store in (*stores[1:], again, again):  # closed twice is closed
            store.close()
        assert scratch.held == 0
        assert files(spill) == []
    assert list(spill.iterdir()) == []


def test_a_store_on_its_own_has_a_limit_of_its_own(spill, monkeypatch) -> None:
    monkeypatch.setattr(module, "STORE_LIMIT", 100)
    with ActivationStore() as store, ActivationStore() as other:
        for each in (store, other):
            for _ in range(4):
                each.append(torch.zeros(10))
        assert [path.stat().st_size for path in files(spill)] == [40] * 4
    assert list(spill.iterdir()) == []
    assert len(store) == 0


def test_of_a_view_only_what_it_shows_is_kept(spill) -> None:
    with ActivationStore(Scratch(40)) as store:
        store.append(torch.zeros(100_000)[:10])
        (kept,) = store
        assert kept.untyped_storage().nbytes() == 40


@pytest.mark.parametrize("error", [None, KeyError])
@pytest.mark.parametrize("shared", [True, False])
def test_files_go_with_the_context(spill, monkeypatch, error: type | None, shared: bool) -> None:
    monkeypatch.setattr(module, "STORE_LIMIT", 0)

    def use() -> None:
        with Scratch(0) if shared else ActivationStore() as context:
            (ActivationStore(context) if shared else context).append(random(3, 2))
            assert len(files(spill)) == 1
            if error:
                raise error

    if error:
        with pytest.raises(error):
            use()
    else:
        use()
    assert list(spill.iterdir()) == []


def test_what_fits_touches_no_disk(spill) -> None:
    with Scratch() as scratch, ActivationStore() as store:
        store.append(torch.zeros(10))
        filled(scratch, torch.zeros(10))
    assert not spill.exists()


def test_a_store_with_nothing_in_it_takes_no_room(spill) -> None:
    with Scratch(0) as scratch:
        store = ActivationStore(scratch, 5)
        assert len(store) == 0 and list(store) == [] and scratch.held == 0
        store.close()
    assert not spill.exists()


@pytest.mark.parametrize("rows", [1000, None])
def test_a_full_disk_is_a_sentence(spill, monkeypatch, rows: int | None) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    sentence = f"1 MB of activations do not fit into {spill}: No space left on device; fewer pictures"
    with pytest.raises(StorageError, match=sentence) as caught, Scratch(0) as scratch:
        ActivationStore(scratch, rows).append(random(3 if rows else 1000, 250))
    assert "/" not in caught.value.public and "No space left" in caught.value.public
    assert list(spill.iterdir()) == []


def test_a_file_that_may_not_grow_is_a_sentence_not_a_signal(spill) -> None:
    """A mapped file that the disk has no room for would kill the process at the first write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Scratch(0) as scratch:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            ActivationStore(scratch, 1000).append(torch.ones(1, 20))
            with pytest.raises(
                StorageError, match=r"0 MB of activations do not fit into .*: File too large;"
            ):
                ActivationStore(scratch, 1000).append(torch.ones(1, 30))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(spill.iterdir()) == []
