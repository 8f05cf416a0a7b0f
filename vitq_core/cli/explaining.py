"""Behind `vitq relevance`: pictures, their answers, and where these come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import vitq_core as vq
from vitq_core.experiment import overlay
from vitq_core.experiment.measure import name_of, usable
from vitq_core.experiment.runs import Asked
from vitq_core.experiment.runs.rerun import source_of
from vitq_core.experiment.samples import Sample

from .ending import reading_input
from .pictures import SEGMENTS, label_of, opened, place_of
from .targets import any_model
from .working import Work

NO_MASKS = (
    "Segment Anything answers prompts and no classes; `vitq importance` scores its layers, and "
    "`vitq segment` shows its masks"
)


@dataclass(frozen=True)
class Explained:
    """`maps`: of each picture where its answer comes from, [h, w]."""

    model: vq.Model
    samples: Sequence[Sample]
    found: vq.Relevance

    @property
    def importance(self) -> vq.Importance:
        return self.found.importance

    @property
    def kind(self) -> str:
        """Maps by patches where attention shows them, else by pixels."""
        return "pixels" if self.found.heatmaps is None else "patches"

    @property
    def maps(self) -> torch.Tensor:
        return self.found.pixel_maps if self.kind == "pixels" else self.found.heatmaps

    def answers(self) -> list[str]:
        """What is explained of each picture."""
        if self.found.targets is None:
            return ["its features"] * len(self.samples)
        return [name_of(int(index), self.model.labels) for index in self.found.targets]

    def rows(self) -> list[tuple[str, str]]:
        return [(sample.name, answer) for sample, answer in zip(self.samples, self.answers(), strict=True)]

    def write(self, folder: Path) -> list[Path]:
        """A heat map of each picture, over what the model saw of it."""
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for number, (sample, values) in enumerate(zip(self.samples, self.maps, strict=True)):
            stem = "".join(letter if letter.isalnum() else "-" for letter in Path(sample.name).stem)[:60]
            files.append(folder / f"{number:03d}-{stem}.png")
            seen = self.model.preprocessing.seen(self.model.preprocess(sample.read()))
            overlay.as_picture(overlay.overlay(seen, values.detach().cpu(), self.kind)).save(files[-1])
        return files

    def told(self, files: Sequence[Path]) -> list[dict[str, Any]]:
        """JSON-ready."""
        rows = []
        for index, (name, answer) in enumerate(self.rows()):
            truth = label_of(self.samples[index], self.model)
            shown = {"file": str(files[index])} if files else {}
            rows.append({"picture": name, "explained": answer, "shows": truth, **shown})
        return rows


def explained(
    work: Work,
    name: str,
    paths: Sequence[str] | None,
    data: str | None,
    limit: int,
    target: str | None,
    device: str | None,
) -> Explained:
    """Raises ValueError for pictures that cannot be read and a class that the model does not have."""
    if paths and data is not None:
        raise ValueError("give either --picture or --data, not both")
    samples = opened(paths) if paths else None
    found = any_model(name, work, device)
    model = found.model
    if model.info.task == SEGMENTS:
        raise ValueError(NO_MASKS)
    with reading_input():
        samples = samples or _of_data(data, limit, model, work)
        images = torch.stack([model.preprocess(sample.read()) for sample in samples])
        relevance = vq.relevance(
            found.result or model, images, _target(target, model), progress=work.progress, cancel=work.stop
        )
    return Explained(model, samples, relevance)


def _of_data(data: str | None, limit: int, model: vq.Model, work: Work) -> list[Sample]:
    place = place_of(data, model.info.task)
    source = source_of(Asked(model.info.id, vq.recipe("minmax"), 1, limit, 0, *place), model)
    return usable(source.held_out(limit), work.stop).samples


def _target(said: str | None, model: vq.Model) -> int | None:
    """A class by its name or number; the engine refuses a number that is out of range."""
    if said is None:
        return None
    if model.labels and said in model.labels:
        return model.labels.index(said)
    if said.isdecimal():
        return int(said)
    known = f"; it knows {', '.join(model.labels[:20])}" if model.labels else "; give a number"
    raise ValueError(f"the model has no class {said!r:.80}{known}")
