"""From the form's values to a run."""

import pytest
import torch

import vitq_core as vq
from ui.parts import method_options
from ui.parts.settings import FIELDS, from_form, problems
from vitq_core.experiment.runs import GENERATED

GOOD = {
    "model": "deit-tiny",
    "recipe": "adfq",
    "weight_bits": 4,
    "act_bits": 4,
    "effort": "none",
    "iterations": "",
    "calibration": 32,
    "held_out": 256,
    "seed": 0,
    "pictures": "own",
    "folder": "",
    "uploads": None,
}


def test_the_form_opens_with_what_the_method_does_itself():
    assert tuple(GOOD) == FIELDS
    assert problems(GOOD) == {}
    assert from_form(GOOD).options == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", None),
        ("model", "../../etc"),
        ("recipe", "nope"),
        ("weight_bits", 9),
        ("act_bits", 1),
        ("act_bits", 4.5),
        ("calibration", 2.5),
        ("held_out", 2.5),
        ("seed", 1.5),
        ("calibration", 0),
        ("calibration", 100_000),
        ("calibration", None),
        ("calibration", "many"),
        ("calibration", float("nan")),
        ("held_out", -1),
        ("seed", -1),
        ("seed", True),
        ("effort", "heroic"),
    ],
)
def test_a_wrong_value_is_named_with_a_sentence(field, value):
    found = problems({**GOOD, field: value})
    assert list(found) == [field]
    assert found[field].endswith(".")


@pytest.mark.parametrize("wrong", ["0", "-3", "many", "2.5", "1e3", 0, 2.5, True, 10**9])
def test_a_wrong_number_of_iterations_counts_only_where_something_is_learned(wrong):
    learns = {**GOOD, "effort": "quick", "calibration": 128, "iterations": wrong}
    assert list(problems(learns)) == ["iterations"]
    assert problems({**learns, "effort": "none"}) == {}
    assert from_form({**learns, "effort": "none"}).iterations is None


def test_an_effort_needs_a_batch_of_pictures():
    values = {**GOOD, "effort": "quick", "calibration": 7}
    assert "at least 8" in problems(values)["calibration"]
    assert problems({**values, "calibration": 8}) == {}
    assert "whole number" in problems({**values, "calibration": 0})["calibration"]


@pytest.mark.parametrize("recipe", list(method_options.methods()))
def test_nothing_is_learned_unless_it_is_asked_for(recipe):
    chosen = from_form({**GOOD, "recipe": recipe})
    assert chosen.engine_recipe().options.schedule is None
    asked = from_form({**GOOD, "recipe": recipe, "effort": "quick", "iterations": " 7 "})
    assert asked.engine_recipe().options.schedule.iterations == 7
    assert "quick effort" in asked.title
    assert asked != from_form({**GOOD, "recipe": recipe, "effort": "quick"})


@pytest.mark.parametrize("place", ["folder", "uploads"])
def test_own_pictures_have_to_be_given(place):
    assert list(problems({**GOOD, "pictures": place})) == [place]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.zip"], None),
        (["a.png", "b.png"], None),
        (["a.zip", "B.ZIP"], "one .zip at a time"),
        (["a.zip", "b.zip", "c.png"], "one .zip at a time"),
        (["a.zip", "c.png"], "not both"),
    ],
)
def test_one_zip_is_all_that_is_read(names, said):
    found = problems({**GOOD, "pictures": "uploads", "uploads": names})
    assert found == {} if said is None else said in found["uploads"]


@pytest.mark.parametrize("bits", [2, 8])
@pytest.mark.parametrize("field", ["weight_bits", "act_bits"])
def test_bits_without_room_for_the_published_mix_are_refused_in_the_form(field, bits):
    values = {**GOOD, "recipe": "lrp", field: bits}
    found = problems(values)
    assert list(found) == [field]
    assert "3 to 7" in found[field] and "“Smart bit budget”" in found[field] and "policy" not in found[field]
    assert problems({**values, field: 3}) == {}
    assert len(problems({**values, "weight_bits": 8, "act_bits": 8})) == 1, "said once"
    assert problems({**values, "first_blocks": "0"}) == {}, "nothing is moved"
    assert problems({**values, "recipe": "lrp-budget"}) == {}


def test_the_engine_refuses_the_same_bits(bench):
    model = bench.model("tiny")
    for bits in (2, 8):
        asked = {**GOOD, "recipe": "lrp", "weight_bits": bits}
        assert problems(asked)
        with pytest.raises(ValueError, match="recipe 'lrp-budget' has no such limit"):
            vq.quantize(model, torch.zeros(2, 3, 16, 16), vq.recipe("lrp", bits, 4))


def test_pictures_from_noise_are_a_place_of_their_own():
    made = from_form({**GOOD, "pictures": "generated"})
    assert made.asked().pictures == GENERATED and made != from_form(GOOD)
    assert from_form({**GOOD, "pictures": "generated", "folder": "/x", "uploads": ["a.png"]}) == made


def test_boxes_that_are_not_used_make_no_other_result():
    assert from_form({**GOOD, "folder": "/somewhere", "uploads": ["a.png"]}) == from_form(GOOD)
    assert from_form({**GOOD, "clip_k": "2", "first_blocks": "7"}) == from_form(GOOD)


@pytest.mark.parametrize(
    ("changed", "title", "slug"),
    [
        ({"alpha": "3"}, "α 3", "alpha3"),
        ({"alpha_ratio": "0.005"}, "share kept exact 0.005", "alpharatio0.005"),
        ({"log_base": "√2"}, "log base √2", "logbasesqrt2"),
        ({"log_base": "fitted"}, "log base fitted", "logbasefitted"),
        ({"recipe": "crl", "clip_k": "1.5"}, "clip 1.5", "clipk1.5"),
        ({"recipe": "crl", "collapse": True}, "one scale per layer", "collapse"),
        ({"recipe": "lrp", "first_blocks": "1"}, "first blocks 1", "firstblocks1"),
        ({"recipe": "lrp", "reductions": False}, "without taking bits", "noreductions"),
        (
            {"recipe": "lrp", "importance": "Sensitivity (Fisher)"},
            "ranked by Sensitivity (Fisher)",
            "importancefisher",
        ),
        ({"seed": 3}, "seed 3", "seed3"),
        ({"calibration": 64}, "64 calibration pictures", "cal64"),
        ({"calibration": 1}, "1 calibration picture", "cal1"),
        ({"effort": "quick", "calibration": 32, "iterations": 1}, "1 iteration", "iter1"),
        ({"pictures": "folder", "folder": "/home/me/my pictures/"}, "my pictures", "my-pictures"),
        ({"pictures": "folder", "folder": "/"}, "own folder", "own-folder"),
        ({"pictures": "folder", "folder": "/home/me/Bees & <b>.ZIP"}, "Bees & <b>.ZIP", "Bees-b"),
        ({"pictures": "uploads", "uploads": ["/tmp/12ab/bees.zip"]}, "bees.zip", "bees"),
        ({"pictures": "uploads", "uploads": ["/tmp/12ab/äpfel.zip"]}, "äpfel.zip", "äpfel"),
        ({"pictures": "uploads", "uploads": ["/tmp/1/a.png"]}, "1 own file", "1files"),
        ({"pictures": "uploads", "uploads": ["/tmp/1/a.png", "/tmp/2/b.png"]}, "2 own files", "2files"),
        ({"effort": "quick", "iterations": 7}, "7 iterations", "iter7"),
        ({"pictures": "generated", "uploads": ["/tmp/1/a.png"]}, "pictures from noise", "noise"),
    ],
)
def test_titles_and_file_names_tell_runs_apart(changed, title, slug):
    usual = {**GOOD, "recipe": "adfq", "calibration": 32, "seed": 0}
    settings = from_form({**usual, **changed})
    assert title in settings.title.split(" · ")
    assert settings.slug.endswith(f"-{slug}")
    assert from_form(usual).slug.endswith("adfq-w4a4")
    assert "/" not in settings.slug and "tmp" not in settings.title + settings.slug


def test_a_long_name_of_a_folder_leaves_a_name_that_a_file_may_have():
    settings = from_form({**GOOD, "pictures": "folder", "folder": "/" + "ü" * 120})
    assert len(f"{settings.slug}.zip".encode()) < 200
