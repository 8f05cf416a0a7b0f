"""Models without a head: quantized, explained and ranked by every method, and measured by their tokens."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

import vitq_core as vq
from tests.pairs import in_turn
from vitq_core.common.batch import Batch
from vitq_core.data.store import ActivationStore, Scratch
from vitq_core.graph.prepared import prepare
from vitq_core.graph.site import Unit
from vitq_core.lrp.propagate import propagate
from vitq_core.reconstruction.weighting import fisher_weights
from vitq_core.scoring.sources import SOURCES
from vitq_core.tasks import TASKS
from vitq_core.tasks.features import cosines

TASK = TASKS["features"]
HEADLESS = {"num_classes": 0}
TOWERS = {
    "class token": {},
    "registers": {"reg_tokens": 2},
    "averaged": {"global_pool": "avg"},
    "attention pooled, no class token": {"global_pool": "map", "class_token": False},
    "not pooled": {"global_pool": ""},
}


@pytest.fixture(params=TOWERS)
def tower(request: pytest.FixtureRequest, tiny: Callable) -> VisionTransformer:
    return tiny(depth=2, **HEADLESS, **TOWERS[request.param])


@pytest.fixture
def headless(tiny: Callable) -> VisionTransformer:
    return tiny(depth=2, **HEADLESS)


def moved(model: VisionTransformer, amount: float = 0.05) -> VisionTransformer:
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(amount * torch.randn(parameter.shape, generator=generator))
    return model


# -- evaluate ------------------------------------------------------------------------------------------
def cosine(a: Tensor, b: Tensor) -> float:
    a, b = a.double().flatten(), b.double().flatten()
    return float(a @ b / (a @ a).sqrt() / (b @ b).sqrt())


@torch.no_grad()
def naive(model: VisionTransformer, reference: VisionTransformer, images: Tensor) -> dict[str, float | None]:
    """One picture and one token at a time."""
    pooled, patches, classes = [], [], []
    for image in images[:, None]:
        pooled.append(cosine(model(image), reference(image)))
        both = [m.forward_features(image)[0] for m in (model, reference)]
        classes.append(cosine(both[0][0], both[1][0]))
        prefix = model.num_prefix_tokens
        patches += [cosine(a, b) for a, b in zip(both[0][prefix:], both[1][prefix:], strict=True)]
    return {
        "cosine": sum(pooled) / len(pooled),
        "token_cosine": sum(patches) / len(patches),
        "class_token_cosine": sum(classes) / len(classes) if model.has_class_token else None,
        "min_cosine": min(patches),
    }


@pytest.mark.parametrize("name", TOWERS)
def test_cosines_are_those_of_the_tokens(tiny: Callable, pictures: Callable, name: str) -> None:
    reference = tiny(depth=2, **HEADLESS, **TOWERS[name])
    model = moved(tiny(depth=2, **HEADLESS, **TOWERS[name]))
    images = pictures(model, 7)
    found = vq.evaluate(model, images.split(3), reference)
    expected = naive(model, reference, images)
    for measure, value in expected.items():
        assert found[measure] == (None if value is None else pytest.approx(value, abs=1e-6)), measure
    assert found.n == 7 and 0 < found.cosine < 1 and found.min_cosine < found.token_cosine
    assert found.top1 is found.top5 is found.agreement is found.kl is None


def test_a_quantized_model_shows_the_same_tokens(tower: VisionTransformer, pictures: Callable) -> None:
    images = pictures(tower, 6)
    cosines_at = []
    for bits in (3, 8):
        result = vq.quantize(tower, images, vq.recipe("minmax", bits, bits))
        found = vq.evaluate(result.model, [images], tower)
        assert (found.class_token_cosine is None) == (not tower.has_class_token)
        cosines_at.append([found.cosine, found.token_cosine, found.min_cosine])
    for few, many in zip(*cosines_at, strict=True):
        assert few < many and 0.97 < many < 1
    same = vq.evaluate(tower, images, tower)
    assert [same.cosine, same.token_cosine, same.min_cosine] == pytest.approx([1, 1, 1], abs=1e-12)


@pytest.mark.parametrize("labels", [torch.arange(6), torch.full((6,), 10**6), torch.zeros(3), "none"])
def test_labels_give_no_accuracy_and_no_error(headless, pictures, labels: object) -> None:
    found = vq.evaluate(headless, [(pictures(headless), labels)], headless)
    assert found.top1 is None and found["top5"] is None and found.cosine == pytest.approx(1)


def test_without_a_reference_only_the_number_of_pictures_is_known(headless, pictures) -> None:
    found = vq.evaluate(headless, pictures(headless))
    assert {name: value for name, value in found.items() if value is not None} == {"n": 6}


def test_a_reference_that_shows_no_tokens_leaves_the_features(headless, pictures) -> None:
    images = pictures(headless)

    class Replay(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return headless(x)

    found = vq.evaluate(headless, images, Replay())
    assert found.cosine == pytest.approx(1)
    assert found.token_cosine is found.class_token_cosine is found.min_cosine is None


def test_a_forward_features_of_ones_own_is_put_back(headless, pictures) -> None:
    own = headless.forward_features
    headless.forward_features = lambda x, **options: 2 * own(x, **options)
    mine, images = headless.forward_features, pictures(headless, 2)
    with torch.no_grad():
        outputs = TASK.run(headless, Batch((images,)))
    assert headless.forward_features is mine
    torch.testing.assert_close(outputs["class_token"], mine(images)[:, 0])


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0.0, 0], [0.0, 0], 1),
        ([0.0, 0], [1.0, 0], 0),
        ([1.0, 1], [-2.0, -2], -1),
        ([1e-30, 0], [1e30, 0], 1),
    ],
)
def test_cosines_of_extreme_vectors(a: list[float], b: list[float], expected: float) -> None:
    assert float(cosines(torch.tensor(a), torch.tensor(b))) == pytest.approx(expected)


@pytest.mark.parametrize("name", TOWERS)
def test_the_loss_is_the_cosine_of_every_token(tiny: Callable, pictures: Callable, name: str) -> None:
    reference, model = (tiny(depth=2, **HEADLESS, **TOWERS[name]) for _ in range(2))
    images = pictures(moved(model), 5)
    with torch.no_grad():
        found, expected = (TASK.run(m, Batch((images,))) for m in (model, reference))
    twin = naive(model, reference, images)
    whole = twin["class_token_cosine"]
    if whole is None and name != "not pooled":
        whole = twin["cosine"]
    if whole is None:  # features are tokens, each with its own cosine
        whole = twin["token_cosine"]
    assert float(TASK.loss(found, expected)) == pytest.approx(
        1 - (twin["token_cosine"] + whole) / 2, abs=1e-5
    )
    shown = {"features": found["features"]}
    pooled = [
        cosine(*pair) for pair in zip(*(x["features"].flatten(0, -2) for x in (found, expected)), strict=True)
    ]
    assert float(TASK.loss(shown, {"features": expected["features"]})) == pytest.approx(
        1 - sum(pooled) / len(pooled), abs=1e-5
    )


def test_the_class_token_is_not_lost_among_the_patches() -> None:
    tokens = {"patch_tokens": torch.ones(1, 100, 4), "class_token": torch.ones(1, 4)}
    for name in tokens:
        wrong = {**tokens, name: -tokens[name]}
        assert float(TASK.loss(wrong, tokens)) == pytest.approx(1)


# -- recipes -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("tower", "recipe"), in_turn(TOWERS, vq.RECIPES, times=2), indirect=["tower"])
def test_every_recipe_quantizes_a_tower(tower: VisionTransformer, pictures: Callable, recipe: str) -> None:
    images = pictures(tower, 8)
    result = vq.quantize(tower, images, vq.recipe(recipe, 6, 6, effort="none"))
    found = vq.evaluate(result.model, images, tower)
    assert 0.9 < found.cosine < 1 and 0.8 < found.token_cosine < 1


@pytest.mark.parametrize(("tower", "recipe"), in_turn(TOWERS, vq.RECIPES, times=2), indirect=["tower"])
def test_every_recipe_can_learn_on_a_tower(tower: VisionTransformer, pictures: Callable, recipe: str) -> None:
    images = pictures(tower, 8)
    options = {"iterations": 2, "batch_size": 4, "weighting": "fisher"}
    result = vq.quantize(tower, images, vq.recipe(recipe, 4, 4, **options))
    assert len(result.report.units) >= 3  # the patch embedding and two blocks, or their parts
    assert 0.5 < vq.evaluate(result.model, images, tower).cosine < 1


@pytest.mark.parametrize(("recipe", "weighting"), [("adfq", "none"), ("adfq", "fisher"), ("vitq", "none")])
def test_reconstruction_learns_features(headless, pictures, recipe: str, weighting: str) -> None:
    images = pictures(headless, 16)
    errors = []
    for options in ({"effort": "none"}, {"iterations": 40, "batch_size": 8, "weighting": weighting}):
        result = vq.quantize(headless, images, vq.recipe(recipe, 3, 3, **options))
        errors.append(1 - vq.evaluate(result.model, images, headless).token_cosine)
    assert errors[1] < errors[0]


# -- relevance -----------------------------------------------------------------------------------------
def test_gradients_are_those_of_half_the_squared_norm(tower: VisionTransformer, pictures: Callable) -> None:
    images = pictures(tower, 3)
    found = vq.relevance(tower, images, return_tensors=True)
    assert found.targets is None
    name = "blocks.1.mlp.fc1"
    for index, image in enumerate(images.double()):
        kept = []
        twin = tower.double()
        hook = twin.get_submodule(name).register_forward_hook(lambda *call, kept=kept: kept.append(call[-1]))
        features = twin(image[None].requires_grad_())
        hook.remove()
        (expected,) = torch.autograd.grad(0.5 * (features**2).sum(), kept[0])
        torch.testing.assert_close(
            found.tensors[name][1][index].double(),
            expected[0],
            rtol=1e-3,
            atol=1e-4 * float(expected.abs().max()),
        )
    tower.float()


def test_relevance_starts_as_the_features_shares(tiny: Callable, pictures: Callable) -> None:
    """Average pooling hands each feature's share, f²/‖f‖², on to the tokens: 1 in all at the last block."""
    model = tiny(depth=2, **HEADLESS, global_pool="avg", class_token=False)
    images = pictures(model, 3)
    found = vq.relevance(model, images, return_tensors=True)
    pixels = found.pixel_maps.flatten(1).sum(1)
    assert torch.isfinite(pixels).all() and (found.heatmaps >= 0).all()
    subject = prepare(model, "relevance", images[:1])
    last = propagate(subject.module, ["blocks.1"], Batch((images,)), task=subject.task)
    torch.testing.assert_close(last.relevances["blocks.1"].flatten(1).sum(1), torch.ones(3))


def test_relevance_depends_on_the_picture(tower: VisionTransformer, pictures: Callable) -> None:
    images = pictures(tower, 2)
    found = vq.relevance(tower, images)
    assert found.heatmaps.shape[0] == 2 and not torch.allclose(*found.heatmaps)
    assert not torch.allclose(*found.pixel_maps) and found.pixel_maps.abs().amax((1, 2)).min() > 0
    assert all(score >= 0 for score in found.layer_scores.values()) and sum(found.layer_scores.values()) > 0
    one = vq.relevance(tower, images[1:])
    torch.testing.assert_close(one.heatmaps[0], found.heatmaps[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("targets", [0, [0, 1], torch.tensor([1, 1])])
@pytest.mark.parametrize("ask", [vq.relevance, *(partial(vq.importance, source=name) for name in SOURCES)])
def test_targets_are_refused(headless, pictures, ask: Callable, targets: object) -> None:
    sentence = r"targets name classes, and this model has none .* leave targets out"
    with pytest.raises(ValueError, match=sentence):
        ask(headless, pictures(headless, 2), targets=targets)


# -- importance and allocation ---------------------------------------------------------------------------
@pytest.mark.parametrize("source", list(SOURCES))
def test_every_source_ranks_the_layers_of_a_tower(tower, pictures, source: str) -> None:
    images = pictures(tower, 6)
    found = vq.importance(tower, images, source, batch_size=4)
    again = vq.importance(tower, [images[:1], images[1:]], source, batch_size=4 if source == "sqnr" else 2)
    assert set(found.layer_scores) == set(prepare(tower, "importance", images[:1]).layers)
    assert min(found.layer_scores.values()) >= 0 and max(found.layer_scores.values()) > 0
    if source != "sqnr":  # whose ranges are those of a batch
        for layer, score in found.layer_scores.items():
            assert again.layer_scores[layer] == pytest.approx(score, rel=1e-3, abs=1e-9), layer


@pytest.mark.parametrize("source", list(SOURCES))
def test_both_policies_allocate(headless, pictures, source: str) -> None:
    images = pictures(headless, 6)
    scores = vq.importance(headless, images, source)
    paper = vq.allocate_bits(scores, headless, base_bits=4)
    budget = vq.allocate_bits(scores, headless, policy="budget", images=images, avg_act_bits=4)
    for table in (paper, budget):
        result = vq.quantize(headless, images, vq.recipe("repq", bits=table))
        assert 0.5 < vq.evaluate(result.model, images, headless).cosine < 1


def test_fisher_is_the_squared_gradient_of_a_random_direction(headless, pictures) -> None:
    """Its mean over directions is the sum over the features of (∂f/∂O ⊙ O)²: the diagonal of JᵀJ."""
    image = pictures(headless, 1)
    name, kept = "blocks.1.mlp.fc2", []
    twin = prepare(headless, "importance", image).module
    hook = twin.get_submodule(name).register_forward_hook(lambda *call: kept.append(call[-1]))
    features = twin(image.clone().requires_grad_())[0]
    hook.remove()
    rows = [torch.autograd.grad(f, kept[0], retain_graph=True)[0] for f in features]
    exact = sum(float((row * kept[0].detach()).square().sum()) for row in rows)
    nearby = image + 1e-4 * torch.randn(400, *image.shape[1:], generator=torch.Generator().manual_seed(3))
    scores = SOURCES["fisher"](prepare(headless, "importance", image)).scores(Batch((nearby,)), None)[name]
    assert float(scores.mean()) == pytest.approx(exact, rel=0.2)
    assert float(scores.std()) > 0.1 * exact, "each picture has a direction of its own"


def test_fisher_weights_are_the_diagonal_of_a_gaussians_information(headless, pictures) -> None:
    image = pictures(headless, 1)
    twin = vq.quantize(headless, image, "minmax").model.vitq.fp_model()
    units = [Unit("blocks.0.mlp"), Unit("blocks.1.attn")]
    with Scratch() as scratch:
        rows = ActivationStore(scratch, 1500)
        for _ in range(15):
            rows.append(image.expand(100, -1, -1, -1).clone())
        found, again = (fisher_weights(twin, units, rows, 3, torch.device("cpu")) for _ in range(2))
        other = fisher_weights(twin, units, rows, 4, torch.device("cpu"))
    for unit in units:
        kept = []
        part = twin.get_submodule(unit.name)
        hook = part.register_forward_hook(
            lambda _, __, y, kept=kept: kept.append(y.requires_grad_()) or kept[0]
        )
        features = twin(image)[0]
        hook.remove()
        exact = sum(torch.autograd.grad(f, kept[0], retain_graph=True)[0][0].square() for f in features)
        exact = exact / exact.mean()
        assert torch.equal(found[unit.name], again[unit.name])
        assert not torch.equal(found[unit.name], other[unit.name])
        assert float((found[unit.name] - exact).norm() / exact.norm()) < 0.1
