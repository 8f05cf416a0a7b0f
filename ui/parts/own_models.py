"""Models of files that visitors bring: known by what is in them, and listed to nobody."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import vitq_core as vq
from vitq_core import ModelInfo
from vitq_core.experiment import digest_of
from vitq_core.experiment.measure import Cancel, Progress

from .cache import Cache

PREFIX = "file:"
DIGITS, SHORT = 32, 7  # of what is in it: in an id, which nobody guesses, and where people read it
LONGEST_NAME = 40  # letters
DESCRIBES = ("config.json", "preprocessor_config.json")  # read where nobody says an architecture
AGAIN = "bring its file again"


@dataclass(frozen=True)
class OwnModel:
    """A file or folder; `said`: what `vq.load_model` is told of it."""

    path: Path
    said: Mapping[str, Any]
    info: ModelInfo


_known: Cache[OwnModel] = Cache(256)


def bring(
    path: Path, said: Mapping[str, Any], progress: Progress | None = None, cancel: Cancel | None = None
) -> Any:
    """The model at `path`, which this server then knows by `info.id`. Raises as `vq.load_model` does."""
    model = _read(path, said, progress, cancel)
    _known.put(model.info.id, OwnModel(path, dict(said), model.info))
    return model


def bring_again(model_id: str) -> Any:
    """The model of an id that `bring` gave, from its file. ValueError where that is gone or another one."""
    own = _known.get(model_id)
    if own is None or not own.path.exists():
        raise ValueError(f"{called(model_id)} is no longer on the server; {AGAIN}.")
    model = _read(own.path, own.said)
    if model.info.id != model_id:
        raise ValueError(f"{called(model_id)} has changed since it was chosen; {AGAIN}.")
    return model


def known(model_id: Any) -> ModelInfo | None:
    """Of a model that somebody brought since the server started."""
    own = _known.get(model_id) if isinstance(model_id, str) and model_id.startswith(PREFIX) else None
    return None if own is None else own.info


def called(model_id: str) -> str:
    """For people: the file's name and the first digits of what is in it."""
    info = known(model_id)
    name = PREFIX.rstrip(":") if info is None else info.title
    return f"{name}@{model_id.removeprefix(PREFIX)[:SHORT]}"


def _read(
    path: Path, said: Mapping[str, Any], progress: Progress | None = None, cancel: Cancel | None = None
) -> Any:
    """With an id of what decides its answers, and nothing of where it lies."""
    model = vq.load_model(path, progress=progress, cancel=cancel, **said)
    title = re.sub(r"[^\w.-]+", "-", path.name)[-LONGEST_NAME:]
    digest = _digest(path, said, model)
    info = replace(
        model.info,
        id=PREFIX + digest[:DIGITS],
        title=title,
        source=f"{title} (SHA-256 of its tensors and description: {digest})",
        summary=model.info.summary.replace(str(path), title),
    )
    return replace(model, info=info)


def _digest(path: Path, said: Mapping[str, Any], model: Any) -> str:
    """Tensors alone do not tell an architecture: how many heads, which activation."""
    parts = [digest_of(model.module.state_dict()), json.dumps(said, sort_keys=True)]
    folder = path if path.is_dir() else path.parent
    files = [] if "architecture" in said else [folder / name for name in DESCRIBES]
    parts += [file.read_text(errors="replace") for file in files if file.is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
