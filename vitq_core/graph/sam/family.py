"""Segment Anything: image encoder and mask decoder of the ``segment-anything`` package's ``Sam``.

Prompts and positions and LayerNorms stay in floating point, and unless they are asked for the heads: the
upscaling of masks, what filters them and what predicts their IoU.
"""

from __future__ import annotations

from typing import Any

from segment_anything.modeling import Sam
from segment_anything.modeling.common import LayerNorm2d
from segment_anything.modeling.image_encoder import Attention as EncoderAttention
from segment_anything.modeling.image_encoder import Block
from segment_anything.modeling.transformer import Attention as DecoderAttention
from segment_anything.modeling.transformer import TwoWayAttentionBlock, TwoWayTransformer
from torch import nn

from ...common.errors import VitqError
from ...common.sam_shape import SamShape
from ..base import FAMILIES, AttentionMaps, Family
from ..listing import linear_sites, product_sites
from ..site import HEAD, HEAD_WEIGHT, WEIGHT, Heads, NormPair, ScoredAttention, Site, Unit
from .blocks import (
    ExplicitDecoderAttention,
    ExplicitEncoderAttention,
    ExplicitEncoderBlock,
    ExplicitLayerNorm2d,
    ExplicitSam,
    ExplicitTransformer,
    ExplicitTwoWayBlock,
)

ENCODER, DECODER = "image_encoder", "mask_decoder"
TRANSFORMER = f"{DECODER}.transformer"
NORMED = (f"{ENCODER}.neck", f"{DECODER}.output_upscaling")
FINAL = f"{TRANSFORMER}.final_attn_token_to_image"
ATTENTIONS = ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
ENCODER_KINDS = {Block: ExplicitEncoderBlock, EncoderAttention: ExplicitEncoderAttention}
DECODER_KINDS = {
    TwoWayTransformer: ExplicitTransformer,
    TwoWayAttentionBlock: ExplicitTwoWayBlock,
    DecoderAttention: ExplicitDecoderAttention,
}


class SegmentAnything(Family):
    """``vit_b``, ``vit_l``, ``vit_h`` and every other size that the package's classes build."""

    name = "sam"

    def matches(self, module: nn.Module) -> bool:
        return isinstance(module, Sam)

    def rewrite(self, module: Sam) -> None:
        """Raises VitqError for a part of a class that the package does not have."""
        _rewrite(module, f"{ENCODER}.blocks", ENCODER_KINDS)
        _rewrite(module, TRANSFORMER, DECODER_KINDS)
        for where in NORMED:
            _rewrite(module, where, {LayerNorm2d: ExplicitLayerNorm2d})
        if type(module) is Sam:
            module.__class__ = ExplicitSam

    def sites(self, module: Sam) -> list[Site]:
        found = linear_sites(f"{ENCODER}.patch_embed.proj", "image")
        for name in _encoder_blocks(module):
            found += [
                *linear_sites(f"{name}.attn.qkv", "post_layernorm"),
                *product_sites(f"{name}.attn"),
                *linear_sites(f"{name}.attn.proj", "attention_output"),
                *linear_sites(f"{name}.mlp.lin1", "post_layernorm"),
                *linear_sites(f"{name}.mlp.lin2", "post_gelu"),
            ]
        found += [site for place in (0, 2) for site in linear_sites(f"{ENCODER}.neck.{place}", "neck")]
        for name in _decoder_layers(module):
            before, after = ATTENTIONS[:2], ATTENTIONS[2:]
            found += [site for part in before for site in _decoder_attention(f"{name}.{part}")]
            found += [
                *linear_sites(f"{name}.mlp.lin1", "decoder_stream"),
                *linear_sites(f"{name}.mlp.lin2", "post_relu"),
            ]
            found += [site for part in after for site in _decoder_attention(f"{name}.{part}")]
        return found + _decoder_attention(FINAL)

    def pairs(self, module: Sam) -> list[NormPair]:
        """Of the encoder alone: the decoder's norms feed the additions too."""
        return [
            pair
            for name in _encoder_blocks(module)
            for pair in (
                NormPair(f"{name}.norm1", (f"{name}.attn.qkv",)),
                NormPair(f"{name}.norm2", (f"{name}.mlp.lin1",)),
            )
        ]

    def heads(self, module: Sam) -> list[Heads]:
        """Values alone where relative positions read the queries."""
        return [
            _heads(f"{name}.attn", module.get_submodule(f"{name}.attn")) for name in _encoder_blocks(module)
        ]

    def head_sites(self, module: Sam) -> list[Site]:
        decoder = module.mask_decoder
        ends = [(f"{DECODER}.iou_prediction_head", decoder.iou_prediction_head)]
        filters = enumerate(decoder.output_hypernetworks_mlps)
        ends += [(f"{DECODER}.output_hypernetworks_mlps.{index}", part) for index, part in filters]
        names = [f"{name}.layers.{index}" for name, part in ends for index in range(len(part.layers))]
        upscaling = enumerate(decoder.output_upscaling)
        names += [
            f"{DECODER}.output_upscaling.{index}"
            for index, part in upscaling
            if isinstance(part, nn.ConvTranspose2d)
        ]
        return [site for name in names for site in _head(name)]

    def parts(self, module: Sam) -> dict[str, str]:
        return {"encoder": ENCODER, "decoder": DECODER}

    def scored_attentions(self, module: Sam) -> list[ScoredAttention]:
        """All of the decoder."""
        names = [f"{name}.{part}" for name in _decoder_layers(module) for part in ATTENTIONS] + [FINAL]
        return [ScoredAttention(n, f"{n}.q_proj", f"{n}.k_proj", f"{n}.matmul1") for n in names]

    def foldable(self, module: Sam) -> list[tuple[str, str]]:
        """Of the attentions from tokens to the picture."""
        names = [f"{name}.cross_attn_token_to_image" for name in _decoder_layers(module)]
        return [(f"{name}.q_proj", f"{name}.k_proj") for name in (*names, FINAL)]

    def blocks(self, module: Sam) -> list[str]:
        return [*_encoder_blocks(module), *_decoder_layers(module)]

    def units(self, module: Sam) -> list[Unit]:
        """Whole blocks: inside one there are tokens that fill up windows, which no loss should hear of."""
        encoder = [Unit(name, (f"{name}.attn.softmax",)) for name in _encoder_blocks(module)]
        neck = [Unit(f"{ENCODER}.neck.{place}") for place in (0, 2)]
        layers = [
            Unit(name, tuple(f"{name}.{part}.softmax" for part in ATTENTIONS))
            for name in _decoder_layers(module)
        ]
        return [
            Unit(f"{ENCODER}.patch_embed.proj"),
            *encoder,
            *neck,
            *layers,
            Unit(FINAL, (f"{FINAL}.softmax",)),
        ]

    def attention_maps(self, module: Sam, size: tuple[int, int]) -> AttentionMaps | None:
        """None: windows and prompts leave no maps of equal size to multiply."""
        return None

    def input_size(self, module: Sam) -> tuple[int, int, int]:
        side = module.image_encoder.img_size
        return (3, side, side)

    def config(self, module: Sam) -> dict[str, Any]:
        return SamShape.of(module).as_dict()

    def repeats(self, config: dict[str, Any]) -> tuple[int, ...]:
        shape = SamShape.from_dict(config)
        return shape.depth, shape.decoder_depth, shape.candidates, shape.iou_depth

    def build(self, config: dict[str, Any]) -> Sam:
        module = SamShape.from_dict(config).build()
        self.rewrite(module)
        return module


FAMILIES.register("sam")(SegmentAnything())


def _rewrite(module: Sam, where: str, kinds: dict[type, type]) -> None:
    """Every part of one of ``kinds`` in ``where`` becomes the explicit one, the innermost first."""
    known = {*kinds, *kinds.values()}
    named = [*module.get_submodule(where).named_modules(prefix=where)]
    for name, part in reversed(named):
        if type(part) in kinds:
            module.set_submodule(name, kinds[type(part)](part).train(part.training))
        elif type(part) not in known and isinstance(part, tuple(kinds)):
            raise VitqError(f"class {type(part).__name__} of {name} is not one the SAM family knows")


def _encoder_blocks(module: Sam) -> list[str]:
    return [f"{ENCODER}.blocks.{index}" for index in range(len(module.image_encoder.blocks))]


def _decoder_layers(module: Sam) -> list[str]:
    return [f"{TRANSFORMER}.layers.{index}" for index in range(len(module.mask_decoder.transformer.layers))]


def _head(name: str) -> list[Site]:
    return [Site(name, "input", HEAD), Site(name, WEIGHT, HEAD_WEIGHT)]


def _decoder_attention(name: str) -> list[Site]:
    projections = [site for part in "qkv" for site in linear_sites(f"{name}.{part}_proj", "decoder_stream")]
    return [
        *projections,
        *product_sites(name, key="decoder_key"),
        *linear_sites(f"{name}.out_proj", "attention_output"),
    ]


def _heads(name: str, attention: ExplicitEncoderAttention) -> Heads:
    size = attention.qkv.in_features // attention.num_heads
    scores = not attention.use_rel_pos
    return Heads(f"{name}.qkv", f"{name}.proj", attention.num_heads, size, scores, True)
