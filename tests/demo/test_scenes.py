"""Scenes: deterministic, balanced, with masks and boxes that fit the picture, at any size."""

from collections import Counter

import numpy as np
import pytest
import torch

from tests.pairs import in_turn
from vitq_core.demo.geometry import box, disc, polygon
from vitq_core.demo.scenes import LABELS, scene, scene_batch, scene_label
from vitq_core.demo.shapes import SHAPES


def _same(one, other):
    return np.array_equal(one.image, other.image) and len(one.objects) == len(other.objects)


def test_a_scene_depends_on_seed_and_index_only():
    first = scene(7, seed=3)
    scene(8, seed=3)
    assert _same(first, scene(7, seed=3))
    assert not np.array_equal(first.image, scene(7, seed=4).image)
    assert not np.array_equal(first.image, scene(8, seed=3).image)


def test_every_run_of_labels_shows_each_once():
    assert len(LABELS) >= 16
    labels = [scene_label(i, seed=5) for i in range(4 * len(LABELS))]
    assert set(Counter(labels).values()) == {4}
    assert labels[: len(LABELS)] != labels[len(LABELS) : 2 * len(LABELS)]


def test_the_main_object_comes_first_and_is_the_label():
    for i in range(60):
        drawn = scene(i, seed=6)
        assert drawn.label == drawn.objects[0].label == scene_label(i, seed=6)
        assert all(o.label != drawn.label for o in drawn.objects[1:])
        assert all(drawn.objects[0].mask.sum() > 30 for o in drawn.objects[1:])


@pytest.mark.parametrize("size", [32, 64, (48, 80), (96, 40)])
def test_masks_do_not_overlap_and_boxes_enclose_them(size):
    height, width = size if isinstance(size, tuple) else (size, size)
    for i in range(12):
        drawn = scene(i, seed=9, size=size)
        assert drawn.image.shape == (height, width, 3)
        assert drawn.image.dtype == np.uint8
        assert sum(o.mask.astype(int) for o in drawn.objects).max() == 1
        for o in drawn.objects:
            x0, y0, x1, y1 = o.box
            assert o.mask.shape == (height, width)
            assert o.mask[y0:y1, x0:x1].sum() == o.mask.sum()
            assert o.mask[y0].any() and o.mask[y1 - 1].any()
            assert o.mask[:, x0].any() and o.mask[:, x1 - 1].any()


def test_a_larger_picture_shows_the_same_objects():
    for i in range(5):
        small, large = scene(i, size=64), scene(i, size=256)
        ours, theirs = small.objects[0], large.objects[0]
        assert ours.label == theirs.label
        assert np.allclose(np.array(ours.box) * 4, theirs.box, atol=8)
        assert abs(ours.mask.mean() - theirs.mask.mean()) < 0.02


def test_a_batch_is_the_scenes_as_tensors():
    images, labels = scene_batch([3, 1], seed=2, size=32)
    assert images.shape == (2, 3, 32, 32)
    assert images.dtype == torch.float32
    assert images.min() >= 0 and images.max() <= 1
    assert labels.tolist() == [scene_label(3, 2), scene_label(1, 2)]
    expected = torch.from_numpy(scene(1, 2, 32).image).permute(2, 0, 1) / 255
    assert torch.equal(images[1], expected)


@pytest.mark.parametrize("arguments", [(-1,), (0, -1), (0, 0, 8), (0, 0, (64, 4))])
def test_what_cannot_be_drawn_is_refused(arguments):
    with pytest.raises(ValueError, match=r"negative|at least 16 pixels"):
        scene(*arguments)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="at least one index"):
        scene_batch([])


@pytest.mark.parametrize(("name", "vary"), in_turn(SHAPES, [0.0, 0.99, 0.4], times=2))
def test_every_shape_is_visible_and_fits_its_radius(name, vary):
    y, x = np.mgrid[-1.5:1.5:121j, -1.5:1.5:121j].astype(np.float32)
    inside = np.any([distance < 0 for _, distance in SHAPES[name].parts(x, y, vary)], axis=0)
    assert 0.25 < inside.sum() * (3 / 120) ** 2 < 4
    assert np.hypot(x, y)[inside].max() < 1.35
    assert not inside[[0, -1]].any() and not inside[:, [0, -1]].any()


def test_signed_distances_agree_where_figures_do():
    y, x = np.mgrid[-2:2:41j, -2:2:41j].astype(np.float32)
    corners = (-0.6, -0.4), (0.8, -0.4), (0.8, 1.0), (-0.6, 1.0)
    assert np.allclose(polygon(x, y, *corners), box(x, y, 0.1, 0.3, 0.7, 0.7), atol=1e-5)
    assert np.allclose(disc(x, y, 0.1, 0.3, 0.7), box(x, y, 0.1, 0.3, 0.7, 0.7, corner=0.7), atol=1e-5)
