"""A file of weights of which nobody says what it is."""

from pathlib import Path
from typing import NoReturn

from ...common.errors import VitqError
from ..hub_errors import CONFIG
from ..weight_file import opened
from .candidates import candidates
from .guess import Guess, guessed
from .names import some
from .tables import Table, tables_of

OF_TRANSFORMERS = "patch_embeddings.projection.weight"


def recognised(tables: list[Table], name: str) -> tuple[Table, Guess]:
    """The table that holds a vision transformer, and what its shapes tell. VitqError where none does."""
    for table in tables:
        guess = guessed(table.tensors)
        if guess is not None:
            return table, guess
    if any(key.endswith(OF_TRANSFORMERS) for table in tables for key in table.tensors):
        raise VitqError(
            f"{name} holds a model of the transformers library; give its folder, with {CONFIG} and "
            "preprocessor_config.json beside the weights"
        )
    raise VitqError(
        f"{name} holds no vision transformer by timm's names, and no Segment Anything: its tensors are "
        f"{some(tables[0].tensors)}"
    )


def refuse_undescribed(path: Path, name: str) -> NoReturn:
    """VitqError that says what the weights at `path` seem to be, and what must be said of them."""
    table, guess = recognised(tables_of(opened(path, name), name), name)
    found = candidates(guess, table)
    which = repr(found[0]) if found else "one of timm's names, such as 'vit_small_patch16_224'"
    also = f" (or {', '.join(found[1:])})" if found[1:] else ""
    raise VitqError(
        f"{name} has no {CONFIG}, and its weights, {guess}, do not tell the rest: give architecture={which}"
        f"{also}, and labels, mean and std as it was trained with"
    )
