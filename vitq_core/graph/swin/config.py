"""The constructor arguments of a SwinTransformer, read off an instance, to rebuild a saved model from."""

from __future__ import annotations

from typing import Any

import timm.layers
import timm.models.swin_transformer as swin
from torch import nn

from ..classifiers import build_head, describe_head
from ..description import check_rebuilt, class_name, describe_norm, mlp_ratio, norm_layer, resolve

SOURCES = (timm.layers, nn, swin)
PAD_FIRST = "pad_first"  # ours, of the rewritten blocks; every other entry is timm's


def describe(module: swin.SwinTransformer) -> dict[str, Any]:
    """JSON-ready. Raises VitqError where an instance was altered beyond what its constructor can make."""
    embed, fc = module.patch_embed, module.head.fc
    first = module.layers[0].blocks[0]
    config = {
        "class": class_name(module, SOURCES),
        "img_size": list(embed.img_size),
        "patch_size": list(embed.patch_size),
        "in_chans": module.in_chans,
        "embed_dim": module.embed_dim,
        "num_classes": fc.out_features if isinstance(fc, nn.Linear) else 0,
        "global_pool": module.head.global_pool.pool_type,
        "strict_img_size": embed.strict_img_size,
        "always_partition": first.always_partition,
        "qkv_bias": first.attn.qkv.bias is not None,
        "norm": describe_norm(first.norm1),
        PAD_FIRST: getattr(first.attn, PAD_FIRST, False),
        "depths": [len(stage.blocks) for stage in module.layers],
        **_by_stage([stage.blocks[0] for stage in module.layers]),
    }
    if not isinstance(fc, (nn.Linear, nn.Identity)):
        config["fc"] = describe_head(fc)
    check_rebuilt(module, lambda: construct(config))
    return config


def _by_stage(firsts: list[nn.Module]) -> dict[str, list]:
    """Of the ``firsts``, a block of each stage."""
    attentions = [block.attn for block in firsts]
    return {
        "num_heads": [attention.num_heads for attention in attentions],
        "head_dim": [attention.qkv.out_features // (3 * attention.num_heads) for attention in attentions],
        # as they are: no larger than the map, which shifts nothing then
        "window_size": [list(attention.window_size) for attention in attentions],
        "mlp_ratio": [mlp_ratio(block.mlp.fc1) for block in firsts],
    }


def construct(config: dict[str, Any]) -> swin.SwinTransformer:
    """A freshly initialized model of timm's blocks. Raises VitqError for a class that timm does not have."""
    arguments = {name: value for name, value in config.items() if name != PAD_FIRST}
    cls = resolve(arguments.pop("class"), swin.SwinTransformer, SOURCES)
    norm, fc = arguments.pop("norm"), arguments.pop("fc", None)
    windows, strict = arguments.pop("window_size"), arguments.pop("strict_img_size")
    if all(window == windows[0] for window in windows):
        windows = windows[0]  # of two stages timm 1.0.26 takes two for a height and a width
    module = cls(
        **arguments,
        window_size=windows,
        strict_img_size=False,  # or it makes masks of all windows of a picture, which nobody reads
        norm_layer=norm_layer(norm, SOURCES),
        drop_path_rate=0.0,
        weight_init="skip",
    )
    module.patch_embed.strict_img_size = strict
    if fc is not None:
        module.head.fc = build_head(fc)
        linears = [part for part in module.head.fc.modules() if isinstance(part, nn.Linear)]
        module.num_classes = linears[-1].out_features if linears else 0
    return module
