"""ONNX files with integer codes, and what ONNX Runtime makes of them."""

from .exporter import Onnx

__all__ = ["Onnx"]
