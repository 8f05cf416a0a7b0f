"""PTQ4ViT's pass through the public functions: its options, every kind of answer, stopping."""

import pytest
import torch
from torch import Tensor

import vitq_core as vq


@pytest.fixture
def model(tiny):
    return tiny(depth=2)


def scales(result: vq.QuantizeResult) -> list[Tensor]:
    simulation = result.model.vitq
    return [simulation.quantizer(site).scale for site in simulation.sites()]


def same(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(some, others, strict=True))


def test_how_pictures_come_does_not_matter_and_their_number_does(model, pictures) -> None:
    images, recipe = pictures(model, 8), vq.recipe("ptq4vit", 3, 3)
    found = scales(vq.quantize(model, images, recipe))
    assert same(found, scales(vq.quantize(model, images.split(3), recipe)))
    few = scales(vq.quantize(model, images, vq.recipe("ptq4vit", 3, 3, search_pictures=3)))
    assert not same(found, few) and same(few, scales(vq.quantize(model, images[:3], recipe)))


def test_every_option_does_something(model, images) -> None:
    plain = vq.quantize(model, images, vq.recipe("ptq4vit", 3, 3))
    for option in ({"twin": "published"}, {"gelu_scales": "power_of_two"}, {"gradient": "published"}):
        with torch.no_grad():
            found = vq.quantize(model, images, vq.recipe("ptq4vit", 3, 3, **option))(images)
            assert not torch.equal(found, plain(images)), option


def test_scales_after_gelu_are_a_power_of_two_apart_where_that_is_asked(model, images) -> None:
    result = vq.quantize(model, images, vq.recipe("ptq4vit", 4, 4, gelu_scales="power_of_two"))
    for block in result.model.blocks:
        (quantizer,) = block.mlp.fc2.input_quantizers
        power = torch.log2(quantizer.scale / quantizer.negative_scale)
        torch.testing.assert_close(power, power.round(), atol=1e-5, rtol=0)


def test_the_published_gradient_needs_classes(tiny, pictures) -> None:
    model = tiny(num_classes=0)
    images = pictures(model, 4)
    with pytest.raises(ValueError, match="gradient='published' compares predicted classes"):
        vq.quantize(model, images, vq.recipe("ptq4vit", gradient="published"))
    assert (
        vq.evaluate(vq.quantize(model, images, vq.recipe("ptq4vit", 6, 6)).model, images, model).cosine > 0.9
    )


@pytest.mark.parametrize("recipe", ["ptq4vit", "apq", "ranking"])
def test_it_stops_where_it_is_asked_to(model, images, recipe: str) -> None:
    heard: list[float] = []
    with pytest.raises(vq.Cancelled):
        vq.quantize(
            model, images, recipe, progress=lambda done, said: heard.append(done),
            cancel=lambda: bool(heard) and heard[-1] > 0.3,
        )  # fmt: skip
    assert 0.3 < heard[-1] < 0.6


@pytest.mark.parametrize("recipe", ["ptq4vit", "apq", "ranking"])
def test_the_report_knows_the_noise_of_every_site(model, images, recipe: str) -> None:
    rows = vq.quantize(model, images, vq.recipe(recipe, 8, 8)).report.sites
    assert all(row.sqnr_db > 15 for row in rows), [(str(row.layer), row.sqnr_db) for row in rows]
