"""The papers' tables as rows that can be run: which recipe, how many pictures, and what the paper prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...common.registry import Registry
from ...recipes.recipe import Recipe, Use, recipe
from .published import ADFQ, BLOCKS, FULL, MAIN, MODELS, NORMS, Numbers

DEIT_S = ("DeiT-S",)
NO_OPTIONS: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Row:
    """A method at a width.

    ``calibration``: pictures that its paper measures ranges on; ``generated``: these are made by the model
    itself. ``norms``: a rule for the inputs behind a LayerNorm in the place of the recipe's, which then
    rescales none. ``published``: {model: top-1 in percent}.
    """

    title: str
    recipe: str
    bits: int
    published: Numbers
    calibration: int = 32
    generated: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    norms: Use | None = None

    @property
    def key(self) -> str:
        return f"{self.title} W{self.bits}/A{self.bits}"

    def made(self, **changed: Any) -> Recipe:
        """Its recipe; ``changed``: options in the place of the row's own."""
        found = recipe(self.recipe, self.bits, self.bits, **{**self.options, **changed})
        if self.norms is None:
            return found
        return replace(found, rules={**found.rules, "post_layernorm": self.norms}, passes=("calibrate",))


@dataclass(frozen=True)
class Table:
    """``models``: the paper's, by its names; ``about``: a sentence."""

    title: str
    about: str
    rows: tuple[Row, ...]
    models: tuple[str, ...] = MODELS
    full: Numbers = field(default_factory=lambda: FULL)


TABLES: Registry[Table] = Registry("table")

# What runs each method of the main table, and on how many pictures its paper calibrates.
METHODS: Mapping[str, tuple[str, int]] = {
    "FQ-ViT": ("fq", 1000),
    "PSAQ-ViT": ("psaq", 32),
    "Ranking": ("ranking", 1000),
    "PTQ4ViT": ("ptq4vit", 32),
    "APQ-ViT": ("apq", 32),
    "RepQ-ViT": ("repq", 32),
    "CRL-QViT": ("crl", 32),
    "LRP-QViT": ("lrp", 32),
}


def _main_rows() -> tuple[Row, ...]:
    found = []
    for (title, bits), numbers in MAIN.items():
        name, pictures = METHODS[title]
        found.append(Row(title, name, bits, numbers, pictures, generated=name == "psaq"))
    return tuple(found)


def _norm_rows() -> tuple[Row, ...]:
    ways: Mapping[str, tuple[str, Use | None]] = {
        "layer-wise": ("repq", Use("uniform")),
        "channel-wise": ("repq", Use("uniform", {"axis": -1})),
        "RepQ-ViT": ("repq", None),
        "CRL": ("crl", None),
    }
    return tuple(
        Row(title, name, 4, {"DeiT-S": NORMS[title]}, norms=use) for title, (name, use) in ways.items()
    )


def _block_rows(reductions: bool) -> tuple[Row, ...]:
    return tuple(
        Row(
            f"first {count} at 5 bits", "lrp", 4, {"DeiT-S": number},
            options={"first_blocks": count, "reductions": reductions},
        )
        for (count, lowered), number in BLOCKS.items()
        if lowered == reductions
    )  # fmt: skip


def _adfq_rows() -> tuple[Row, ...]:
    return tuple(
        row
        for bits, numbers in ADFQ.items()
        for row in (
            Row("RepQ-ViT", "repq", bits, MAIN["RepQ-ViT", bits]),
            Row("ADFQ-ViT", "adfq", bits, numbers, 1024, options={"effort": "paper"}),
        )
    )


TABLES.register("1")(Table("LRP-QViT, Table 1", "All methods at W4/A4 and W6/A6.", _main_rows()))
TABLES.register("3")(
    Table(
        "LRP-QViT, inputs behind a LayerNorm",
        "One scale a layer, one a channel, or scales that are evened out.",
        _norm_rows(), DEIT_S,
    )
)  # fmt: skip
TABLES.register("4")(
    Table(
        "LRP-QViT, more bits", "The first blocks get a bit more, and nothing gets less.",
        _block_rows(False), DEIT_S,
    )
)  # fmt: skip
TABLES.register("5")(
    Table(
        "LRP-QViT, the same average",
        "The first blocks get a bit more, the least relevant layers a bit less.",
        _block_rows(True), DEIT_S,
    )
)  # fmt: skip
TABLES.register("adfq")(
    Table("ADFQ-ViT", "Its rows at W4/A4 and W6/A6, beside RepQ-ViT, which it starts from.", _adfq_rows())
)
