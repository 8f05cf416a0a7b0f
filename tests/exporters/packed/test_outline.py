"""Sizes that no tensor of the file bounds are bounded before they take memory, and cannot fail later."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import vitq_core as vq
from tests.conftest import build, random_pictures
from tests.sam import SamShape, records, tiny_sam
from tests.swin import pictures, tiny_swin
from tests.tampering import edited, with_tensors
from vitq_core.graph import FAMILIES
from vitq_core.graph.base import family_of
from vitq_core.graph.tracing import trace_layers
from vitq_core.tasks import TASKS

SAM = {
    "width": 32,
    "depth": 1,
    "heads": 2,
    "global_blocks": (),
    "img_size": 32,
    "window": 2,
    "prompt_dim": 32,
}


def swin(**options: object) -> tuple:
    model = tiny_swin(**options)
    return model, pictures(model, 2, (16, 16))


def sam(**options: object) -> tuple:
    shape = SamShape(**SAM, decoder_mlp=32, decoder_heads=2, iou_width=32, **options)
    return tiny_sam(shape), [[record] for record in records(1, side=32)]


def vit(**options: object) -> tuple:
    model = build(**options)
    return model, random_pictures(model)


def resized(side: int) -> Callable[[dict], None]:
    """Pictures of ``side`` pixels, wherever that is said."""

    def change(description: dict) -> None:
        config = description["config"]
        config["img_size"] = side if isinstance(config["img_size"], int) else [side, side]
        description["input_size"][1:] = [side, side]

    return change


HUGE = {
    "a map of windows": (swin, {}, resized(16_000), "a layer would give .* numbers"),
    "a map of patches": (vit, {"pos_embed": "none"}, resized(16_000), "a layer would give .* numbers, of a"),
    "any size": (
        swin,
        {"strict_img_size": False},
        lambda d: d.update(input_size=[3, 16_000, 16_000]),
        "a layer would give .* numbers",
    ),
    "a window": (sam, {}, lambda d: d["config"].update(window=10_000), "rel_pos_h has shape"),
    "a window without positions": (
        sam,
        {"relative_positions": False},
        lambda d: d["config"].update(window=10_000),
        "a layer would give .* numbers",
    ),
    "a picture without positions": (
        sam,
        {"relative_positions": False, "absolute_positions": False},
        resized(16_000),
        "a layer would give .* numbers",
    ),
}


@pytest.mark.parametrize(("made", "options", "change", "sentence"), HUGE.values(), ids=HUGE)
def test_a_huge_size_is_a_sentence(
    made: Callable, options: dict, change, sentence: str, tmp_path: Path
) -> None:
    vq.save_quantized(vq.quantize(*made(**options), vq.recipe("minmax", 4, 4)), tmp_path)
    vq.load_quantized(tmp_path)
    edited(change)(tmp_path)
    with pytest.raises(vq.VitqError) as error:
        vq.load_quantized(tmp_path)
    assert re.search(sentence, str(error.value))


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_says_how_often_it_repeats_parts(family: str) -> None:
    """As many as its blocks, and never what a negative number would hide."""
    model = {"vit": lambda: build(depth=2), "swin": tiny_swin, "sam": tiny_sam}[family]()
    FAMILIES[family].rewrite(model)
    repeats = FAMILIES[family].repeats(FAMILIES[family].config(model))
    assert max(repeats) >= len(FAMILIES[family].blocks(model)) - (2 if family == "sam" else 0)
    assert all(isinstance(count, int) and count >= 0 for count in repeats)


@pytest.mark.parametrize("name", list(TASKS))
def test_an_outline_costs_what_an_example_does(name: str) -> None:
    """A model's layers are the same for a picture without numbers."""
    model = {"classification": build, "features": lambda: build(num_classes=0), "segmentation": tiny_sam}[
        name
    ]()
    family = family_of(model)
    family.rewrite(model)
    size, sites = family.input_size(model), family.sites(model)
    layers = trace_layers(model, sites, TASKS[name].example(size))
    assert trace_layers(model.to("meta"), sites, TASKS[name].outline(size)) == layers


def test_windows_that_a_small_table_of_positions_names(tmp_path) -> None:
    """A table of 127 × 127 numbers is small; the index of every pair of 64 × 64 positions is not."""
    vq.save_quantized(vq.quantize(*swin(depths=(1,), num_heads=(1,)), vq.recipe("minmax", 4, 4)), tmp_path)
    edited(resized(256))(tmp_path)
    edited(lambda d: d["config"].update(window_size=[[64, 64]]))(tmp_path)
    with_tensors(
        lambda t: t.update({n: torch.zeros(127 * 127, 1) for n in t if n.endswith("position_bias_table")})
    )(tmp_path)
    with pytest.raises(vq.VitqError, match="indexes of its windows would take 134,217,728 bytes"):
        vq.load_quantized(tmp_path)


def test_nothing_is_allocated_for_the_architecture_that_a_file_does_not_hold(model, images, tmp_path) -> None:
    vq.save_quantized(vq.quantize(model, images, "minmax"), tmp_path)
    edited(lambda d: d["config"].update(embed_dim=2**20, num_heads=2))(tmp_path)  # 10^13 weights
    with pytest.raises(vq.VitqError, match="has shape"):
        vq.load_quantized(tmp_path)
    assert torch.get_default_device().type == "cpu"
