"""The form of the first page: what a quantizer or a pass declares is a field of it, with no line in `ui`."""

from dataclasses import dataclass, replace

import gradio as gr
import pytest

import vitq_core as vq
from tests.ui.parts.test_settings import GOOD
from ui.parts.forms import first_recipe
from ui.parts.method_options import AUTOMATIC, shown_options
from ui.parts.model_bar import ModelBar
from ui.parts.settings import from_form, problems
from ui.quantize.form import Form, _recipe_chosen, build_form
from vitq_core.common.options import check_given, number, option, switch
from vitq_core.quantizers import QUANTIZERS, Uniform
from vitq_core.recipes.recipe import RECIPES, Use
from vitq_core.recipes.steps import PASSES, Pass


@dataclass(frozen=True)
class StretchOptions:
    stretch: float | None = option(
        None, "Stretch the range", number(0.0, 4.0), short="stretch", hint="1 leaves it."
    )
    corners: str | None = option(None, "Corners", number(0.0), choices={"round": 1.0, "sharp": 2.0})
    secret: float | None = option(None, "", number(0.0))  # for engineers

    def __post_init__(self) -> None:
        check_given(self)


@dataclass(frozen=True)
class SweepOptions:
    sweep: bool = option(False, "Sweep first", switch, short="swept")


class Stretched(Uniform):
    Options = StretchOptions

    def __init__(self, bits, axis=None, *, stretch=1.0, corners=1.0, secret=1.0) -> None:
        super().__init__(bits, axis)


@pytest.fixture
def somebody_elses(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a method with a quantizer and a pass that the studio never heard of."""
    monkeypatch.setitem(QUANTIZERS._entries, "stretched", Stretched)
    sweep = Pass("sweep", lambda run: None, gives=("swept",), Options=SweepOptions)
    monkeypatch.setitem(PASSES._entries, "sweep", sweep)
    theirs = replace(
        RECIPES["minmax"], name="theirs", title="Theirs", passes=("sweep", "calibrate"),
        rules={"*": Use("stretched")}, options=vq.Options(sweep=True),
    )  # fmt: skip
    monkeypatch.setitem(RECIPES._entries, "theirs", theirs)
    return "theirs"


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("adfq", (("alpha", 1.55),)), ("adfq", (("log_base", 1.37),)), ("adfq", (("log_base", "sqrt2"),)),
        ("crl", (("clip_k", 2.0), ("collapse", True))), ("crl", (("clip_k", 0.35),)),
        ("lrp", (("first_blocks", 3), ("importance", "fisher"))),
    ],
)  # fmt: skip
def test_a_form_filled_with_a_runs_settings_asks_for_them(recipe, options):
    filled = form()
    settings = replace(from_form({**GOOD, "recipe": recipe}), options=options)
    values = {
        component: change["value"]
        for component, change in filled.filled(settings).items()
        if isinstance(change, dict)
    }
    assert from_form(filled.values(values | {filled.aim: None})) == settings


def form() -> Form:
    with gr.Blocks():
        return build_form(ModelBar())


def test_there_is_a_field_for_every_option_that_is_seen_where_the_method_has_it():
    fields = form().fields
    for name, declared in shown_options().items():
        assert fields[name].label == declared.label
        assert fields[name].visible == (name in vq.RECIPES[first_recipe()].applies)


@pytest.mark.parametrize("name", ["calibration", "held_out", "seed"])
def test_a_fraction_reaches_the_check_as_it_was_typed(name):
    box = form().fields[name]
    assert name in problems({**GOOD, name: box.preprocess(2.5)})
    assert problems({**GOOD, name: box.preprocess(20)}) == {}


@pytest.mark.parametrize("recipe", list(vq.RECIPES))
def test_another_method_shows_its_own_options(recipe):
    usable = [name for name, part in zip(shown_options(), _recipe_chosen(recipe), strict=True)
              if part["visible"]]  # fmt: skip
    assert set(usable) == vq.RECIPES[recipe].applies & shown_options().keys()


def test_an_option_that_somebody_declares_is_a_field(somebody_elses):
    fields = form().fields
    assert fields["stretch"].label == "Stretch the range"
    assert fields["stretch"].info == "1 leaves it. For Theirs."
    assert isinstance(fields["stretch"], gr.Textbox) and not fields["stretch"].visible
    assert [value for _, value in fields["corners"].choices] == [AUTOMATIC, "round", "sharp"]
    assert isinstance(fields["sweep"], gr.Checkbox)
    assert "secret" not in fields
    chosen = dict(zip(shown_options(), _recipe_chosen(somebody_elses), strict=True))
    assert {name for name, part in chosen.items() if part["visible"]} == {"stretch", "corners", "sweep"}
    assert chosen["sweep"]["value"] is True, "what the method does, though its owner's default is another"


def test_its_value_reaches_the_engine_and_the_title(somebody_elses):
    asked = {**GOOD, "recipe": somebody_elses}
    assert from_form({**asked, "stretch": "", "corners": AUTOMATIC, "sweep": True}).options == ()
    made = from_form({**asked, "stretch": "1.5", "corners": "sharp", "sweep": False})
    assert dict(made.options) == {"stretch": 1.5, "corners": 2.0, "sweep": False}
    assert made.title.endswith("Theirs · W4/A4 · Corners sharp · stretch 1.5 · without swept")
    assert made.slug.endswith("-theirs-w4a4-corners2-stretch1.5-nosweep")
    options = made.engine_recipe().options
    assert (options.stretch, options.corners, options.sweep) == (1.5, 2.0, False)


def test_a_wrong_value_gets_its_owners_sentence(somebody_elses):
    asked = {**GOOD, "recipe": somebody_elses, "stretch": "5"}
    assert problems(asked) == {"stretch": "It must be a number above 0 and below 4, got 5.0."}
    assert problems({**asked, "recipe": "adfq"}) == {}
