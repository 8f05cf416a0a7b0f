"""What quantization is, in half a page, for people who never heard of it."""

from __future__ import annotations

from . import glossary
from .markup import fact_list

TITLE = "New here? What quantization is"
WORDS = "Words on this page"
PARTS = (
    (
        "What happens",
        "A vision transformer is millions of numbers, each stored with 32 bits. Quantizing rounds "
        "them to a few levels, so that each takes 2 to 8 bits: the file becomes 4 to 16 times "
        "smaller. Nothing is trained anew; a few pictures show which range of values each layer "
        "needs.",
    ),
    (
        "W4/A4",
        "Weights (W) are the numbers of the model itself, activations (A) those that flow through it "
        "for a picture. W4/A4 has 4 bits, 16 levels, for each. Weights decide the size of the file; "
        "activations, together with them, how much arithmetic a chip must do.",
    ),
    (
        "What it costs",
        "Rounding is an error. With 8 bits answers hardly ever change; with 4 a good method keeps "
        "nearly all; with 2 or 3 much depends on the method. A few very large values make it hard, "
        "since the levels must reach them: methods differ mostly in what they do about those.",
    ),
    (
        "Where to look",
        "The first page makes one small model and shows every answer that changed. Trade-offs "
        "compares many. Activations shows which layer suffers and why; Relevance & bits gives each "
        "layer bits of its own. A word with dots under it is explained: point at it, or tap it.",
    ),
)


def primer() -> str:
    return f'{fact_list(PARTS)}<h3 class="vq-words">{WORDS}</h3>{glossary.listed()}'
