"""A picture unlike those of a run is told from those that are like them."""

import pytest
import timm
import torch
from PIL import Image

import vitq_core as vq
from tests.swin import tiny_swin
from vitq_core.experiment import likeness as of
from vitq_core.experiment.folders import folder_source
from vitq_core.experiment.likeness import FEWEST, Seen, features_of, likeness, watching
from vitq_core.experiment.measure import Batches
from vitq_core.experiment.run import quantize_and_measure, refer
from vitq_core.experiment.samples import Sample


def cloud(count: int, seed: int) -> dict[str, torch.Tensor]:
    """Two views of pictures on a plane in a space of 12 features."""
    plane = torch.randn(2, 12, generator=torch.Generator().manual_seed(99))
    places = torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
    return {"pooled": places @ plane, "tokens": places @ plane.flip(0)}


def test_usual_pictures_are_seldom_called_unlike_and_far_ones_always():
    known = likeness(cloud(32, 0), cloud(256, 1))
    assert float(known.unlike(cloud(4000, 2)).float().mean()) < 0.04
    far = {name: features + 5 for name, features in cloud(50, 3).items()}
    assert known.unlike(far).all()


@pytest.mark.parametrize("view", ["pooled", "tokens"])
def test_one_view_is_enough_to_be_unlike(view):
    far = cloud(9, 3)
    far[view] = far[view] + 5
    assert likeness(cloud(32, 0), cloud(100, 1)).unlike(far).all()


@pytest.mark.parametrize(("tested", "chance"), [(FEWEST, 2 / (FEWEST + 1)), (400, 0.02)])
def test_the_share_of_false_alarms_follows_from_the_test_pictures(tested, chance):
    assert likeness(cloud(8, 0), cloud(tested, 1)).chance == pytest.approx(chance)


def test_it_is_silent_with_too_few_test_pictures_or_one_many_times_over():
    assert likeness(cloud(32, 0), cloud(FEWEST - 1, 1)) is None
    one = {name: features.expand(FEWEST, -1) for name, features in cloud(1, 0).items()}
    assert likeness(one, one) is None
    assert likeness({}, {}) is None


def test_memory_is_bounded():
    seen = Seen(limit=5)
    for _ in range(3):
        seen.add("tokens", torch.rand(4, 3, 2))
    assert seen.features["tokens"].shape == (5, 2)


@pytest.mark.parametrize("classes", [6, 0])
def test_features_are_what_goes_into_the_head_and_the_mean_token(classes):
    torch.manual_seed(0)
    size = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2}
    module = timm.create_model("vit_tiny_patch16_224", num_classes=classes, **size).eval()
    images, before = torch.rand(3, 3, 16, 16), set(vars(module))
    with torch.no_grad(), watching(module) as seen:
        module(images)
    with torch.no_grad():
        tokens = module.forward_features(images)
        pooled = module.forward_head(tokens, pre_logits=True)
    assert torch.allclose(seen.features["pooled"], pooled)
    assert torch.allclose(seen.features["tokens"], tokens.mean(1))
    assert set(vars(module)) == before and not module.head._forward_pre_hooks and not module._forward_hooks


@pytest.mark.parametrize(
    "options",
    [{}, {"num_classes": 0}, {"num_classes": 0, "global_pool": ""}, {"img_size": (16, 32)}],
    ids=["classes", "pooled", "not pooled", "wide"],
)
def test_maps_of_a_swin_have_their_channels_last(options):
    module = tiny_swin(**options)
    images = torch.rand(3, 3, *module.patch_embed.img_size)
    with torch.no_grad(), watching(module) as seen:
        module(images)
    with torch.no_grad():
        maps = module.forward_features(images)
    mean = maps.mean((1, 2))
    assert maps.ndim == 4 and maps.shape[-1] == module.num_features
    assert torch.allclose(seen.features["tokens"], mean, atol=1e-6)
    assert torch.allclose(seen.features["pooled"], mean, atol=1e-6)


def test_maps_of_a_convolution_have_their_channels_second():
    seen = Seen()
    maps = torch.rand(2, 5, 3, 4)
    seen.add("pooled", maps)
    assert torch.allclose(seen.features["pooled"], maps.mean((2, 3)))


def test_no_more_pictures_are_run_than_are_kept(tiny_model, monkeypatch):
    monkeypatch.setattr(of, "KEPT", 2)
    read = []
    samples = [
        Sample(str(i), None, lambda i=i: read.append(i) or Image.new("RGB", (16, 16))) for i in range(8)
    ]
    features_of(tiny_model, Batches(samples, tiny_model.preprocess, size=2))
    assert read == [0, 1]


def test_an_experiment_tells_its_own_pictures_from_others(tiny_model, tmp_path, picture_folder):
    source = folder_source(tiny_model, picture_folder(tmp_path / "p", ["bee", "fox"], each=FEWEST))
    reference = refer(tiny_model, source, FEWEST)
    measured = quantize_and_measure(tiny_model, source, reference, vq.recipe("minmax"), 24)
    black = Sample("black", None, lambda: Image.new("RGB", (20, 20)))
    batches = Batches([black, reference.samples[0]], tiny_model.preprocess)
    assert measured.likeness.unlike(features_of(tiny_model, batches)).tolist() == [True, False]
    few = refer(tiny_model, source, 4)
    assert quantize_and_measure(tiny_model, source, few, vq.recipe("minmax"), 4).likeness is None
