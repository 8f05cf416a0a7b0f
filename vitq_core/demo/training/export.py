"""Writing a trained model as a folder that `timm.create_model("local-dir:…", pretrained=True)` loads."""

import json
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import nn

from .datasets import PictureSet, to_float


def export(
    model: nn.Module, folder: Path, architecture: str, model_args: dict, names: tuple[str, ...], norm: tuple
) -> None:
    """Write `config.json` and fp16 `model.safetensors`; `norm` is (mean, std) of the pixels in 0..1."""
    folder.mkdir(parents=True, exist_ok=True)
    half = {k: v.detach().to(torch.float16).contiguous() for k, v in model.state_dict().items()}
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    config = _config(model, architecture, model_args, names, norm)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _config(
    model: nn.Module, architecture: str, model_args: dict, names: tuple[str, ...], norm: tuple
) -> dict:
    mean, std = norm
    size = model_args["img_size"]
    return {
        "architecture": architecture,
        "num_classes": len(names),
        "num_features": model.num_features,
        "global_pool": model.global_pool,
        "model_args": model_args,
        "label_names": list(names),
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [3, size, size],
            "fixed_input_size": True,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": list(mean),
            "std": list(std),
            "num_classes": len(names),
            "pool_size": None,
            "first_conv": model.pretrained_cfg["first_conv"],
            "classifier": model.pretrained_cfg["classifier"],
        },
    }


def load(folder: Path) -> nn.Module:
    """The exported model as a user gets it: timm's loader, float32, in evaluation mode."""
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


@torch.no_grad()
def accuracy(model: nn.Module, pictures: PictureSet, norm: tuple, batch_size: int = 250) -> float:
    """Share of `pictures` whose label `model` puts first; the model is left in evaluation mode."""
    model.eval()
    right = 0
    for start in range(0, len(pictures), batch_size):
        part = slice(start, start + batch_size)
        logits = model(to_float(pictures.images[part], *norm))
        right += (logits.argmax(1) == pictures.labels[part]).sum().item()
    return right / len(pictures)
