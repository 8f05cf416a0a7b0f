"""Sums in files: of one worker or many, put together once and only once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vitq_core.common.errors import VitqError
from vitq_core.common.processes import ALONE, Group
from vitq_core.common.spans import Span
from vitq_core.data.kept import Kept, Kind, Sums

from ..workers import in_threads


def added(first: dict, second: dict) -> dict:
    return {"sum": first["sum"] + second["sum"]}


KIND = Kind("a sum", "numbers", lambda state: {"sum": int(state["sum"])}, added)


def kept(path: Path | None, processes: Group = ALONE, fingerprint: str = "this") -> Kept:
    return Kept(path, KIND, processes, lambda: fingerprint)


def sums(total: int, *done: Span) -> Sums:
    return Sums({"sum": total}, done)


def write(path: Path, total: int, *done: Span) -> None:
    path.write_text(sums(total, *done).text(fingerprint="this"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_without_a_file_it_is_only_put_together() -> None:
    found = in_threads(
        3, lambda group: kept(None, group).together(sums(group.rank, (group.rank, group.rank + 1)))
    )
    assert found == [Sums({"sum": 3}, ((0, 3),))] * 3


def test_workers_that_saw_nothing_add_nothing() -> None:
    given = {0: Sums(None, ()), 1: sums(5, (0, 2)), 2: Sums(None, ())}
    assert in_threads(3, lambda group: kept(None, group).together(given[group.rank])) == [sums(5, (0, 2))] * 3


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_other_workers_go_on_from_the_files_of_others(tmp_path, workers: int) -> None:
    path = tmp_path / "kept [a].json"
    write(path, 1, (0, 2))
    write(tmp_path / "kept [a].json.1-of-3", 10, (4, 6))
    write(tmp_path / "kept [a].json.2-of-3", 100, (8, 9))

    def work(group: Group) -> Kept:
        return kept(path, group)

    found = in_threads(workers, work) if workers > 1 else [work(ALONE)]
    assert all(each.done == ((0, 2), (4, 6), (8, 9)) for each in found)
    assert [each.begin.state for each in found] == [{"sum": 111}, None, None][:workers]
    assert names(tmp_path) == [path.name], "all of it is in the first file"


def test_each_worker_saves_its_own_and_one_file_is_left(tmp_path) -> None:
    path, seen = tmp_path / "kept.json", []

    def work(group: Group) -> Sums:
        mine = kept(path, group)
        own = sums(10**group.rank, (group.rank, group.rank + 1))
        mine.save(own)
        group.together("", lambda texts: seen.extend(names(tmp_path)) or "")
        return mine.together(own)

    assert in_threads(2, work) == [sums(11, (0, 2))] * 2
    assert seen == ["kept.json", "kept.json.1-of-2"] and names(tmp_path) == ["kept.json"]
    assert kept(path).begin == sums(11, (0, 2))


def test_killed_after_putting_together_nothing_counts_twice(tmp_path) -> None:
    """The first file is written before the others are deleted."""
    write(tmp_path / "kept.json", 11, (0, 4))
    write(tmp_path / "kept.json.1-of-2", 10, (2, 4))
    assert kept(tmp_path / "kept.json").begin == sums(11, (0, 4))


def test_files_that_contradict_each_other_are_refused(tmp_path) -> None:
    write(tmp_path / "kept.json", 11, (0, 4))
    write(tmp_path / "kept.json.1-of-2", 10, (3, 6))
    with pytest.raises(VitqError, match="have seen the same pictures; delete them"):
        kept(tmp_path / "kept.json")


def test_other_runs_and_damage_are_sentences(tmp_path) -> None:
    path = tmp_path / "kept.json"
    write(path, 1, (0, 2))
    with pytest.raises(VitqError, match=r"kept.json belongs to another run \(numbers differ\); delete it"):
        kept(path, fingerprint="that")
    (tmp_path / "kept.json.1-of-2").write_text(json.dumps({"fingerprint": "this"}))
    with pytest.raises(VitqError, match=r"1-of-2 holds no state of a sum; delete it"):
        kept(path)
