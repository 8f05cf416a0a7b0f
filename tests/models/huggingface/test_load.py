"""Folders of the transformers library answer as its own modules do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import vitq_core as vq

transformers = pytest.importorskip(
    "transformers", reason="needs the transformers library, of requirements-dev.txt"
)

SHAPE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "patch_size": 8}
VIT = {**SHAPE, "intermediate_size": 40, "image_size": 16}
SWIN = {
    "image_size": 32, "patch_size": 2, "embed_dim": 12, "depths": [2, 2, 2], "num_heads": [2, 2, 4],
    "window_size": 4,
}  # fmt: skip
NAMES = {0: "cat", 1: "dog", 2: "fish"}

# name: (class, its configuration, the side of its pictures, what of its answer is compared)
MODELS: dict[str, tuple[str, str, dict, int, Callable]] = {
    "vit": ("ViTForImageClassification", "ViTConfig", VIT, 16, lambda out: out.logits),
    "vit, others of its kind": (
        "ViTForImageClassification", "ViTConfig",
        {**VIT, "hidden_act": "gelu_new", "qkv_bias": False, "layer_norm_eps": 1e-3},
        16, lambda out: out.logits,
    ),
    "vit features": ("ViTModel", "ViTConfig", VIT, 16, lambda out: out.last_hidden_state[:, 0]),
    "deit": ("DeiTForImageClassification", "DeiTConfig", VIT, 16, lambda out: out.logits),
    "deit, distilled": (
        "DeiTForImageClassificationWithTeacher", "DeiTConfig", VIT, 16, lambda out: out.logits,
    ),
    "dinov2": ("Dinov2Model", "Dinov2Config", {**SHAPE, "image_size": 16}, 16, lambda out: out.pooler_output),
    "dinov2, resampled": (
        "Dinov2Model", "Dinov2Config", {**SHAPE, "image_size": 40}, 24, lambda out: out.pooler_output,
    ),
    "dinov2 classes": (
        "Dinov2ForImageClassification", "Dinov2Config",
        {**SHAPE, "image_size": 16}, 16, lambda out: out.logits,
    ),
    "dinov2 giant": (
        "Dinov2ForImageClassification", "Dinov2Config",
        {**SHAPE, "image_size": 16, "use_swiglu_ffn": True}, 16, lambda out: out.logits,
    ),
    "swin": ("SwinForImageClassification", "SwinConfig", SWIN, 32, lambda out: out.logits),
    "swin features": ("SwinModel", "SwinConfig", SWIN, 32, lambda out: out.pooler_output),
}  # fmt: skip


def made(name: str) -> nn.Module:
    cls, config, shape, _, _ = MODELS[name]
    torch.manual_seed(0)
    names = {"id2label": NAMES, "label2id": {label: index for index, label in NAMES.items()}}
    module = getattr(transformers, cls)(getattr(transformers, config)(**shape, **names)).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module


def saved(module: nn.Module, folder: Path, side: int) -> Path:
    module.save_pretrained(folder)
    described = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": {"height": side, "width": side}}
    (folder / "preprocessor_config.json").write_text(json.dumps(described))
    return folder


def pictures(side: int) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def answered(module: nn.Module, name: str) -> torch.Tensor:
    with torch.no_grad():
        return MODELS[name][4](module(pictures(MODELS[name][3])))


@pytest.mark.parametrize("name", MODELS)
def test_answers_are_those_of_the_library(tmp_path: Path, name: str) -> None:
    module, side = made(name), MODELS[name][3]
    folder = saved(module, tmp_path / "own", side)
    model = vq.load_model(folder)
    with torch.no_grad():
        assert torch.allclose(model.module(pictures(side)), answered(module, name), atol=1e-5)
    classifies = "Classification" in MODELS[name][0]
    assert model.info.task == ("classification" if classifies else "features")
    assert model.labels == (list(NAMES.values()) if classifies else None)
    assert model.preprocessing.size == (side, side) and model.preprocessing.std == (0.25,) * 3
    assert model.preprocessing.crop_mode == "squash"


@pytest.mark.parametrize("name", ["vit", "deit, distilled", "dinov2 giant", "swin"])
def test_the_newest_names_are_known_too(tmp_path: Path, name: str) -> None:
    """As modules in memory have them, which somebody saved with torch."""
    module, side = made(name), MODELS[name][3]
    folder = saved(module, tmp_path / "own", side)
    (folder / "model.safetensors").unlink()
    torch.save(module.state_dict(), folder / "pytorch_model.bin")
    with torch.no_grad():
        found = vq.load_model(folder).module(pictures(side))
    assert torch.allclose(found, answered(module, name), atol=1e-5)


@pytest.mark.parametrize("name", ["deit", "dinov2 classes", "dinov2 giant", "swin"])
def test_it_can_be_quantized_explained_and_saved(tmp_path: Path, name: str) -> None:
    side = MODELS[name][3]
    model = vq.load_model(saved(made(name), tmp_path / "own", side))
    result = vq.quantize(model, pictures(side), vq.recipe("repq", 8, 8))
    with torch.no_grad():
        expected = model.module(pictures(side))
        assert (result.model(pictures(side)) - expected).norm() < 0.1 * expected.norm()
    vq.save_quantized(result, tmp_path / "saved")
    assert torch.equal(
        vq.load_quantized(tmp_path / "saved").model(pictures(side)), result.model(pictures(side))
    )
    assert torch.isfinite(vq.relevance(model, pictures(side)).pixel_maps).all()


def test_a_form_is_filled_from_its_config(tmp_path: Path) -> None:
    found = vq.describe_file(saved(made("swin"), tmp_path / "own", 32))
    assert (found.family, found.complete, found.patch_size, found.depth) == ("swin", True, 2, (2, 2, 2))
    assert (found.labels, found.mean, found.size) == (("cat", "dog", "fish"), (0.5,) * 3, (32, 32))


def test_pictures_are_prepared_as_the_librarys_processor_does(tmp_path: Path) -> None:
    from PIL import Image

    processor = transformers.BitImageProcessor(
        size={"shortest_edge": 40}, crop_size={"height": 24, "width": 24}
    )
    folder = saved(made("dinov2, resampled"), tmp_path / "own", 24)
    processor.save_pretrained(folder)
    noise = (torch.rand(9, 13, 3, generator=torch.Generator().manual_seed(0)) * 255).byte().numpy()
    picture = Image.fromarray(noise).resize((90, 60), Image.Resampling.BICUBIC)
    expected = processor(picture, return_tensors="pt").pixel_values[0]
    found = vq.load_model(folder).preprocess(picture)
    assert found.shape == expected.shape == (3, 24, 24)
    assert (found - expected).abs().mean() < 0.02, "up to how resizing rounds"


def changed(folder: Path, file: str, **changes: object) -> None:
    described = json.loads((folder / file).read_text())
    text = {key: value for key, value in {**described, **changes}.items() if value is not ...}
    (folder / file).write_text(json.dumps(text))


CONFIG, PICTURES = "config.json", "preprocessor_config.json"
WRONG = {
    "fewer names": (
        "vit", CONFIG, {"id2label": {"0": "cat", "1": "dog"}}, "has 3 classes, but the config.json of .* 2",
    ),
    "other depth": ("vit", CONFIG, {"num_hidden_layers": 3}, r"lacks 12 tensors of the model \(blocks.2"),
    "other width": ("vit", CONFIG, {"intermediate_size": 48}, r"mlp.fc1.weight is 40×24, the model's 48×24"),
    "an activation": ("vit", CONFIG, {"hidden_act": "mish"}, "its hidden_act is 'mish'; known: gelu, "),
    "a norm's": ("swin", CONFIG, {"layer_norm_eps": 1e-6}, "layer_norm_eps is 1e-06; timm's Swin has 1e-05"),
    "positions": ("swin", CONFIG, {"use_absolute_embeddings": True}, "adds absolute positions to a Swin"),
    "no width": ("vit", CONFIG, {"hidden_size": ...}, "config.json of .* lacks or misstates 'hidden_size'"),
    "windows": (
        "swin", PICTURES, {"size": {"height": 28, "width": 28}}, "map of 14×14 patches, which windows of 4×4",
    ),
    "no mean": ("vit", PICTURES, {"image_mean": ...}, "preprocessor_config.json .* used: 'image_mean'"),
    "any shape": (
        "vit", PICTURES, {"size": {"shortest_edge": 16}}, "keeps the shape of every picture, so no size",
    ),
    "other rescaling": ("vit", PICTURES, {"rescale_factor": 1.0}, "rescale_factor is 1.0; only 1/255"),
}  # fmt: skip


@pytest.mark.parametrize("fault", WRONG)
def test_what_does_not_fit_is_a_sentence(tmp_path: Path, fault: str) -> None:
    name, file, changes, said = WRONG[fault]
    folder = saved(made(name), tmp_path / "own", MODELS[name][3])
    changed(folder, file, **changes)
    with pytest.raises(vq.VitqError, match=said) as caught:
        vq.load_model(folder)
    assert "\n" not in str(caught.value)


def test_without_a_processor_mean_and_std_are_asked_for(tmp_path: Path) -> None:
    folder = saved(made("vit"), tmp_path / "own", 16)
    (folder / PICTURES).unlink()
    with pytest.raises(vq.VitqError, match=r"has no preprocessor_config.json, .* or give mean and std"):
        vq.load_model(folder)
    half = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    assert vq.load_model(folder, **half).preprocessing.size == (16, 16)
    with pytest.raises(ValueError, match="size is 32×32, but the model takes 16×16 pixels only"):
        vq.load_model(folder, size=32, **half)
