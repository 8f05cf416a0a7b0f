"""A save that is killed leaves the model that was there, or the new one, and nothing else that loads."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vitq_core as vq
from tests.server import ROOT
from tests.tampering import as_format

# In a process of its own, once it is ready a copy of it for every place where it is killed.
SAVING = """
import os, signal, sys
import torch
import vitq_core as vq
from vitq_core.exporters.packed import saving

torch.set_num_threads(1)
new, folders = vq.load_quantized(sys.argv[1]), sys.argv[2:]

def killed_at(place):
    calls, rename, write = [], os.replace, saving.write

    def replace(*paths):
        calls.append(paths)
        if len(calls) == place // 2 + 1 and place % 2 == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(*paths)
        if len(calls) == place // 2 + 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def half(path, *contents):
        write(path, *contents)
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace
    if place < 0:
        saving.write = half

for place, folder in enumerate(folders, -1):
    child = os.fork()
    if child == 0:
        killed_at(place)
        vq.save_quantized(new, folder)
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), folder
"""
PLACES = (
    "halfway through the file",
    *(f"{when} file {n}" for n in (1, 2, 3) for when in ("before", "after")),
)
OLD = PLACES[:2]  # those before the first file has its name


@pytest.mark.parametrize("number", [2, 3])
def test_a_killed_save_leaves_the_old_model_or_the_new_one(tiny, pictures, tmp_path, number: int) -> None:
    model = tiny(depth=2)
    images = pictures(model)
    old, new = (vq.quantize(model, images, vq.recipe("minmax", bits, bits)) for bits in (3, 5))
    vq.save_quantized(new, tmp_path / "new")
    folders = {place: vq.save_quantized(old, tmp_path / place) for place in PLACES}
    if number == 2:
        for folder in folders.values():
            as_format(2, folder)
    _save_and_kill(tmp_path / "new", folders.values())
    for place, folder in folders.items():
        loaded, expected = vq.load_quantized(folder), old if place in OLD else new
        assert torch.equal(loaded(images), expected(images)), place
        assert loaded.bits == expected.bits and loaded.recipe == expected.recipe, place
        assert vq.load_quantized(vq.save_quantized(new, folder)).bits == new.bits, "it is saved again"


def test_a_save_killed_in_an_empty_folder_leaves_no_model_or_a_whole_one(model, images, tmp_path) -> None:
    new = vq.quantize(model, images, "minmax")
    vq.save_quantized(new, tmp_path / "new")
    folders = {place: tmp_path / place for place in PLACES}
    _save_and_kill(tmp_path / "new", folders.values())
    for place, folder in folders.items():
        if place in OLD:
            with pytest.raises(vq.VitqError, match=r"model\.safetensors is missing"):
                vq.load_quantized(folder)
        else:
            assert torch.equal(vq.load_quantized(folder)(images), new(images))


def _save_and_kill(new: Path, folders: object) -> None:
    command = [sys.executable, "-c", SAVING, str(new), *map(str, folders)]
    subprocess.run(command, cwd=ROOT, check=True, env={"OMP_NUM_THREADS": "1"}, timeout=300)
