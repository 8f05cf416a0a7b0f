"""What a piece of HTML says to people."""

from __future__ import annotations

from html.parser import HTMLParser


def text_of(html: str) -> str:
    """The text alone, entities read."""
    parts: list[str] = []
    reader = HTMLParser()
    reader.handle_data = parts.append
    reader.feed(html)
    reader.close()
    return "".join(parts)
