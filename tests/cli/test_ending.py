"""Exit codes and sentences, in this process and in programs of their own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest
import typer

import vitq_core as vq
from vitq_core.cli.ending import FAILED, INTERRUPTED, WRONG, Ended, exit_code, reading_input
from vitq_core.cli.output import plain, table
from vitq_core.cli.working import working
from vitq_core.experiment import OutOfReach, Unreachable

HELP = 1.0  # second: what the help of a command may take, without torch


def raising(error: BaseException):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    "error, code",
    [
        (ValueError("a number that cannot be"), WRONG),
        (OutOfReach("size_mb", 0.5, 1.7), WRONG),
        (vq.VitqError("a model that fails its audit"), FAILED),
        (vq.StorageError("a full disk", "full"), FAILED),
        (vq.Cancelled("cancelled"), FAILED),
        (OSError(28, "No space left on device", "out.json"), FAILED),
        (RuntimeError("a bug\nof two lines"), FAILED),
        (MemoryError(), FAILED),
        (KeyboardInterrupt(), INTERRUPTED),
        (Ended(WRONG, "said"), WRONG),
        (typer.BadParameter("no number"), WRONG),
        (typer.Abort(), INTERRUPTED),
    ],
    ids=lambda each: type(each).__name__,
)
def test_every_error_becomes_a_code_and_one_line(error, code, capsys):
    assert exit_code(raising(error)) == code
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1 and said.err.startswith("vitq: ")


@pytest.mark.parametrize(
    "error, code", [(vq.VitqError, WRONG), (Unreachable, FAILED), (vq.Cancelled, FAILED)]
)
def test_what_is_read_counts_as_input(error, code):
    def work():
        with reading_input():
            raise error("no such thing")

    assert exit_code(work) == code


def test_a_stopped_work_says_what_is_kept(capsys):
    def work():
        with working() as own:
            own.kept = "two runs are kept"
            own.ask_to_stop(2, None)
            assert own.stop()
            raise vq.Cancelled("cancelled")

    assert exit_code(work) == INTERRUPTED
    assert capsys.readouterr().err.splitlines()[-1] == "vitq: stopped; two runs are kept."


def test_a_bug_shows_its_traceback_only_when_asked(monkeypatch, capsys):
    monkeypatch.setenv("VITQ_DEBUG", "1")
    assert exit_code(raising(RuntimeError("a bug"))) == FAILED
    assert "Traceback" in capsys.readouterr().err


def test_json_has_no_nan():
    assert plain({"a": float("nan"), "b": [float("inf"), 1], "c": (None,)}) == {
        "a": None,
        "b": [None, 1],
        "c": [None],
    }
    json.loads(json.dumps(plain(vq.Evaluation(0.5, 1.0, 4))), parse_constant=pytest.fail)


def test_columns_stand_below_each_other():
    assert table([("a", 1.5, None), ("bcd", 22.0, 3)], ("name", "x", "y")) == (
        "name    x  y\na     1.5  -\nbcd    22  3"
    )


def run(*words: str) -> subprocess.CompletedProcess:
    """Python's words: `-m vitq_core …` or `-c …`."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, env=environment
    )


def vitq(*arguments: str) -> subprocess.CompletedProcess:
    return run("-m", "vitq_core", *arguments)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("models", "--help"), ("quantize", "--help"), ("--version",)], ids=" ".join
)
def test_help_does_not_wait_for_torch(arguments):
    """By the processor's time: the machine may be busy."""
    before = _children_seconds()
    done = vitq(*arguments)
    assert done.returncode == 0 and done.stdout.strip()
    assert _children_seconds() - before < HELP


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_frame_alone_imports_no_torch():
    assert run("-c", "import sys, vitq_core.cli; print('torch' in sys.modules)").stdout.strip() == "False"


def test_threads_do_not_spin_while_they_wait_unless_they_are_told_to(monkeypatch):
    said = "import os, vitq_core.cli; print(os.environ['OMP_WAIT_POLICY'])"
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert run("-c", said).stdout.strip() == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert run("-c", said).stdout.strip() == "ACTIVE"


def test_a_program_of_its_own_ends_as_it_should():
    assert vitq("models", "--json").returncode == 0
    wrong = vitq("quantize", "no-such-model")
    assert wrong.returncode == 2 and wrong.stdout == "" and len(wrong.stderr.splitlines()) == 1
    assert vitq().returncode in (0, 2)  # help


def test_progress_is_plain_lines_where_nobody_looks_at_a_terminal():
    done = vitq("evaluate", "demo-vit", "--limit", "2", "--json")
    assert json.loads(done.stdout)["n"] == 2
    assert "%" in done.stderr and "\x1b" not in done.stderr and "\r" not in done.stderr
