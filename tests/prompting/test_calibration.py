"""Pictures with known objects as what a Sam is calibrated on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from vitq_core.common.masks import innermost, tight_box
from vitq_core.prompting import Labelled, calibration_batches, drawn_scenes
from vitq_core.tasks import TASKS

from ..sam import tiny_sam


def test_boxes_and_clicks_come_by_turns_as_a_sam_takes_them() -> None:
    batches = [*calibration_batches(128, drawn_scenes(3, 128, seed=1))]
    asked = [set(batch[0]) & {"boxes", "point_coords"} for batch in batches]
    assert asked == [{"boxes"}, {"point_coords"}, {"boxes"}]
    sam = tiny_sam()
    for batch in batches:
        assert len(TASKS["segmentation"].collate(batch, (3, 128, 128))) == 1
        (answer,) = sam(batch, multimask_output=False)
        assert answer["masks"].shape[-2:] == (128, 128)


def test_prompts_are_in_the_pixels_of_the_resized_picture() -> None:
    mask = np.zeros((200, 400), bool)
    mask[40:120, 100:300] = True
    labelled = Labelled(Image.new("RGB", (400, 200)), [mask])
    (boxed,), (clicked,) = calibration_batches(100, [labelled, labelled])
    assert boxed["image"].shape == (3, 50, 100) and boxed["original_size"] == (200, 400)
    assert boxed["boxes"].tolist() == [[side / 4 for side in tight_box(mask)]]
    assert clicked["point_coords"].tolist() == [[[side / 4 for side in innermost(mask)]]]
    assert torch.equal(clicked["point_labels"], torch.ones(1, 1))


def test_pictures_without_objects_are_left_out() -> None:
    empty = Labelled(Image.new("RGB", (40, 40)), [])
    assert [*calibration_batches(32, [empty])] == []
    full = Labelled(Image.new("RGB", (40, 40)), [np.ones((40, 40), bool)])
    assert ["boxes" in batch[0] for batch in calibration_batches(32, [empty, full, empty, full])] == [
        True,
        False,
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_scenes_of_a_seed_are_always_the_same(seed: int) -> None:
    first, again = (next(calibration_batches(64, drawn_scenes(1, 64, seed=seed))) for _ in range(2))
    other = next(calibration_batches(64, drawn_scenes(1, 64, seed=seed + 5)))
    assert torch.equal(first[0]["image"], again[0]["image"])
    assert not torch.equal(first[0]["image"], other[0]["image"])
