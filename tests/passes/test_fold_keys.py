"""Keys at two values are folded where that helps, and PTQ4SAM as a whole is as good as published."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

import vitq_core as vq

from ..sam import golden, prompted, tiny_sam

FINAL = "mask_decoder.transformer.final_attn_token_to_image"
PUBLISHED = {"taus": "paper", "peaks": "paper", "fold": "all"}


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return golden("sam_quant")


@pytest.fixture
def sam(stored) -> Sam:
    model = tiny_sam()
    weights = {k.removeprefix("e2e.w."): v for k, v in stored.items() if k.startswith("e2e.w.")}
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return model


def calibration(stored) -> list[list[dict]]:
    return [[record] for record in prompted([stored[f"e2e.image{i}"] for i in range(3)], stored["e2e.boxes"])]


def low_res(sam: Sam, stored) -> np.ndarray:
    predictor = SamPredictor(sam)
    predictor.set_image(stored["e2e.image0"])
    boxes = torch.from_numpy(stored["e2e.boxes"]).float()
    boxes = predictor.transform.apply_boxes_torch(boxes, predictor.original_size)
    return predictor.predict_torch(None, None, boxes, multimask_output=True)[2].numpy()


def off(actual: np.ndarray, stored) -> float:
    expected = stored["e2e.fp.low_res"]
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("bits", [4, 6])
@pytest.mark.parametrize("options", [PUBLISHED, {}], ids=["published", "ours"])
def test_masks_are_as_good_as_published(sam: Sam, stored, bits: int, options: dict) -> None:
    result = vq.quantize(sam, calibration(stored), vq.recipe("ptq4sam", bits, bits, **options))
    published = off(stored[f"e2e.ptq4sam.b{bits}.low_res"], stored)
    assert off(low_res(result.model, stored), stored) <= 1.3 * published


def piled(sam: Sam, channels: int) -> Sam:
    """The keys of the last attention at ±3, each channel on one side."""
    key = sam.get_submodule(f"{FINAL}.k_proj")
    with torch.no_grad():
        side = torch.where(torch.arange(channels) % 2 == 0, 3.0, -3.0)
        key.weight.mul_(0.02)
        key.bias.copy_(side)
    return sam


def test_folding_moves_all_keys_to_one_side_and_changes_no_answer(sam: Sam, stored) -> None:
    key = piled(sam, 16).get_submodule(f"{FINAL}.k_proj")
    before = low_res(sam, stored)
    result = vq.quantize(sam, calibration(stored), vq.recipe("ptq4sam", 8, 8))
    folded = result.model.get_submodule(f"{FINAL}.k_proj")
    assert (folded.bias > 2.5).all() and (key.bias.abs() == 3).all(), "the model given stays as it was"
    simulation = result.model.vitq
    simulation.detach()
    after = low_res(simulation.module, stored)
    assert np.abs(after - before).max() < 1e-4 * np.abs(before).max()


@pytest.mark.parametrize("options", [PUBLISHED, {}], ids=["published", "ours"])
def test_what_is_folded_is_what_the_golden_numbers_say(sam: Sam, stored, options: dict) -> None:
    """Keys on one side stay; of the others the channels change sides that the authors' code turns."""
    result = vq.quantize(sam, calibration(stored), vq.recipe("ptq4sam", 4, 4, **options))
    for name, layer in sam.named_modules():
        if name.endswith(".k_proj"):
            said = f"e2e.ptq4sam.b4.site.{name.removesuffix('.k_proj')}"
            bimodal = bool(stored[f"{said}.bimodal"])
            sign = torch.from_numpy(stored[f"{said}.sign"]) if bimodal else torch.ones_like(layer.bias)
            assert torch.equal(result.model.get_submodule(name).bias, layer.bias * sign.flatten()), name


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fold": "some"}, "fold must be one of helpful, all"),
        ({"peaks": "wide"}, "peaks must be one of robust"),
    ],
)
def test_unknown_ways_are_refused(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        vq.recipe("ptq4sam", 6, 6, **options)


def test_a_classifier_has_nothing_to_fold(model, images) -> None:
    assert vq.quantize(model, images, vq.recipe("ptq4sam", 8, 8)).report.recipe == "ptq4sam"
