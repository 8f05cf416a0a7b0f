"""Whatever is quantized loads again bit for bit: families, recipes and bits drawn at random."""

import tempfile
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._pytree import tree_leaves

import vitq_core as vq
from tests.conftest import build, random_pictures
from tests.sam import records, tiny_sam
from tests.swin import pictures, tiny_swin
from vitq_core.common.batch import Batch
from vitq_core.quantized.audit import audit
from vitq_core.recipes.steps import ALLOCATED, PASSES

FAMILIES = ("vit", "features", "swin", "sam")
# Neither recipes that give out bits themselves, nor models that a recipe is not made for.
MADE_FOR = [
    (family, name)
    for family in FAMILIES
    for name, recipe in vq.RECIPES.items()
    if recipe.suits("segmentation" if family == "sam" else "")
    if not any(ALLOCATED in PASSES[step].gives for step in recipe.passes)
]
SAME_ACTIVATIONS = ("repq", "crl")  # whose layers behind one norm need one width


@cache
def made(family: str) -> tuple[Any, Any, Batch]:
    """A model, what it is calibrated on, and what it is asked."""
    if family == "sam":
        asked = records(2)
        return tiny_sam(), [[record] for record in asked], Batch((asked, True))
    builders = {"vit": partial(build, depth=2), "features": partial(build, num_classes=0), "swin": tiny_swin}
    model = builders[family]()
    images = pictures(model, 3) if family == "swin" else random_pictures(model, 3)
    return model, images, Batch((images,))


@cache
def layers(family: str) -> dict[str, tuple]:
    model, images, _ = made(family)
    return vq.quantize(model, images, vq.recipe("minmax", 4, 4)).bits


def answers(model: torch.nn.Module, batch: Batch) -> list[Tensor]:
    with torch.no_grad():
        return tree_leaves(batch.through(model))


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(MADE_FOR), st.randoms(use_true_random=False))
def test_what_is_saved_loads_bit_for_bit(made_for: tuple[str, str], rng: Random) -> None:
    """With bits of its own for every weight, and for every activation where the recipe takes them."""
    family, name = made_for
    same = rng.randint(2, 8) if name in SAME_ACTIVATIONS else None
    bits = {
        layer: (weight and rng.randint(2, 8), same or rng.randint(2, 8))
        for layer, (weight, _) in layers(family).items()
    }
    model, images, asked = made(family)
    result = vq.quantize(model, images, vq.recipe(name, bits=bits, effort="none"))
    with tempfile.TemporaryDirectory() as folder:
        loaded = vq.load_quantized(vq.save_quantized(result, Path(folder) / "saved"))
    audit(loaded.model, asked)
    both = zip(answers(loaded.model, asked), answers(result.model, asked), strict=True)
    assert all(torch.equal(*pair) for pair in both)
    assert loaded.bits == result.bits and loaded.recipe == result.recipe


def test_a_loaded_weight_is_in_memory_once_in_copies_and_elsewhere_too(model, images, tmp_path) -> None:
    result = vq.quantize(model, images, "minmax")
    loaded = vq.load_quantized(vq.save_quantized(result, tmp_path)).model
    for each in (loaded, deepcopy(loaded), deepcopy(loaded).to("cpu", torch.float32)):
        held = sum(x.numel() for x in (*each.parameters(), *each.buffers()))
        quantizers = sum(x.numel() for name, x in each.named_buffers() if "quantizer" in name)
        assert held - quantizers <= sum(x.numel() for x in model.parameters()) * 1.01
        assert torch.equal(each(images), result(images))
        audit(each, Batch((images,)))
    changed = deepcopy(loaded)
    changed.head.parametrizations.weight.original.data[0, 0] += 0.01
    with pytest.raises(vq.VitqError, match="the weight of head changed after it was quantized"):
        audit(changed, Batch((images,)))
    assert torch.equal(loaded(images), result(images)), "a copy's weight is its own"
