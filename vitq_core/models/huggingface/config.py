"""config.json of the transformers library: which of timm's classes computes the same, and how built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from timm.layers import GELU, GELUTanh, LayerNorm, QuickGELU, SwiGLUPacked
from timm.models.deit import VisionTransformerDistilled
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ...common.errors import VitqError
from ...graph.vit.class_and_mean import ClassAndMean
from ..hub_errors import CONFIG

Config = Mapping[str, Any]
Size = tuple[int, int]
ACTIVATIONS = {
    "gelu": GELU, "gelu_new": GELUTanh, "gelu_pytorch_tanh": GELUTanh, "quick_gelu": QuickGELU,
    "relu": nn.ReLU, "silu": nn.SiLU, "swish": nn.SiLU,
}  # fmt: skip
SWIN_EPS = 1e-5  # timm's Swin has one for all norms, and transformers' embedding always this


@dataclass(frozen=True)
class Kind:
    """What a class of the library is to timm. `tokens`: what a distillation token is called there."""

    model_type: str
    timm: type[nn.Module]
    classifies: bool
    tokens: str = "dist_token"


_VIT, _DEIT, _DINO, _SWIN = "vit", "deit", "dinov2", "swin"
KINDS = {
    "ViTForImageClassification": Kind(_VIT, VisionTransformer, True),
    "ViTModel": Kind(_VIT, VisionTransformer, False),
    # Its head reads the class token alone: the distillation token is one that only takes part.
    "DeiTForImageClassification": Kind(_DEIT, VisionTransformer, True, "reg_token"),
    "DeiTForImageClassificationWithTeacher": Kind(_DEIT, VisionTransformerDistilled, True),
    "DeiTModel": Kind(_DEIT, VisionTransformer, False, "reg_token"),
    "Dinov2ForImageClassification": Kind(_DINO, ClassAndMean, True),
    "Dinov2Model": Kind(_DINO, VisionTransformer, False),
    "SwinForImageClassification": Kind(_SWIN, SwinTransformer, True),
    "SwinModel": Kind(_SWIN, SwinTransformer, False),
}


def is_of_transformers(config: Config) -> bool:
    """Whether that library wrote `config`, for one of its own models: not for one of timm's."""
    return "model_type" in config and not isinstance(config.get("architecture"), str)


def kind_of(config: Config, name: str) -> Kind:
    """By the class that was saved. VitqError with the model's `name` for another than :data:`KINDS`."""
    saved = config.get("architectures") or []
    saved = saved[0] if isinstance(saved, list) and saved else "no class"
    kind = KINDS.get(saved) if isinstance(saved, str) else None
    if kind is None or kind.model_type != config["model_type"]:
        raise VitqError(
            f"the {CONFIG} of {name} describes {saved!s:.80} (model_type {config['model_type']!r:.40}) of "
            f"the transformers library; of that, these can be loaded: {', '.join(KINDS)}"
        )
    return kind


def takes_any_size(kind: Kind) -> bool:
    """Whether the library gives it pictures of other sizes than `image_size`."""
    return kind.model_type in (_DINO, _SWIN)


def builder(config: Config, kind: Kind, classes: int, size: Size) -> Callable[[], nn.Module]:
    """What makes timm's model, for pictures of `size`. Raises VitqError, KeyError or TypeError for a `config`
    that no module of timm's computes."""
    arguments = _common(config, classes, size)
    arguments |= _of_swin(config) if kind.model_type == _SWIN else _of_vit(config, kind)
    return partial(kind.timm, **arguments)


def size_of(config: Config) -> Size:
    """(height, width) of `image_size`."""
    return _pair(config.get("image_size", 224))


def _common(config: Config, classes: int, size: Size) -> dict[str, Any]:
    return {
        "img_size": size,
        "patch_size": _pair(config["patch_size"]),
        "in_chans": config.get("num_channels", 3),
        "num_classes": classes,
        "qkv_bias": config.get("qkv_bias", True),
        "weight_init": "skip",
    }


def _of_vit(config: Config, kind: Kind) -> dict[str, Any]:
    width = config["hidden_size"]
    arguments = {
        "embed_dim": width,
        "depth": config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "norm_layer": partial(LayerNorm, eps=config.get("layer_norm_eps", 1e-6)),
        "act_layer": _activation(config),
        "mlp_ratio": _ratio(config, width),
    }
    if kind.tokens == "reg_token" and kind.model_type == _DEIT:
        arguments["reg_tokens"] = 1
    if kind.model_type == _DINO:
        arguments["init_values"] = 1.0
        if config.get("use_swiglu_ffn"):
            arguments |= {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}
    return arguments


def _ratio(config: Config, width: int) -> float:
    """Of the first layer of an MLP; half a unit of room, as timm truncates."""
    if "intermediate_size" in config:
        hidden = config["intermediate_size"]
    else:
        hidden = int(width * config.get("mlp_ratio", 4))
    if config.get("use_swiglu_ffn"):
        hidden = 2 * ((int(hidden * 2 / 3) + 7) // 8 * 8)  # the gate and what it lets through
    return (hidden + 0.5) / width


def _of_swin(config: Config) -> dict[str, Any]:
    if config.get("use_absolute_embeddings"):
        raise VitqError("it adds absolute positions to a Swin's patches, which timm's Swin does not")
    if config.get("layer_norm_eps", SWIN_EPS) != SWIN_EPS:
        raise VitqError(
            f"its layer_norm_eps is {config['layer_norm_eps']!r:.40}; timm's Swin has {SWIN_EPS:g}"
        )
    if config.get("hidden_act", "gelu") != "gelu":
        raise VitqError(f"its hidden_act is {config['hidden_act']!r:.40}; timm's Swin has gelu")
    return {
        "embed_dim": config["embed_dim"],
        "depths": tuple(config["depths"]),
        "num_heads": tuple(config["num_heads"]),
        "window_size": config["window_size"],
        "mlp_ratio": config.get("mlp_ratio", 4.0),
    }


def _activation(config: Config) -> type[nn.Module]:
    name = config.get("hidden_act", "gelu")
    if name not in ACTIVATIONS:
        raise VitqError(f"its hidden_act is {name!r:.40}; known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def _pair(value: Any) -> Size:
    return (value, value) if isinstance(value, int) else tuple(value)
