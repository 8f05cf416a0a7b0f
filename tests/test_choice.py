"""Which quantizer each site gets: the one that a naive twin finds to hurt its layer's output least."""

from dataclasses import replace

import pytest
import torch

import vitq_core as vq
from vitq_core.calibration import CalibrationPictures
from vitq_core.choice import choose_quantizers
from vitq_core.monitor import Monitor
from vitq_core.recipe import Use
from vitq_core.relevance.subject import subject_of
from vitq_core.simulation import make_quantizer

CUT, WIDE = Use("uniform"), Use("uniform", {"range": "minmax"})
ALTERNATIVES = {
    "*.qkv:weight": (Use("uniform", {"axis": 0}), Use("uniform")),
    "post_softmax": (Use("log_sqrt2"), WIDE),
    "query": (CUT, WIDE),
    "value": (WIDE, CUT),
}


@pytest.fixture
def recipe() -> vq.Recipe:
    passes = ("choose_quantizers", "calibrate")
    return replace(vq.recipe("percentile", 3, 3), alternatives=ALTERNATIVES, passes=passes)


def choose(model, images, recipe, monitor=None) -> vq.Recipe:
    with CalibrationPictures(images, None) as pictures:
        return choose_quantizers(model, recipe, pictures, monitor or Monitor())


def test_every_site_gets_the_use_with_the_least_error_of_its_layers_output(model, images, recipe) -> None:
    subject = subject_of(model, "quantize", images[:1])
    seen: dict[str, tuple] = {}
    for name in subject.layers:
        hook = lambda part, inputs, output, name=name: seen.update({name: inputs})  # noqa: E731
        subject.module.get_submodule(name).register_forward_hook(hook)
    with torch.no_grad():
        subject.module(images)
    chosen = choose(model, images, recipe)
    named = [
        site
        for layer in subject.layers.values()
        for site in layer.sites
        if str(site).endswith("qkv:weight") or site.role in ALTERNATIVES
    ]
    assert {str(site) for site in named} == set(chosen.rules) - set(recipe.rules) and len(named) == 8
    for site in named:
        uses = ALTERNATIVES.get(site.role, ALTERNATIVES["*.qkv:weight"])
        errors = [naive_error(subject, recipe, site, use, seen[site.module]) for use in uses]
        best = chosen.rules[str(site)]
        assert errors[uses.index(best)] == pytest.approx(min(errors), rel=1e-4)


def naive_error(subject, recipe, site, use, inputs) -> float:
    part = subject.module.get_submodule(site.module)
    quantizer = make_quantizer(replace(recipe, rules={"*": use}), site)
    operands = dict(zip(("input", "input2"), inputs, strict=False))
    if part._parameters.get("weight") is not None:
        operands["weight"] = part.weight.detach()
    noisy = {**operands, site.tensor: quantizer.fit(operands[site.tensor])(operands[site.tensor])}
    return float((product(part, noisy) - product(part, operands)).square().sum())


def product(part, operands) -> torch.Tensor:
    if "input2" in operands:
        return operands["input"] @ operands["input2"]
    return operands["input"] @ operands["weight"].T


def test_a_recipe_without_alternatives_stays_as_it_is(model, images, recipe) -> None:
    assert choose(model, images, replace(recipe, alternatives={})).rules == recipe.rules


def test_what_was_chosen_is_what_the_model_has_and_survives_saving(model, images, recipe, tmp_path) -> None:
    result = vq.quantize(model, images, recipe)
    rows = {f"{row.layer}:{row.tensor}": row.quantizer for row in result.report.sites}
    for site in ("blocks.0.attn.matmul2:input", "blocks.1.attn.matmul2:input"):
        assert rows[site] == result.recipe.rules[site].quantizer
    again = vq.load_quantized(vq.save_quantized(result, tmp_path))
    assert again.recipe == result.recipe
    assert torch.equal(again.model(images), result.model(images))


def test_it_can_be_cancelled(model, images, recipe) -> None:
    with pytest.raises(vq.Cancelled):
        choose(model, images, recipe, Monitor(cancel=lambda: True))


def test_unknown_quantizers_among_the_alternatives_are_named(model, images, recipe) -> None:
    with pytest.raises(ValueError, match="unknown quantizer 'unifrom'"):
        choose(model, images, replace(recipe, alternatives={"query": (Use("unifrom"),)}))
