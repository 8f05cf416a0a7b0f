"""What is drawn over a picture, and the numbers beside it."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.shown import text_of
from ui.segment import colours, view
from ui.segment.answers import Compared, compared, iou
from ui.segment.visit import Picture, Thing, Visit

PICTURE = Picture("scene", 0, "Scene <1>", (400, 300))


def square(left: int, top: int, side: int = 10) -> np.ndarray:
    mask = np.zeros((30, 40), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def answer(*masks: np.ndarray, ious: tuple[float, ...] = (0.5,), chosen: int = 0) -> SimpleNamespace:
    return SimpleNamespace(masks=np.stack(masks), ious=ious, chosen=chosen, mask=masks[chosen])


@pytest.fixture
def found() -> Compared:
    full = answer(square(5, 5), square(0, 0), square(9, 9), ious=(0.9, 0.2, 0.3))
    quantized = answer(square(7, 5), square(0, 0), square(20, 9), ious=(0.8, -0.1, 0.85), chosen=2)
    return compared(full, quantized)


def test_agreement_is_of_what_was_chosen_and_of_each_candidate(found):
    assert found.iou == iou(square(5, 5), square(20, 9)) == 0
    assert found.ious == pytest.approx((80 / 120, 1, 0))
    assert found.changed
    assert iou(np.zeros((2, 2), bool), np.zeros((2, 2), bool)) == 1


def test_every_part_has_its_own_colour_and_differences_are_striped():
    shown = colours.layer(square(5, 5, 20), square(15, 5, 20), "both")
    assert shown[15, 20] == colours.IN_BOTH
    assert {shown[15, 7], shown[15, 11]} == {colours.FULL_DARK, colours.FULL_LIGHT}
    assert {shown[15, 28], shown[15, 33]} == {colours.QUANTIZED_DARK, colours.QUANTIZED_LIGHT}
    assert shown[2, 2] == colours.CLEAR
    assert shown[15, 15] == colours.OUTLINE


def test_one_model_alone_and_other_objects():
    full, quantized = square(5, 5, 20), square(15, 5, 20)
    assert colours.layer(full, quantized, "full")[15, 20] == colours.FULL_ALONE
    assert colours.layer(full, quantized, "quantized")[15, 20] == colours.QUANTIZED_ALONE
    assert colours.layer(full, None, "both")[15, 20] == colours.FULL_ALONE
    below = colours.under(colours.layer(full, None, "full"), [square(22, 8, 12)])
    assert below[15, 20] == colours.FULL_ALONE
    assert below[15, 30] == colours.BESIDE


def test_the_pictures_border_is_no_edge_of_a_mask():
    assert not colours.edge(np.ones((5, 5), bool)).any()
    assert colours.edge(square(5, 5, 3)).sum() == 8


def test_the_overlay_is_transparent_where_nothing_is():
    url = colours.overlay_url(colours.layer(square(5, 5), None, "full"))
    picture = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGBA")
    assert picture.size == (40, 30)
    assert picture.getpixel((0, 0))[3] == 0
    assert picture.getpixel((10, 10)) == colours.PALETTE[colours.FULL_ALONE]


def test_a_painted_picture_is_grey_but_for_the_mask():
    picture = Image.new("RGB", (40, 30), "red")
    pixels = np.asarray(colours.painted(picture, colours.layer(square(5, 5), None, "full")))
    assert len(set(pixels[0, 0])) == 1
    assert len(set(pixels[10, 10])) > 1


def test_cards_say_what_changed(found):
    shown = text_of(view.cards(found))
    assert "full precision takes candidate 1, quantized 3" in shown
    assert "−5.0 points" in shown
    assert "appears here" in view.cards(None)
    assert "Agreement" not in view.cards(compared(answer(square(5, 5))))


def test_candidates_name_the_chosen_and_keep_ious_where_an_iou_can_be(found):
    shown = view.candidates(Image.new("RGB", (40, 30)), found)
    assert shown.count("<img") == 6
    assert "Candidate 1, chosen" in shown and "Candidate 3, chosen" in shown
    assert "expected IoU 0.000" in shown and "-0.1" not in shown
    assert "one mask" in view.candidates(Image.new("RGB", (4, 3)), compared(answer(square(5, 5))))


def test_several_objects_get_numbers_and_a_table(found):
    visit = Visit(PICTURE, (Thing(((1, 2),), (1,)), Thing(box=(1, 2, 3, 4))), active=1)
    answers = {0: found, 1: found}
    marks = view.marks(visit, answers, "both")
    assert marks.count("vq-number") == 2
    assert marks.count("vq-faint") == 1
    assert "1 (1 click)" in view.objects(visit, answers) and "2 (a box)" in view.objects(visit, answers)
    assert view.objects(Visit(PICTURE, visit.things[:1]), {0: found}) == ""


def test_an_empty_object_beside_another_shows_that_one(found):
    visit = Visit(PICTURE, (Thing(((1, 2),), (1,)), Thing()), active=1)
    assert "vq-mask" in view.marks(visit, {0: found}, "both")
    assert view.marks(Visit(PICTURE), {}, "both") == ""
