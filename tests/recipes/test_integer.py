"""The integer form of a recipe: evenly spaced everywhere, and nothing else changed."""

from __future__ import annotations

import pytest

import vitq_core as vq
from vitq_core.quantizers import QUANTIZERS


@pytest.mark.parametrize("name", vq.RECIPES)
def test_every_site_is_on_a_grid_with_one_scale(model, images, calibrating, name: str) -> None:
    form = vq.integer_form(calibrating(name, 5, 5))
    simulation = vq.quantize(model, images, form).model.vitq
    for site in simulation.sites():
        quantizer = simulation.quantizer(site)
        assert quantizer.on_grid, site
        assert site.tensor == "weight" or quantizer.scale.numel() == 1, site
    assert vq.integer_form(form) == form
    assert vq.Recipe.from_json(form.to_json()) == form


@pytest.mark.parametrize("name", ["minmax", "percentile"])
def test_what_is_evenly_spaced_is_the_same_recipe(name: str) -> None:
    recipe = vq.recipe(name, 3, 5)
    assert vq.integer_form(recipe) is recipe


def test_only_what_has_no_integer_form_is_replaced() -> None:
    recipe = vq.recipe("adfq", 4, 6, effort="quick", iterations=7)
    form = vq.integer_form(recipe)
    assert (form.name, form.weight_bits, form.act_bits) == ("adfq", 4, 6)
    assert form.title == "ADFQ-ViT, integer form" and form.options.effort == "quick"
    assert form.options.schedule == recipe.options.schedule
    changed = {pattern for pattern, use in form.rules.items() if use != recipe.rules[pattern]}
    assert changed == {"post_layernorm", "post_gelu", "post_softmax"}
    assert all(form.rules[pattern] == vq.Use("uniform", bits=8) for pattern in changed)


def test_options_of_quantizers_that_are_gone_are_gone() -> None:
    form = vq.integer_form(vq.recipe("adfq", 4, 4, alpha=3.0))
    assert "alpha" not in form.options and form.plan()


def test_rescaling_leaves_one_scale() -> None:
    assert vq.integer_form(vq.recipe("crl")).passes == ("calibrate", "reparameterize_mean")
    assert "reparameterize_judged" not in vq.integer_form(vq.recipe("vitq")).passes
    assert vq.integer_form(vq.recipe("repq")).passes == vq.RECIPES["repq"].passes
    assert all(
        QUANTIZERS[use.quantizer].on_grid for use in vq.integer_form(vq.recipe("ptq4sam")).rules.values()
    )
