"""What a newcomer did that ended in a raw traceback or a silent wrong answer: now one sentence, or right."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vitq_core as vq


def tiny_and_images(dtype: torch.dtype = torch.float32) -> tuple[nn.Module, torch.Tensor]:
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    size = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 7}
    return VisionTransformer(**size).eval().to(dtype), torch.randn(8, 3, 16, 16)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_of_any_precision_is_its_quantized_models_reference(dtype):
    model, images = tiny_and_images(dtype)
    result = vq.quantize(model, images, "repq")
    measured = vq.evaluate(result, images.to(dtype), reference=model)
    assert measured.n == 8 and 0 <= measured.agreement <= 1


@pytest.mark.parametrize(
    ("loader", "sentence"),
    [
        (torch.randn(2, 3, 8, 8), "cannot take images"),
        (torch.randn(2, 1, 16, 16), "cannot take images"),
        (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), "preprocessed floats"),
        (None, "iterable of batches"),
        (5, "iterable of batches"),
    ],
)
def test_evaluating_what_cannot_be_evaluated(loader, sentence):
    model, images = tiny_and_images()
    with pytest.raises((ValueError, vq.VitqError), match=sentence):
        vq.evaluate(vq.quantize(model, images, "minmax"), loader)


def test_batches_may_carry_more_than_images_and_labels():
    model, images = tiny_and_images()
    assert vq.evaluate(model, [(images, torch.zeros(8, dtype=torch.long), "names")]).n == 8


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_named(value):
    model, images = tiny_and_images()
    model.blocks[0].mlp.fc1.weight.data[0, 0] = value
    with pytest.raises(vq.VitqError, match=r"blocks\.0\.mlp\.fc1\.weight contains NaN"):
        vq.quantize(model, images, "repq")


def test_pictures_so_large_that_the_model_overflows():
    model, images = tiny_and_images()
    with pytest.raises(vq.VitqError, match="not finite"):
        vq.quantize(model, images * 1e30, "repq")


def test_a_size_that_the_model_cannot_take():
    with pytest.raises(ValueError, match="takes 16×16 pixels only"):
        vq.wrap_model(tiny_and_images()[0], size=32)


def test_preprocessing_reads_deep_and_turned_pictures_as_uploads_are_read():
    model = vq.wrap_model(tiny_and_images()[0])
    ramp = np.linspace(0, 255, 256).reshape(16, 16).astype(np.uint8)
    deep = model.preprocess(Image.fromarray(ramp.astype(np.uint16) * 257))
    assert torch.allclose(deep, model.preprocess(Image.fromarray(ramp)), atol=1e-6)
    turned = Image.fromarray(ramp)
    turned.getexif()[0x0112] = 3  # upside down
    assert torch.allclose(model.preprocess(turned), deep.flip(1, 2), atol=0.05)
    with pytest.raises(ValueError, match="8 or 16 bits"):
        model.preprocess(Image.fromarray(np.zeros((16, 16), np.float32)))
