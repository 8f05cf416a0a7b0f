"""A model small enough to quantize in a second, offered to the studio under a name of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image

import vitq_core as vq
from tests.awaiting import awaited
from ui.running.server_run import ServerRun
from ui.workbench import Workbench

LABELS = ["ant", "bee", "cat", "dog", "elk", "fox"]


@pytest.fixture(scope="session")
def tiny_model() -> vq.Model:
    torch.manual_seed(0)
    module = timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=24, depth=1, num_heads=2, num_classes=6
    )
    with torch.no_grad():
        module.head.weight.mul_(20)
    return vq.wrap_model(module, LABELS)


@pytest.fixture(autouse=True)
def no_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are of models that these tests replace by a small one."""
    monkeypatch.setattr("ui.workbench.examples", tuple)


@pytest.fixture
def bench(tiny_model: vq.Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Workbench:
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(vq, "load_model", lambda model_id: tiny_model)
    return Workbench()


@pytest.fixture
def pressed() -> Callable[..., dict]:
    """`pressed(run, data, request)`: what the button of a run that belongs to the server comes to."""

    def press(run: ServerRun, data: dict, request: object) -> dict:
        run.start_job(data, request)
        return awaited(run.run(data, request))

    return press


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures of each of two classes that the tiny model knows."""
    return write_pictures(tmp_path / "pictures", ["bee", "fox"], each=4)


@pytest.fixture
def picture_folder() -> Callable[..., Path]:
    """Writes `each` pictures of every class into `root`/<class> and returns `root`."""
    return write_pictures


def write_pictures(root: Path, classes: list[str], each: int) -> Path:
    generator = torch.Generator().manual_seed(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(each):
            pixels = torch.randint(0, 256, (20, 20, 3), generator=generator, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(root / name / f"{number}.png")
    return root
