"""How much a run learns, as the form says it."""

import pytest

import vitq_core as vq
from ui.learning import effort
from ui.parts.forms import recipe_sentence
from vitq_core.recipes.schedule import EFFORT_NAMES, EFFORTS


def test_every_effort_is_explained_and_the_chosen_one_marked():
    text = effort.efforts_list("demo-vit", "quick")
    assert text.count("<li") == len(EFFORT_NAMES)
    assert '<li class="vq-chosen"><b>Quick</b>' in text
    assert f"{EFFORTS['quick'].iterations} correction steps per layer group" in text
    assert "7 correction steps per" in effort.efforts_list("demo-vit", "quick", "7")
    assert f"{EFFORTS['quick'].iterations} correction steps" in effort.efforts_list("demo-vit", "quick", "-3")


def test_larger_models_and_efforts_take_longer():
    guesses = {
        model: [effort.seconds(s.iterations, s, model) for s in EFFORTS.values()]
        for model in ("demo-vit", "deit-small", "deit-base")
    }
    assert all(row == sorted(row) for row in guesses.values())
    assert sorted(guesses, key=lambda model: guesses[model][0]) == list(guesses)
    assert effort.seconds(1, EFFORTS["quick"], "unknown") == 0


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "10 s"), (34, "30 s"), (200, "3 min"), (1000, "15 min"), (40_000, "11 h")]
)
def test_guesses_are_spoken_roughly(seconds, said):
    assert effort.spoken(seconds) == said


@pytest.mark.parametrize("name", list(vq.RECIPES))
def test_a_method_published_with_learning_says_when_it_lacks_it(name):
    lacks = "only a part of this method" in recipe_sentence(name, "none")
    assert lacks == (vq.RECIPES[name].options.effort != "none")
    assert recipe_sentence(name, "quick") == vq.RECIPES[name].summary
