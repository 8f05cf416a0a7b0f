"""Counts as people say them, and names that can be shown."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """``1 picture``, ``1000 pictures``; ``plural``: of a noun that does not just get an s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def readable(name: str) -> str:
    """Names of files and words of a request may hold bytes that are no Unicode, which neither SQLite nor a
    page takes: each becomes a question mark."""
    return name.encode("utf-8", "replace").decode()


def brief(error: BaseException, length: int = 160) -> str:
    """An error's message as one line of at most `length` characters; its type if it has none."""
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= length else line[: length - 1] + "…"
