"""A section that publishes an export on the Hugging Face hub, in its visitor's own name."""

from .section import Publishing

__all__ = ["Publishing"]
