"""Fisher information of every output element, against a fp_model that takes one picture at a time."""

import pytest
import torch

import vitq_core as vq
from vitq_core.data.store import ActivationStore, Scratch
from vitq_core.graph.site import Unit
from vitq_core.reconstruction.weighting import fisher_weights

UNITS = [Unit("blocks.0.attn", ("blocks.0.attn.softmax",)), Unit("blocks.1.mlp"), Unit("head")]


@pytest.fixture
def fp_model(model, images):
    return vq.quantize(model, images, "minmax").model.vitq.fp_model()


def weights(fp_model, images, seed=0):
    with Scratch() as scratch:
        rows = ActivationStore(scratch, len(images))
        rows.append(images)
        return fisher_weights(fp_model, UNITS, rows, seed, torch.device("cpu"))


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

    with Scratch() as scratch:
        rows = ActivationStore(scratch, len(images))
        rows.append(images)
        with pytest.raises(vq.VitqError, match=r"must give logits \[N, classes\], got \[\d+, 48, 4\]"):
            fisher_weights(Tokens(), [Unit("head")], rows, 0, torch.device("cpu"))
