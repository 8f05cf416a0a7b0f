"""kill -9 in a sweep, in a write, in a learning run: every finished run is there, and the job goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from tests.benchmarks.http_page import Page
from tests.server import ROOT, free_port
from ui.parts.settings import RunSettings
from ui.workbench import planned
from vitq_core.experiment.runs import DONE, RUNNING, Plan, PlanStore, RunStore

HERE = Path(__file__).parent
SOON = 120.0
PICTURES = 16
LEARNING = RunSettings("demo-vit", "adfq", calibration=32, held_out=4, effort="quick", iterations=8)


def until(there: Callable[[], Any], seconds: float = SOON) -> Any:
    """What `there()` gives once it gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := there():
            return found
        time.sleep(0.005)
    raise TimeoutError


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "home"
    path.mkdir(exist_ok=True)
    monkeypatch.setenv("VITQ_HOME", str(path))
    return path


@pytest.fixture
def model(tiny_model, tmp_path) -> Path:
    path = tmp_path / "model"
    torch.save(tiny_model, path)
    return path


class Nursery:
    """Starts one child after the other, each in a fraction of a second: importing is what takes long."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process, self.child = process, 0

    def start(self, task: str, home: Path, **given: Any) -> None:
        if self.child:  # of a test that has failed
            self.kill()
        line = {"task": task, "home": str(home), **{name: str(value) for name, value in given.items()}}
        print(json.dumps(line), file=self.process.stdin, flush=True)
        self.child = int(self.process.stdout.readline())

    def kill(self) -> None:
        """With SIGKILL: it has no time to tidy up."""
        os.kill(self.child, signal.SIGKILL)
        assert self.ended() == -signal.SIGKILL

    def ended(self) -> int:
        self.child = 0
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    command = [sys.executable, str(HERE / "killed_child.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        nursery = Nursery(process)
        yield nursery
        process.stdin.close()
        if nursery.child:  # of a test that has failed; the nursery waits for it
            with suppress(ProcessLookupError):
                os.kill(nursery.child, signal.SIGKILL)


def test_a_server_killed_in_a_sweep_goes_on_with_it(nursery, home, model, tmp_path):
    """The real server, asked by a real page; after the restart the page finds its sweep again."""
    log, runs = tmp_path / "log", RunStore(home / "runs.sqlite")
    with opened(nursery, home, model, log) as page:
        page.put("tradeoffs-method", "minmax")
        page.put("tradeoffs-judged", PICTURES)
        page.fire("tradeoffs-bits-sweep", "click")
        before = until(lambda: len(made := runs.all()) >= 2 and made)
        nursery.kill()
    assert len(before) < 5
    with opened(nursery, home, model, log) as page:
        page.choose_tab("Trade-offs")
        until(lambda: page.tick() or "5 of 5 runs done" in str(page.value("tradeoffs-status")))
        until(lambda: page.tick() or len(page.value("tradeoffs-table")["data"]) == 5)
        after = runs.all()
        nursery.kill()
    assert {run.id for run in before} < {run.id for run in after}
    assert len({run.key for run in after}) == len(after) == 5
    assert "Traceback" not in log.read_text()


def opened(nursery: Nursery, home: Path, model: Path, log: Path) -> Page:
    """A page of a server that has just started."""
    port = free_port()
    nursery.start("server", home, model=model, log=log, port=port)
    url = f"http://127.0.0.1:{port}/"
    return Page(url, until(lambda: config(url)), lambda heard: None)


def config(url: str) -> Any:
    """None where nobody listens yet."""
    try:
        return httpx.get(f"{url}config", timeout=SOON).json()
    except httpx.HTTPError:
        return None


def test_a_process_killed_in_a_write_loses_nothing_that_was_taken(nursery, home, bench, folder, tmp_path):
    settings = RunSettings("tiny", "minmax", held_out=4, pictures="folder", folder=str(folder))
    record, taken = tmp_path / "record", tmp_path / "taken"
    torch.save(bench.quantize(settings).record, record)
    runs, plans = RunStore(home / "runs.sqlite"), PlanStore(home / "runs.sqlite")
    moments, kills = random.Random(0), 6
    for number in range(kills):
        before = lines(taken)
        nursery.start("writes", home, record=record, taken=taken)
        until(lambda before=before: len(lines(taken)) > len(before) + 2)
        time.sleep(moments.uniform(0.0, 0.1))
        nursery.kill()
        names = {name: f"run {name}" for name in lines(taken)}
        named = {run.id: run.name for run in runs.all()}
        assert names.items() <= named.items() and len(named) <= len(names) + number + 1
        states = {plan.id: plan.state for plan in plans.all()}
        assert all(states[name] in (RUNNING, DONE) for name in names)
        assert {name for name in names if int(name.partition("-")[2]) % 2} <= done(states)
        with closing(sqlite3.connect(runs.path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert runs.delete(next(iter(names)))  # and it is written to as before


def lines(path: Path) -> list[str]:
    """Whole ones: the last may have been cut off."""
    return path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []


def done(states: dict[str, str]) -> set[str]:
    return {name for name, state in states.items() if state == DONE}


def test_a_sweep_killed_while_it_learns_ends_as_if_it_never_was(nursery, home, model, tmp_path):
    """Two runs, killed twice in the first: no module that was done is learned again."""
    plan = Plan("two", tuple(planned(replace(LEARNING, seed=seed)) for seed in (0, 1)))
    whole, store, learned = tmp_path / "undisturbed", PlanStore(home / "runs.sqlite"), tmp_path / "learned"
    whole.mkdir()
    for each in (whole, home):
        PlanStore(each / "runs.sqlite").add(plan)
    nursery.start("sweep", whole, model=model, learned=tmp_path / "all")
    assert nursery.ended() == 0
    kept = []
    for modules in (1, 2):
        nursery.start("sweep", home, model=model, learned=learned)
        until(lambda modules=modules: len(finished(home)) >= modules)
        nursery.kill()
        kept.append(len(finished(home)))
    assert 1 <= kept[0] <= kept[1] < len(set(lines(tmp_path / "all"))) and not found(home)
    learned.unlink()
    nursery.start("sweep", home, model=model, learned=learned)
    assert nursery.ended() == 0
    assert int(lines(learned)[0]) == kept[1]
    assert store.get(plan.id).state == DONE and not list((home / "runs").iterdir())
    assert found(home) == found(whole) and len(found(home)) == 2


def found(home: Path) -> dict[str, Any]:
    """What was measured, by what was asked."""
    return {run.key: run.results for run in RunStore(home / "runs.sqlite").all()}


def finished(home: Path) -> list[Path]:
    """Modules whose learning has ended, in the state of the run."""
    return list((home / "runs").glob("*/*.safetensors"))
