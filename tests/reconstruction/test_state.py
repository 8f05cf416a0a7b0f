"""A run on disk: kept as a whole or not at all, refused where it is another's, gone when it is done."""

import errno
import json
import os
import resource
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.quantized.report import UnitRow
from vitq_core.reconstruction.state import ABANDONED, RUN, RunState, fingerprint

ROW = UnitRow("blocks.0.attn", "reconstructed", 0.5, 0.25, 30, 1.5, (3.0, 2.0, 1.0))
TENSORS = {"qkv.bias": torch.arange(6.0).reshape(2, 3), "scale": torch.tensor(0.1), "t": torch.ones(3, 2).T}


def run(name: str) -> dict[str, str]:
    """A fingerprint."""
    return {"model": "same", "recipe": name, "calibration": name}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path) -> Path:
    """Of a run with one finished unit."""
    RunState(tmp_path / "run", run("abc")).save(3, ROW, TENSORS)
    return tmp_path / "run"


# -- kept ----------------------------------------------------------------------------------------------
def test_a_unit_comes_back_bit_for_bit(folder) -> None:
    row, tensors = RunState(str(folder), run("abc")).load(3, "blocks.0.attn")
    assert row == ROW
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensor, TENSORS[name]) for name, tensor in tensors.items())
    assert names(folder) == ["003-blocks.0.attn.safetensors", "run.json"]


def test_a_unit_that_is_not_there_is_none(folder) -> None:
    state = RunState(folder, run("abc"))
    assert state.load(2, "blocks.0.attn") is None
    assert state.load(3, "blocks.0.mlp") is None


def test_losses_that_are_no_numbers_survive(tmp_path) -> None:
    state = RunState(tmp_path, run("abc"))
    state.save(0, replace(ROW, losses=(1.0, float("inf"))), TENSORS)
    assert state.load(0, ROW.unit)[0].losses == (1.0, float("inf"))


def test_the_folder_of_its_own_is_gone_when_the_run_is_done(spill) -> None:
    state = RunState(None, run("f"))
    assert state.folder.parent == spill / "runs" and state.folder.is_dir()
    state.save(0, ROW, TENSORS)
    assert RunState(None, run("f")).load(0, ROW.unit)[0] == ROW
    other = RunState(None, run("e"))
    assert other.load(0, ROW.unit) is None
    state.finish()
    assert list((spill / "runs").iterdir()) == [other.folder]


def test_the_same_run_twice_at_once_keeps_both_going(spill) -> None:
    first, second = RunState(None, run("f")), RunState(None, run("f"))
    for index, state in enumerate((first, second)):
        state.save(index, ROW, TENSORS)
    first.finish()
    second.save(2, ROW, TENSORS)
    assert second.load(2, ROW.unit)[0] == RunState(None, run("f")).load(2, ROW.unit)[0] == ROW
    second.finish()
    assert list((spill / "runs").iterdir()) == []


def test_a_run_that_failed_before_its_first_unit_leaves_nothing(spill) -> None:
    for units in (0, 1):
        with pytest.raises(KeyError), RunState(None, run(f"{units}")) as state:
            if units:
                state.save(0, ROW, TENSORS)
            raise KeyError
    assert [names(path) for path in (spill / "runs").iterdir()] == [["000-blocks.0.attn.safetensors", RUN]]


def test_a_folder_that_was_named_stays(folder) -> None:
    before = names(folder)
    RunState(folder, run("abc")).finish()
    assert names(folder) == before


def test_states_that_nobody_resumed_are_deleted(spill) -> None:
    old, recent = RunState(None, run("a")).folder, RunState(None, run("b")).folder
    for folder, age in ((old, ABANDONED + 60), (recent, ABANDONED - 60)):
        os.utime(folder, (time.time() - age,) * 2)
    RunState(spill / "elsewhere", run("c"))
    assert old.exists()
    RunState(None, run("c"))
    assert not old.exists() and recent.exists()


def test_a_run_goes_on_where_its_own_folder_cannot_be_made(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "file" / "below"))
    with pytest.warns(UserWarning, match="the run goes on and cannot be resumed"):
        state = RunState(None, run("f"))
    with state:
        state.save(0, ROW, TENSORS)
        assert state.load(0, ROW.unit) is None
    state.finish()
    with pytest.raises(vq.StorageError, match="the state cannot be kept in"):
        RunState(tmp_path / "file" / "below", run("f"))


def test_a_run_goes_on_where_the_disk_fills_up_meanwhile(spill, folder, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    own, named = RunState(None, run("f")), RunState(folder, run("abc"))
    monkeypatch.setattr("vitq_core.reconstruction.state.save_file", full)
    with pytest.warns(UserWarning, match=r"No space left on device; the run goes on and cannot be resumed"):
        own.save(0, ROW, TENSORS)
    own.save(1, ROW, TENSORS)  # told once
    assert list((spill / "runs").iterdir()) == []  # a full disk needs the room
    with pytest.raises(vq.StorageError, match="No space left") as caught:
        named.save(0, ROW, TENSORS)
    assert caught.value.public == "the state of blocks.0.attn cannot be written: No space left on device"


@pytest.mark.parametrize("limit", [("KEPT_RUNS", 3), ("KEPT_BYTES", 2500)])
def test_of_runs_that_were_killed_the_oldest_go_and_never_one_in_use(spill, monkeypatch, limit) -> None:
    monkeypatch.setattr(f"vitq_core.reconstruction.state.{limit[0]}", limit[1])
    in_use = RunState(None, run("in use"))
    folders = [spill / "runs" / f"killed-{index}" for index in range(4)]
    for age, folder in enumerate(folders):
        folder.mkdir()
        (folder / RUN).write_text("x" * 1000)
        os.utime(folder, (time.time() - 1000 + age,) * 2)
    os.utime(in_use.folder, (time.time() - 9999,) * 2)
    new = RunState(None, run("new"))
    assert set((spill / "runs").iterdir()) == {in_use.folder, *folders[2:], new.folder}
    del in_use  # as when its program is killed
    monkeypatch.setattr("vitq_core.reconstruction.state.KEPT_RUNS", 1)
    newest = RunState(None, run("newest"))
    assert set((spill / "runs").iterdir()) == {new.folder, newest.folder}


# -- refused -------------------------------------------------------------------------------------------
def test_another_runs_folder_is_refused_and_left_alone(folder) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(vq.VitqError, match="run holds another run, with another recipe; name another"):
        RunState(folder, run("abd"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "3", "{}", '"abc"', "\x00"])
def test_a_folder_whose_run_cannot_be_read_is_a_sentence(folder, text: str) -> None:
    (folder / "run.json").write_text(text)
    with pytest.raises(vq.VitqError, match=r"run.json holds no state of a run; delete it"):
        RunState(folder, run("abc"))


def flipped(data: bytes) -> bytes:
    return data[:8] + bytes(255 - byte for byte in data[8:40]) + data[40:]


def edited(change: Callable[[dict], object]) -> Callable[[bytes], bytes]:
    """The file's header with its metadata changed."""

    def damage(data: bytes) -> bytes:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + data[8 + length :]

    return damage


def row_is(text: str) -> Callable[[bytes], bytes]:
    return edited(lambda header: header["__metadata__"].update(row=text))


DAMAGES = {
    "empty": lambda data: b"",
    "truncated": lambda data: data[: len(data) // 2],
    "one byte short": lambda data: data[:-1],
    "no header": flipped,
    "text": lambda data: b"state",
    "no metadata": edited(lambda header: header.pop("__metadata__")),
    "no row": edited(lambda header: header["__metadata__"].pop("row")),
    "no json": row_is("{"),
    "null": row_is("null"),
    "a list": row_is("[]"),
    "no losses": row_is("{}"),
    "a field missing": row_is('{"unit": "x", "losses": []}'),
    "another field": row_is('{"unheard": 1, "losses": []}'),
    "another unit's": row_is('{"unit": "blocks.0.mlp", "losses": []}'),
    "one bit": lambda data: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:],
    "no list of losses": row_is('{"losses": 3}'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_unit_is_a_sentence(folder, damage) -> None:
    path = folder / "003-blocks.0.attn.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(vq.VitqError, match=r"blocks.0.attn.safetensors is damaged; delete it"):
        RunState(folder, run("abc")).load(3, "blocks.0.attn")


@pytest.mark.parametrize("what", ["", 5, b"run", True])
def test_what_names_no_folder_is_refused(what: object) -> None:
    with pytest.raises(ValueError, match="state must be the name of a folder, got"):
        RunState(what, run("abc"))


def test_a_file_is_no_folder(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="state must be the name of a folder, got"):
        RunState(tmp_path / "file", run("abc"))
    with pytest.raises(vq.VitqError, match=r"the state cannot be kept in .*file/run: Not a directory"):
        RunState(tmp_path / "file" / "run", run("abc"))


def test_a_full_disk_is_a_sentence_and_what_was_kept_stays_good(folder) -> None:
    """RLIMIT_FSIZE stops the write in the middle, as a full disk does."""
    state = RunState(folder, run("abc"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        for index, unit in ((3, ROW.unit), (4, "blocks.0.mlp")):
            with pytest.raises(vq.VitqError, match=f"the state of {unit} cannot be written to .*{unit}"):
                state.save(index, replace(ROW, unit=unit), {"big": torch.ones(5000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    state.save(4, replace(ROW, unit="blocks.0.mlp"), {"big": torch.ones(5000)})
    assert RunState(folder, run("abc")).load(4, "blocks.0.mlp")[1]["big"].sum() == 5000


def test_a_folder_that_takes_no_file_is_a_sentence(tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(vq.VitqError, match=r"the state of the run cannot be written to .*No space left"):
        RunState(tmp_path / "run", run("abc"))
    assert list((tmp_path / "run").iterdir()) == []


# -- fingerprints --------------------------------------------------------------------------------------
class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("scale", torch.tensor(0.1))
        self.register_buffer("none", None)


def nudged(name: str) -> Callable[[nn.Module], None]:
    return lambda module: module.state_dict()[name].view(-1)[-1:].add_(1e-3)


def print_of(
    change: Callable[[nn.Module], object] = lambda module: None,
    recipe: str = "{}",
    pictures: tuple[Tensor, ...] = (torch.zeros(2, 3),),
    seed: int = 0,
    calibrate: Callable[[nn.Module], object] = lambda module: None,
    completed: str = "{}",
) -> dict[str, str]:
    torch.manual_seed(0)
    module = Small()
    change(module)
    calibrated = deepcopy(module)
    calibrate(calibrated)
    batches = [Batch((part,)) for part in pictures]
    return fingerprint(module, recipe, batches, seed, calibrated, completed)


def test_everything_that_decides_the_result_is_in_the_fingerprint() -> None:
    one_pixel = torch.zeros(2, 3)
    one_pixel[1, 2] = 1e-6
    prints = [
        print_of(),
        print_of(nudged("linear.weight")),
        print_of(nudged("linear.bias")),
        print_of(nudged("scale")),
        print_of(recipe='{"a": 1}'),
        print_of(pictures=(one_pixel,)),
        print_of(pictures=(torch.zeros(3, 3),)),
        print_of(seed=1),
        print_of(calibrate=nudged("scale")),
        print_of(completed='{"bits": {}}'),
    ]
    assert len({tuple(each.items()) for each in prints}) == len(prints)


def test_how_pictures_are_cut_up_and_laid_out_is_not() -> None:
    x = torch.arange(12.0).reshape(4, 3)
    cut = print_of(pictures=(x[:3], x[3:]))
    assert print_of(pictures=(x,)) == cut == print_of(pictures=(x.T.contiguous().T,))
