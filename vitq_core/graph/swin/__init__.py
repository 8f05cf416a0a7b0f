"""Swin: timm's SwinTransformer."""

from . import family  # registers "swin"

__all__ = ["family"]
