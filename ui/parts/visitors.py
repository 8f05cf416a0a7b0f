"""Whose runs are whose: on a public server each visitor's own, on one's own machine everybody's."""

from __future__ import annotations

import os
import re
import secrets
from typing import Any

EVERYBODY, NOBODY = "", "nobody"
TOKEN = re.compile(r"[0-9a-f]{32}")


def public() -> bool:
    """Whether strangers use this server."""
    return "SPACE_ID" in os.environ


def new_token() -> str:
    """What a browser keeps, and shows to see its visitor's runs again."""
    return secrets.token_hex(16)


def is_token(value: Any) -> bool:
    """Whether `new_token` may have made it."""
    return isinstance(value, str) and TOKEN.fullmatch(value) is not None


def owner_of(token: Any) -> str:
    """Of the runs that whoever shows `token` makes; one that is none makes runs that nobody sees."""
    if not public():
        return EVERYBODY
    return token if is_token(token) else NOBODY


def seen_by(owner: str) -> tuple[str, ...]:
    """The owners of the runs that this one may see."""
    return () if owner == NOBODY else (owner,)


class Visitors:
    """Whose the pages are that are open now, by Gradio's session."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def know(self, session: str, token: Any) -> None:
        """The page of `session` shows `token`."""
        self._owners[session] = owner_of(token)

    def forget(self, session: str) -> None:
        self._owners.pop(session, None)

    def owner(self, session: str) -> str:
        """Of the runs of a page; of one that showed nothing, as of a wrong token."""
        return self._owners.get(session, owner_of(None))
