"""Clicks and boxes as the page's handlers answer them."""

from __future__ import annotations

import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import ExifTags, Image
from segment_anything.modeling import ImageEncoderViT

from tests import nasty
from tests.shown import text_of
from ui.segment.settings import SamSettings

ORIENTATION_SIDEWAYS = 6
QUANTIZED = SamSettings("tiny-sam", "minmax", 4, 4, calibration=2)


@pytest.fixture
def encodings(monkeypatch) -> list[int]:
    """One entry for each time that an image encoder runs."""
    calls, forward = [], ImageEncoderViT.forward
    monkeypatch.setattr(ImageEncoderViT, "forward", lambda self, x: calls.append(len(x)) or forward(self, x))
    return calls


def test_the_first_look_shows_a_picture_and_asks_no_model(visitor, encodings):
    me = visitor().opens()
    canvas = me.seen[me.board.canvas]
    assert canvas["picture"].startswith("data:image/jpeg")
    assert canvas["value"]["width"] == 512
    assert not encodings
    assert me.board.visit not in me.takes(me.board.open(me.held))


def test_a_second_click_does_not_encode_again(visitor, encodings):
    me = visitor().opens()
    me.clicks(0.5, 0.5)
    assert len(encodings) == 1
    me.clicks(0.2, 0.3)
    assert len(encodings) == 1
    assert [len(thing.points) for thing in me.visit.things] == [2]
    assert "vq-mask" in me.seen[me.board.canvas]["marks"]


def test_a_click_is_in_pixels_of_the_original_and_a_tool_turns_it_round(visitor):
    me = visitor().opens()
    me.clicks(0.25, 0.5)
    me.held[me.board.tool] = "beside"
    me.clicks(0.5, 0.5)
    me.clicks(0.75, 0.5, positive=False)
    assert me.visit.thing.points == ((128, 256), (256, 256), (384, 256))
    assert me.visit.thing.labels == (1, 0, 1)


def test_another_object_leaves_the_first_ones_mask_as_it_was(visitor, bench):
    me = visitor().opens()
    me.clicks(0.5, 0.5)
    before = bench.compare("tiny-sam", None, me.visit.picture, me.visit.things[0]).full.masks
    me.takes(me.board.begin_another(me.held))
    me.drags(0.1, 0.1, 0.4, 0.4)
    after = bench.compare("tiny-sam", None, me.visit.picture, me.visit.things[0]).full.masks
    assert np.array_equal(before, after)
    assert "vq-objects" in me.seen[me.board.objects]
    me.held[me.board.number] = 0
    me.takes(me.board.choose(me.held))
    assert me.visit.active == 0


def test_undo_and_clear(visitor):
    me = visitor().opens()
    me.clicks(0.5, 0.5)
    me.drags(0.1, 0.1, 0.4, 0.4)
    me.takes(me.board.clear_all(me.held))
    assert not me.visit.pointed
    me.takes(me.board.step_back(me.held))
    assert me.visit.thing.box and me.visit.thing.points
    me.takes(me.board.step_back(me.held))
    assert not me.visit.thing.box and me.visit.thing.points


def test_two_visitors_share_nothing(visitor):
    one, two = visitor().opens(), visitor().opens()
    one.clicks(0.5, 0.5)
    two.clicks(0.1, 0.1)
    assert one.visit.thing.points != two.visit.thing.points
    assert len(one.visit.thing.points) == len(two.visit.thing.points) == 1


def test_what_no_browser_sends_changes_nothing(visitor):
    me = visitor().opens()
    me.clicks(0.5, 0.5)
    kept = me.visit
    for value in (*nasty.SENT.values(), None):
        for data in (value, {"key": me.key, "kind": "point", "place": [value, 0.5], "positive": True}):
            me.sends(data)
            assert nasty.sentence(me.said)
            assert "vq-error" in me.said
            assert me.visit == kept


def test_a_prompt_that_means_nothing_is_said_and_not_kept(visitor):
    me = visitor().opens()
    me.drags(0.5, 0.5, 0.5, 0.9)
    assert "empty or inverted" in me.said
    assert not me.visit.pointed


def test_clicks_beside_alone_get_a_hint(visitor):
    me = visitor().opens()
    me.clicks(0.5, 0.5, positive=False)
    assert "what the object is not" in me.said


def test_a_click_at_the_last_pixel_is_inside(visitor):
    me = visitor().opens()
    me.clicks(1.0, 1.0)
    assert "vq-error" not in me.said
    assert me.visit.pointed


def save_sideways(path, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = ORIENTATION_SIDEWAYS
    Image.effect_mandelbrot(size, (-2, -1.2, 1, 1.2), 20).convert("RGB").save(path, exif=exif)


def test_a_picture_that_was_taken_sideways_stands_upright(visitor, bench, tmp_path):
    save_sideways(tmp_path / "tall.jpg", (1800, 1200))
    me = visitor().opens()
    me.drops(tmp_path / "tall.jpg")
    assert me.visit.picture.size == (1200, 1800)
    me.clicks(0.5, 0.25)
    assert me.visit.thing.points == ((600, 450),)
    (answer,) = bench.ask("tiny-sam", None, me.visit.picture, me.visit.thing)
    assert answer.mask.shape == (1800, 1200)


@pytest.mark.parametrize("size", [(1, 1), (600, 3), (3, 600)])
def test_odd_shapes_are_answered(size, visitor, tmp_path):
    Image.new("RGB", size, "red").save(tmp_path / "odd.png")
    me = visitor().opens()
    me.drops(tmp_path / "odd.png")
    me.clicks(0.5, 0.5)
    assert "vq-error" not in me.said


def test_what_is_no_picture_leaves_everything_as_it_was(visitor, tmp_path):
    (tmp_path / "notes.png").write_text("not a picture")
    me = visitor().opens()
    me.clicks(0.5, 0.5)
    kept = me.visit
    me.drops(tmp_path / "notes.png")
    assert "notes.png is not a picture" in me.said
    assert me.visit == kept
    Image.new("RGB", (1, 600)).save(tmp_path / "line.png")
    me.drops(tmp_path / "line.png")
    me.clicks(0.5, 0.5)
    assert "too narrow" in me.said


def test_both_models_answer_once_there_are_two(visitor, bench, encodings):
    me = visitor().opens()
    me.clicks(0.5, 0.5)
    assert "Agreement" not in me.seen[me.board.cards]
    bench.quantize(QUANTIZED)
    me.takes(me.page.use({**me.held, me.page.done: QUANTIZED}))
    assert me.held[me.board.shown] == QUANTIZED
    for part in ("Agreement", "Expected, full precision", "Expected, quantized", "Choice"):
        assert part in text_of(me.seen[me.board.cards])
    assert me.seen[me.board.sides].count("<img") == 2
    assert me.seen[me.board.candidates].count("<img") == 6
    assert me.seen[me.board.candidates].count("chosen") >= 2
    encodings.clear()
    me.clicks(0.3, 0.3)
    assert not encodings


def test_another_model_has_its_own_answers_and_no_quantized_one(visitor, bench, encodings):
    bench.quantize(QUANTIZED)
    me = visitor().opens()
    me.held[me.board.shown] = QUANTIZED
    me.clicks(0.5, 0.5)
    before = me.seen[me.board.cards]
    encodings.clear()
    me.held[me.page.form.fields["model"]] = "other-sam"
    me.takes(me.board.switch(me.held))
    assert me.held[me.board.shown] is None
    assert len(encodings) == 1
    assert me.seen[me.board.cards] != before
    assert "Agreement" not in me.seen[me.board.cards]


def test_a_quantized_model_that_is_gone_is_named(visitor):
    me = visitor().opens()
    me.held[me.board.shown] = QUANTIZED
    me.clicks(0.5, 0.5)
    assert "no longer in memory" in me.said
    assert me.held[me.board.shown] is None
    assert me.visit.pointed


def test_masks_are_saved_as_large_as_the_picture(visitor, tmp_path):
    save_sideways(tmp_path / "tall.jpg", (600, 400))
    me = visitor().opens()
    me.drops(tmp_path / "tall.jpg")
    me.clicks(0.5, 0.5)
    with zipfile.ZipFile(me.board.masks(me.held)) as archive:
        assert archive.namelist() == ["full-precision/object-1.png"]
        with archive.open("full-precision/object-1.png") as file:
            assert Image.open(file).size == (400, 600)


def test_the_plain_picture_knows_clicks_and_boxes(visitor):
    me = visitor().opens()
    plain = me.board.plain
    me.held |= {plain.action: "on", plain.corner: None}
    me.takes(plain.point(me.held, SimpleNamespace(index=[10, 20])))
    assert me.visit.thing.points == ((10.5, 20.5),)
    me.held[plain.action] = "corner"
    me.takes(plain.point(me.held, SimpleNamespace(index=[100, 200])))
    me.takes(plain.point(me.held, SimpleNamespace(index=[50, 60])))
    assert me.visit.thing.box == (50.5, 60.5, 100.5, 200.5)
    for index in nasty.INDICES.values():
        shown = plain.point(me.held, SimpleNamespace(index=index if index != [0, 1] else [0, 9999]))
        assert "no place" in shown[plain.said]


def test_nothing_is_downloaded_at_a_click(visitor, bench, monkeypatch):
    loaded = []
    monkeypatch.setattr(bench, "full", lambda name: loaded.append(name))
    me = visitor().opens()
    me.held[me.page.form.fields["model"]] = "sam-vit-b"
    me.takes(me.board.switch(me.held))
    me.clicks(0.5, 0.5)
    assert "press Load this model" in me.said
    assert not me.visit.pointed and not loaded
    assert me.page.form._model_chosen("sam-vit-b")[1]["visible"]
    assert not me.page.form._model_chosen("tiny-sam")[1]["visible"]
    me.board.load(me.held)
    assert loaded == ["sam-vit-b"]
