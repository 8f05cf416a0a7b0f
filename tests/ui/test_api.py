"""What programs may call."""

import gradio as gr
import pytest

from ui import api
from ui.parts.forms import first_recipe


def test_bits_are_given_out_with_their_cost(bench):
    answer = api._allocate(bench)(model="demo-vit", pictures=4, first_blocks=1)
    assert answer["bits"]["patch_embed.proj"] == (4, 8)
    assert answer["cost"]["avg_weight_bits"] <= 4
    uniform = api._allocate(bench)(model="demo-vit", policy="uniform", base_weight=3)
    assert uniform["cost"]["avg_weight_bits"] == 3


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"policy": "budget"}, "Give at least one limit"),
        ({"policy": "budget", "size_mb": 1e-6, "pictures": 2}, "nearest possible"),
        ({"size_mb": 2}, 'size_mb: Only the policy "budget" keeps limits'),
        ({"policy": "uniform", "gbops": 0.0}, 'gbops: Only the policy "budget" keeps limits'),
        ({"base_act": 9}, "base_act: A whole number from 2 to 8"),
        ({"pictures": 0}, "pictures: A whole number"),
        ({"first_blocks": 9, "pictures": 2}, "first_blocks must be a whole number"),
        ({"importance": "hearsay"}, "importance: Choose one of"),
    ],
)
def test_a_wrong_request_gets_a_sentence(bench, values, sentence):
    with pytest.raises(gr.Error, match=sentence):
        api._allocate(bench)(**{"model": "demo-vit", **values})


def test_a_run_that_learns_reports_every_module(bench):
    asked = {"model": "demo-vit", "recipe": "minmax", "calibration": 16, "held_out": 4}
    answer = api._quantize(bench)(**asked, effort="quick", iterations=2)
    units = answer["report"]["units"]
    assert [unit["unit"] for unit in units][-1] == "head"
    assert {unit["iterations"] for unit in units} == {2}
    assert api._quantize(bench)(**asked)["report"]["units"] == ()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"effort": "quick", "iterations": 0, "calibration": 16}, "iterations: A whole number from 1"),
        ({"effort": "quick", "iterations": -3, "calibration": 16}, "iterations: A whole number from 1"),
        ({"effort": "quick", "iterations": "many", "calibration": 16}, "iterations: A whole number from 1"),
        ({"iterations": 5}, "iterations: They do nothing without an effort"),
        ({"effort": "heroic"}, "effort: Choose one of none, quick"),
        ({"effort": "standard", "calibration": 31}, "calibration: Standard effort learns from 32"),
    ],
)
def test_a_wrong_wish_to_learn_gets_a_sentence(bench, values, sentence):
    with pytest.raises(gr.Error, match=sentence):
        api._quantize(bench)(**{"model": "demo-vit", **values})


def test_a_picture_is_explained(bench, tmp_path, noise_picture):
    noise_picture(30, 20).save(tmp_path / "noise.png")
    answer = api._explain(bench)(str(tmp_path / "noise.png"), "demo-vit", "elk")
    assert answer["target"][0] == "elk"
    assert [len(row) for row in answer["patches"]] == [2, 2]
    for picture, target in ((None, ""), (str(tmp_path / "noise.png"), "zebra"), (__file__, "")):
        with pytest.raises(gr.Error):
            api._explain(bench)(picture, "demo-vit", target)


def test_every_endpoint_quantizes_with_the_method_of_the_page(bench):
    with gr.Blocks() as studio:
        api.add_endpoints(bench)
    told = studio.get_api_info()["named_endpoints"]
    for endpoint in ("/quantize", "/classify"):
        recipe = next(p for p in told[endpoint]["parameters"] if p["parameter_name"] == "recipe")
        assert recipe["parameter_default"] == first_recipe()
