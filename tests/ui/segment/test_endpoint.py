"""Masks for programs."""

from __future__ import annotations

import zipfile

import gradio as gr
import pytest
from PIL import ExifTags, Image

from tests import nasty
from ui.segment import endpoint

ASKED = ("tiny-sam", "", 6, 6, "both")


@pytest.fixture
def sideways(tmp_path, noise_picture) -> str:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture = noise_picture(60, 40)
    picture.save(tmp_path / "sideways.jpg", exif=exif)
    return str(tmp_path / "sideways.jpg")


def test_prompts_and_masks_are_of_the_upright_picture(bench, sideways):
    prompts = [{"points": [[39, 59]], "labels": [1]}, {"box": [2, 2, 40, 60]}]
    told, file = endpoint._segment(bench)(sideways, prompts, *ASKED)
    assert told["size"] == [40, 60]
    assert [len(item["full_precision"]["ious"]) for item in told["objects"]] == [3, 1]
    assert "quantized" not in told["objects"][0]
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == [f"full-precision/object-{number}.png" for number in (1, 2)]
        with archive.open("full-precision/object-2.png") as mask:
            assert Image.open(mask).size == (40, 60)


def test_both_models_answer_where_a_recipe_is_named(bench, sideways):
    told, file = endpoint._segment(bench)(
        sideways, [{"box": [2, 2, 30, 30]}], "tiny-sam", "minmax", 4, 4, "both"
    )
    assert set(told["objects"][0]) == {"full_precision", "quantized", "iou", "changed"}
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["full-precision/object-1.png", "quantized/object-1.png"]


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (0, None, "picture: Send one"),
        (0, __file__, "is not a picture"),
        (1, None, "Send a list"),
        (1, [], "Send a list"),
        (1, [{}], "Send a list"),
        (1, [{"point": [1, 2]}], "Send a list"),
        (1, [{"points": [[1, 2]], "labels": []}], "every point needs a label"),
        (1, [{"points": [[400, 2]], "labels": [1]}], "outside the picture"),
        (1, [{"points": [[1e400, 2]], "labels": [1]}], "in pixels"),
        (1, [{"box": [9, 9, 1, 1]}], "empty or inverted"),
        (1, [{"box": 7}], "a box must be"),
        (2, "no-model", "model: Choose one of"),
        (3, "no-recipe", "recipe: Choose one of"),
    ],
)
def test_a_wrong_request_gets_a_sentence(place, value, sentence, bench, sideways):
    asked = [sideways, [{"box": [2, 2, 30, 30]}], *ASKED]
    asked[place] = value
    with pytest.raises(gr.Error, match=sentence) as caught:
        endpoint._segment(bench)(*asked)
    assert nasty.sentence(str(caught.value))


def test_what_is_no_prompt_gets_a_sentence(bench, sideways):
    for value in nasty.SENT.values():
        for prompts in (value, [value], [{"points": value, "labels": [1]}], [{"box": value}]):
            with pytest.raises(gr.Error) as caught:
                endpoint._segment(bench)(sideways, prompts, *ASKED)
            assert nasty.sentence(str(caught.value))
