"""ViT and DeiT: timm's VisionTransformer."""

from . import family  # registers "vit"

__all__ = ["family"]
