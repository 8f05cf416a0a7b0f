"""A finished run in a folder: its quantized model, and what both models said about the test pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

import vitq_core as vq
from vitq_core.experiment.health import Health
from vitq_core.experiment.likeness import Likeness, View
from vitq_core.experiment.run import Reference
from vitq_core.experiment.samples import Source

from .outcome import Outcome
from .settings import RunSettings

RUN, ANSWERS = "run.json", "answers.safetensors"
FULL, QUANTIZED = "full", "quantized"
KNOWN, DEVIATION = "known", "deviation"  # of each view in which pictures are told to be alike


def store_outcome(outcome: Outcome, folder: Path) -> None:
    """Write `outcome` into `folder`, beside what vq.save_quantized writes there."""
    known = outcome.likeness
    vq.save_quantized(outcome.result, folder)
    answers = {FULL: outcome.reference.logits, QUANTIZED: outcome.logits, **_views(known)}
    save_file({name: tensor.contiguous() for name, tensor in answers.items()}, folder / ANSWERS)
    run = {
        "settings": asdict(outcome.settings),
        FULL: asdict(outcome.reference.evaluation),
        QUANTIZED: asdict(outcome.evaluation),
        "left_out": [outcome.reference.left_out, outcome.left_out],
        "likeness": {"limits": known.limits, "tested": known.tested} if known else None,
        "health": asdict(outcome.health) if outcome.health else None,
    }
    (folder / RUN).write_text(json.dumps(run, indent=1))


def stored_settings(folder: Path) -> RunSettings | None:
    """The settings of the run in `folder`; None where there is none, or one of another version."""
    try:
        return run_settings(json.loads((folder / RUN).read_text())["settings"])
    except (OSError, LookupError, TypeError, ValueError):
        return None


def load_outcome(folder: Path, model: Any, source: Source) -> Outcome:
    """The run in `folder`. `model` and `source`: those that its settings name.

    Raises vq.VitqError for a damaged folder.
    """
    result = vq.load_quantized(folder)
    try:
        run, answers = json.loads((folder / RUN).read_text()), load_file(folder / ANSWERS)
        settings = run_settings(run["settings"])
        unread, left_out = run["left_out"]
        samples = [s for s in source.held_out(settings.held_out) if s.name not in unread]
        reference = Reference(samples, answers[FULL], vq.Evaluation(**run[FULL]), tuple(unread))
        evaluation = vq.Evaluation(**run[QUANTIZED])
        likeness = _likeness(run["likeness"], answers)
        health = Health(**run["health"]) if run.get("health") else None
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise vq.VitqError(f"the stored run in {folder} is damaged: {error}") from error
    return Outcome(
        settings, model, result, reference, evaluation, answers[QUANTIZED], source.about, source.warning,
        tuple(left_out), likeness, stored=True, health=health,
    )  # fmt: skip


def _views(likeness: Likeness | None) -> dict[str, Tensor]:
    """Half precision: a distance moves by less than a thousandth."""
    views = likeness.views if likeness else {}
    known = {f"{KNOWN}.{name}": view.known.half() for name, view in views.items()}
    return known | {f"{DEVIATION}.{name}": view.deviation for name, view in views.items()}


def _likeness(stored: dict[str, Any] | None, tensors: dict[str, Tensor]) -> Likeness | None:
    if stored is None:
        return None
    views = {
        name: View(tensors[f"{KNOWN}.{name}"].float(), tensors[f"{DEVIATION}.{name}"])
        for name in stored["limits"]
    }
    return Likeness(views, stored["limits"], stored["tested"])


def run_settings(stored: Mapping[str, Any]) -> RunSettings:
    """Of what was kept of them as JSON, which has lists where settings have tuples, which key the results."""
    names = {field.name for field in fields(RunSettings)}
    return RunSettings(**{name: _tuples(value) for name, value in stored.items() if name in names})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
