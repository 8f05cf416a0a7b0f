"""Runs that are cancelled, killed or out of room: usable, and gone on with to the same end."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isnan
from pathlib import Path

import pytest
import torch
from torch import nn

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.quantized.audit import audit
from vitq_core.reconstruction.progress import UnitProgress

from .whole_runs import UNITS, assert_saves, calibration, equal, quick, same, state_of


# -- cancelled -----------------------------------------------------------------------------------------
def cancelling(at: Callable[[UnitProgress], bool]) -> tuple[Callable, Callable]:
    """(watch, cancel) that stop once ``at`` says so."""
    said: list[bool] = []
    return (lambda heard: said.append(True) if at(heard) else None), (lambda: bool(said))


STOPS = {
    "inside a unit": (lambda p: (p.index, p.iteration) == (2, 2), 2),
    "between two": (lambda p: p.index == 2 and p.row.outcome != "learning", 3),
    "inside the first": (lambda p: p.iteration == 1, 0),
    "inside the last": (lambda p: (p.index, p.iteration) == (5, 1), 5),
}


@pytest.mark.usefixtures("every_iteration")
@pytest.mark.parametrize(("at", "done"), STOPS.values(), ids=STOPS)
def test_cancelled_it_is_usable_and_goes_on_from_there(model, images, home, tmp_path, at, done) -> None:
    whole = vq.quantize(model, images, quick())
    calibrated = vq.quantize(model, images, calibration(quick()))
    watch, cancel = cancelling(at)
    heard: list[float] = []
    progress_ = lambda fraction, _: heard.append(fraction)  # noqa: E731
    result = vq.quantize(model, images, quick(), progress=progress_, watch=watch, cancel=cancel)
    assert result.report.cancelled and heard[-1] < 1.0
    assert [row.unit for row in result.report.units] == UNITS[:done]
    for index, unit in enumerate(UNITS):
        expected = whole if index < done else calibrated
        assert equal(state_of(result, unit), state_of(expected, unit)), unit
    audit(result.model, Batch((images,)))
    assert_saves(result, images, tmp_path / "saved")
    resumed: list[UnitProgress] = []
    again = vq.quantize(model, images, quick(), watch=resumed.append)
    learned = {p.index for p in resumed if p.row.outcome == "learning"}
    assert learned == set(range(done, 6)), "units that were done are not learned again"
    assert same(again, whole, images)
    assert list((home / "runs").iterdir()) == []


def test_cancelled_while_it_calibrates_there_is_no_result(model, images, home) -> None:
    with pytest.raises(vq.Cancelled, match="unchanged"):
        vq.quantize(model, images, quick(), cancel=lambda: True)
    assert not (home / "runs").exists()


@pytest.mark.usefixtures("every_iteration")
def test_what_was_taken_over_tells_nothing_of_the_time_left(model, images) -> None:
    watch, cancel = cancelling(lambda p: p.index == 3)
    vq.quantize(model, images, quick(), watch=watch, cancel=cancel)
    heard: list[UnitProgress] = []
    vq.quantize(model, images, quick(), watch=heard.append)
    assert all(isnan(p.seconds_left) for p in heard if p.index < 3)
    assert all(0 <= p.seconds_left < 3600 for p in heard if p.index >= 3)


class Broken(Exception):
    """What a callback may raise."""


@pytest.mark.usefixtures("every_iteration")
def test_an_exception_of_the_watcher_comes_through_and_what_was_done_is_kept(model, images, home) -> None:
    def watch(heard: UnitProgress) -> None:
        if (heard.index, heard.iteration) == (3, 2):
            raise Broken

    whole = vq.quantize(model, images, quick())
    with pytest.raises(Broken):
        vq.quantize(model, images, quick(), watch=watch)
    (folder,) = (home / "runs").iterdir()
    assert len(list(folder.glob("*.safetensors"))) == 3
    assert [path for path in home.iterdir() if path.name != "runs"] == [], "activations are gone"
    assert same(vq.quantize(model, images, quick()), whole, images)


# -- kept on disk --------------------------------------------------------------------------------------
def test_its_own_folder_is_gone_after_success(model, images, home) -> None:
    vq.quantize(model, images, quick())
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_a_folder_that_was_named_stays_and_is_not_learned_again(model, images, home, tmp_path) -> None:
    first = vq.quantize(model, images, quick(), state=tmp_path / "a" / "state")
    files = sorted(path.name for path in (tmp_path / "a" / "state").iterdir())
    assert files == [*(f"{i:03d}-{unit}.safetensors" for i, unit in enumerate(UNITS)), "run.json"]
    heard: list[UnitProgress] = []
    again = vq.quantize(model, images, quick(), state=str(tmp_path / "a" / "state"), watch=heard.append)
    assert again.report.units == first.report.units
    assert same(again, first, images)
    assert [p.index for p in heard] == list(range(6))
    assert not (home / "runs").exists()


def nudged(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        model.blocks[1].mlp.fc1.bias[3] += 1e-3
    return model


OTHERS = [
    ("recipe", lambda model, images: (model, images, quick("crl"), 0)),
    ("recipe", lambda model, images: (model, images, quick(weight_bits=5), 0)),
    ("recipe", lambda model, images: (model, images, quick(iterations=4), 0)),
    ("model", lambda model, images: (nudged(model), images, quick(), 0)),
    ("set of pictures", lambda model, images: (model, images.flip(0), quick(), 0)),
    ("seed", lambda model, images: (model, images, quick(), 1)),
    ("recipe and seed", lambda model, images: (model, images, quick("crl"), 1)),
]


@pytest.mark.parametrize(("what", "make"), OTHERS, ids=lambda each: each if isinstance(each, str) else "")
def test_a_folder_of_another_run_is_refused(model, images, tmp_path, what: str, make) -> None:
    vq.quantize(model, images, quick(), state=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    model_, images_, recipe, seed = make(model, images)
    with pytest.raises(vq.VitqError, match=f"holds another run, with another {what}; name another folder"):
        vq.quantize(model_, images_, recipe, seed=seed, state=tmp_path)
    assert {path: path.read_bytes() for path in before} == before


def test_a_damaged_unit_is_a_sentence_and_without_it_the_run_goes_on(model, images, tmp_path) -> None:
    whole = vq.quantize(model, images, quick(), state=tmp_path)
    path = tmp_path / "002-blocks.0.mlp.safetensors"
    good = path.read_bytes()
    for bad in (good[: len(good) // 2], b"", (tmp_path / "001-blocks.0.attn.safetensors").read_bytes()):
        path.write_bytes(bad)
        with pytest.raises(vq.VitqError, match=r"002-blocks.0.mlp.safetensors is damaged; delete it"):
            vq.quantize(model, images, quick(), state=tmp_path)
    path.unlink()
    assert same(vq.quantize(model, images, quick(), state=tmp_path), whole, images)


@contextmanager
def small_files() -> Iterator[Callable[[], None]]:
    """Gives a function after which no file may grow beyond 2000 bytes, as on a disk that runs full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_a_sentence_and_with_room_again_the_run_goes_on(model, images, tmp_path) -> None:
    whole = vq.quantize(model, images, quick())
    sentence = r"the state of blocks.1.attn cannot be written to .*: .*File too large"
    with small_files() as full, pytest.raises(vq.VitqError, match=sentence):
        watch = lambda heard: full() if heard.row.unit == "blocks.0.mlp" else None  # noqa: E731
        vq.quantize(model, images, quick(), state=tmp_path, watch=watch)
    assert sorted(path.name[:3] for path in tmp_path.glob("*.safetensors")) == ["000", "001", "002"]
    heard: list[UnitProgress] = []
    resumed = vq.quantize(model, images, quick(), state=tmp_path, watch=heard.append)
    assert same(resumed, whole, images)
    assert len(heard) >= 6


KILLED = """
import os, sys, time
sys.path.insert(0, sys.argv[2])
import torch
torch.set_num_threads(1)
import vitq_core as vq
from vitq_core.reconstruction import progress
progress.EVERY = 0.0
model, images, recipe = torch.load(sys.argv[1], weights_only=False)
for line in sys.stdin:  # one child each, which the test kills; importing takes longest
    child = os.fork()
    if child == 0:
        vq.quantize(model, images, vq.Recipe.from_json(recipe), seed=3, watch=lambda _: time.sleep(0.01))
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_killed_three_times_it_ends_as_if_it_never_was(model, images, home, tmp_path) -> None:
    recipe, moments = quick("adfq", iterations=12), random.Random(os.getpid())
    whole = vq.quantize(model, images, recipe, seed=3)
    torch.save((model, images, recipe.to_json()), tmp_path / "given")
    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "given"), str(Path(vq.__file__).parents[1])]
    kept: list[int] = []
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        for units in (1, 2, 4):
            print(file=parent.stdin, flush=True)
            child = int(parent.stdout.readline())
            wait_for(lambda n=units: len(finished(home)) >= n)
            time.sleep(moments.uniform(0.0, 0.1))
            os.kill(child, signal.SIGKILL)
            assert int(parent.stdout.readline()) == -signal.SIGKILL
            kept.append(len(finished(home)))
    assert 1 <= kept[0] <= kept[1] <= kept[2] < 6 and kept[2] >= 4
    heard: list[UnitProgress] = []
    resumed = vq.quantize(model, images, recipe, seed=3, watch=heard.append)
    assert {p.index for p in heard if p.row.outcome == "learning"} <= set(range(kept[2], 6))
    assert same(resumed, whole, images)
    assert list((home / "runs").iterdir()) == []


def finished(home: Path) -> list[Path]:
    return list((home / "runs").glob("*/*.safetensors"))


def wait_for(there: Callable[[], bool]) -> None:
    for _ in range(12_000):
        if there():
            return
        time.sleep(0.005)
    raise TimeoutError
