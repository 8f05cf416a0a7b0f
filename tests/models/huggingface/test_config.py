"""What of the transformers library can be loaded is said without it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

import vitq_core as vq
from vitq_core.models.huggingface.pictures import preprocessing_of

from ..checkpoints.files import net, state


@pytest.mark.parametrize(
    ("model_type", "saved", "said"),
    [
        (
            "clip",
            ["CLIPModel"],
            r"CLIPModel \(model_type 'clip'\) of the transformers library; of that, .*ViTModel",
        ),
        ("vit", ["ViTForMaskedImageModeling"], "describes ViTForMaskedImageModeling"),
        ("swinv2", ["ViTModel"], r"describes ViTModel \(model_type 'swinv2'\)"),
        ("beit", [], r"describes no class \(model_type 'beit'\)"),
    ],
)
def test_other_models_are_refused_by_name(tmp_path: Path, model_type: str, saved: list, said: str) -> None:
    save_file(state(net()), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, "architectures": saved}))
    with pytest.raises(vq.VitqError, match=said):
        vq.load_model(tmp_path)


NORMAL = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
CROP = {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}}


@pytest.mark.parametrize(
    ("table", "size", "resized", "mode"),
    [
        ({"size": {"height": 224, "width": 224}}, 224, 224, "squash"),
        ({"size": 384}, 384, 384, "squash"),
        ({"size": {"height": 256, "width": 256}, **CROP}, 224, 256, "squash"),
        ({"size": {"shortest_edge": 257}, **CROP}, 224, 257, "center"),
        ({"size": 256, "crop_size": 224, "do_center_crop": True, "image_processor_type": "BitImageProcessor"},
         224, 256, "center"),
        ({"do_resize": False}, 32, 32, "center"),
    ],
)  # fmt: skip
def test_processors_are_read_as_the_library_means_them(
    table: dict, size: int, resized: int, mode: str
) -> None:
    found = preprocessing_of({**NORMAL, "resample": 3, **table}, (32, 32))
    assert (found.size, found.crop_mode, found.interpolation) == ((size, size), mode, "bicubic")
    assert int(size / found.crop_pct) == resized


def test_pictures_that_are_not_normalised_stay_as_they_are() -> None:
    found = preprocessing_of({"do_normalize": False, "size": 16}, (16, 16))
    assert (found.mean, found.std, found.interpolation) == ((0.0,) * 3, (1.0,) * 3, "bilinear")
