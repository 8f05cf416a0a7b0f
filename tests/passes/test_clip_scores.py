"""Perceptual clipping: what an attention looks at is kept, judged by a naive twin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from segment_anything.modeling import Sam

import vitq_core as vq
from vitq_core.passes.clip_scores import looked_at, overlap
from vitq_core.quantized.audit import audit
from vitq_core.tasks import TASKS

from ..sam import picture, prompted, tiny_sam

STEPS = ("calibrate", "clip_scores")
NAMES = [
    f"mask_decoder.transformer.layers.{layer}.{part}"
    for layer in (0, 1)
    for part in ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
] + ["mask_decoder.transformer.final_attn_token_to_image"]


@pytest.fixture(scope="module")
def sam() -> Sam:
    return tiny_sam()


@pytest.fixture(scope="module")
def batches() -> list[list[dict]]:
    return [[record] for record in prompted([picture(seed) for seed in range(3)])]


def quantized(model: object, pictures: object, bits: int, steps: tuple[str, ...] = STEPS) -> object:
    return vq.quantize(model, pictures, replace(vq.recipe("minmax", bits, bits), passes=steps))


def seen(model: Sam, batches: list) -> dict[str, list[torch.Tensor]]:
    """What each attention's softmax gives, picture by picture."""
    found: dict[str, list] = {name: [] for name in NAMES}
    hooks = [
        model.get_submodule(f"{name}.softmax").register_forward_hook(
            lambda _, __, output, name=name: found[name].append(output.clone())
        )
        for name in NAMES
    ]
    for batch in batches:
        model(batch, True)
    for hook in hooks:
        hook.remove()
    return found


def test_overlap_is_that_of_single_maps() -> None:
    generator = torch.Generator().manual_seed(0)
    found, wanted = ((3 * torch.randn(2, 3, 4, 5, generator=generator)).softmax(-1) for _ in range(2))
    expected = []
    for a, b in zip(found.flatten(0, 1).numpy(), wanted.flatten(0, 1).numpy(), strict=True):
        masks = [x > 0.5 * x.max(-1, keepdims=True) for x in (a, b)]
        expected.append((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())
    assert float(overlap(looked_at(found), looked_at(wanted))) == pytest.approx(float(np.mean(expected)))


def test_what_attentions_look_at_is_kept_better(sam: Sam, batches: list) -> None:
    """At 3 bits, in the mean over all attentions, on what each is given in its own model."""
    plain, clipped = (quantized(sam, batches, 3, steps) for steps in (STEPS[:1], STEPS))
    expected = seen(plain.model.vitq.fp_model(), batches)

    def kept(model: Sam) -> float:
        found = seen(model, batches)
        pairs = [(a, b) for name in NAMES for a, b in zip(found[name], expected[name], strict=True)]
        return float(np.mean([float(overlap(looked_at(a), looked_at(b))) for a, b in pairs]))

    assert kept(clipped.model) > kept(plain.model)
    audit(clipped.model, TASKS["segmentation"].collate(batches[0]))


def test_only_the_scores_operands_change(sam: Sam, batches: list) -> None:
    plain, clipped = (quantized(sam, batches, 4, steps).model.vitq for steps in (STEPS[:1], STEPS))
    first = f"{NAMES[0]}."
    for site in plain.sites():
        same = torch.equal(plain.quantizer(site).scale, clipped.quantizer(site).scale)
        operand = site.module.endswith(("q_proj", "k_proj", "matmul1")) and site.tensor != "weight"
        if site.module.startswith("image_encoder") or (site.module.startswith(first) and not operand):
            assert same, site
    changed = [
        site
        for site in plain.sites()
        if not torch.equal(plain.quantizer(site).scale, clipped.quantizer(site).scale)
    ]
    assert changed


def test_a_classifier_has_no_such_attentions(model, images) -> None:
    plain, clipped = (quantized(model, images, 4, steps) for steps in (STEPS[:1], STEPS))
    with torch.no_grad():
        assert torch.equal(plain.model(images), clipped.model(images))
