"""Fisher information of every output element, against a twin that takes one picture at a time."""

import pytest
import torch

import vitq_core as vq
from vitq_core.data.store import Cache
from vitq_core.graph.site import Unit
from vitq_core.reconstruction.weighting import fisher_weights

UNITS = [Unit("blocks.0.attn", ("blocks.0.attn.softmax",)), Unit("blocks.1.mlp"), Unit("head")]


@pytest.fixture
def twin(model, images):
    return vq.quantize(model, images, "minmax").model.vitq.float_twin()


def weights(twin, images, seed=0):
    with Cache() as cache:
        rows = cache.rows(len(images))
        rows.append(images)
        return fisher_weights(twin, UNITS, rows, seed, torch.device("cpu"))


def test_weights_are_squared_gradients_of_an_answers_likelihood(twin, images) -> None:
    found = weights(twin, images)
    generator = torch.Generator().manual_seed(0)
    answers = torch.multinomial(twin(images).softmax(-1), 1, generator=generator)[:, 0]
    for unit in UNITS:
        total = 0.0
        for picture, answer in zip(images, answers, strict=True):
            kept = []
            hook = twin.get_submodule(unit.name).register_forward_hook(
                lambda _, __, output, kept=kept: kept.append(output.requires_grad_()) or kept[0]
            )
            likelihood = twin(picture[None]).log_softmax(-1)[0, answer]
            hook.remove()
            total = total + torch.autograd.grad(likelihood, kept[0])[0][0].square()
        torch.testing.assert_close(found[unit.name], total / total.mean(), rtol=1e-3, atol=1e-5)


def test_the_mean_weight_is_1_and_the_seed_decides(twin, images) -> None:
    first, again, other = (weights(twin, images, seed) for seed in (0, 0, 5))
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

    with Cache() as cache:
        rows = cache.rows(len(images))
        rows.append(images)
        with pytest.raises(vq.VitqError, match=r"must give logits \[N, classes\], got \[\d+, 48, 4\]"):
            fisher_weights(Tokens(), [Unit("head")], rows, 0, torch.device("cpu"))
