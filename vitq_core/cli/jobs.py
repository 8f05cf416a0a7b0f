"""Behind `vitq job`: which commands many processes can share."""

from __future__ import annotations

from collections.abc import Sequence

from typer.main import get_command

from .application import program

SHARED = ("evaluate", "importance", "sweep", "reproduce")


def check_shared(words: Sequence[str]) -> None:
    """ValueError for a command that one process does alone, the parser's own error for wrong options."""
    if not words or words[0] not in SHARED:
        got = words[0] if words else ""
        raise ValueError(f"many machines can share {', '.join(SHARED)}; got {got!r:.80}")
    # Its parser says what is wrong now, and not on the machines.
    get_command(program).commands[words[0]].make_context(f"vitq {words[0]}", list(words[1:]))
