"""Options as quantizers and passes declare them: read from a form, checked by their owners, in words."""

import pytest

import vitq_core as vq
from ui.parts import method_options
from ui.parts.method_options import AUTOMATIC, shown_options
from ui.parts.settings import FIELDS, from_form, problems
from vitq_core.experiment import known_options

from .test_settings import GOOD

ADFQ, LRP = {**GOOD, "recipe": "adfq"}, {**GOOD, "recipe": "lrp"}


@pytest.mark.parametrize("name", shown_options())
def test_every_field_has_words_of_its_own(name):
    """And is read as nothing where nothing was said."""
    option = known_options()[name]
    assert name not in FIELDS
    assert option.kind in ("choice", "switch", "whole", "number")
    empty = {"choice": AUTOMATIC, "switch": None}.get(option.kind, " ")
    assert method_options.read(option, empty) is None and method_options.wrong(option, empty) == ""
    assert method_options.wrong(option, "neither here nor there").endswith(".")
    for value in (option.choices or {"on": True, "off": False}).values():
        words, part = method_options.in_words(name, value)
        assert option.short in words and name.replace("_", "") in part


def test_an_option_that_no_method_has_gets_no_field():
    """As that of a quantizer which only a caller's own recipe names."""
    assert "taus" in known_options() and "taus" not in shown_options()


@pytest.mark.parametrize("recipe", list(method_options.methods()))
def test_every_method_takes_what_the_form_can_say(recipe):
    said = {"alpha_ratio": "0.005", "clip_k": "1.5", "collapse": True, "log_base": "√2"}
    said |= {"first_blocks": "1", "reductions": False, "importance": "Rounding noise only"}
    said |= {"gelu_scales": "a power of two apart", "twin": "as the published code adds", "mixed": True}
    said |= {"gradient": "rounding noise, as published", "scales_tried": "all, as published"}
    said |= {"ranking": "sum, as printed"}
    assert said.keys() | {"alpha"} == shown_options().keys()
    asked = from_form({**GOOD, "recipe": recipe, **said})
    assert dict(asked.options).keys() == said.keys() & vq.RECIPES[recipe].applies
    made = asked.engine_recipe()
    assert (made.name, made.weight_bits, made.act_bits) == (recipe, 4, 4)
    for name in dict(asked.options):
        assert getattr(made.options, name) != getattr(vq.recipe(recipe).options, name)


@pytest.mark.parametrize("recipe", list(method_options.methods()))
def test_what_the_method_does_anyway_is_no_other_run(recipe):
    own = vq.RECIPES[recipe].options
    said = {}
    for name, option in method_options.applied(recipe).items():
        read_as = {value: text for text, value in (option.choices or {}).items()}
        said[name] = read_as.get(getattr(own, name)) if option.kind == "choice" else getattr(own, name)
    assert from_form({**GOOD, "recipe": recipe, **said}).options == ()


@pytest.mark.parametrize("source", list(vq.SOURCES))
@pytest.mark.parametrize("recipe", [name for name in vq.RECIPES if "importance" in vq.RECIPES[name].applies])
def test_layers_are_ranked_by_what_the_form_says(recipe, source):
    made = from_form({**GOOD, "recipe": recipe, "importance": vq.SOURCES[source].title}).engine_recipe()
    assert made.options.importance == source


@pytest.mark.parametrize(
    ("values", "field", "sentence"),
    [
        ({"alpha": "-1"}, "alpha", "It must be a number above 0, got -1.0."),
        ({"alpha": "much"}, "alpha", "It must be a number above 0, got 'much'."),
        ({"alpha_ratio": "50"}, "alpha_ratio", "It must be a number above 0 and below 0.5, got 50.0."),
        ({"log_base": "x"}, "log_base", "Choose one of automatic, √2, 2, fitted, or type a number."),
        ({"log_base": "0.5"}, "log_base", "It must be a number above 1 and below 16, got 0.5."),
    ],
)
def test_a_wrong_value_is_refused_in_its_owners_words_where_the_method_has_the_option(
    values, field, sentence
):
    assert problems({**ADFQ, **values}) == {field: sentence}
    assert problems({**GOOD, "recipe": "minmax", **values}) == {}


def test_numbers_are_whole_where_their_owner_says_so():
    assert dict(from_form({**LRP, "first_blocks": " 3 "}).options) == {"first_blocks": 3}
    assert problems({**LRP, "first_blocks": "2.5"}) == {
        "first_blocks": "It must be a whole number from 0 to 1000, got '2.5'."
    }
    alpha = dict(from_form({**ADFQ, "alpha": "3"}).options)["alpha"]
    assert alpha == 3 and isinstance(alpha, float)


@pytest.mark.parametrize("name", shown_options())
def test_a_field_filled_with_a_value_is_read_as_that_value(name):
    """Of a stored run, or of what was tried elsewhere: a number that is none of the choices too."""
    option = shown_options()[name]
    values = {"choice": [*(option.choices or {}).values()], "switch": [True, False], "whole": [3]}
    for value in values.get(option.kind, [0.03125, 0.1]):
        said = method_options.said_as(option, value)
        assert method_options.read(option, said) == value and not method_options.wrong(option, said)
    if option.kind == "choice" and method_options.takes_numbers(option):
        said = method_options.said_as(option, 1.35)
        assert method_options.read(option, said) == 1.35 and not method_options.wrong(option, said)


def test_options_that_contradict_each_other_are_said_once():
    said = "Give alpha or alpha_ratio, not both: each sets the outlier threshold."
    assert problems({**ADFQ, "alpha": "3", "alpha_ratio": "0.01"}) == {"alpha_ratio": said}
