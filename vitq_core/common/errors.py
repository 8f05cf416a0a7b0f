"""The engine's own exceptions: each message is a sentence that says what was wrong and what is right."""


class VitqError(Exception):
    """Something about a model, a file or a run that the caller can act on."""


class Cancelled(VitqError):
    """A pass stopped because its ``cancel`` said so; what it was given is as it was."""
