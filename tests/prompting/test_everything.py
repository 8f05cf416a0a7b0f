"""Everything in a picture: the package's own masks where it can make them, little memory where it cannot."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import label
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.modeling import Sam

import vitq_core as vq
from tests import sam as tiny
from tests.nasty import VALUES, named, sentence
from tests.prompting.near import near_the_click
from vitq_core.common.errors import NotFinite
from vitq_core.prompting import Segmenter, Thresholds, matched, segment_everything

LENIENT = Thresholds(predicted_iou=0.5, stability=0.7)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sam() -> Sam:
    return near_the_click()


def picture(seed: int = 1, height: int = 96, width: int = 128) -> Image.Image:
    return Image.fromarray(tiny.picture(seed, height, width))


def packages(sam: Sam, image: np.ndarray, thresholds: Thresholds, batch: int = 16) -> list[dict]:
    """What the package finds with 8 × 8 points."""
    generator = SamAutomaticMaskGenerator(
        sam,
        points_per_side=8,
        points_per_batch=batch,
        pred_iou_thresh=thresholds.predicted_iou,
        stability_score_thresh=thresholds.stability,
        stability_score_offset=thresholds.offset,
        box_nms_thresh=thresholds.overlap,
        output_mode="binary_mask",
    )
    return generator.generate(image)


@pytest.mark.parametrize(
    "thresholds",
    [LENIENT, Thresholds(0, 0.8), Thresholds(0.5, 0, overlap=0.4), Thresholds(0.6, 0.6, 0.5)],
    ids=str,
)
@pytest.mark.parametrize("size", [(96, 128), (128, 128), (70, 40), (100, 128)], ids=str)
def test_the_masks_are_the_packages(sam: Sam, size: tuple[int, int], thresholds: Thresholds) -> None:
    expected = packages(sam, tiny.picture(1, *size), thresholds)
    found = segment_everything(sam, picture(1, *size), 8, thresholds=thresholds)
    assert len(found) == len(expected) > 10
    for part, mask, record in zip(found.parts, found.masks(), expected, strict=True):
        assert np.array_equal(mask, record["segmentation"])
        assert (part.predicted_iou, part.stability) == (record["predicted_iou"], record["stability_score"])
        assert list(part.point) == record["point_coords"][0]
        assert part.runs.area == record["area"]


def test_they_are_the_packages_with_a_decoder_of_its_own() -> None:
    sam, thresholds = tiny.tiny_sam().requires_grad_(False), Thresholds(0.2, 0.5, offset=0.02, overlap=1)
    expected = packages(sam, tiny.picture(1, 96, 128), thresholds)
    found = segment_everything(sam, picture(), 8, thresholds=thresholds)
    assert len(found) == len(expected) > 10
    for mask, record in zip(found.masks(), expected, strict=True):
        assert np.array_equal(mask, record["segmentation"])


def test_a_large_picture_is_worked_on_as_the_model_sees_it(sam: Sam) -> None:
    """Its masks are those of the picture at the model's size, made large."""
    large = picture(1, 480, 640)
    found = segment_everything(sam, large, 8, thresholds=LENIENT)
    small = segment_everything(sam, large.resize((128, 96), Image.Resampling.BILINEAR), 8, thresholds=LENIENT)
    assert found.parts[0].runs.size == (96, 128) and found.mask(0).shape == (480, 640)
    assert len(found) == len(small) > 10
    for mask, expected in zip(found.masks(), small.masks(), strict=True):
        upscaled = expected.repeat(5, 0).repeat(5, 1)
        assert (mask & upscaled).sum() > 0.9 * (mask | upscaled).sum()


def test_a_segmenter_is_asked_without_encoding_again(sam: Sam) -> None:
    segmenter = Segmenter(sam)
    segmenter.segment(picture(), [vq.Prompt(((5, 5),), (1,))])
    segment_everything(segmenter, picture(), 2)
    assert segmenter.cache.encodings == 1


@pytest.mark.parametrize(("size", "least"), [((96, 128), 20), ((96, 128), 300), ((480, 640), 300)])
def test_no_piece_and_no_hole_is_below_the_minimum(sam: Sam, size: tuple[int, int], least: int) -> None:
    before = segment_everything(sam, picture(1, *size), 8, thresholds=LENIENT)
    found = segment_everything(sam, picture(1, *size), 8, min_region=least, thresholds=LENIENT)
    assert 0 < len(found) <= len(before)
    assert any(smallest(mask) < least for mask in before.masks())
    for mask in found.masks():
        assert smallest(mask) >= least and smallest(~mask) >= least


def smallest(mask: np.ndarray) -> int:
    """Pixels of the smallest piece; the mask is not empty."""
    return min(np.bincount(label(mask)[0].ravel())[1:])


def test_what_is_all_specks_goes(sam: Sam) -> None:
    found = segment_everything(sam, picture(), 8, min_region=96 * 128 + 1, thresholds=LENIENT)
    assert len(found) == 0


def test_masks_that_are_the_same_once_tidied_are_one(sam: Sam) -> None:
    found = segment_everything(sam, picture(), 8, min_region=60, thresholds=replace(LENIENT, overlap=0.5))
    boxes = [np.argwhere(mask) for mask in found.masks()]
    assert len({(*box.min(0), *box.max(0)) for box in boxes}) == len(boxes)


def test_the_same_model_finds_the_same_and_another_less(sam: Sam) -> None:
    found, again = (segment_everything(sam, picture(), 8, thresholds=LENIENT) for _ in range(2))
    matches = matched(found.runs, again.runs)
    assert [(match.first, match.second) for match in matches] == [(i, i) for i in range(len(found))]
    other = segment_everything(near_the_click(seed=3), picture(), 8, thresholds=LENIENT)
    assert len(matched(found.runs, other.runs)) < len(found)


def test_nothing_good_enough_is_no_masks(sam: Sam) -> None:
    assert len(segment_everything(sam, picture(), 3, thresholds=Thresholds(predicted_iou=1))) == 0


def test_it_tells_how_far_it_is_and_stops_when_asked(sam: Sam) -> None:
    told = []
    segment_everything(sam, picture(), 8, progress=lambda share, words: told.append((share, words)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert any("of 64 points" in words for _, words in told)
    with pytest.raises(vq.Cancelled):
        segment_everything(sam, picture(), 8, cancel=lambda: len(told) > 2)


def test_numbers_that_are_none_are_reported() -> None:
    broken = tiny.tiny_sam()
    with torch.no_grad():
        broken.mask_decoder.mask_tokens.weight[1] = float("nan")
    with pytest.raises(NotFinite):
        segment_everything(broken, picture(), 2)


@pytest.mark.parametrize("value", **named(VALUES))
@pytest.mark.parametrize("name", ["points_per_side", "min_region", "batch"])
def test_settings_that_cannot_be_are_sentences(sam: Sam, name: str, value: object) -> None:
    with pytest.raises(ValueError) as caught:
        segment_everything(sam, picture(), **{name: value})
    assert name in sentence(caught.value)


@pytest.mark.parametrize("name", ["predicted_iou", "stability", "offset", "overlap"])
def test_thresholds_that_cannot_be_are_sentences(name: str) -> None:
    for value in (-1, 7, float("nan"), "0.5", None):
        if (name, value) in (("offset", 7), ("offset", None)):
            continue
        with pytest.raises(ValueError, match=name):
            Thresholds(**{name: value})


MEASURE = """
import resource, sys
from tests.prompting.near import near_the_click
from vitq_core.prompting import Prompt, Segmenter, Thresholds, segment_everything
from PIL import Image

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

sam = near_the_click()
small = Image.new("RGB", (128, 96))
segment_everything(sam, small, 2)
before = peak()
photo = Image.open(sys.argv[1])
segmenter = Segmenter(sam)
found = segment_everything(segmenter, photo, 8, 500, Thresholds(0.5, 0.7))
everything = peak() - before
assert found.mask(0).shape == found.size == (6000, 4000)
large = peak() - before
(answer,) = segmenter.segment(photo, [Prompt(((1000, 5000),), (1,))])
assert answer.masks.shape == (3, 6000, 4000)
assert "cv2" not in sys.modules and "pycocotools" not in sys.modules
print(len(found), everything, large, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="systems count memory in different units")
def test_a_large_turned_photograph_takes_less_than_two_gigabytes(tmp_path: Path) -> None:
    """Without OpenCV and pycocotools; all masks at its size would take 24 MB each, their logits 96."""
    path, exif = tmp_path / "photo.jpg", Image.Exif()
    exif[0x0112] = 6
    picture(1, 80, 120).resize((6000, 4000)).save(path, exif=exif)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURE, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    count, *gigabytes = map(float, run.stdout.split())
    print(
        "{:.0f} masks: {:.2f} GB to find, {:.2f} GB to make large, {:.2f} GB to click".format(
            count, *gigabytes
        )
    )
    assert count > 20 and max(gigabytes) < 2
