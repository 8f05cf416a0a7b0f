"""Names in a file beside those of the model: what wrappers put in front, and what is left out on purpose."""

import re
from collections import Counter
from collections.abc import Collection, Iterable

TRIED = 4  # prefixes
# Buffers that timm works out, and what a model learned with but never answers with.
_ALWAYS = r"(^|\.)(relative_position_index|relative_coords_table|attn_mask|mask_token)$|^decoder(_\w+)?(\.|$)"
# (a name that shows it, names that are then left out)
_THEN = (
    (
        r"visual\.",
        r"^(text|transformer|token_embedding|positional_embedding|ln_final|text_\w+|logit_\w+)(\.|$)",
    ),
    (r"last_layer\.weight_[gv]$", r"^(dino_|ibot_)?head\.(mlp|last_layer)\."),
)


def prefixes(names: Iterable[str], expected: Collection[str]) -> list[str]:
    """What may stand before every name of the model in a file with `names`, the likeliest first; "" too."""
    counts = Counter(prefix for name in names for prefix in _before(name, expected))
    likely = [prefix for prefix, count in counts.most_common(TRIED) if 2 * count >= len(expected)]
    return likely if "" in likely else [*likely, ""]


def _before(name: str, expected: Collection[str]) -> list[str]:
    parts = name.split(".")
    cuts = [index for index in range(len(parts)) if ".".join(parts[index:]) in expected]
    return ["".join(f"{part}." for part in parts[:index]) for index in cuts]


def left_out(names: Collection[str]) -> set[str]:
    """Those of `names` that no answer needs: a pre-training's decoder and heads, a CLIP's text half, buffers
    that are worked out."""
    patterns = [_ALWAYS, *(then for mark, then in _THEN if any(re.search(mark, name) for name in names))]
    return {name for name in names if any(re.search(pattern, name) for pattern in patterns)}


def some(names: Collection[str], shown: int = 3) -> str:
    """A few of `names`: "a, b, c and 24 more"."""
    names = list(names)
    listed = ", ".join(f"{name:.80}" for name in names[:shown])
    return listed if len(names) <= shown else f"{listed} and {len(names) - shown} more"
