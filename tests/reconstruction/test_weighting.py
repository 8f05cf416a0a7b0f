"""Shares of each token's own square; Fisher information, against a model that takes one picture at a time."""

import pytest
import torch

import vitq_core as vq
from vitq_core.graph.site import Unit
from vitq_core.reconstruction.losses import output_error, output_loss
from vitq_core.reconstruction.weighting import PREFIX, by_token, fisher_weights, weights_of

from .stored import kept

UNITS = [Unit("blocks.0.attn", ("blocks.0.attn.softmax",)), Unit("blocks.1.mlp"), Unit("head")]


@pytest.fixture
def fp_model(model, images):
    return vq.quantize(model, images, "minmax").model.vitq.fp_model()


def weights(fp_model, images, seed=0):
    return fisher_weights(fp_model, UNITS, kept(images), seed)


def test_weights_are_squared_gradients_of_an_answers_likelihood(fp_model, images) -> None:
    found = weights(fp_model, images)
    generator = torch.Generator().manual_seed(0)
    answers = torch.multinomial(fp_model(images).softmax(-1), 1, generator=generator)[:, 0]
    for unit in UNITS:
        total = 0.0
        for picture, answer in zip(images, answers, strict=True):
            kept = []
            hook = fp_model.get_submodule(unit.name).register_forward_hook(
                lambda _, __, output, kept=kept: kept.append(output.requires_grad_()) or kept[0]
            )
            likelihood = fp_model(picture[None]).log_softmax(-1)[0, answer]
            hook.remove()
            total = total + torch.autograd.grad(likelihood, kept[0])[0][0].square()
        torch.testing.assert_close(found[unit.name], total / total.mean(), rtol=1e-3, atol=1e-5)


def test_the_mean_weight_is_1_and_the_seed_decides(fp_model, images) -> None:
    first, again, other = (weights(fp_model, images, seed) for seed in (0, 0, 5))
    for unit in UNITS:
        assert first[unit.name].mean() == pytest.approx(1.0, abs=1e-4)
        assert torch.equal(first[unit.name], again[unit.name])
    assert any(not torch.equal(first[unit.name], other[unit.name]) for unit in UNITS)


def test_a_classifier_without_pooling_cannot_be_weighed(images) -> None:
    class Tokens(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(images.shape[-1], 4)

        def forward(self, x):
            return self.head(x).flatten(1, 2)

    with pytest.raises(vq.VitqError, match=r"must give logits \[N, classes\], got \[\d+, 48, 4\]"):
        fisher_weights(Tokens(), [Unit("head")], kept(images), 0)


# -- tokens --------------------------------------------------------------------------------------------
def tokens(loud: float) -> torch.Tensor:
    drawn = torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0))
    drawn[1, 4] *= loud
    return drawn


@pytest.mark.parametrize("loud", [1.0, 30.0, 1000.0])
def test_a_tokens_error_counts_as_a_share_of_its_own_square(loud: float) -> None:
    """So the loud one counts as much as any other, and a class token as several."""
    target = tokens(loud)
    weights = by_token(target, prefix=1)
    shares = (weights[..., 0] * target.square().mean(-1)) / weights.mul(target.square()).mean()
    assert shares[:, 0] / shares[:, 1] == pytest.approx([PREFIX, PREFIX], rel=0.3)
    assert shares[1, 4] / shares[1, 3] == pytest.approx(1.0, rel=0.3)


def test_weights_are_those_of_a_picture_alone() -> None:
    """Pictures that are learned together, or in pieces as large as memory allows, do not change them."""
    target = tokens(30.0)
    assert torch.equal(by_token(target, 1), torch.cat([by_token(part, 1) for part in target.split(1)]))


def test_a_silent_token_does_not_count_without_bound() -> None:
    target = tokens(1e-6)
    weights = by_token(target, prefix=0)
    assert weights.isfinite().all()
    assert weights[1, 4] <= 20 * weights.median()
    assert by_token(torch.zeros(1, 3, 4), prefix=1).isfinite().all()


def test_maps_of_tokens_have_no_first_one() -> None:
    target = tokens(5.0)
    assert torch.equal(by_token(target.view(2, 2, 3, 16), 1), by_token(target, 0).view(2, 2, 3, 1))


def test_loss_and_error_are_weighed_alike() -> None:
    target = tokens(30.0)
    found = target + 0.1 * torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    weights = by_token(target, 1)
    error, signal = output_error(found, target, weights)
    slow = sum(
        float(w) * float((a - b).square().sum())
        for w, a, b in zip(weights.flatten(), found.flatten(0, 1), target.flatten(0, 1), strict=True)
    )
    assert error == pytest.approx(slow, rel=1e-4)
    assert float(output_loss(found, target, weights)) == pytest.approx(slow / (2 * 16), rel=1e-4)
    assert output_error(found, target)[1] > 10 * output_error(found[:1], target[:1])[1], "one token is loud"
    assert signal == pytest.approx(float((weights * target.square()).sum()), rel=1e-5)


def test_tokens_are_weighed_inside_of_blocks_alone(model, images) -> None:
    units = [Unit("patch_embed.proj"), Unit("blocks.0"), Unit("blocks.1.mlp"), Unit("head")]
    found = weights_of("tokens", model, units, ["blocks.0", "blocks.1"], None, 0)
    assert set(found) == {"blocks.0", "blocks.1.mlp"}
    assert weights_of("none", model, units, ["blocks.0", "blocks.1"], None, 0) == {}
    target = tokens(3.0)
    assert torch.equal(found["blocks.0"](target), by_token(target, model.num_prefix_tokens))
