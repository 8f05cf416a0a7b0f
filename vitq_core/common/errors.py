"""The engine's own exceptions: each message is a sentence that says what was wrong and what is right."""

from __future__ import annotations


class VitqError(Exception):
    """Something about a model, a file or a run that the caller can act on."""


class StorageError(VitqError):
    """A file or folder that cannot be written. ``public``: the sentence without its path, for visitors."""

    def __init__(self, message: str, public: str) -> None:
        super().__init__(message)
        self.public = public

    def __reduce__(self) -> tuple[type[StorageError], tuple[str, str]]:
        return type(self), (str(self), self.public)


class NotFinite(VitqError):
    """A model's answer that holds NaN or infinite values."""


class Cancelled(VitqError):
    """``cancel`` asked a pass to stop; the model it was given is unchanged."""
