"""Quantized models on the Hugging Face hub: the card that says what was done, and the push."""

from .base_model import licence_of
from .card import write_model_card
from .push import push_to_hub

__all__ = ["licence_of", "push_to_hub", "write_model_card"]
