"""Segment Anything through the public functions: every recipe, and none of the faults of published code."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import Sam

import vitq_core as vq
from vitq_core.common.errors import NotFinite
from vitq_core.graph.site import Unit
from vitq_core.tasks import TASKS

from .sam import picture, prompted, tiny_sam

SIZES = ((90, 120), (120, 90), (60, 60), (90, 120))
QUICK = {"effort": "quick", "iterations": 3, "batch_size": 2, "pictures": 4}
TASK = TASKS["segmentation"]


@pytest.fixture(scope="module")
def sam() -> Sam:
    return tiny_sam()


@pytest.fixture(scope="module")
def batches() -> list[list[dict]]:
    """Of pictures of two sizes."""
    return [[record] for record in prompted([picture(seed, *size) for seed, size in enumerate(SIZES)])]


@pytest.fixture(scope="module")
def learned(sam: Sam, batches: list) -> vq.QuantizeResult:
    return vq.quantize(sam, batches, vq.recipe("vitq", 4, 4, **QUICK))


def answers(model: Sam, batch: list[dict]) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return TASK.run(model, TASK.collate(batch))


@pytest.mark.parametrize("name", ["adfq", "ptq4sam", "vitq"])
def test_every_unit_is_learned_on_what_the_others_give(sam: Sam, batches: list, name: str) -> None:
    result = vq.quantize(sam, batches, vq.recipe(name, 3, 3, **QUICK))
    units = result.report.units
    expected = [unit.title for unit in result.model.vitq.family.units(result.model)]
    assert [row.unit for row in units][: len(expected)] == expected
    assert all(row.error_after <= row.error_before < 1 for row in units if row.unit != Unit("").title)
    assert any(row.error_after < row.error_before for row in units)


# -- the published faults -------------------------------------------------------------------------------
def test_evaluated_twice_it_answers_bit_for_bit_the_same(learned, batches: list) -> None:
    first, second = (answers(learned.model, batches[0]) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_no_quantized_input_passes_untouched(learned, batches: list) -> None:
    """Published code left half of every linear layer's inputs in floating point. A zero may stay a zero."""
    shares: dict[str, float] = {}
    given: dict[str, list[torch.Tensor]] = {}

    def before(name: str, inputs: tuple, count: int) -> None:
        given[name] = [x.clone() for x in inputs[:count]]

    def after(name: str, inputs: tuple) -> None:
        for index, (x, quantized) in enumerate(zip(given[name], inputs, strict=False)):
            same = (x == quantized) & (x != 0)
            shares[f"{name}:{index}"] = float(same.float().mean())

    copy = deepcopy(learned.model)
    for name, layer in learned.model.vitq.layers.items():
        part, count = copy.get_submodule(name), len(layer.inputs)
        part.register_forward_pre_hook(lambda _, x, n=name, c=count: before(n, x, c), prepend=True)
        part.register_forward_pre_hook(lambda _, x, n=name: after(n, x))
    answers(copy, batches[0])
    assert len(shares) == sum(len(layer.inputs) for layer in learned.model.vitq.layers.values())
    assert max(shares.values()) < 0.01, max(shares, key=shares.get)


def test_every_hard_weight_lies_on_its_grid(learned) -> None:
    simulation = learned.model.vitq
    for layer in simulation.layers.values():
        if layer.weight is None:
            continue
        shown, quantizer = simulation.layer(layer.name).weight, simulation.quantizer(layer.weight)
        assert torch.allclose(quantizer.decode(quantizer.encode(shown)), shown, atol=1e-6), layer.name
        rows = shown.flatten(1)
        assert all(len(row.unique()) <= 2**quantizer.bits for row in rows), layer.name


def test_two_pictures_have_two_embeddings_and_masks_are_neither_empty_nor_full(learned, batches) -> None:
    predictor, found = SamPredictor(learned.model), []
    for seed in (0, 1):
        predictor.set_image(picture(seed))
        found.append(predictor.features)
    assert (found[0] - found[1]).norm() > 0.01 * found[0].norm()
    masks = [answers(learned.model, batch)["logits"] > 0 for batch in batches]
    assert 0 < float(torch.cat([mask.flatten() for mask in masks]).float().mean()) < 1


def test_not_a_number_is_named(sam: Sam, batches: list) -> None:
    broken = deepcopy(sam)
    broken.mask_decoder.iou_prediction_head.layers[2].bias.data.fill_(float("nan"))
    with pytest.raises(NotFinite, match="not finite"):
        vq.evaluate(broken, batches)


# -- the package's own predictor and generator ----------------------------------------------------------
def test_predictor_and_generator_take_the_result(learned) -> None:
    predictor = SamPredictor(learned.model)
    predictor.set_image(picture(0))
    masks, ious, low = predictor.predict(np.array([[30, 40]]), np.array([1]))
    assert masks.shape == (3, 90, 120) and ious.shape == (3,) and np.isfinite(low).all()
    generator = SamAutomaticMaskGenerator(
        learned.model, points_per_side=4, pred_iou_thresh=-9, stability_score_thresh=0
    )
    assert generator.generate(picture(0))


# -- evaluation -----------------------------------------------------------------------------------------
def test_masks_judge_at_the_size_of_the_picture(sam: Sam, batches: list) -> None:
    predictor, right, expected = SamPredictor(sam), [], []
    for seed, (batch, size) in enumerate(
        zip(batches, [(90, 120), (120, 90), (60, 60), (90, 120)], strict=True)
    ):
        predictor.set_image(picture(seed, *size))
        truth = torch.zeros(2, *size, dtype=torch.bool)
        truth[:, : size[0] // 2] = True
        right.append([truth])
        record = batch[0]
        masks, ious, _ = predictor.predict_torch(record["point_coords"], record["point_labels"])
        chosen = masks[torch.arange(2), ious.argmax(1)]
        expected += [float((m & t).sum() / (m | t).sum()) for m, t in zip(chosen, truth, strict=True)]
    found = vq.evaluate(sam, batches, masks=right)
    assert found.iou == pytest.approx(np.mean(expected), abs=1e-6)
    assert found.best_iou >= found.iou and found.iou_error > 0 and found.agreement_iou is None


def test_wrong_masks_are_a_sentence(sam: Sam, model, images, batches: list) -> None:
    with pytest.raises(ValueError, match="masks must be a list beside each list of pictures"):
        vq.evaluate(sam, batches, masks=[[]])
    with pytest.raises(ValueError, match=r"masks must be \[2, 90, 120\], one for each prompt"):
        vq.evaluate(sam, batches[:1], masks=[[torch.zeros(2, 5, 5)]])
    with pytest.raises(ValueError, match="masks are for Segment Anything"):
        vq.evaluate(model, images, masks=[])


def test_a_model_is_not_measured_against_one_of_another_kind(sam: Sam, model, batches: list) -> None:
    with pytest.raises(vq.VitqError, match="the reference must give masks"):
        vq.evaluate(sam, batches, reference=model)


# -- scores and bits ------------------------------------------------------------------------------------
def test_relevance_has_a_map_for_every_picture_and_no_heat_map(sam: Sam, batches: list) -> None:
    found = vq.relevance(sam, batches)
    assert found.heatmaps is None and found.targets is None
    assert [tuple(each.shape) for each in found.pixel_maps] == [
        tuple(batch[0]["image"].shape[1:]) for batch in batches
    ]


def test_saved_it_answers_bit_for_bit_and_is_smaller_than_half_precision(sam, batches, tmp_path) -> None:
    result = vq.quantize(vq.wrap_model(sam), batches, vq.recipe("vitq", 4, 4, effort="none"))
    vq.save_quantized(result, tmp_path)
    loaded = vq.load_quantized(tmp_path)
    first, second = (answers(model, batches[1]) for model in (result.model, loaded.model))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert loaded.source.info.task == "segmentation"
    half = 2 * sum(parameter.numel() for parameter in sam.parameters())
    data = (tmp_path / "model.safetensors").read_bytes()
    header = int.from_bytes(data[:8], "little")  # of a model as small as this the larger part
    assert len(data) - header < half
    assert "SamPredictor(quantized.model)" in (tmp_path / "README.md").read_text()


# -- bad input ------------------------------------------------------------------------------------------
def without(record: dict, *names: str, **other: object) -> dict:
    return {k: v for k, v in record.items() if k not in names} | other


BAD = {
    "pictures": (lambda r: torch.zeros(2, 3, 128, 128), "takes lists of dicts"),
    "no picture": (lambda r: [without(r, "image")], "'image' must be a tensor"),
    "grey": (lambda r: [without(r, image=torch.zeros(1, 8, 8))], "'image' must be a tensor"),
    "too large": (
        lambda r: [without(r, image=torch.zeros(3, 8, 300))],
        "8×300 pixels, and the model takes 128",
    ),
    "not finite": (lambda r: [without(r, image=r["image"] * torch.nan)], "NaN or infinite"),
    "nothing asked": (lambda r: [without(r, "point_coords", "point_labels")], "a record asks nothing"),
    "no labels": (lambda r: [without(r, "point_labels")], "go together"),
    "outside": (lambda r: [without(r, point_coords=r["point_coords"] + 500)], "a click lies outside"),
    "inverted": (
        lambda r: [without(r, "point_coords", "point_labels", boxes=torch.tensor([[9.0, 9, 2, 2]]))],
        "a box must go from its upper left",
    ),
    "counts": (lambda r: [without(r, boxes=torch.tensor([[1.0, 1, 2, 2]]))], "for the same objects"),
    "size": (lambda r: [without(r, original_size=None)], "'original_size' must be"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_records_are_a_sentence(sam: Sam, batches: list, name: str) -> None:
    make, sentence = BAD[name]
    given = make(batches[0][0])
    with pytest.raises(ValueError, match=sentence):
        vq.quantize(sam, given if name == "pictures" else [given], "minmax")
    if name != "too large":
        with pytest.raises(ValueError, match=sentence):
            vq.evaluate(sam, given if name == "pictures" else [given])
