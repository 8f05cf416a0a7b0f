"""What the sizes of weights tell of a Segment Anything, and what they leave open."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import vitq_core as vq
from vitq_core.common.sam_shape import VIT_B, VIT_H, VIT_L, SamShape
from vitq_core.models.sam.recognise import known_as, shape_of, told_by

from ...sam import TINY
from .files import PLAIN

SHAPES = {
    "plain": PLAIN,
    "everywhere": replace(PLAIN, global_blocks=(0, 1, 2), window=0),
    "other decoder": replace(PLAIN, decoder_depth=3, decoder_downsampling=4, candidates=5, mask_channels=8),
    "long head": replace(PLAIN, iou_depth=5, iou_width=12, decoder_mlp=20),
    "no bias": replace(PLAIN, qkv_bias=False, patch_size=8, mlp_ratio=2.5),
}


def sizes(shape: SamShape) -> dict[str, Tensor]:
    with torch.device("meta"):
        return shape.build().state_dict()


def as_built(shape: SamShape) -> SamShape:
    """The ratio as it is read off an instance: many stand for one width."""
    with torch.device("meta"):
        return replace(shape, mlp_ratio=SamShape.of(shape.build()).mlp_ratio)


@pytest.mark.parametrize("shape", [VIT_B, VIT_L, VIT_H], ids=["vit_b", "vit_l", "vit_h"])
def test_a_published_shape_is_recognised(shape: SamShape) -> None:
    assert shape_of(sizes(shape), {}, "it", "the config.json") == as_built(shape)


@pytest.mark.parametrize("name", SHAPES)
def test_another_size_is_recognised(name: str) -> None:
    found = shape_of(sizes(SHAPES[name]), {}, "it", "the config.json")
    assert replace(found, window=SHAPES[name].window) == as_built(SHAPES[name])
    assert {key: value.shape for key, value in sizes(found).items()} == {
        key: value.shape for key, value in sizes(SHAPES[name]).items()
    }


def test_a_description_adds_what_sizes_do_not_tell() -> None:
    said = r"in it do not tell decoder_heads; put a config.json beside them: \{.architecture.: .segment_any"
    with pytest.raises(vq.VitqError, match=said):
        shape_of(sizes(TINY), {}, "it", "the config.json")
    found = shape_of(
        sizes(TINY), {"decoder_heads": 2, "norm_eps": 1e-5, "mean": [1.0, 2.0, 3.0]}, "it", "the config.json"
    )
    assert found == replace(as_built(TINY), mean=(1.0, 2.0, 3.0))
    assert shape_of(sizes(TINY), TINY.as_dict(), "it", "the config.json") == TINY


def test_without_relative_positions_the_published_table_tells_the_rest() -> None:
    shape = replace(VIT_L, relative_positions=False)
    assert shape_of(sizes(shape), {}, "it", "the config.json") == as_built(shape)
    small = replace(PLAIN, relative_positions=False)
    with pytest.raises(vq.VitqError, match=r"do not tell heads and global_blocks; put a config.json beside"):
        shape_of(sizes(small), {}, "it", "the config.json")
    given = {"heads": 2, "global_blocks": [2], "window": 3}
    assert shape_of(sizes(small), given, "it", "the config.json") == as_built(small)
    unsized = replace(VIT_B, absolute_positions=False)
    assert shape_of(sizes(unsized), {}, "it", "the config.json") == as_built(unsized)


def test_a_window_of_the_whole_grid_is_what_the_description_says() -> None:
    shape = replace(PLAIN, global_blocks=(2,), window=8)
    assert shape_of(sizes(shape), shape.as_dict(), "it", "the config.json") == shape


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (VIT_B.as_dict(), "the weights of it are those of SAM ViT-H; the config.json says SAM ViT-B"),
        (
            TINY.as_dict(),
            "are those of SAM ViT-H; the config.json says a Segment Anything of width 32 and depth 3",
        ),
        ({"heads": 5}, "the weights of it have heads 16; the config.json says 5"),
        ({"depth": "many"}, r"the config.json says a Segment Anything of width 1280 and depth many"),
        ({"wings": 2}, "the config.json of it names what no Segment Anything has: .*wings"),
    ],
)
def test_a_description_of_other_weights_is_refused(given: dict, said: str) -> None:
    with pytest.raises(vq.VitqError, match=said):
        shape_of(sizes(VIT_H), given, "it", "the config.json")


def test_what_lacks_weights_is_refused() -> None:
    for key in ("image_encoder.neck.0.weight", "prompt_encoder.no_mask_embed.weight"):
        lacking = {name: value for name, value in sizes(PLAIN).items() if name != key}
        with pytest.raises(vq.VitqError, match=f"it lacks {key}, which every Segment Anything has"):
            shape_of(lacking, {}, "it", "the config.json")
    odd = sizes(PLAIN) | {"image_encoder.pos_embed": torch.zeros(3)}
    with pytest.raises(vq.VitqError, match="weights of sizes that no Segment Anything has"):
        shape_of(odd, {}, "it", "the config.json")


def test_models_are_called_by_their_names() -> None:
    assert known_as(told_by(sizes(VIT_B))) == "SAM ViT-B"
    assert known_as(told_by(sizes(PLAIN))) == "a Segment Anything of width 32 and depth 3"
