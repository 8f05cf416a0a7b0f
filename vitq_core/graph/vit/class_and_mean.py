"""A ViT whose head reads the class token and the mean of the patches, as DINOv2's linear classifiers do."""

from __future__ import annotations

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn


class ClassAndMean(VisionTransformer):
    """timm's VisionTransformer with another last step: logits = head([class token, mean of the patches])."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.num_classes:
            self.head = nn.Linear(2 * self.embed_dim, self.num_classes)

    def pool(self, x: Tensor, pool_type: str | None = None) -> Tensor:
        """[B, tokens, D] → [B, 2 D]."""
        return torch.cat([x[:, 0], x[:, self.num_prefix_tokens :].mean(dim=1)], dim=1)
