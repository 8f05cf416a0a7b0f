"""``torch.save`` takes a quantized model, whole, and what comes back is as good as the one that was saved."""

from copy import copy, deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.quantized.audit import audit


def saved_and_loaded(thing: object, folder: Path) -> object:
    torch.save(thing, folder / "model.pt")
    return torch.load(folder / "model.pt", weights_only=False)


@pytest.mark.parametrize("recipe", ["minmax", "repq", "adfq"])
def test_a_model_comes_back(model, images, calibrating, tmp_path, recipe: str) -> None:
    result = vq.quantize(model, images, calibrating(recipe))
    for whole in (result.model, deepcopy(result.model), saved_and_loaded(result.model, tmp_path)):
        loaded = saved_and_loaded(whole, tmp_path)
        assert torch.equal(loaded(images), result(images))
        assert list(loaded.state_dict()) == list(result.model.state_dict())
        assert loaded.vitq.module is loaded
        audit(loaded, Batch((images,)))


def test_a_result_comes_back_and_can_be_exported(model, images, tmp_path) -> None:
    result = vq.quantize(vq.wrap_model(model, labels=list("abcde")), images, "repq")
    loaded = saved_and_loaded(result, tmp_path)
    assert loaded.bits == result.bits and loaded.source.labels == list("abcde")
    exported = vq.load_quantized(vq.save_quantized(loaded, tmp_path / "folder"))
    assert torch.equal(exported(images), result(images))


def test_what_comes_back_can_be_taken_down_without_the_other(model, images, tmp_path) -> None:
    result = vq.quantize(model, images, "minmax")
    expected = result(images)
    loaded = saved_and_loaded(result.model, tmp_path)
    loaded.vitq.detach()
    torch.testing.assert_close(loaded(images), model(images), rtol=1e-5, atol=1e-5)
    assert type(loaded.head) is nn.Linear and torch.equal(result(images), expected)


def test_a_layer_can_be_copied_flat(model, images) -> None:
    layer = vq.quantize(model, images, "minmax").model.head
    x = torch.randn(2, 16)
    assert torch.equal(copy(layer)(x), layer(x))
