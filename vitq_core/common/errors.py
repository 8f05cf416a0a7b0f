"""The engine's own exceptions: each message is a sentence that says what was wrong and what is right."""


class VitqError(Exception):
    """Something about a model, a file or a run that the caller can act on."""


class Cancelled(VitqError):
    """``cancel`` asked a pass to stop; the model it was given is unchanged."""
