"""Pictures to calibrate on, made from noise and a model alone (PSAQ-ViT, arXiv 2203.02250)."""

from .generate import generate_images

__all__ = ["generate_images"]
