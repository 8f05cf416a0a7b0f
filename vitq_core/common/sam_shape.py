"""The constructor arguments of the ``segment-anything`` package's ``Sam``: read off one, and built from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of pixels 0..255, ImageNet's


@dataclass(frozen=True)
class SamShape:
    """Sizes of the image encoder, the prompt encoder and the mask decoder; defaults are those of all
    published checkpoints.

    ``img_size`` and ``patch_size`` in pixels; ``width``, ``depth``, ``heads`` of the encoder, whose blocks
    attend in windows of ``window`` × ``window`` patches, or everywhere where ``global_blocks`` names them;
    ``prompt_dim``: channels of the embedding and of the decoder.
    """

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    img_size: int = 1024
    patch_size: int = 16
    window: int = 14
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    absolute_positions: bool = True
    relative_positions: bool = True
    norm_eps: float = 1e-6
    prompt_dim: int = 256
    mask_channels: int = 16
    decoder_depth: int = 2
    decoder_mlp: int = 2048
    decoder_heads: int = 8
    decoder_downsampling: int = 2
    candidates: int = 3
    iou_depth: int = 3
    iou_width: int = 256
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    def build(self) -> Sam:
        """An untrained one, in eval mode. Raises ValueError for a std by which no pixel can be divided."""
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std must be three positive numbers, got {self.std!r:.80}")
        grid = self.img_size // self.patch_size
        encoder = ImageEncoderViT(
            img_size=self.img_size,
            patch_size=self.patch_size,
            embed_dim=self.width,
            depth=self.depth,
            num_heads=self.heads,
            mlp_ratio=self.mlp_ratio,
            out_chans=self.prompt_dim,
            qkv_bias=self.qkv_bias,
            norm_layer=partial(nn.LayerNorm, eps=self.norm_eps),
            use_abs_pos=self.absolute_positions,
            use_rel_pos=self.relative_positions,
            window_size=self.window,
            global_attn_indexes=self.global_blocks,
        )
        prompts = PromptEncoder(
            embed_dim=self.prompt_dim,
            image_embedding_size=(grid, grid),
            input_image_size=(self.img_size, self.img_size),
            mask_in_chans=self.mask_channels,
        )
        transformer = TwoWayTransformer(
            depth=self.decoder_depth,
            embedding_dim=self.prompt_dim,
            mlp_dim=self.decoder_mlp,
            num_heads=self.decoder_heads,
            attention_downsample_rate=self.decoder_downsampling,
        )
        decoder = MaskDecoder(
            num_multimask_outputs=self.candidates,
            transformer=transformer,
            transformer_dim=self.prompt_dim,
            iou_head_depth=self.iou_depth,
            iou_head_hidden_dim=self.iou_width,
        )
        return Sam(encoder, prompts, decoder, list(self.mean), list(self.std)).eval()

    @classmethod
    def of(cls, sam: Sam) -> SamShape:
        """Of an instance. Raises AttributeError or IndexError for one whose parts were exchanged."""
        encoder, decoder, transformer = sam.image_encoder, sam.mask_decoder, sam.mask_decoder.transformer
        block, layer = encoder.blocks[0], transformer.layers[0]
        windows = {part.window_size for part in encoder.blocks} - {0}
        cross, head = layer.cross_attn_token_to_image, decoder.iou_prediction_head
        return cls(
            width=block.mlp.lin1.in_features,
            depth=len(encoder.blocks),
            heads=block.attn.num_heads,
            global_blocks=tuple(i for i, part in enumerate(encoder.blocks) if not part.window_size),
            img_size=encoder.img_size,
            patch_size=encoder.patch_embed.proj.kernel_size[0],
            window=max(windows, default=0),
            mlp_ratio=(block.mlp.lin1.out_features + 0.5) / block.mlp.lin1.in_features,  # it truncates
            qkv_bias=block.attn.qkv.bias is not None,
            absolute_positions=encoder.pos_embed is not None,
            relative_positions=block.attn.use_rel_pos,
            norm_eps=block.norm1.eps,
            prompt_dim=sam.prompt_encoder.embed_dim,
            mask_channels=sam.prompt_encoder.mask_downscaling[3].out_channels,
            decoder_depth=transformer.depth,
            decoder_mlp=transformer.mlp_dim,
            decoder_heads=transformer.num_heads,
            decoder_downsampling=cross.embedding_dim // cross.internal_dim,
            candidates=decoder.num_multimask_outputs,
            iou_depth=head.num_layers,
            iou_width=head.layers[0].out_features,
            mean=tuple(sam.pixel_mean.flatten().tolist()),
            std=tuple(sam.pixel_std.flatten().tolist()),
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> SamShape:
        """Of :meth:`as_dict`. Raises TypeError for names that are none of its own."""
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})


VIT_B = SamShape(768, 12, 12, (2, 5, 8, 11))
VIT_L = SamShape(1024, 24, 16, (5, 11, 17, 23))
VIT_H = SamShape(1280, 32, 16, (7, 15, 23, 31))
