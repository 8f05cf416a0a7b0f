"""Either half of Segment Anything may be quantized alone; its heads only where somebody asks for it."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import Sam

import vitq_core as vq
from vitq_core.quantized.audit import audit
from vitq_core.tasks import TASKS

from ..sam import picture, prompted, tiny_sam

DECODER, ENCODER = "mask_decoder", "image_encoder"


@pytest.fixture(scope="module")
def sam() -> Sam:
    return tiny_sam()


@pytest.fixture(scope="module")
def batches() -> list[list[dict]]:
    return [prompted([picture(seed) for seed in range(2)])]


def quantized(sam: Sam, batches: list, **options: object) -> vq.QuantizeResult:
    return vq.quantize(sam, batches, vq.recipe("ptq4sam", 4, 4, **options))


@pytest.mark.parametrize("parts", [("encoder",), ("decoder",), ("encoder", "decoder"), None])
def test_only_the_chosen_parts_are_quantized(sam: Sam, batches: list, parts: tuple | None) -> None:
    result = quantized(sam, batches, parts=parts)
    halves = {ENCODER: parts is None or "encoder" in parts, DECODER: parts is None or "decoder" in parts}
    found = {half: any(name.startswith(half) for name in result.bits) for half in halves}
    assert found == halves
    for half, chosen in halves.items():
        changed = any(
            not torch.equal(layer.weight, sam.get_submodule(name).weight)
            for name, layer in result.model.named_modules()
            if name.startswith(half) and isinstance(layer, torch.nn.Linear)
        )
        assert changed is chosen, half
    audit(result.model, TASKS["segmentation"].collate(batches[0]))


def test_heads_are_quantized_where_they_are_asked_for(sam: Sam, batches: list) -> None:
    plain, asked = quantized(sam, batches), quantized(sam, batches, heads=8)
    heads = {name: bits for name, bits in asked.bits.items() if name not in plain.bits}
    assert set(heads.values()) == {(8, 8)}
    assert f"{DECODER}.output_upscaling.0" in heads and f"{DECODER}.iou_prediction_head.layers.2" in heads
    assert asked.report.size_mb < plain.report.size_mb and asked.report.gbops > plain.report.gbops


def test_a_transposed_convolution_multiplies_each_input_with_all_it_is_spread_over(sam, batches) -> None:
    result = quantized(sam, batches, heads=8)
    rows = {row.layer: row for row in result.report.sites}
    layer = sam.mask_decoder.output_upscaling[0]
    inputs = layer.in_channels * 8 * 8  # the embedding of 8×8, one prompt
    assert rows[f"{DECODER}.output_upscaling.0"].macs == inputs * layer.out_channels * 2 * 2


@pytest.mark.parametrize("options", [{"parts": ("decoder",)}, {"heads": 4}])
def test_what_was_chosen_is_saved(sam: Sam, batches: list, tmp_path, options: dict) -> None:
    result = quantized(sam, batches, **options)
    vq.save_quantized(result, tmp_path)
    loaded = vq.load_quantized(tmp_path)
    assert loaded.bits == result.bits
    batch = TASKS["segmentation"].collate(batches[0])
    with torch.no_grad():
        pairs = zip(batch.through(loaded.model), batch.through(result.model), strict=True)
        assert all(torch.equal(a[name], b[name]) for a, b in pairs for name in a)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"parts": ("tail",)}, "unknown part 'tail'; available: encoder, decoder"),
        ({"parts": "encoder"}, r"parts must be names of a model's parts such as \('encoder',\)"),
        ({"parts": ()}, "parts must be names"),
        ({"heads": 9}, "heads must be a whole number from 2 to 8"),
    ],
)
def test_what_is_no_part_is_a_sentence(sam: Sam, batches: list, options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        quantized(sam, batches, **options)


@pytest.mark.parametrize("options", [{"parts": ("encoder",)}, {"heads": 8}])
def test_a_classifier_has_no_parts(model, images, options: dict) -> None:
    with pytest.raises(ValueError, match="does nothing here"):
        vq.quantize(model, images, vq.recipe("minmax", **options))
