"""A ``.pt2`` file answers bit for bit as the simulation, of every recipe, and needs nothing of ours."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import vitq_core as vq
from tests.conftest import build, random_pictures
from tests.pairs import in_turn
from tests.swin import pictures as swin_pictures
from tests.swin import tiny_swin
from vitq_core.exporters import torch_export

MODELS = {
    "vit": (lambda: build(depth=2), random_pictures),
    "features": (lambda: build(depth=2, num_classes=0), random_pictures),
    "swin": (tiny_swin, swin_pictures),
}


@pytest.mark.wide
@pytest.mark.parametrize(("recipe", "kind"), in_turn(vq.RECIPES, MODELS))
def test_every_recipe_is_exported_bit_for_bit(tmp_path, calibrating, recipe: str, kind: str) -> None:
    make, draw = MODELS[kind]
    model = make()
    images = draw(model, 6)
    result = vq.quantize(model, images, calibrating(recipe, 4, 5))
    found = vq.export(result, tmp_path / "out", "torch", images)
    assert (found.max_difference, found.packed) == (0, 0)
    loaded = torch.export.load(found.path).module()
    with torch.no_grad():
        for count in (1, 5):
            assert torch.equal(loaded(images[:count]), result(images[:count]))


def test_every_variant_is_recorded(mixture, pictures, tmp_path) -> None:
    images = pictures(mixture, 4)
    if mixture(images).ndim != 2:
        pytest.skip("a classifier that does not pool; the ONNX tests see that it is refused")
    found = vq.export(vq.quantize(mixture, images, "repq"), tmp_path / "out", "torch", images)
    assert found.max_difference == 0


def test_a_process_without_vitq_runs_it(model, images, tmp_path) -> None:
    result = vq.quantize(model, images, vq.recipe("adfq", effort="none"))
    vq.export(result, tmp_path / "out", "torch", images)
    torch.save(images, tmp_path / "images.pt")
    lines = (
        "import sys, torch; model = torch.export.load('out/model.pt2').module(); "
        "torch.save(model(torch.load('images.pt')).detach(), 'answer.pt'); "
        "assert 'vitq_core' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", lines], cwd=tmp_path, check=True, env={"PATH": ""})
    with torch.no_grad():
        assert torch.equal(torch.load(tmp_path / "answer.pt"), result(images))


def test_the_file_holds_codes_and_no_second_weights(model, images, tmp_path) -> None:
    result = vq.quantize(model, images, vq.recipe("minmax", 4, 4))
    found = vq.export(result, tmp_path / "out", "torch", images)
    state = torch.export.load(found.path).state_dict
    codes = [tensor for name, tensor in state.items() if name.endswith(".codes")]
    weights = [layer for layer in result.model.vitq.layers.values() if layer.weight is not None]
    assert len(codes) == len(weights) and {tensor.dtype for tensor in codes} == {torch.uint8}
    assert not any(tensor.numel() for name, tensor in state.items() if name.endswith(".original"))


def test_a_graph_that_does_not_round_is_not_exported(model, images, tmp_path, monkeypatch) -> None:
    """As a hook that is lost would leave it: float arithmetic that passes for a quantized model."""
    result = vq.quantize(model, images, "minmax")
    monkeypatch.setattr(torch_export, "_through_codes", lambda layer, inputs: None)
    with pytest.raises(vq.VitqError, match=r"the recorded graph rounds \d+: it is not exported"):
        vq.export(result, tmp_path / "out", "torch", images)
    assert not (tmp_path / "out").exists()
