"""Pictures: decoding what people upload, folders and archives of them, preprocessing as in training."""

from .decoding import open_picture
from .folder import PictureFolder, PictureLoader

__all__ = ["PictureFolder", "PictureLoader", "open_picture"]
