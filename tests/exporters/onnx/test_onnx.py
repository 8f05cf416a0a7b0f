"""An ONNX file holds the model's own integers, and ONNX Runtime multiplies them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from PIL import Image

import vitq_core as vq
from tests.conftest import build, random_pictures
from tests.pairs import in_turn
from tests.swin import pictures as swin_pictures
from tests.swin import tiny_swin
from tests.widening import mostly_wide

BITS = ((8, 8), (4, 8), (3, 5), (2, 4), (6, 7))
FORMS = in_turn(vq.RECIPES, BITS[1:])


def weights_of(path: Path) -> list[np.ndarray]:
    """What the file's codes of weights stand for, in the order of the file."""
    model = onnx.load(path)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in stored:
            stored[node.output[0]] = stored[node.input[0]]
    found = []
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored:
            codes, scale, zero_point = (stored[name].astype(np.float64) for name in node.input)
            axis = next(attribute.i for attribute in node.attribute if attribute.name == "axis")
            shape = [-1 if index == axis else 1 for index in range(codes.ndim)]
            found.append((codes - zero_point.reshape(shape)) * scale.reshape(shape))
    return found


@pytest.mark.parametrize("bits", BITS, ids=str)
def test_the_file_holds_the_weights_that_were_simulated(model, images, tmp_path, bits) -> None:
    result = vq.quantize(model, images, vq.recipe("minmax", *bits))
    found = vq.export(result, tmp_path / "out", "onnx", images)
    simulation, held = result.model.vitq, weights_of(found.path)
    layers = [layer for layer in simulation.layers.values() if layer.weight is not None]
    expected = [simulation.layer(layer.name).weight.flatten(1).T for layer in layers]
    assert len(held) == len(expected)
    for weight, stored in zip(expected, held, strict=True):
        np.testing.assert_allclose(stored, weight.numpy(), rtol=1e-6, atol=1e-7)
    types = {tensor.data_type for tensor in onnx.load(found.path).graph.initializer}
    assert (TensorProto.INT4 in types) == (bits[0] <= 4)


def test_every_product_of_every_variant_is_of_integers(mixture, pictures, tmp_path) -> None:
    images = pictures(mixture, 4)
    result = vq.quantize(mixture, images, vq.recipe("minmax", 8, 8))
    if mixture(images).ndim != 2:
        with pytest.raises(vq.VitqError, match="must give logits"):
            vq.export(result, tmp_path / "out", "onnx", images)
        return
    found = vq.export(result, tmp_path / "out", "onnx", images)
    assert found.integer_nodes == found.promised == len(result.bits)
    assert found.kernels == found.promised
    assert found.cosine > min(0.999, 2 * found.own_cosine - 1) - 1e-3
    assert found.max_difference < 0.2 * found.spread + 5 * found.own_difference


@pytest.mark.parametrize(("recipe", "bits"), mostly_wide(FORMS, *FORMS[::3]))
def test_the_integer_form_of_every_recipe_is_exported(
    model, images, calibrating, tmp_path, recipe: str, bits: tuple[int, int]
) -> None:
    result = vq.quantize(model, images, vq.integer_form(calibrating(recipe, *bits)))
    found = vq.export(result, tmp_path / "out", "onnx", images)
    assert found.integer_nodes == found.promised == found.kernels
    assert found.cosine > min(0.9, 2 * found.own_cosine - 1) - 0.1


@pytest.mark.parametrize("recipe", ["repq", "adfq", "vitq"])
def test_what_has_no_integer_form_is_named(model, images, calibrating, tmp_path, recipe: str) -> None:
    result = vq.quantize(model, images, calibrating(recipe))
    with pytest.raises(vq.VitqError, match=r"2 tensors of attention values .*integer_form\(recipe\)"):
        vq.export(result, tmp_path / "out", "onnx", images)
    assert not (tmp_path / "out").exists()


def test_any_number_of_pictures(model, images, tmp_path) -> None:
    found = vq.export(vq.quantize(model, images, "minmax"), tmp_path / "out", "onnx", images)
    session = onnxruntime.InferenceSession(found.path)
    whole = session.run(None, {"pictures": images.numpy()})[0]
    for count in (1, 3, 5):
        np.testing.assert_allclose(
            session.run(None, {"pictures": images[:count].numpy()})[0], whole[:count], atol=1e-5
        )


@pytest.mark.parametrize(
    ("model", "draw"),
    [
        (build(depth=2, num_classes=0), random_pictures),
        (tiny_swin(), swin_pictures),
        (tiny_swin(num_classes=0), swin_pictures),
    ],
    ids=["features", "swin", "swin features"],
)
def test_other_families_and_tasks(model, draw, tmp_path) -> None:
    images = draw(model, 6)
    result = vq.quantize(model, images, vq.recipe("minmax", 8, 8))
    found = vq.export(result, tmp_path / "out", "onnx", images)
    assert found.integer_nodes == found.promised == found.kernels and found.cosine > 0.995


def test_a_fresh_process_without_torch_gives_the_five_best(tiny, tmp_path, noise_picture) -> None:
    labels = [f"class {number}" for number in range(7)]
    model = vq.wrap_model(tiny(depth=2, num_classes=7), labels)
    picture = noise_picture(40, 25)
    picture.save(tmp_path / "picture.png")
    images = torch.stack([model.preprocess(picture.rotate(90 * k)) for k in range(4)])
    result = vq.quantize(model, images, vq.recipe("minmax", 8, 8))
    vq.export(result, tmp_path / "out", "onnx", images)
    lines = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    lines += "; assert 'torch' not in sys.modules and 'vitq_core' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", lines, tmp_path / "out" / "run_it.py", tmp_path / "picture.png"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    with torch.no_grad():
        chances = result(result.preprocess(Image.open(tmp_path / "picture.png"))[None])[0].softmax(0)
    best = chances.topk(5)
    printed = [line.split("%") for line in done.stdout.splitlines()]
    assert [line[1].strip() for line in printed] == [labels[index] for index in best.indices]
    for line, chance in zip(printed, best.values, strict=True):
        assert float(line[0]) == pytest.approx(100 * float(chance), abs=1.5)


def test_the_file_says_what_it_is_and_nothing_of_the_machine(model, images, tmp_path) -> None:
    wrapped = vq.wrap_model(model, list("abcde"))
    result = vq.quantize(wrapped, images, vq.recipe("minmax", 4, 8))
    found = vq.export(result, tmp_path / "out", "onnx", images)
    (entry,) = onnx.load(found.path).metadata_props
    about = json.loads(entry.value)
    assert vq.Recipe.from_json(json.dumps(about["recipe"])) == result.recipe
    assert about["labels"] == list("abcde") and about["preprocessing"]["size"] == [16, 16]
    assert about["certificate"]["max_difference"] == found.max_difference
    data = found.path.read_bytes()
    assert str(Path.cwd()).encode() not in data and b"site-packages" not in data


def test_an_image_from_a_padded_convolution_is_no_patch(tiny, tmp_path) -> None:
    model = tiny(depth=1)
    model.patch_embed.proj = torch.nn.Conv2d(3, 16, 10, stride=8, padding=1)
    images = random_pictures(model, 4)
    result = vq.quantize(model, images, vq.recipe("minmax", 8, 8))
    found = vq.export(result, tmp_path / "out", "onnx", images)
    assert found.integer_nodes == found.promised and found.cosine > 0.995


@pytest.mark.parametrize(
    ("format", "stored"), [("onnx", "2 bits as 4 bits."), ("openvino", "2 bits as 8 bits.")]
)
def test_in_how_many_bits_weights_are_stored_is_said(model, images, tmp_path, format, stored: str) -> None:
    result = vq.quantize(model, images, vq.recipe("minmax", 2, 8))
    found = vq.export(result, tmp_path / "out", format, images)
    (said,) = (sentence for sentence in found.sentences if "not faster" in sentence)
    assert said.endswith(stored)
    assert (tmp_path / "out" / "README.md").read_text().count(said) == 1
