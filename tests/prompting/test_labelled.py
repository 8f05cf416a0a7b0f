"""Pictures whose objects are known."""

import numpy as np
import pytest
from PIL import Image

from vitq_core.demo.scenes import HELD_OUT_SEED, scene
from vitq_core.prompting.labelled import Labelled, drawn_scenes


def test_scenes_are_those_that_no_model_was_trained_on() -> None:
    drawn = list(drawn_scenes(3, 64))
    for index, labelled in enumerate(drawn):
        expected = scene(index, HELD_OUT_SEED, 64)
        assert np.array_equal(labelled.picture, expected.image)
        assert len(labelled.masks) == len(expected.objects)
        labelled.check(64, 64)


@pytest.mark.parametrize(
    "mask", [np.ones((3, 4), np.uint8), np.ones((4, 3), bool), np.zeros((3, 4), bool), [[True] * 4] * 3]
)
def test_a_mask_that_is_none_is_refused(mask: object) -> None:
    with pytest.raises(ValueError, match="a mask must"):
        Labelled(Image.new("RGB", (4, 3)), [mask]).check(4, 3)
