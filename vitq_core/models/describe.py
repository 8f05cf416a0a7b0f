"""What can be told of a file of weights before it is loaded: what a form asks for, filled in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..common.errors import VitqError
from ..common.files import given_path
from ..pictures.labels import checkpoint_labels
from ..pictures.preprocess import Preprocessing
from .checkpoint import weights_in
from .checkpoints.candidates import candidates
from .checkpoints.guess import guessed
from .checkpoints.tables import Table, tables_of
from .checkpoints.timm_config import described, read_config
from .checkpoints.unknown import recognised
from .hub_errors import CONFIG
from .huggingface.config import is_of_transformers, kind_of, size_of
from .huggingface.load import named_classes
from .huggingface.pictures import preprocessing_of, read_pictures
from .sam.load import holds_sam, is_sam_file
from .weight_file import metadata_of, opened

PICTURES = ("mean", "std", "crop_pct", "interpolation")


@dataclass(frozen=True)
class FileDescription:
    """What a file of weights is, as far as it and what lies beside it tell.

    `family`: "vit", "swin", "segment_anything", or empty for another model of timm's. `complete`:
    `load_model(path)` works without a further word; otherwise it asks for `architecture`, of which
    `candidates` are timm's names with these very shapes, the plainest first (shapes do not show how many
    heads there are, nor an activation). `params` counts the numbers in the file. `patch_size` in pixels;
    `depth` in blocks, of a Swin for each stage; `classes` is 0 without a head; `prefix_tokens` stand before
    those of the patches; `size` (height, width) in pixels. `under`: the table in the file that holds the
    weights, and what stands before their names. None: nobody says.
    """

    family: str
    complete: bool
    params: int
    patch_size: int | None = None
    channels: int | None = None
    width: int | None = None
    depth: tuple[int, ...] = ()
    classes: int | None = None
    prefix_tokens: int | None = None
    size: tuple[int, int] | None = None
    architecture: str | None = None
    candidates: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop_pct: float | None = None
    interpolation: str | None = None
    under: str = ""


def describe_file(path: str | Path) -> FileDescription:
    """What the weights at `path`, a file or a folder, are, to fill in what `load_model` is to be told.

    Values are not read. Raises ValueError for what names no file, VitqError for one that is damaged, or holds
    neither a vision transformer nor a Segment Anything.
    """
    path = given_path(path, "the file of weights")
    if not path.exists():
        raise ValueError(f"there is no file of weights {str(path)!r:.200}")
    name, folder = str(path), path if path.is_dir() else path.parent
    if holds_sam(folder, name) if path.is_dir() else is_sam_file(path, name):
        weights = weights_in(path, name) if path.is_dir() else path
        return FileDescription("segment_anything", True, _numbers(tables_of(opened(weights, name), name)[0]))
    weights = weights_in(path, name) if path.is_dir() else path
    tables = tables_of(opened(weights, name), name)
    if not (folder / CONFIG).is_file():
        return _with_metadata(_of_shapes(tables, name), metadata_of(weights))
    config = read_config(folder, name)
    if is_of_transformers(config):
        return _of_transformers(config, tables[0], folder, name)
    return _of_timm(config, tables, name)


def _numbers(table: Table) -> int:
    return sum(value.numel() for value in table.tensors.values())


def _of_shapes(tables: list[Table], name: str, search: bool = True) -> FileDescription:
    table, guess = recognised(tables, name)
    found = {item.name: getattr(guess, item.name) for item in fields(guess) if item.name != "prefix"}
    under = ".".join(part for part in (table.label, guess.prefix.rstrip(".")) if part)
    names = candidates(guess, table) if search else ()
    return FileDescription(complete=False, params=_numbers(table), candidates=names, under=under, **found)


def _of_timm(config: Mapping[str, Any], tables: list[Table], name: str) -> FileDescription:
    asked = described(config, name)
    # Another timm model than a ViT or a Swin says nothing by its shapes.
    known = any(guessed(table.tensors) for table in tables)
    base = _of_shapes(tables, name, search=False) if known else FileDescription("", True, _numbers(tables[0]))
    found = replace(base, complete=True, architecture=asked.architecture)
    return _with_words(found, asked.pretrained or {}, name)


def _with_words(found: FileDescription, words: Mapping[str, Any], name: str) -> FileDescription:
    """`found` with what timm's words say of pictures and labels."""
    said = {key: _plain(words[key]) for key in PICTURES if key in words}
    if isinstance(words.get("input_size"), list) and found.size is None:
        said["size"] = tuple(words["input_size"][1:])
    try:
        labels = checkpoint_labels(words, found.classes or 0)
    except (ValueError, TypeError) as error:
        raise VitqError(f"what {name} says of its labels cannot be used: {error}") from error
    return replace(found, labels=tuple(labels) if labels else None, **said)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _with_metadata(found: FileDescription, metadata: Mapping[str, str]) -> FileDescription:
    """`found` with what is written beside the tensors, by timm's words, in JSON or as plain text."""
    words = {key: _parsed(value) for key, value in metadata.items()}
    architecture = words.get("architecture")
    found = replace(found, architecture=architecture if isinstance(architecture, str) else None)
    labels = words.get("label_names") or words.get("labels")
    if isinstance(labels, list) and len(labels) == found.classes:
        words["label_names"] = labels
    else:
        words.pop("label_names", None)
    return _with_words(found, words, "the file")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _of_transformers(config: Mapping[str, Any], table: Table, folder: Path, name: str) -> FileDescription:
    kind = kind_of(config, name)
    swin = kind.model_type == "swin"
    pictures = read_pictures(folder, name)
    labels = named_classes(config)
    found = FileDescription(
        "swin" if swin else "vit",
        complete=pictures is not None,
        params=_numbers(table),
        patch_size=config.get("patch_size"),
        channels=config.get("num_channels", 3),
        width=config.get("embed_dim" if swin else "hidden_size"),
        depth=tuple(config.get("depths", ())) if swin else (config.get("num_hidden_layers"),),
        classes=len(labels or ()) if kind.classifies else 0,
        prefix_tokens={"swin": 0, "deit": 2}.get(kind.model_type, 1),
        size=size_of(config),
        labels=tuple(labels) if labels and kind.classifies else None,
    )
    return found if pictures is None else _with_pictures(found, preprocessing_of(pictures, found.size))


def _with_pictures(found: FileDescription, preprocessing: Preprocessing) -> FileDescription:
    return replace(
        found,
        mean=preprocessing.mean,
        std=preprocessing.std,
        crop_pct=preprocessing.crop_pct,
        interpolation=preprocessing.interpolation,
    )
