"""``write_model_card``: the README.md of a repository on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import ModelCard

from ..common.files import write_atomically
from ..exporters.export import README
from ..models.hub_name import HubName, hub_name
from ..quantized.result import QuantizeResult
from ..tasks import Evaluation
from .base_model import BaseModel, base_of
from .figures import figures_of
from .folder import exported
from .metadata import metadata
from .text import Facts, text

HERE = "your-name/your-model"  # in the lines that load it, until a push knows the repository


def write_model_card(
    folder: str | Path,
    result: QuantizeResult,
    evaluation: Evaluation | None = None,
    reference: Evaluation | None = None,
    *,
    licence: str | None = None,
    base_model: str | None = None,
    datasets: Sequence[str] = (),
    tested_on: str = "",
    calibrated_on: str = "",
) -> Path:
    """Write into ``folder``, which ``export`` or ``save_quantized`` wrote ``result`` to, the README.md that
    the Hugging Face hub shows: what was done, results with their sample sizes, how to load it, limits.

    ``evaluation``: what ``evaluate(result.model, pictures, reference=…)`` gave; ``reference``: what it gave
    of full precision on the same pictures. ``licence``: as the hub calls it ("apache-2.0");
    :func:`licence_of` asks for the base model's. None leaves it out, and the card says so. ``base_model``: a
    repository of the hub, by default the one that the model was loaded from. ``datasets``: names of the hub's
    that the pictures are of; ``tested_on``, ``calibrated_on``: what the pictures are, for people.

    Returns the file. Raises ValueError for what is no result or no repository's name, VitqError for a folder
    without an export, StorageError for one that cannot be written.
    """
    if not isinstance(result, QuantizeResult):
        raise ValueError(f"write_model_card takes what quantize returned, got {type(result).__name__}")
    found, base = exported(folder), base_of(result)
    if base_model is not None:
        base = BaseModel(repo := _repository(base_model).repo, _repository(repo))
    figures = list(figures_of(evaluation, reference))
    name = f"{base.name}, quantized by {result.recipe.title}"
    data = metadata(
        result, found.exporter, name, figures, _line(licence) or None,
        None if base.hub is None else base.hub.repo, [_line(each) for each in datasets], _line(tested_on),
    )  # fmt: skip
    facts = Facts(result, found, base, figures, _line(licence), _line(tested_on), _line(calibrated_on))
    card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text(facts, HERE)}")
    path = found.folder / README
    write_atomically(path, lambda made: made.write_text(str(card), encoding="utf-8"), "the model card")
    return path


def _repository(name: str) -> HubName:
    found = hub_name(name, bare=True) if isinstance(name, str) else None
    if found is None:
        raise ValueError(
            f"base_model must be a repository of the Hugging Face hub, user/name, got {name!r:.80}"
        )
    return found


def _line(words: str | None) -> str:
    """As one line without what a table of Markdown would take for its own."""
    return " ".join((words or "").split()).replace("|", "/")
