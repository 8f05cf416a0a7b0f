"""The models one can pick by name: bundled ones work offline, the others are downloaded when first used."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

from .sam.published import PUBLISHED, Published, published_as

BUNDLED_ROOT = Path(__file__).resolve().parents[2]
OUTLIERS = "-outliers"
# What stands in a file and is learned by no model: a Sam's random positions are a buffer.
NO_PARAMETERS = ("__metadata__", "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix")
CLASSIFICATION, SEGMENTATION = "classification", "segmentation"


@dataclass(frozen=True)
class ModelInfo:
    """What there is to know about a model before loading it.

    `id` is what `load_model` takes, `params` the number of parameters, `bundled` whether it works offline,
    `source` a folder, a repository of the Hugging Face hub or the address of a file, `summary` one plain
    sentence or two.
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
_DEMO_SWIN = (
    "A small Swin trained for this project on drawn scenes of 64×64 pixels: attention in shifted windows."
)
_DEMO_SAM = (
    "A small Segment Anything trained for this project on drawn scenes: it outlines what a click or a box "
    "points at."
)
_BUNDLED = (("demo-vit", "Demo ViT", _DEMO), ("cifar10-vit", "CIFAR-10 ViT", _CIFAR))

_HUB = (
    ("deit-tiny", "DeiT-Tiny", 5_717_416, "timm/deit_tiny_patch16_224.fb_in1k"),
    ("deit-small", "DeiT-Small", 22_050_664, "timm/deit_small_patch16_224.fb_in1k"),
    ("deit-base", "DeiT-Base", 86_567_656, "timm/deit_base_patch16_224.fb_in1k"),
    ("vit-small", "ViT-Small", 22_050_664, "timm/vit_small_patch16_224.augreg_in21k_ft_in1k"),
    ("vit-base", "ViT-Base", 86_567_656, "timm/vit_base_patch16_224.augreg_in21k_ft_in1k"),
    ("swin-tiny", "Swin-Tiny", 28_288_354, "timm/swin_tiny_patch4_window7_224.ms_in1k"),
    ("swin-small", "Swin-Small", 49_606_258, "timm/swin_small_patch4_window7_224.ms_in1k"),
    ("swin-base", "Swin-Base", 87_768_224, "timm/swin_base_patch4_window7_224.ms_in22k_ft_in1k"),
)


def list_models() -> list[ModelInfo]:
    """Every model that can be picked: bundled ones whose weights are there, then those to download.

    `task` says what a model is for: not every one is a classifier.
    """
    found = [info for info in bundled_models() if weights_of(info).is_file()]
    return found + [_hub_info(*row) for row in _HUB] + [_sam_info(item) for item in PUBLISHED]


def bundled_models() -> list[ModelInfo]:
    """Every model this project ships, plain and with channel spread, also where its weights are missing."""
    pairs = [info for row in _BUNDLED for info in _bundled_pair(*row)]
    swin = _bundled("demo-swin", "Demo Swin", _DEMO_SWIN)
    return [*pairs, swin, _bundled("demo-sam", "Demo SAM", _DEMO_SAM, task=SEGMENTATION)]


def find_model(model_id: str) -> ModelInfo | None:
    """The catalogue's entry, also of a bundled model whose weights are missing; None for an unknown id.

    The published Segment Anything models are also known as `vit_b`, `vit_l` and `vit_h`.
    """
    published = published_as(model_id)
    if published is not None:
        return _sam_info(published)
    known = bundled_models() + list_models()
    return next((info for info in known if info.id == model_id), None)


def weights_of(info: ModelInfo) -> Path:
    """Where the weights of a bundled model are expected."""
    return folder_of(info) / "model.safetensors"


def folder_of(info: ModelInfo) -> Path:
    """The folder of a bundled model, with its config.json."""
    return BUNDLED_ROOT / info.source


def _bundled_pair(name: str, title: str, summary: str) -> tuple[ModelInfo, ModelInfo]:
    plain = _bundled(name, title, summary)
    spread = replace(plain, id=name + OUTLIERS, title=f"{title} with outliers", summary=summary + _SPREAD)
    return plain, spread


def _bundled(name: str, title: str, summary: str, task: str = CLASSIFICATION) -> ModelInfo:
    source = f"assets/models/{name}"
    params = _count_params(BUNDLED_ROOT / source / "model.safetensors")
    return ModelInfo(name, title, task, params, True, source, summary)


def _hub_info(name: str, title: str, params: int, repo: str) -> ModelInfo:
    size = _megabytes(params)
    summary = (
        f"Trained on ImageNet's 1,000 classes at 224×224 pixels; {repo} ({size}) is downloaded when it is "
        "first used."
    )
    return ModelInfo(name, title, CLASSIFICATION, params, False, repo, summary)


def _sam_info(item: Published) -> ModelInfo:
    summary = (
        "Segment Anything outlines what a click or a box points at, on photographs of any kind; its file "
        f"({_megabytes(item.params)}) is downloaded when it is first used."
    )
    return ModelInfo(item.id, item.title, SEGMENTATION, item.params, False, item.address, summary)


def _megabytes(params: int) -> str:
    return f"{4 * params / 1e6:.0f} MB"


def _count_params(weights: Path) -> int:
    """Parameters of a safetensors file, read from its header alone; 0 where it is missing or damaged."""
    try:
        with weights.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return sum(math.prod(entry["shape"]) for name, entry in header.items() if name not in NO_PARAMETERS)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, MemoryError):
        return 0
