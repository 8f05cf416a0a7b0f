"""Tables that many processes fill together: nothing twice, nothing lost, also where one of them is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest
from filelock import FileLock

import vitq_core as vq
from vitq_core.common.errors import StorageError, VitqError
from vitq_core.common.processes import Group, WorkerLost
from vitq_core.experiment.cells import Cell, Shelf, Table, fill

from ..workers import ROOT, in_threads


def counted(keys: str, worked: list[str]) -> list[Cell]:
    """Cells that say when they are worked out."""

    def work(key: str) -> dict:
        worked.append(key)
        return {"is": key}

    return [Cell(key, lambda key=key: work(key)) for key in keys]


def test_every_cell_is_worked_out_once_and_kept(tmp_path) -> None:
    worked, heard = [], []
    table = fill(counted("cab", worked), tmp_path, progress=lambda *said: heard.append(said))
    assert list(table.results) == list("cab") and worked == list("cab") and table.failed == {}
    assert heard[0] == (0.0, "0 of 3 cells there") and heard[-1] == (1.0, "3 of 3 cells there")
    assert fill(counted("abcd", worked), tmp_path).results["d"] == {"is": "d"}
    assert worked == list("cabd"), "only the new one"


@pytest.mark.parametrize("workers", [2, 5])
def test_workers_share_the_cells(tmp_path, monkeypatch, workers: int) -> None:
    monkeypatch.setattr("vitq_core.experiment.cells.POLL", 0.01)
    worked: list[str] = []

    def work(group: Group) -> Table:
        return fill(counted("abc", worked), tmp_path, group)

    tables = in_threads(workers, work)
    assert sorted(worked) == list("abc")
    assert all(table == Table({key: {"is": key} for key in "abc"}) for table in tables)


def test_two_that_look_at_locks_at_once_do_not_meet(tmp_path, monkeypatch) -> None:
    """Threads, or containers whose process ids are alike."""
    tried: list[Path] = []

    def lock(path: Path, timeout: float) -> FileLock:
        tried.append(path)
        return FileLock(path, timeout=timeout)

    monkeypatch.setattr("vitq_core.experiment.cells.FileLock", lock)
    for _ in range(2):
        Shelf(tmp_path).check_locks()
    assert tried[0] != tried[1] and not any(path.exists() for path in tried)


def test_a_worker_that_fails_ends_the_others(tmp_path) -> None:
    def work(group: Group) -> Table:
        if not group.first:
            raise ValueError("there are no pictures")
        return fill(counted("abc", []), tmp_path, group)

    with pytest.raises(WorkerLost, match=r"worker 1 of 2 .* there are no pictures"):
        in_threads(2, work)


def test_a_cell_that_fails_holds_up_no_other_and_is_tried_again(tmp_path) -> None:
    tries: list[int] = []

    def work() -> dict:
        tries.append(1)
        raise ValueError("there are no pictures")

    cells = [Cell("bad", work), *counted("a", [])]
    for count in (1, 2):
        assert fill(cells, tmp_path) == Table({"a": {"is": "a"}}, {"bad": "there are no pictures"})
        assert len(tries) == count
    assert fill([Cell("bad", lambda: {"is": "well"})], tmp_path) == Table({"bad": {"is": "well"}})


def test_keys_of_all_kinds_have_files_of_their_own(tmp_path) -> None:
    keys = ["a/b", "a b", "a-b", "../../x", "ä" * 200, "ä" * 201, ""]
    table = fill([Cell(key, lambda key=key: {"is": key}) for key in keys], tmp_path)
    assert {key: found["is"] for key, found in table.results.items()} == {key: key for key in keys}
    assert len(list(tmp_path.glob("*.json"))) == len(keys)
    assert {path.parent for path in tmp_path.rglob("*.json")} == {tmp_path}


def test_what_cannot_be_is_a_sentence(tmp_path) -> None:
    with pytest.raises(ValueError, match="two cells have the same key"):
        fill(counted("aa", []), tmp_path)
    failed = fill([Cell("nan", lambda: {"x": float("nan")}), Cell("set", lambda: {"x": {1}})], tmp_path / "a")
    assert failed.results == {} and all("JSON cannot hold" in said for said in failed.failed.values())
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        fill(counted("a", []), tmp_path / "file")


def test_a_damaged_file_is_named(tmp_path) -> None:
    fill(counted("a", []), tmp_path)
    (path,) = tmp_path.glob("*.json")
    for text in ("", "[]", '{"key": "a"}', path.read_text().replace('"key": "a"', '"key": "b"')):
        path.write_text(text)
        with pytest.raises(VitqError, match=f"{path.name} holds no result"):
            fill(counted("a", []), tmp_path)


def test_cancelled_it_keeps_what_is_there(tmp_path) -> None:
    worked: list[str] = []
    with pytest.raises(vq.Cancelled):
        fill(counted("abc", worked), tmp_path, cancel=lambda: len(worked) == 2)
    assert fill(counted("abc", worked), tmp_path).results.keys() == set("abc") and worked == list("abc")


def test_a_claim_keeps_others_away_until_it_ends(tmp_path) -> None:
    shelf = Shelf(tmp_path)
    with shelf.claimed("a") as mine, Shelf(tmp_path).claimed("a") as other, shelf.claimed("b") as another:
        assert mine and another and not other
    with Shelf(tmp_path).claimed("a") as mine:
        assert mine


def test_a_file_system_without_locks_is_a_sentence(tmp_path, monkeypatch) -> None:
    def refuse(*given: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(StorageError, match="cannot be locked"):
        fill(counted("a", []), tmp_path)


KILLED = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from vitq_core.experiment.cells import Cell, fill
folder = Path(sys.argv[1])

def work(number):
    with (folder / f"tries-{{number}}").open("a") as file:
        file.write(f"{{os.getpid()}}\\n")
    if sys.argv[2] == "stuck" and number == 2:
        time.sleep(1000)
    return {{"number": number}}

print(fill([Cell(f"cell {{n}}", lambda n=n: work(n)) for n in range(4)], folder / "cells").results)
"""


def test_killed_it_loses_the_cell_it_was_at_and_a_plain_process_takes_that_over(tmp_path) -> None:
    """No torchrun: two processes that share nothing but a folder, as on two machines."""

    def begin(how: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), how], stdout=subprocess.PIPE)

    def tries() -> dict[int, int]:
        found = {int(path.name[6:]): path for path in tmp_path.glob("tries-*")}
        return {number: len(path.read_text().split()) for number, path in sorted(found.items())}

    first = begin("stuck")
    _until(lambda: tries().get(2) == 1)
    second = begin("well")
    _until(lambda: tries().get(3) == 1)  # it goes round the cell that the first one has
    assert tries() == {0: 1, 1: 1, 2: 1, 3: 1}
    os.kill(first.pid, signal.SIGKILL)
    said, _ = second.communicate(timeout=60)
    first.wait()
    assert tries() == {0: 1, 1: 1, 2: 2, 3: 1}, "what was finished is not worked out again"
    assert json.loads(said.decode().replace("'", '"')) == {f"cell {n}": {"number": n} for n in range(4)}


def _until(true, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def test_waiting_ends_when_another_has_the_result(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("vitq_core.experiment.cells.POLL", 0.01)
    shelf, found = Shelf(tmp_path), []
    with shelf.claimed("a"):
        waiting = Thread(target=lambda: found.append(fill(counted("a", []), tmp_path)))
        waiting.start()
        shelf.keep("a", result={"is": "of another"})
        waiting.join(20)
    assert found == [Table({"a": {"is": "of another"}})]
    assert Path(tmp_path / "locks").is_dir()
