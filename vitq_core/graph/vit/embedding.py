"""Tokens and positions of timm's VisionTransformer as named operations: ``embed_cat`` and ``embed_add``."""

from __future__ import annotations

from functools import cache

from timm.layers import resample_abs_pos_embed
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ..ops import Add, Concat

TOKENS = ("cls_token", "dist_token", "reg_token")
KNOWN = (VisionTransformer._pos_embed, VisionTransformerDistilled._pos_embed)


class NamedEmbedding:
    """Before a class of timm's it computes what that one's own method does."""

    def _pos_embed(self, x: Tensor) -> Tensor:
        positions = self._positions(x)
        x = x.view(x.shape[0], -1, x.shape[-1])
        if positions is None:
            return self._with_tokens(x)
        if self.no_embed_class:
            x = self._with_tokens(self.embed_add(x, positions))
        else:
            x = self.embed_add(self._with_tokens(x), positions)
        return self.pos_drop(x)

    def _positions(self, x: Tensor) -> Tensor | None:
        if self.pos_embed is None or not self.dynamic_img_size:
            return self.pos_embed
        prefix = 0 if self.no_embed_class else self.num_prefix_tokens
        old = self.patch_embed.grid_size
        return resample_abs_pos_embed(
            self.pos_embed, new_size=tuple(x.shape[1:3]), old_size=old, num_prefix_tokens=prefix
        )

    def _with_tokens(self, x: Tensor) -> Tensor:
        tokens = [token.expand(x.shape[0], -1, -1) for token in tokens_of(self)]
        return self.embed_cat(*tokens, x) if tokens or self.pos_embed is None else x

    def __reduce_ex__(self, protocol: int) -> tuple:
        """Its class is made at run time, which pickling cannot find by name."""
        return _blank, (type(self).__mro__[2],), dict(vars(self))


def tokens_of(module: nn.Module) -> list[nn.Parameter]:
    """Those that go before the patches."""
    return [token for name in TOKENS if (token := getattr(module, name, None)) is not None]


def name_embedding(module: VisionTransformer) -> None:
    """In place. A class with an embedding of its own stays as it is."""
    if type(module)._pos_embed in KNOWN:
        module.embed_cat = Concat().train(module.training)
        module.embed_add = Add().train(module.training)
        module.__class__ = _named(type(module))


@cache
def _named(cls: type[VisionTransformer]) -> type[VisionTransformer]:
    return type(cls.__name__, (NamedEmbedding, cls), {"__module__": cls.__module__, "__doc__": cls.__doc__})


def _blank(cls: type[VisionTransformer]) -> VisionTransformer:
    """One whose state is still to come: what is in it may refer to it."""
    kind = _named(cls)
    return kind.__new__(kind)
