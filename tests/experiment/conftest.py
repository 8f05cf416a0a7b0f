"""The tiny model and the folders of pictures that the studio's tests have too."""

from ..ui.conftest import folder, picture_folder, tiny_model

__all__ = ["folder", "picture_folder", "tiny_model"]
