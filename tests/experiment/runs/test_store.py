"""The file of runs: what is written is read, by several programs at once, after a sudden end, and damaged."""

from __future__ import annotations

import csv
import io
import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vitq_core as vq
from vitq_core.experiment.runs import (
    DONE,
    RUNNING,
    STOPPED,
    Asked,
    Plan,
    PlanStore,
    RunRecord,
    RunStore,
    as_csv,
)
from vitq_core.experiment.runs.database import FORMAT

ASKED = Asked("demo-vit", vq.recipe("minmax", 4, 6, {"head": (4, 4)}), 32, 256)
RESULTS = {
    "size_mb": 1.5,
    "full": {"top1": [0.9, 0.01], "n": 256},
    "quantized": {"top1": [0.8, 0.02], "n": 256},
}


def made(**changed: object) -> RunRecord:
    fields = {
        "key": "k", "name": "a run", "task": "classification", "asked": ASKED, "made_of": {"weights": "ab"},
        "results": RESULTS, "seconds": {"all": 1.0},
    }  # fmt: skip
    return RunRecord(**{**fields, **changed})


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs.sqlite")


def test_what_is_kept_is_found_again(store) -> None:
    first, second = made(made=1.0, settings={"a": [1]}), made(made=2.0, key="other")
    store.add(first)
    store.add(second)
    assert store.all() == [second, first]
    assert store.get(first.id) == first and store.find("k") == first
    assert store.get("none") is None and store.find("none") is None
    store.add(replace(first, name="again"))
    assert store.get(first.id).name == "again" and len(store.all()) == 2


def test_everybody_has_their_own(store) -> None:
    mine, theirs, all_ours = made(owner="me"), made(owner="they"), made()
    for record in (mine, theirs, all_ours):
        store.add(record)
    assert {record.id for record in store.all(("", "me"))} == {mine.id, all_ours.id}
    assert store.find("k", ("they",)) == theirs
    assert not store.rename(theirs.id, "stolen", "me") and not store.delete(theirs.id, "me")
    assert store.rename(mine.id, " mine ", "me") and store.get(mine.id).name == "mine"
    assert store.delete(mine.id, "me") and store.get(mine.id) is None
    assert store.get(theirs.id).name == "a run"


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, None, 3])
def test_a_name_is_a_name(store, name) -> None:
    record = made()
    store.add(record)
    with pytest.raises(ValueError, match="a run's name has 1 to 200 characters"):
        store.rename(record.id, name)


@given(st.text(max_size=200), st.dictionaries(st.text(), st.floats(allow_nan=False) | st.text()))
def test_any_text_comes_back(tmp_path_factory, name, settings) -> None:
    store = RunStore(tmp_path_factory.mktemp("runs") / "runs.sqlite")
    record = made(name=name.replace("\0", ""), settings=settings)
    store.add(record)
    (read,) = store.all()
    assert read == replace(record, name=record.name.encode("utf-8", "replace").decode())


def test_half_a_letter_is_no_fault(store) -> None:
    """A name of a file that is no text, as Python reads it."""
    record = made(name="photo\udcff.png", settings={"folder": "photo\udcff"})
    store.add(record)
    assert store.get(record.id).name == "photo?.png" and store.get(record.id).settings == record.settings
    assert store.rename(record.id, "\ud800") and store.get("\ud800") is None
    assert not store.delete("\ud800")
    assert store.find("\ud800", ("\ud800",)) is None and store.all(("\ud800",)) == []
    assert PlanStore(store.path).get("\ud800") is None


def test_the_default_lies_under_vitq_home(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "home"))
    store = RunStore()
    store.add(made())
    assert (tmp_path / "home" / "runs.sqlite").exists()
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "other"))
    assert store.all() == []


def test_asked_is_read_back_and_tells_runs_apart() -> None:
    assert Asked.from_dict(ASKED.as_dict()) == ASKED
    keys = {
        asked.key(weights, pictures)
        for asked in (ASKED, replace(ASKED, seed=1), replace(ASKED, recipe=vq.recipe("minmax", 4, 5)))
        for weights in ("w", "v")
        for pictures in (("scenes", 64), ("scenes", 32))
    }
    assert len(keys) == 12
    moved = replace(ASKED, places=("/somewhere/else",))
    assert moved.key("w", ("a",)) == ASKED.key("w", ("a",))
    with pytest.raises(ValueError, match="does not say what a run was asked for"):
        Asked.from_dict({"model": "x"})


WRITER = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from test_store import made
from vitq_core.experiment.runs import RunStore
store = RunStore(Path(sys.argv[1]))
while True:
    record = made()
    store.add(record)
    print(record.id, flush=True)
"""


def test_programs_write_at_once_and_a_sudden_end_loses_nothing(store, request) -> None:
    here = [str(request.path.parent), str(request.config.rootpath)]
    command = [sys.executable, "-c", WRITER, str(store.path), *here]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    written = [writer.stdout.readline().strip() for _ in range(20) for writer in writers]
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
    known = {record.id for record in store.all()}
    assert set(written) <= known and all(written)
    store.add(made())
    assert len(store.all()) == len(known) + 1


def test_a_damaged_file_is_a_sentence(store) -> None:
    store.path.write_bytes(b"no database " * 400)
    with pytest.raises(vq.StorageError, match=r"cannot be read or written .*; move that file away") as raised:
        store.all()
    assert str(store.path) not in raised.value.public


def test_what_a_newer_program_wrote_is_left_alone(store) -> None:
    store.add(made())
    with sqlite3.connect(store.path) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    with pytest.raises(vq.StorageError, match=f"it is of format {FORMAT + 1}"):
        store.all()


def test_a_run_of_another_time_is_passed_over(store) -> None:
    store.add(made())
    store.add(made(id="odd"))
    with sqlite3.connect(store.path) as connection:
        connection.execute("""UPDATE runs SET asked = '{"model": 3}' WHERE id = 'odd'""")
    assert len(store.all()) == 1 and store.get("odd") is None


def test_a_table_for_other_programs(store) -> None:
    record = made(name='with "quotes", and commas')
    (row,) = csv.DictReader(io.StringIO(as_csv([record])))
    assert row["name"] == record.name and row["recipe"] == "minmax" and row["weight_bits"] == "4"
    assert row["quantized.top1"] == "0.8" and row["quantized.top1.error"] == "0.02"
    assert float(row["size_mb"]) == 1.5 and row["model"] == "demo-vit"
    assert as_csv([]).strip() == ""


def test_plans_lie_beside_the_runs(store) -> None:
    plans = PlanStore(store.path)
    first, second = Plan("a sweep", ({"bits": 4}, {"bits": 3}), made=1.0), Plan("another", (), "me", made=2.0)
    for plan in (second, first):
        plans.add(plan)
    assert plans.all() == [first, second] == plans.all(RUNNING) and plans.get(first.id) == first
    plans.mark(first.id, DONE)
    assert plans.all(RUNNING) == [second] and plans.all(DONE) == [replace(first, state=DONE)]
    assert plans.all(STOPPED) == [] and plans.get("none") is None
    with pytest.raises(ValueError, match="a plan is running, stopped, done, not 'lost'"):
        plans.mark(first.id, "lost")
