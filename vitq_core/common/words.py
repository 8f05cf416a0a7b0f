"""Counts as people say them."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """``1 picture``, ``1000 pictures``; ``plural``: of a noun that does not just get an s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
