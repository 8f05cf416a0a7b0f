"""A Sam's constructor arguments come back from an instance, for the published shapes too."""

import json

import pytest
import torch
from segment_anything import sam_model_registry

from vitq_core.common.sam_shape import VIT_B, VIT_H, VIT_L, SamShape

ODD = SamShape(
    width=24, depth=3, heads=3, global_blocks=(0, 2), img_size=96, patch_size=8, window=5, mlp_ratio=2.5,
    qkv_bias=False, relative_positions=False, norm_eps=1e-5, prompt_dim=16, mask_channels=8, decoder_depth=1,
    decoder_mlp=20, decoder_heads=2, decoder_downsampling=1, candidates=2, iou_depth=2, iou_width=12,
    mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0),
)  # fmt: skip


def sizes(module: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


def test_a_shape_is_read_off_what_it_built() -> None:
    sam = ODD.build()
    read = SamShape.of(sam)
    assert sizes(read.build()) == sizes(sam)
    stored = SamShape.from_dict(json.loads(json.dumps(read.as_dict())))
    assert stored == read
    assert [read.window, read.global_blocks, read.mean] == [5, (0, 2), (1.0, 2.0, 3.0)]
    with pytest.raises(TypeError):
        SamShape.from_dict({"size": 3})
    with pytest.raises(ValueError, match="std must be three positive numbers"):
        SamShape.from_dict({**read.as_dict(), "std": [1.0, 0.0, 1.0]}).build()


@pytest.mark.parametrize(("name", "shape"), [("vit_b", VIT_B), ("vit_l", VIT_L), ("vit_h", VIT_H)])
def test_the_published_shapes_are_the_packages(name: str, shape: SamShape) -> None:
    with torch.device("meta"):
        assert sizes(shape.build()) == sizes(sam_model_registry[name]())
