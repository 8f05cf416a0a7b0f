"""Commands whose work several processes share, as torchrun starts them: what one process finds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.workers import free_port

ROOT = Path(__file__).parents[2]
TIMEOUT = 240  # seconds
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "vitq_core")
SWEEP = (
    "sweep",
    "demo-vit",
    "--recipes",
    "minmax",
    "--bits",
    "8",
    "6",
    "4",
    "--calibration",
    "2",
    "--judged",
    "4",
)
TABLE = ("reproduce", "--table", "3", "--models", "demo-vit", "--limit", "8")


@pytest.fixture
def shared(home: Path) -> Callable[..., Any]:
    """`shared("evaluate", …)`: the JSON document that two processes print together."""

    def run(*arguments: str, code: int = 0) -> Any:
        done = subprocess.run(
            [sys.executable, *TORCHRUN, *arguments, "--json"], cwd=ROOT, env=_environment(home),
            capture_output=True, text=True, timeout=TIMEOUT,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if code == 0 else done.stderr

    return run


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "VITQ_HOME": str(home), "OMP_NUM_THREADS": "1"}


def near(found: Any, expected: Any) -> None:
    """Counts are equal, means to 1e-6."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, float):
            assert found[name] == pytest.approx(value, rel=1e-6), name
        else:
            assert found[name] == value, name


def test_two_processes_evaluate_what_one_does(shared, answered, pictures, home) -> None:
    (pictures / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    asked = ("evaluate", "demo-vit", "--data", str(pictures), "--reference", "demo-vit-outliers")
    near(shared(*asked), answered(*asked))


def test_two_processes_score_what_one_does(shared, answered, home) -> None:
    asked = ("importance", "demo-vit", "--source", "fisher", "--pictures", "7")
    found = shared(*asked)
    for kept in (home / "importance").glob("*"):
        kept.unlink()
    expected = answered(*asked)
    assert found["pictures"] == expected["pictures"] == 7
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        near(found[name], value) if isinstance(value, dict) else None


@pytest.mark.wide
def test_two_processes_share_a_sweep_and_its_runs_are_the_studios(shared, answered) -> None:
    found = shared(*SWEEP)
    assert [(run["weight_bits"], run["known"]) for run in found["runs"]] == [
        (8, False),
        (6, False),
        (4, False),
    ]
    again = answered(*SWEEP)
    assert [run["known"] for run in again["runs"]] == [True] * 3
    assert [run["run"] for run in again["runs"]] == [run["run"] for run in found["runs"]]
    assert [run["name"] for run in again["runs"]] == [run["name"] for run in found["runs"]]


@pytest.mark.wide
def test_two_processes_fill_a_table(shared, answered, home) -> None:
    found = shared(*TABLE)
    assert len(list((home / "reproduce").glob("*.json"))) == 5
    assert answered(*TABLE) == found and all(cell["top1"] is not None for cell in found["cells"])


@pytest.mark.wide
def test_other_commands_are_for_one_process(shared) -> None:
    said = shared("quantize", "demo-vit", "--recipe", "minmax", code=1)
    assert "this command runs in one process; torchrun is for evaluate" in said


def test_a_killed_worker_is_named_and_the_rest_is_kept(home, answered) -> None:
    """The variables set by hand, so that nobody but the other worker ends it."""
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "vitq_core", *TABLE], cwd=ROOT, text=True,
            env={**_environment(home), **group, "RANK": str(rank)},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]  # fmt: skip
    until = time.monotonic() + TIMEOUT
    while not list((home / "reproduce").glob("*.json")):
        assert time.monotonic() < until and workers[1].poll() is None
        time.sleep(0.05)
    workers[1].send_signal(signal.SIGKILL)
    _, said = workers[0].communicate(timeout=TIMEOUT)
    workers[1].communicate()
    assert workers[0].returncode == 1 and "worker 1 of 2" in said and "Traceback" not in said
    kept = {path: path.read_text() for path in (home / "reproduce").glob("*.json")}
    assert 1 <= len(kept) < 5
    assert len(answered(*TABLE)["cells"]) == 5
    assert {path: path.read_text() for path in kept} == kept
