"""A tiny Segment Anything with every number moved away from where it begins, pictures, and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide

from vitq_core.common.sam_shape import SamShape

# A window of 3 on a grid of 8: the last one lacks a patch.
TINY = SamShape(
    width=32, depth=3, heads=2, global_blocks=(2,), img_size=128, window=3, norm_eps=1e-5, prompt_dim=32,
    decoder_mlp=64, decoder_heads=2, iou_width=32,
)  # fmt: skip


def tiny_sam(shape: SamShape = TINY, seed: int = 0) -> Sam:
    """As the golden files have it: the same weights in the same order."""
    torch.manual_seed(seed)
    sam = shape.build()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for _, parameter in sorted(sam.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise * (0.3 if parameter.ndim == 1 else 0.05))
    return sam


def picture(seed: int, height: int = 90, width: int = 120) -> ndarray:
    """Random colours in blocks of 8 pixels, uint8 [H, W, 3]."""
    blocks = np.random.default_rng(seed).integers(
        0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8
    )
    return blocks.repeat(8, 0).repeat(8, 1)[:height, :width]


def prompts(height: int = 90, width: int = 120) -> dict[str, dict[str, ndarray]]:
    """{name: arguments of ``SamPredictor.predict``}, in pixels of the picture."""
    point = np.array([[width * 0.4, height * 0.6]])
    two = np.array([[width * 0.2, height * 0.3], [width * 0.8, height * 0.7]])
    box = np.array([width * 0.1, height * 0.2, width * 0.75, height * 0.9])
    return {
        "point": {"point_coords": point, "point_labels": np.array([1])},
        "points": {"point_coords": two, "point_labels": np.array([1, 0])},
        "box": {"box": box},
        "box_point": {"box": box, "point_coords": point, "point_labels": np.array([0])},
        "corner": {"point_coords": np.array([[0.0, 0.0]]), "point_labels": np.array([1])},
    }


def records(count: int, side: int = 128) -> list[dict[str, Any]]:
    """Pictures of several sizes as ``Sam.forward`` takes them: with one click, with boxes, with both for
    several objects."""
    return [_record(number, side) for number in range(count)]


def _record(number: int, side: int) -> dict[str, Any]:
    height, width = side - 16 * (number % 3), side - 32 * (number % 2)
    objects = 1 + number % 3
    image = torch.from_numpy(picture(number, height, width)).permute(2, 0, 1).float()
    places = torch.linspace(0.3, 0.7, objects)[:, None, None]
    clicks = {
        "point_coords": places * torch.tensor([width, height]),
        "point_labels": torch.ones(objects, 1),
    }
    boxes = {
        "boxes": torch.cat((places[:, 0] - 0.2, places[:, 0] + 0.25), 1).repeat_interleave(2, 1) * side / 2
    }
    asked = (clicks, boxes, clicks | boxes)[number % 3]
    return {"image": image, "original_size": (height + number, width)} | asked


def golden(name: str) -> dict[str, ndarray]:
    """The numbers of tests/golden/``name``.npz."""
    return dict(np.load(Path(__file__).parent / "golden" / f"{name}.npz", allow_pickle=False))


def prompted(images: Sequence[ndarray], boxes: ndarray | None = None, side: int = 128) -> list[dict]:
    """As ``Sam.forward`` takes them: each of the ``images`` with ``boxes`` [P, 4], or with two clicks, in its
    own pixels."""
    resize, found = ResizeLongestSide(side), []
    for image in images:
        size = image.shape[:2]
        pixels = torch.from_numpy(resize.apply_image(image)).permute(2, 0, 1).float()
        record = {"image": pixels, "original_size": size}
        if boxes is None:
            height, width = size
            clicks = np.array([[[width * 0.3, height * 0.4]], [[width * 0.7, height * 0.6]]])
            record["point_coords"] = resize.apply_coords_torch(torch.from_numpy(clicks).float(), size)
            record["point_labels"] = torch.ones(2, 1)
        else:
            record["boxes"] = resize.apply_boxes_torch(torch.from_numpy(boxes).float(), size)
        found.append(record)
    return found
