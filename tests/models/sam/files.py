"""Tiny Segment Anything models as files, in every way that people save them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from segment_anything.modeling import Sam
from torch import Tensor

from vitq_core.common.sam_shape import SamShape

from ...sam import TINY

# Of the published decoder's width, whose heads are known without a config.json.
PLAIN = replace(TINY, norm_eps=1e-6, prompt_dim=256, decoder_heads=8, decoder_depth=1)


def weights(sam: Sam) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in sam.state_dict().items()}


def save_folder(folder: Path, sam: Sam, described: object = None, **config: object) -> Path:
    """As the export of demo-sam: fp16, a config.json; `described` and `config` instead of what that says."""
    folder.mkdir(parents=True)
    half = {name: value.half().contiguous() for name, value in sam.state_dict().items()}
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    shape = SamShape.of(sam).as_dict() if described is None else described
    (folder / "config.json").write_text(
        json.dumps({"architecture": "segment_anything", "shape": shape} | config)
    )
    return folder


def save_pickle(path: Path, held: object) -> Path:
    torch.save(held, path)
    return path


def same_weights(sam: Sam, expected: dict[str, Tensor]) -> bool:
    """Bit by bit."""
    actual = sam.state_dict()
    return actual.keys() == expected.keys() and all(
        torch.equal(value, expected[name].float()) for name, value in actual.items()
    )
