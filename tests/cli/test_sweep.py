"""`vitq sweep`: every cell a run; killed and started again it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from vitq_core.experiment.runs import RunStore

CELLS = ("sweep", "demo-vit", "--recipes", "minmax", "--calibration", "2", "--judged", "2", "--bits")
SOON = 120.0  # seconds


def test_every_cell_is_a_run(answered):
    told = answered(*CELLS, "8", "w4a6", "--seeds", "0", "1")
    asked = [(each["weight_bits"], each["act_bits"], each["seed"]) for each in told["runs"]]
    assert asked == [(8, 8, 0), (8, 8, 1), (4, 6, 0), (4, 6, 1)] and told["failed"] == []
    assert len({each["run"] for each in told["runs"]}) == 4 == len(RunStore().all())


def test_finished_ones_are_not_made_again(answered):
    first = answered(*CELLS, "8")
    again = answered(*CELLS, "8,6")
    assert [each["known"] for each in again["runs"]] == [True, False]
    assert again["runs"][0]["run"] == first["runs"][0]["run"]


def test_what_a_method_refuses_is_said_and_the_others_are_made(vitq):
    done = vitq(*CELLS, "8", "--recipes", "lrp", code=1)
    assert "failed: lrp W8/A8" in done.stdout and "1 of 2 runs failed" in done.stderr
    assert len(RunStore().all()) == 1


@pytest.mark.parametrize("how, code", [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=["killed", "Ctrl-C"])
def test_stopped_and_started_again_it_goes_on(home, answered, how, code):
    """A program of its own, stopped as soon as its first run is kept."""
    bits = ("8", "7", "6", "5")
    program = subprocess.Popen(
        [sys.executable, "-m", "vitq_core", *CELLS, *bits],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    end = time.monotonic() + SOON
    while not (home / "runs.sqlite").exists() or not RunStore().all():
        assert time.monotonic() < end and program.poll() is None, program.communicate()
        time.sleep(0.02)
    program.send_signal(how)
    out, err = program.communicate(timeout=SOON)
    kept = {record.id for record in RunStore().all()}
    assert program.returncode == code and "Traceback" not in err and not out
    if how == signal.SIGINT:
        assert f"{len(kept)} of 4 runs are there, and the same command goes on from there" in err
    told = answered(*CELLS, *bits)
    assert {each["run"] for each in told["runs"] if each["known"]} == kept
    assert 1 <= len(kept) < len(told["runs"]) == 4
