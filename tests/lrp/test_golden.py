"""Three pictures of three classes in one batch give what the authors' code gave one by one (tests/golden)."""

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

import vitq_core as vq

GOLDEN = "lrp_tiny_vit.npz"
TOLERANCE = 1e-4  # relative to the greatest value
# Relevance divides by sums that nearly cancel: up to 1.1e-3 lies between the authors'
# processor and one without AVX-512.
OF_RELEVANCE = 2e-3
LAYERS = ("attn.qkv", "attn.matmul1", "attn.softmax", "attn.matmul2", "attn.proj", "mlp.fc1", "mlp.fc2")


@pytest.fixture(scope="module")
def found(golden_model: VisionTransformer, golden: dict[str, Tensor]) -> vq.Relevance:
    return vq.relevance(golden_model, golden["x"], targets=golden["sample.target"], return_tensors=True)


def distance(actual: Tensor, expected: Tensor) -> float:
    """The worst picture's greatest difference, relative to its greatest value."""
    assert actual.shape == expected.shape
    differences = (actual - expected).abs().flatten(1).amax(1)
    return float((differences / expected.abs().flatten(1).amax(1)).max())


def test_logits(golden_model: VisionTransformer, golden: dict[str, Tensor]) -> None:
    with torch.no_grad():
        assert distance(golden_model(golden["x"]), golden["sample.logits"]) < TOLERANCE


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("block", range(3))
def test_relevance_and_gradient(
    found: vq.Relevance, golden: dict[str, Tensor], block: int, layer: str
) -> None:
    name = f"blocks.{block}.{layer}"
    relevance, gradient = found.tensors[name]
    assert distance(relevance, golden[f"sample.R.{name}"]) < OF_RELEVANCE
    assert distance(gradient, golden[f"sample.G.{name}"]) < TOLERANCE


def test_every_published_tensor_is_compared(golden: dict[str, Tensor]) -> None:
    published = {name[9:] for name in golden if name.startswith(("sample.R.", "sample.G."))}
    assert published == {f"blocks.{block}.{layer}" for block in range(3) for layer in LAYERS}


def test_heat_map(found: vq.Relevance, golden: dict[str, Tensor]) -> None:
    assert found.heatmaps.shape == (3, 4, 4)
    assert distance(found.heatmaps.flatten(1), golden["sample.transformer_attribution"]) < OF_RELEVANCE


def test_pixel_map(found: vq.Relevance, golden: dict[str, Tensor]) -> None:
    assert distance(found.pixel_maps, golden["sample.pixel_relevance"]) < OF_RELEVANCE


def test_targets(found: vq.Relevance, golden: dict[str, Tensor]) -> None:
    assert torch.equal(found.targets, golden["sample.target"])


def test_scores_are_the_mean_positive_product(found: vq.Relevance, golden: dict[str, Tensor]) -> None:
    """S_i = mean((G ⊙ R)⁺), C = mean over the pictures; of the attention map too."""
    scores = found.layer_scores | found.importance.attention_scores
    for name in (f"blocks.{block}.{layer}" for block in range(3) for layer in LAYERS):
        product = golden[f"sample.G.{name}"].double() * golden[f"sample.R.{name}"].double()
        each = [float(picture.clamp(min=0).mean()) for picture in product]
        assert scores[name] == pytest.approx(sum(each) / 3, rel=OF_RELEVANCE), name
        if name in found.layer_scores:
            error = np.std(each, ddof=1) / 3**0.5
            assert found.importance.standard_errors[name] == pytest.approx(error, rel=1e-3), name


@pytest.mark.parametrize("batch_size", [1, 2])
def test_other_batches_give_the_same(
    golden_model: VisionTransformer, golden: dict[str, Tensor], found: vq.Relevance, batch_size: int
) -> None:
    again = vq.relevance(golden_model, golden["x"], targets=[0, 1, 2], batch_size=batch_size)
    assert distance(again.heatmaps, found.heatmaps) < TOLERANCE
    assert distance(again.pixel_maps, found.pixel_maps) < TOLERANCE
    assert again.layer_scores == pytest.approx(found.layer_scores, rel=1e-4)
