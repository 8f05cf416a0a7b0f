"""The field's words that the page uses, each with a plain sentence that shows at hover, focus and tap."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Term:
    """`words`: a regular expression of the forms in which sentences use it, whatever their case."""

    name: str
    sentence: str
    words: str

    @property
    def id(self) -> str:
        """Of the element that holds the sentence."""
        return "vq-means-" + re.sub(r"\W+", "-", self.name.lower()).strip("-")


TERMS = (
    Term(
        "activations",
        "The numbers that flow from layer to layer while the model looks at a picture.",
        "activations?",
    ),
    Term(
        "attention",
        "How much each part of the picture looks at each other part: shares from 0 to 1, most of them tiny.",
        "(?:post[ -])?softmax|attention",
    ),
    Term(
        "bit operations",
        "Arithmetic counted by its bits: multiplying two numbers of 4 bits counts 16. GBOP: billions.",
        "bit operations|GBOP",
    ),
    Term(
        "calibration",
        "Showing the model a few pictures, so that the range of values in each layer is known.",
        "calibration|calibrat(?:e|ed|ing)|measur(?:e|ing) ranges",
    ),
    Term("channel", "One of the many numbers that a layer gives for each part of a picture.", "channels?"),
    Term(
        "cosine",
        "How alike two lists of numbers are, whatever their size: 1 is the same, 0 is nothing in common.",
        "cosines?",
    ),
    Term(
        "SQNR",
        "Signal to noise: how much larger the values are than their rounding error. 20 dB is ten times, "
        "40 dB a hundred times.",
        "SQNR|signal to noise|dB",
    ),
    Term(
        "fine-tuning",
        "After calibrating, learning which way to round, until each block answers nearly as before. "
        "Also called reconstruction.",
        "fine-tun(?:e|ed|ing)|reconstruct(?:ion|ed)|learns block by block",
    ),
    Term(
        "full precision",
        "The model as it was before, with 32 bits for each number.",
        "full precision|floating point",
    ),
    Term(
        "held-out pictures",
        "Pictures that were used neither to train the model nor to measure its ranges. They judge it.",
        "held[ -]out(?: pictures?)?|test pictures?",
    ),
    Term(
        "integer form",
        "The same method with evenly spaced levels everywhere, so that other programs can compute with whole "
        "numbers.",
        "integer forms?",
    ),
    Term(
        "IoU",
        "How far two outlines overlap: what is in both, as a share of what is in either. 1 is the same.",
        "IoUs?",
    ),
    Term(
        "log base",
        "How far apart the levels of a logarithmic scale lie: each is the one before, divided by the base.",
        "log base|base of the log codes|logarithmic scale",
    ),
    Term(
        "outlier threshold α",
        "Values that lie farther from zero than α are kept exact; all others are rounded.",
        "outlier threshold|α",
    ),
    Term(
        "outliers",
        "The few values that are far larger than all others. Levels that reach them are far apart.",
        "outliers?|extreme (?:values|ones)|exact values",
    ),
    Term(
        "Pareto front",
        "The runs that no other run beats both in cost and in quality.",
        "Pareto front",
    ),
    Term(
        "patch token",
        "What the model knows of one patch, a small square of the picture.",
        "patch tokens?",
    ),
    Term(
        "post-LayerNorm",
        "Values right after a layer was normalized. Some channels are far larger than others there, which "
        "makes rounding hard.",
        "post[ -]layer ?norm|after normalization",
    ),
    Term(
        "quantizer",
        "The rule that rounds the values of one tensor to a few levels.",
        "quantizers?",
    ),
    Term(
        "relevance",
        "How much an answer depends on a layer, or on a part of the picture.",
        "relevance",
    ),
    Term("tensor", "A block of numbers: the weights of a layer, or the values that reach it.", "tensors?"),
    Term(
        "W4/A4",
        "The bits of each weight (W) and of each activation (A). 4 bits are 16 levels.",
        r"W\d/A\d|weight bits|activation bits",
    ),
    Term("weights", "The numbers that the model has learned and that its file holds.", "weights?"),
)
# Not within dotted names of layers, addresses and paths. Where two terms begin, the longer words win.
_WORDS = re.compile(
    r"(?<![\w.:/?=-])(?:"
    + "|".join(
        f"(?P<t{place}>{term.words})"
        for place, term in sorted(enumerate(TERMS), key=lambda item: -len(item[1].words))
    )
    + r")(?![\w=/-]|\.\w|:\S)",
    re.IGNORECASE,
)


def explained(text: str) -> str:
    """`text` as HTML, escaped: where a term is used first, its sentence is at hand."""
    made, end, seen = [], 0, set()
    for found in _WORDS.finditer(text):
        term = TERMS[int(found.lastgroup[1:])]
        if term not in seen:
            made += [escape(text[end : found.start()]), _word(term, found.group())]
            seen.add(term)
            end = found.end()
    return "".join(made) + escape(text[end:])


def _word(term: Term, said: str) -> str:
    return f'<dfn class="vq-word" tabindex="0" aria-describedby="{term.id}">{escape(said)}</dfn>'


def sentences() -> str:
    """What `explained` refers to: once on a page, unseen, and read out by screen readers."""
    made = "".join(f'<p id="{term.id}">{escape(term.sentence)}</p>' for term in TERMS)
    return f'<div class="vq-sentences" hidden>{made}</div>'


def listed() -> str:
    """All terms with their sentences, by the alphabet."""
    terms = sorted(TERMS, key=lambda term: term.name.casefold())
    rows = "".join(f"<dt>{escape(term.name)}</dt><dd>{escape(term.sentence)}</dd>" for term in terms)
    return f'<dl class="vq-facts vq-glossary">{rows}</dl>'


# One box for all words, at the end of the page: inside Gradio's own blocks it would be cut off. It stays
# while the pointer is on it, and goes with Escape.
SHOW_SENTENCES = """() => {
    const box = document.createElement('div');
    box.className = 'vq-meaning';
    box.hidden = true;
    box.setAttribute('aria-hidden', 'true');  // the word itself is described
    document.body.append(box);
    const hide = () => { box.hidden = true };
    const show = (word) => {
        const sentence = document.getElementById(word.getAttribute('aria-describedby'));
        if (!sentence) return;
        box.textContent = sentence.textContent;
        box.hidden = false;
        const at = word.getBoundingClientRect();
        const below = at.bottom + box.offsetHeight < innerHeight;
        box.style.left = Math.max(8, Math.min(at.left, innerWidth - box.offsetWidth - 8)) + 'px';
        box.style.top = (below ? at.bottom : at.top - box.offsetHeight) + 'px';
    };
    const look = ({target}) => {
        const word = target.closest?.('.vq-word');
        if (word) show(word);
        else if (target !== box) hide();
    };
    for (const event of ['mouseover', 'focusin', 'click']) document.addEventListener(event, look);
    document.addEventListener('focusout', hide);
    document.addEventListener('scroll', hide, true);
    document.addEventListener('keydown', ({key}) => { if (key === 'Escape') hide() });
}"""
