"""The constructor arguments of a VisionTransformer, read off an instance, to rebuild a saved model from."""

from __future__ import annotations

from functools import partial
from typing import Any

import timm.layers
import timm.models.deit
import timm.models.vision_transformer as vit
from torch import nn

from .. import description
from ..classifiers import build_head, describe_head
from ..description import check_rebuilt, class_name, describe_norm, mlp_ratio, norm_layer
from . import class_and_mean

SOURCES = (timm.layers, nn, vit, timm.models.deit, class_and_mean)
resolve = partial(description.resolve, sources=SOURCES)


def describe(module: vit.VisionTransformer) -> dict[str, Any]:
    """JSON-ready. Raises VitqError where an instance was altered beyond what its constructor can make."""
    block = module.blocks[0]
    config = {
        "class": class_name(module, SOURCES),
        "depth": len(module.blocks),
        **_embedding(module),
        **_pooling(module),
        **_block(block),
        "block": _block_class(block),
        **_head(module),
    }
    check_rebuilt(module, lambda: construct(config))
    return config


def construct(config: dict[str, Any]) -> vit.VisionTransformer:
    """A freshly initialized model. Raises VitqError for a class that timm does not have."""
    arguments = dict(config)
    cls = resolve(arguments.pop("class"), vit.VisionTransformer)
    block = arguments.pop("block")
    block_fn = resolve(block["name"], nn.Module)
    norm, mlp = arguments.pop("norm"), arguments.pop("mlp")
    embed_norm = arguments.pop("embed_norm")
    heads = arguments.pop("heads", {})
    module = cls(
        **arguments,
        act_layer=resolve(mlp["act"], nn.Module),
        mlp_layer=partial(resolve(mlp["name"], nn.Module), **mlp["options"]),
        norm_layer=norm_layer(norm, SOURCES),
        embed_norm_layer=norm_layer(embed_norm, SOURCES) if embed_norm else None,
        block_fn=partial(block_fn, **block["options"]) if block["options"] else block_fn,
        weight_init="skip",
    )
    for name in heads:
        setattr(module, name, build_head(heads[name]))
    if "head" in heads:
        linears = [part for part in module.head.modules() if isinstance(part, nn.Linear)]
        module.num_classes = linears[-1].out_features if linears else 0
    return module


def _embedding(module: vit.VisionTransformer) -> dict[str, Any]:
    embed = module.patch_embed
    return {
        "img_size": list(embed.img_size),
        "patch_size": list(embed.patch_size),
        "in_chans": module.in_chans,
        "embed_dim": module.embed_dim,
        "class_token": module.has_class_token,
        "reg_tokens": module.num_reg_tokens,
        "pos_embed": "none" if module.pos_embed is None else "learn",
        "no_embed_class": module.no_embed_class,
        "dynamic_img_size": module.dynamic_img_size,
        "dynamic_img_pad": embed.dynamic_img_pad,
        "pre_norm": not isinstance(module.norm_pre, nn.Identity),
        "embed_norm": None if isinstance(embed.norm, nn.Identity) else describe_norm(embed.norm),
    }


def _pooling(module: vit.VisionTransformer) -> dict[str, Any]:
    pooled = not isinstance(module.fc_norm, nn.Identity)
    return {
        "num_classes": module.head.out_features if isinstance(module.head, nn.Linear) else 0,
        "global_pool": module.global_pool,
        "pool_include_prefix": module.pool_include_prefix,
        "fc_norm": pooled,
        "final_norm": pooled or not isinstance(getattr(module, "norm", nn.Identity()), nn.Identity),
    }


def _head(module: vit.VisionTransformer) -> dict[str, Any]:
    """Only what timm's constructor does not make of ``num_classes``."""
    heads = {name: getattr(module, name) for name in ("head", "head_dist") if hasattr(module, name)}
    own = {name: head for name, head in heads.items() if not isinstance(head, (nn.Linear, nn.Identity))}
    return {"heads": {name: describe_head(head) for name, head in own.items()}} if own else {}


def _block(block: nn.Module) -> dict[str, Any]:
    """Arguments read off the first block (of a parallel one, its first attention and MLP)."""
    if hasattr(block, "in_proj"):
        return _scaling(block)
    parallel = hasattr(block, "attns")
    attn, mlp = (block.attns[0].attn, block.ffns[0].mlp) if parallel else (block.attn, block.mlp)
    norm = block.attns[0].norm if parallel else block.norm1
    scale = block.attns[0].ls if parallel else getattr(block, "ls1", nn.Identity())
    return {
        "num_heads": attn.num_heads,
        "qkv_bias": attn.qkv.bias is not None,
        "proj_bias": attn.proj.bias is not None,
        "qk_norm": not isinstance(attn.q_norm, nn.Identity),
        "scale_attn_norm": not isinstance(attn.norm, nn.Identity),
        "scale_mlp_norm": not isinstance(mlp.norm, nn.Identity),
        "init_values": None if isinstance(scale, nn.Identity) else 1e-5,
        "mlp_ratio": mlp_ratio(mlp.fc1_g if hasattr(mlp, "fc1_g") else mlp.fc1),
        "norm": describe_norm(norm),
        "mlp": _mlp(mlp),
    }


def _scaling(block: nn.Module) -> dict[str, Any]:
    """The same of one whose attention and MLP share layers."""
    hidden = block.mlp_out_proj.in_features
    return {
        "num_heads": block.num_heads,
        "qkv_bias": block.mlp_bias is None,
        "proj_bias": block.attn_out_proj.bias is not None,
        "qk_norm": not isinstance(block.q_norm, nn.Identity),
        "init_values": None if isinstance(block.ls, nn.Identity) else 1e-5,
        "mlp_ratio": (hidden + 0.5) / block.attn_out_proj.out_features,
        "norm": describe_norm(block.in_norm),
        "mlp": {"name": "Mlp", "act": type(block.mlp_act).__name__, "options": {}},
    }


def _mlp(mlp: nn.Module) -> dict[str, Any]:
    options = {"gate_last": mlp.gate_last} if hasattr(mlp, "gate_last") else {}
    return {"name": type(mlp).__name__, "act": type(mlp.act).__name__, "options": options}


def _block_class(block: nn.Module) -> dict[str, Any]:
    options = {"num_parallel": len(block.attns)} if hasattr(block, "attns") else {}
    return {
        "name": type(block).__name__.removeprefix("Explicit").replace("ParallelBlock", "ParallelThingsBlock"),
        "options": options,
    }
