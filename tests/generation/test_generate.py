"""Pictures from noise: repeatable, stopped, followed, for every family, and refused with a reason."""

from __future__ import annotations

import pytest
import torch

import vitq_core as vq
from tests.sam import tiny_sam
from tests.swin import tiny_swin
from vitq_core.generation.entropy import patch_similarity_entropy
from vitq_core.generation.generate import bounds_of


@pytest.fixture
def wrapped(tiny) -> vq.Model:
    return vq.wrap_model(tiny(img_size=24, depth=2))


@pytest.fixture
def swin() -> vq.Model:
    return vq.wrap_model(tiny_swin())


@pytest.mark.parametrize("kind", ["wrapped", "swin"])
def test_pictures_show_their_classes_better_than_noise(kind, request, monkeypatch) -> None:
    model = request.getfixturevalue(kind)
    targets = torch.arange(6) % 5
    monkeypatch.setattr("vitq_core.generation.generate._Maker._targets", lambda self, *given: targets)
    made = vq.generate_images(model, 6, seed=1, iterations=12)
    low, high = bounds_of(model.preprocessing)
    assert made.shape == (6, 3, *model.preprocessing.size) and made.dtype == torch.float32
    assert not made.requires_grad and bool(((made >= low - 1e-6) & (made <= high + 1e-6)).all())
    noise = torch.randn(made.shape, generator=torch.Generator().manual_seed(1)).clamp(low, high)
    with torch.no_grad():
        sure = [model.module(each).log_softmax(1)[range(6), targets].mean() for each in (made, noise)]
    assert sure[0] > sure[1] + 0.2


@pytest.mark.parametrize("kind", ["wrapped", "swin"])
def test_they_calibrate(kind, request, calibrating) -> None:
    model = request.getfixturevalue(kind)
    result = vq.quantize(model, vq.generate_images(model, 4, iterations=1), calibrating("minmax"))
    assert result.report.pictures == 4


def test_a_seed_gives_the_same_pictures_and_another_gives_others(wrapped) -> None:
    before = torch.get_rng_state()
    first = vq.generate_images(wrapped, 3, seed=5, iterations=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(vq.generate_images(wrapped, 3, seed=5, iterations=2), first)
    assert not torch.equal(vq.generate_images(wrapped, 3, seed=6, iterations=2), first)


def test_more_pictures_leave_the_first_groups_as_they_are(wrapped, monkeypatch) -> None:
    monkeypatch.setattr("vitq_core.generation.generate.TOGETHER", 2)
    four, five = (vq.generate_images(wrapped, count, iterations=1) for count in (4, 5))
    assert torch.equal(four, five[:4]) and len(five) == 5


def test_the_model_is_left_as_it_was(wrapped) -> None:
    before = {name: value.clone() for name, value in wrapped.module.state_dict().items()}
    wrapped.module.requires_grad_(True)
    with torch.inference_mode():
        vq.generate_images(wrapped, 2, iterations=1)
    assert all(torch.equal(value, before[name]) for name, value in wrapped.module.state_dict().items())
    assert all(part.grad is None and part.requires_grad for part in wrapped.module.parameters())
    assert not any(part._forward_hooks for part in wrapped.module.modules())


def test_it_says_how_far_it_is_and_stops(wrapped, monkeypatch) -> None:
    monkeypatch.setattr("vitq_core.generation.generate.TOGETHER", 2)
    heard = []
    vq.generate_images(wrapped, 3, iterations=2, progress=lambda share, said: heard.append((share, said)))
    shares = [share for share, _ in heard]
    assert shares == sorted(shares) and shares[-1] == 1 and 0.5 in shares
    assert "Making pictures: step 4 of 4" in [said for _, said in heard]
    with pytest.raises(vq.Cancelled):
        vq.generate_images(wrapped, iterations=100_000, cancel=lambda: len(heard) > 5)


def test_a_model_without_classes_is_asked_for_none(tiny, monkeypatch) -> None:
    model = vq.wrap_model(tiny(num_classes=0))
    entropies = []
    monkeypatch.setattr(
        "vitq_core.generation.objective.patch_similarity_entropy",
        lambda *given: entropies.append(patch_similarity_entropy(*given)) or entropies[-1],
    )
    assert vq.generate_images(model, 2, iterations=3).shape == (2, 3, 16, 16)
    assert len(entropies) == 6


def test_the_published_code_leaves_out_a_token_of_every_window(swin, wrapped) -> None:
    for model, same in ((swin, False), (wrapped, True)):
        ours, theirs = (vq.generate_images(model, 2, iterations=2, published=each) for each in (False, True))
        assert torch.equal(ours, theirs) == same


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": 0}, "count must be"),
        ({"iterations": 1.5}, "iterations must be"),
        ({"seed": "x"}, "seed must be"),
        ({"device": "nowhere"}, "device must be"),
        ({"progress": 3}, "progress must be"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrapped, options, said) -> None:
    with pytest.raises(ValueError, match=said):
        vq.generate_images(wrapped, **options)


def test_models_that_no_pictures_can_be_made_for_are_refused(tiny) -> None:
    with pytest.raises(ValueError, match="takes a Model"):
        vq.generate_images(tiny())
    with pytest.raises(vq.VitqError, match="takes prompts too"):
        vq.generate_images(vq.wrap_model(tiny_sam()))
