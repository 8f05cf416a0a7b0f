"""Which passes can follow each other is known before any work."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

import vitq_core as vq
from vitq_core.common.options import number, option, options_of
from vitq_core.graph import prepared as prepared_module
from vitq_core.quantizers import QUANTIZERS, Uniform
from vitq_core.recipes.recipe import Use
from vitq_core.recipes.steps import PASSES, ordered


@pytest.mark.parametrize(
    "passes, sentence",
    [
        (("calibrat",), "unknown pass 'calibrat'; available: allocate_budget, allocate_paper, block_search"),
        ((), "leaves the model in full precision: it must have the pass 'calibrate'"),
        (("rotate_heads",), "leaves the model in full precision"),
        (("calibrate", "calibrate"), "'calibrate' cannot follow 'calibrate', .* calibrated already"),
        (
            ("calibrate", "allocate_paper"),
            "'allocate_paper' needs .* precision, so it must come before",
        ),
        (("allocate_paper", "allocate_budget", "calibrate"), "cannot follow 'allocate_paper', .* its bits"),
        (("reparameterize_mean", "calibrate"), "needs a model that is calibrated, .* after .*'calibrate'"),
        (("calibrate", "reconstruct", "reparameterize_clip"), "'reparameterize_clip' needs .* calibrated"),
        (
            ("calibrate", "reparameterize_clip", "reparameterize_mean"),
            "cannot follow 'reparameterize_clip', .* rescaled already",
        ),
        (("rotate_heads", "rotate_heads", "calibrate"), "rotated already"),
    ],
)
def test_passes_that_cannot_be_followed_are_refused_before_any_work(model, images, passes, sentence) -> None:
    recipe, heard = replace(vq.recipe("repq"), passes=passes), []
    with pytest.raises(ValueError, match=sentence):
        vq.quantize(model, images, recipe, progress=lambda *told: heard.append(told))
    assert not heard
    with pytest.raises(ValueError, match=sentence):
        vq.Recipe.from_json(recipe.to_json())


@pytest.mark.parametrize("rotated", ["first", "last"])
def test_their_order_is_kept(model, images, rotated: str) -> None:
    order = ["rotate_heads", "allocate_budget"] if rotated == "first" else ["allocate_budget", "rotate_heads"]
    recipe, heard = replace(vq.recipe("lrp-budget"), passes=(*order, "calibrate")), []
    vq.quantize(model, images, recipe, progress=lambda done, message: heard.append(message))
    turned, scored = heard.index("Rotating attention heads"), heard.index("Ranking the layers")
    assert (turned < scored) == (rotated == "first")


@pytest.mark.parametrize("name", list(PASSES))
def test_every_pass_says_what_it_needs_and_gives(name: str) -> None:
    step = PASSES[name]
    assert step.name == name and step.weight > 0 and step.needs
    assert set(step.needs) <= {gift for other in PASSES.values() for gift in other.gives} | {
        "in full precision"
    }
    assert step.gives or name == "compare_stages"  # which decides about others
    assert not set(step.gives) & set(step.needs)


@pytest.mark.parametrize("name", list(vq.RECIPES))
def test_every_recipe_can_be_followed(name: str) -> None:
    recipe = vq.recipe(name, effort="none")
    assert (
        [step.name for step in recipe.plan()]
        == list(recipe.passes)
        == [step.name for step in ordered(recipe.passes, name)]
    )
    assert vq.recipe(name, effort="quick").plan()[-1].name == "reconstruct"


@pytest.mark.parametrize("owner", [*QUANTIZERS.values(), *PASSES.values()], ids=lambda owner: str(owner)[:40])
def test_every_option_has_a_default_and_choices_that_pass_its_check_and_its_owner_refuses_others(
    owner,
) -> None:
    for name, declared in options_of(owner).items():
        assert declared.check(name, declared.default) == declared.default
        assert declared.short or not declared.label
        for value in (declared.choices or {}).values():
            declared.check(name, value)
        with pytest.raises(ValueError, match=name.split("_")[0]):
            owner.Options(**{declared.argument: [3]})


def test_a_quantizers_keyword_only_option_arrives(model, images, monkeypatch) -> None:
    @dataclass(frozen=True)
    class Stretch:
        stretch: float | None = option(None, "Stretch", number(0.0))

    class Stretched(Uniform):
        Options = Stretch

        def __init__(self, bits: int, axis: int | None = None, *, stretch: float = 1.0) -> None:
            super().__init__(bits, axis, range="minmax")
            self.stretch = stretch

        def set_parameters(self, scale: torch.Tensor, zero_point: torch.Tensor) -> None:
            super().set_parameters(scale * self.stretch, zero_point)

    monkeypatch.setitem(QUANTIZERS._entries, "stretched", Stretched)
    rules = {"*:weight": Use("stretched", {"axis": 0}), "*": Use("uniform")}
    plain = replace(vq.recipe("minmax"), rules=rules)
    stretched = replace(plain, options=vq.Options(stretch=2.0))
    of_all = vq.RECIPES["minmax"].applies
    assert of_all == {"heads", "parts"} and stretched.applies == {"stretch", *of_all}
    scales = [
        vq.quantize(model, images, recipe).model.vitq.simulated_weight("head").quantizer.scale
        for recipe in (plain, stretched)
    ]
    torch.testing.assert_close(scales[1], 2 * scales[0])
    with pytest.raises(ValueError, match="option 'stretch' does nothing in recipe 'minmax'"):
        vq.quantize(model, images, replace(vq.recipe("minmax"), options=vq.Options(stretch=2.0)))


def test_an_option_that_nobody_owns_is_refused_before_any_work(model, images) -> None:
    recipe = replace(vq.recipe("minmax"), options=vq.Options(glue=3))
    with pytest.raises(ValueError, match=r"unknown option 'glue'; available: bits, .*clip_k"):
        vq.quantize(model, images, recipe)


@pytest.mark.parametrize("name", list(vq.RECIPES))
def test_a_run_makes_one_copy_and_traces_it_once(model, images, calibrating, monkeypatch, name: str) -> None:
    counted = {"standalone": 0, "private_copy": 0, "trace_layers": 0}

    def counting(what: str):
        original = getattr(prepared_module, what)

        def call(*args, **kwargs):
            counted[what] += 1
            return original(*args, **kwargs)

        return call

    for what in counted:
        monkeypatch.setattr(prepared_module, what, counting(what))
    vq.quantize(model, images, calibrating(name))
    assert counted == {"standalone": 1, "private_copy": 0, "trace_layers": 1}
