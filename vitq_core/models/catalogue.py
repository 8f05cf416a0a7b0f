"""The models one can pick by name: bundled ones work offline, the others are downloaded when first used."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

BUNDLED_ROOT = Path(__file__).resolve().parents[2]
OUTLIERS = "-outliers"


@dataclass(frozen=True)
class ModelInfo:
    """What there is to know about a model before loading it.

    `id` is what `load_model` takes, `params` the number of parameters, `bundled` whether it works offline,
    `source` a folder or a repository of the Hugging Face hub, `summary` one plain sentence.
    """

    id: str
    title: str
    task: str
    params: int
    bundled: bool
    source: str
    summary: str = ""


_DEMO = "A small vision transformer trained for this project on drawn scenes of 64×64 pixels."
_CIFAR = "A small vision transformer trained for this project on CIFAR-10's real photographs of 32×32 pixels."
_SPREAD = (
    " The same answers, but made hard to shrink on purpose: its channels are spread as far apart as those of"
    " large models."
)
_BUNDLED = (("demo-vit", "Demo ViT", _DEMO), ("cifar10-vit", "CIFAR-10 ViT", _CIFAR))

_HUB = (
    ("deit-tiny", "DeiT-Tiny", 5_717_416, "timm/deit_tiny_patch16_224.fb_in1k"),
    ("deit-small", "DeiT-Small", 22_050_664, "timm/deit_small_patch16_224.fb_in1k"),
    ("deit-base", "DeiT-Base", 86_567_656, "timm/deit_base_patch16_224.fb_in1k"),
    ("vit-small", "ViT-Small", 22_050_664, "timm/vit_small_patch16_224.augreg_in21k_ft_in1k"),
    ("vit-base", "ViT-Base", 86_567_656, "timm/vit_base_patch16_224.augreg_in21k_ft_in1k"),
)


def list_models() -> list[ModelInfo]:
    """Every model that can be picked: bundled ones whose weights are there, ImageNet ones to download."""
    found = [info for info in bundled_models() if weights_of(info).is_file()]
    return found + [_hub_info(*row) for row in _HUB]


def bundled_models() -> list[ModelInfo]:
    """Every model this project ships, plain and with channel spread, also where its weights are missing."""
    return [info for row in _BUNDLED for info in _bundled_pair(*row)]


def find_model(model_id: str) -> ModelInfo | None:
    """The catalogue's entry, also of a bundled model whose weights are missing; None for an unknown id."""
    known = bundled_models() + list_models()
    return next((info for info in known if info.id == model_id), None)


def weights_of(info: ModelInfo) -> Path:
    """Where the weights of a bundled model are expected."""
    return folder_of(info) / "model.safetensors"


def folder_of(info: ModelInfo) -> Path:
    """The folder of a bundled model, in timm's local-directory format."""
    return BUNDLED_ROOT / info.source


def _bundled_pair(name: str, title: str, summary: str) -> tuple[ModelInfo, ModelInfo]:
    source = f"assets/models/{name}"
    params = _count_params(BUNDLED_ROOT / source / "model.safetensors")
    plain = ModelInfo(name, title, "classification", params, True, source, summary)
    spread = ModelInfo(
        name + OUTLIERS, f"{title} with outliers", "classification", params, True, source, summary + _SPREAD
    )
    return plain, spread


def _hub_info(name: str, title: str, params: int, repo: str) -> ModelInfo:
    size = _megabytes(params)
    summary = (
        f"Trained on ImageNet's 1,000 classes at 224×224 pixels; {repo} ({size}) is downloaded when it is "
        "first used."
    )
    return ModelInfo(name, title, "classification", params, False, repo, summary)


def _megabytes(params: int) -> str:
    return f"{4 * params / 1e6:.0f} MB"


def _count_params(weights: Path) -> int:
    """Parameters of a safetensors file, read from its header alone; 0 where it is missing or damaged."""
    try:
        with weights.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError):
        return 0
