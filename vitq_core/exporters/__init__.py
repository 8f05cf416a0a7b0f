"""Quantized models on disk: a package per format."""

from . import onnx, openvino, packed, torch_export  # each registers its format
from .base import EXPORTERS

__all__ = ["EXPORTERS", "onnx", "openvino", "packed", "torch_export"]
