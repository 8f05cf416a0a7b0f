"""How many classes a model tells apart, read off its head."""

from __future__ import annotations

from torch import nn


def classes_of(module: nn.Module) -> int | None:
    """How many numbers the head gives; 0 without a head, None where the module does not show one.

    The head itself counts, not ``num_classes``, which stays as it was when somebody replaces the head.
    """
    head = head_of(module)
    if head is None or isinstance(head, nn.Identity):
        return 0
    widths = [part.out_features for part in _parts(head) if hasattr(part, "out_features")]
    if widths:
        return widths[-1]
    stated = getattr(module, "num_classes", None)
    return stated if isinstance(stated, int) else None


def head_of(module: nn.Module) -> object:
    """By timm's ``get_classifier`` (the first of two), or its name; an empty tuple where there is none."""
    get = getattr(module, "get_classifier", None)
    head = get() if callable(get) else getattr(module, "head", ())
    return head[0] if isinstance(head, tuple) and head else head


def _parts(head: object) -> list[nn.Module]:
    """The head where it says its own width, else all that is in it."""
    if not isinstance(head, nn.Module) or hasattr(head, "out_features"):
        return [head]
    return list(head.modules())
