"""OpenVINO reads the same integers: what it answers, and that its products stay exact without zero points."""

from __future__ import annotations

import json

import openvino
import pytest
import torch

import vitq_core as vq
from tests.conftest import MIXTURES
from tests.pairs import in_turn
from tests.swin import pictures as swin_pictures
from tests.swin import tiny_swin
from tests.widening import mostly_wide
from vitq_core.exporters.grids import grid_of
from vitq_core.exporters.onnx.recorded import RecordedWeight
from vitq_core.quantizers import QUANTIZERS

BITS = (8, 4, 6)
CASES = in_turn(MIXTURES, BITS)


@pytest.mark.parametrize(("mixture", "bits"), mostly_wide(CASES, *CASES[::3]), indirect=["mixture"], ids=str)
def test_it_answers_as_the_simulation(mixture, pictures, tmp_path, bits: int) -> None:
    images = pictures(mixture, 4)
    if mixture(images).ndim != 2:
        pytest.skip("a classifier that does not pool; the ONNX tests see that it is refused")
    result = vq.quantize(mixture, images, vq.recipe("minmax", bits, 8))
    found = vq.export(result, tmp_path / "out", "openvino", images)
    assert found.integer_nodes == found.promised == len(result.bits) and found.kernels <= found.promised
    assert found.cosine > min(0.999, 2 * found.own_cosine - 1) - 2e-3


def test_a_swin(tmp_path) -> None:
    model = tiny_swin()
    images = swin_pictures(model, 6)
    result = vq.quantize(model, images, vq.recipe("minmax", 8, 8))
    found = vq.export(result, tmp_path / "out", "openvino", images)
    assert found.cosine > 0.995 and found.integer_nodes == found.promised
    answer = openvino.Core().compile_model(str(found.path), "CPU")(images[:1].numpy())[0]
    with torch.no_grad():
        assert torch.cosine_similarity(torch.from_numpy(answer), result(images[:1])).item() > 0.995


def test_both_files_are_counted_and_the_first_says_what_it_is(model, images, tmp_path) -> None:
    result = vq.quantize(vq.wrap_model(model, list("abcde")), images, vq.recipe("minmax", 8, 8))
    found = vq.export(result, tmp_path / "out", "openvino", images)
    parts = [tmp_path / "out" / name for name in ("model.xml", "model.bin")]
    assert found.bytes == sum(part.stat().st_size for part in parts)
    said = json.loads(openvino.Core().read_model(parts[0]).get_rt_info(["vitq"]).astype(str))
    assert said["labels"] == list("abcde") and said["certificate"]["cosine"] == found.cosine


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_zero_points_apart_are_the_same_product(bits: int, monkeypatch) -> None:
    generator = torch.Generator().manual_seed(bits)
    weight, x = torch.randn(7, 11, generator=generator) + 0.3, torch.randn(3, 11, generator=generator)
    quantizer = QUANTIZERS["uniform"](bits, axis=0).fit(weight)
    grid = grid_of(quantizer)

    def plain(codes, scale, zero_point, axis):
        return (codes.double() - zero_point.double()) * scale.double()

    monkeypatch.setattr("vitq_core.exporters.onnx.recorded.dequantized", plain)
    expected = x.double() @ quantizer.simulate(weight).double().T
    for apart in (False, True):
        held = RecordedWeight(weight, grid, transposed=True, apart=apart)
        torch.testing.assert_close(held.product(x.double()), expected, rtol=1e-5, atol=1e-5)
        assert bool(held.zero_point.any()) != apart
