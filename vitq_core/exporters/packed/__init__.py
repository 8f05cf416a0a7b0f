"""A quantized model as a folder: ``model.safetensors`` holds packed codes and all that loading needs.

``vitq.json`` is a copy of its description for people, ``README.md`` says how to load it. Loading gives back
the same model bit for bit. The folder holds no code: it names architectures of timm. The format is described
in docs/packed_format.md.
"""

from .exporter import Packed
from .loading import load_quantized
from .saving import save_quantized

__all__ = ["Packed", "load_quantized", "save_quantized"]
