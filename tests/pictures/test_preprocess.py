"""Preprocessing is timm's evaluation transform, and nonsense is refused with a sentence."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform, resolve_data_config

from vitq_core.pictures.preprocess import Preprocessing


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


CONFIGS = [
    {
        "input_size": (3, 224, 224),
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
    },
    {"input_size": (3, 48, 64), "crop_pct": 0.8, "interpolation": "bilinear", "crop_mode": "squash"},
    {"input_size": (3, 64, 64), "crop_pct": 1.0, "crop_mode": "border"},
    {"input_size": (3, 160, 160)},
]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("size", [(300, 200), (37, 90)])
def test_is_timms_evaluation_transform(config: dict, size: tuple[int, int]) -> None:
    picture = noise(*size)
    theirs = create_transform(**resolve_data_config(pretrained_cfg=config), is_training=False)(picture)
    assert torch.equal(Preprocessing.from_timm(config)(picture), theirs)


def test_a_small_model_does_not_crop_unless_told() -> None:
    assert Preprocessing.from_timm({"input_size": (3, 32, 32)}).crop_pct == 1.0
    assert Preprocessing.from_timm({"input_size": (3, 32, 32), "crop_pct": 0.9}).crop_pct == 0.9
    assert Preprocessing.from_timm({"input_size": (3, 224, 224)}).crop_pct == 0.875


def test_a_picture_of_the_models_size_is_only_normalised() -> None:
    picture = noise(32, 32)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
    expected = (pixels - 0.5) / 0.25
    ours = Preprocessing(size=32, crop_pct=1.0, mean=(0.5,) * 3, std=(0.25,) * 3)(picture)
    assert torch.allclose(ours, expected, atol=1e-6)


@settings(max_examples=30)
@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from(["RGB", "L", "RGBA", "P"]))
def test_any_picture_gives_the_models_shape(width: int, height: int, mode: str) -> None:
    tensor = Preprocessing(size=32, crop_pct=1.0)(noise(width, height, mode))
    assert tensor.shape == (3, 32, 32) and torch.isfinite(tensor).all()


def test_an_endless_strip_does_not_eat_the_memory() -> None:
    assert Preprocessing()(Image.new("RGB", (2_000_000, 1))).shape == (3, 224, 224)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mean": (0.5, 0.5)}, "mean must be three finite numbers"),
        ({"mean": 0.5}, "mean must be three finite numbers"),
        ({"std": (1, 1, float("nan"))}, "std must be three finite numbers"),
        ({"std": (1, 0, 1)}, "std must be three positive numbers"),
        ({"size": 0}, "size must be a positive number"),
        ({"size": (32, 32, 3)}, "size must be a positive number"),
        ({"crop_pct": 1.5}, "crop_pct must be above 0"),
        ({"crop_pct": 1e-9}, "crop_pct must be at least 0.0137 for this size"),
        ({"interpolation": "cubical"}, "unknown interpolation 'cubical'; available: bicubic"),
        ({"crop_mode": "middle"}, "unknown crop_mode 'middle'; available: center"),
    ],
)
def test_nonsense_is_refused(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Preprocessing(**options)


def test_refuses_what_is_no_picture_and_no_rgb_model() -> None:
    with pytest.raises(ValueError, match="takes a PIL picture, got ndarray"):
        Preprocessing()(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="1 channels; only RGB"):
        Preprocessing.from_timm({"input_size": (1, 28, 28)})


def test_describes_itself_in_one_sentence() -> None:
    text = Preprocessing(size=(48, 64), crop_pct=0.9).describe()
    assert text.count(". ") == 0 and text.endswith(".")
    assert all(part in text for part in ("64×48 px", "bicubic", "crop of 90 %", "(0.485, 0.456, 0.406)"))
