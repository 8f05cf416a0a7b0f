"""Every formula of PSAQ-ViT gives the numbers of the authors' code."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from vitq_core.common.hooks import hooked
from vitq_core.common.monitor import Monitor
from vitq_core.generation.descent import Step, improved, planned_steps
from vitq_core.generation.entropy import (
    differential_entropy,
    evaluation_points,
    kernel_density,
    patch_similarity_entropy,
    token_similarity,
)
from vitq_core.generation.generate import bounds_of
from vitq_core.generation.jitter import Move, drawn_move
from vitq_core.generation.objective import Objective, attentions
from vitq_core.generation.schedule import learning_rate
from vitq_core.generation.variation import total_variation, variation_target
from vitq_core.graph.prepared import PreparedModel, prepare
from vitq_core.pictures.preprocess import Preprocessing

GOLDEN = "psaq.npz"
STEPS = range(6)


@pytest.fixture(scope="module")
def prepared(golden: dict[str, Tensor]) -> PreparedModel:
    geometry = {name[5:]: value.tolist() for name, value in golden.items() if name.startswith("geom.")}
    model = VisionTransformer(**geometry)
    model.load_state_dict({name[2:]: value for name, value in golden.items() if name.startswith("w.")})
    return prepare(model.eval(), "the test")


@pytest.fixture(scope="module")
def objective(prepared: PreparedModel, golden: dict[str, Tensor]) -> Objective:
    return Objective(prepared, golden["gen.target"][0], float(golden["gen.tv_target"][0]), 1)


@pytest.fixture(scope="module")
def attended(prepared: PreparedModel, golden: dict[str, Tensor]) -> list[Tensor]:
    """What the attention of each block averages."""
    found: list[Tensor] = []
    layers = [prepared.module.get_submodule(name) for name in attentions(prepared)]
    with hooked(*((layer, lambda part, inputs, output: found.append(output)) for layer in layers)):
        prepared.module(golden["calib"])
    return found


@pytest.mark.parametrize("block", [0, 1])
def test_entropy_of_similarities(block: int, attended: list[Tensor], golden: dict[str, Tensor]) -> None:
    stored = {name: golden[f"piece.{block}.{name}"] for name in ("similarity", "points", "density")}
    similarity = token_similarity(attended[block], prefix=1)
    torch.testing.assert_close(similarity, stored["similarity"], atol=1e-6, rtol=0)
    points = evaluation_points(similarity)
    torch.testing.assert_close(points.expand(4, -1), stored["points"], atol=1e-6, rtol=0)
    density = kernel_density(similarity.flatten(1), points)
    torch.testing.assert_close(density, stored["density"], atol=3e-5, rtol=0)
    entropy = golden[f"piece.{block}.entropy"]
    torch.testing.assert_close(differential_entropy(density, points).mean(), entropy, atol=1e-5, rtol=0)
    torch.testing.assert_close(patch_similarity_entropy(attended[block], 4, 1), entropy, atol=1e-5, rtol=0)


def test_windows_of_a_picture_are_one_density() -> None:
    windows = torch.randn(6, 2, 5, 3, generator=torch.Generator().manual_seed(0))  # three of each of two
    pooled = token_similarity(windows).reshape(2, -1)
    points = evaluation_points(pooled)
    by_hand = [differential_entropy(kernel_density(each[None], points), points) for each in pooled]
    torch.testing.assert_close(patch_similarity_entropy(windows, 2), torch.cat(by_hand).mean())
    assert patch_similarity_entropy(windows, 2) != patch_similarity_entropy(windows, 2, prefix=1)


def test_points_carry_no_gradient() -> None:
    values = torch.rand(2, 9, requires_grad=True)
    assert not evaluation_points(values).requires_grad


def test_total_variation(golden: dict[str, Tensor]) -> None:
    torch.testing.assert_close(total_variation(golden["calib"]), golden["piece.tv"])


def test_the_wanted_variation_is_the_published_one_and_follows_the_size() -> None:
    def drawn(*shape: int) -> float:
        return variation_target(torch.Size(shape), torch.Generator().manual_seed(3))

    assert 2500 < drawn(32, 3, 224, 224) < 3000
    assert drawn(8, 3, 32, 64) == pytest.approx(drawn(32, 3, 224, 224) * sqrt(8 * 32 * 64 / (32 * 224**2)))


def test_learning_rate(golden: dict[str, Tensor]) -> None:
    rates = [learning_rate(iteration, 500, 0.2) for iteration in (0, 50, 99, 100, 250, 499)]
    assert rates == pytest.approx(golden["piece.lr_schedule"].tolist(), rel=1e-5)
    assert learning_rate(0, 1, 0.2) == 0.2


def test_moves_are_circular_and_bounded() -> None:
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    assert Move(1, False)(image)[0, 0].tolist() == [[11, 8, 9, 10], [3, 0, 1, 2], [7, 4, 5, 6]]
    assert Move(0, True)(image)[0, 0, 0].tolist() == [3, 2, 1, 0]
    generator = torch.Generator().manual_seed(0)
    moves = [drawn_move(2, generator) for _ in range(200)]
    assert {move.shift for move in moves} == {-2, -1, 0, 1, 2}
    assert 60 < sum(move.flipped for move in moves) < 140


def test_two_passes_of_which_the_second_moves_farther() -> None:
    steps = list(planned_steps(100, 0.2, torch.Generator().manual_seed(0)))
    first, second = ([abs(step.move.shift) for step in part] for part in (steps[:100], steps[100:]))
    assert max(first) == 15 and max(second) > 15
    assert [step.rate for step in steps[:100]] == [step.rate for step in steps[100:]]


def image_before(golden: dict[str, Tensor], step: int) -> Tensor:
    return golden["gen.image"][step - 1] if step else golden["gen.start"][0]


def move_of(golden: dict[str, Tensor], step: int) -> Move:
    return Move(int(golden["gen.shift"][step]), bool(golden["gen.flip"][step]))


@pytest.mark.parametrize("step", STEPS)
def test_the_objective_and_its_gradient(step: int, objective: Objective, golden: dict[str, Tensor]) -> None:
    image, move = image_before(golden, step).requires_grad_(True), move_of(golden, step)
    terms = objective.terms(move(image))
    for name, stored in (("classes", "oh"), ("variation", "tv"), ("patches", "pse")):
        assert float(terms[name].detach()) == pytest.approx(
            float(golden[f"gen.loss_{stored}"][step]), rel=1e-4
        )
    total = objective(move(image))
    assert float(total.detach()) == pytest.approx(float(golden["gen.total"][step]), rel=1e-5)
    (gradient,) = torch.autograd.grad(total, image)
    stored = golden["gen.grad"][step]
    torch.testing.assert_close(gradient, stored, atol=1e-4 * float(stored.abs().max()), rtol=0)


def test_the_loop_keeps_what_adam_knows_into_the_second_pass(
    objective: Objective, golden: dict[str, Tensor]
) -> None:
    """Four steps, of which the last begins the second pass; after that rounding has grown too large. Pixels
    may be as far off as 1e-7 in the first picture moves them: Adam's first steps are the gradients' signs."""
    steps = [Step(move_of(golden, step), float(golden["gen.lr"][step])) for step in STEPS[:4]]
    bounds, start = bounds_of(Preprocessing()), golden["gen.start"][0]
    found = improved(start, objective, steps, bounds, Monitor())
    draws = [torch.randn(start.shape, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    shaken = [improved(start + 1e-7 * noise, objective, steps, bounds, Monitor()) for noise in draws]
    apart = (found - golden["gen.image"][3]).abs().flatten()
    moved = max(float((other - found).abs().max()) for other in shaken)
    assert apart.quantile(0.999) < 0.03 and apart.max() < max(0.03, moved)
    torch.testing.assert_close(found.amin((0, 2, 3)), bounds[0].flatten())
    torch.testing.assert_close(found.amax((0, 2, 3)), bounds[1].flatten())
