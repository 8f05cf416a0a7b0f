"""A page of several steps one below the other: their headings, and what stands where a result will be."""

from __future__ import annotations

from html import escape

from .glossary import explained


def step(number: int, title: str, sentence: str) -> str:
    words = f"<h2>{escape(title)}</h2><p>{explained(sentence)}</p>"
    return f'<div class="vq-step"><i>{number}</i><div>{words}</div></div>'


def waiting(text: str) -> str:
    """What stands where a result will be."""
    return f'<div class="vq-placeholder vq-small"><p>{escape(text)}</p></div>'
