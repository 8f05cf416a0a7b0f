"""Model families: one file each; importing this package registers them all."""

from . import vit  # registers "vit"
from .base import FAMILIES, AttentionMaps, Family, family_of

__all__ = ["FAMILIES", "AttentionMaps", "Family", "family_of", "vit"]
