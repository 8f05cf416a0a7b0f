"""A set of pictures is known again however it was batched, and told from every other."""

from __future__ import annotations

import hashlib

import pytest
import torch

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.common.digests import digest_of_pictures

PICTURES = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
SCENE = {"image": PICTURES[0], "original_size": (4, 4), "point_coords": torch.ones(1, 1, 2)}


def of(*tensors: torch.Tensor) -> str:
    return digest_of_pictures(Batch((tensor,)) for tensor in tensors)


def test_it_is_of_names_types_shapes_and_bytes_in_order() -> None:
    expected = hashlib.sha256()
    for picture in PICTURES:
        expected.update(b"image float32 [3, 4, 4]\n" + picture.numpy().tobytes())
    assert of(PICTURES) == expected.hexdigest()
    assert of(PICTURES[:2], PICTURES[2:]) == of(*PICTURES.split(1)) == of(PICTURES)


def test_other_pictures_order_and_shape_give_another() -> None:
    changed = PICTURES.clone()
    changed[4, 2, 3, 3] += 1e-6
    others = [changed, PICTURES.flip(0), PICTURES[:4], PICTURES.reshape(5, 3, 2, 8), PICTURES.double()]
    assert len({of(PICTURES), *map(of, others)}) == 6


def test_what_is_asked_of_a_picture_counts() -> None:
    def asked(**changes: object) -> str:
        return digest_of_pictures([Batch(([SCENE | changes],))])

    ways = [
        {},
        {"original_size": (4, 5)},
        {"point_coords": torch.zeros(1, 1, 2)},
        {"boxes": torch.ones(1, 4)},
    ]
    assert len({asked(**way) for way in ways}) == 4
    turned = {name: SCENE[name] for name in reversed(SCENE)}
    assert digest_of_pictures([Batch(([turned],))]) == asked()


@pytest.mark.parametrize("batched", [lambda x: x, lambda x: iter(x.split(2)), lambda x: [(x, None)]])
def test_a_result_carries_it_and_its_seed(model, images, tmp_path, batched) -> None:
    result = vq.quantize(model, batched(images), "minmax", seed=-7)
    assert (result.report.calibration, result.report.seed) == (of(images), -7)
    loaded = vq.load_quantized(vq.save_quantized(result, tmp_path / "saved"))
    assert (loaded.report.calibration, loaded.report.seed) == (of(images), -7)
