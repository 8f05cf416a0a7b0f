"""Behind the relevance page: scores layers, gives out bits, explains pictures, and remembers the costly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.experiment import prepare
from vitq_core.experiment.generated import calibration_of
from vitq_core.experiment.likeness import watching
from vitq_core.experiment.measure import Batches, Cancel, Progress, name_of, part_of, usable
from vitq_core.experiment.samples import Sample

from ..model_store import ModelStore
from ..parts.bits_table import BitsTable
from ..parts.cache import Cache
from ..parts.layer_grid import LayerGrid, layer_grid
from ..parts.memory import tensors_mb
from ..parts.outcome import Outcome
from ..parts.settings import RunSettings, a_name
from ..running.accelerator import carry_out
from .explained import GONE, Explained, Question, view
from .resumable import resumed, state_file
from .scoring import Scoring

SCORED_AT_ONCE = 16  # pictures: often enough to hear that a run is cancelled
MEASURED = 32  # pictures that the budget policy measures noise on
GALLERY = 48
KEPT_EXPLANATIONS = 64
KEPT_COSTS = 256  # of a few numbers each
KEPT_LISTS = 16  # of names of pictures


@dataclass(frozen=True, eq=False)
class Frame:
    """A model without anybody's hooks on it, for looking at its layers while another run is under way."""

    module: nn.Module
    blank: Tensor
    grid: LayerGrid
    classes: list[str]


class RelevanceBench:
    """Shared by everybody, keyed by settings."""

    def __init__(self, store: ModelStore, outcome: Callable[[RunSettings], Outcome | None]):
        """`outcome`: a finished run, where it is still in memory."""
        self.store, self.outcome = store, outcome
        memory = store.memory
        self._frames: Cache[Frame] = memory.cache(weigh=lambda frame: tensors_mb(*frame.module.parameters()))
        self._explained: Cache[Explained] = memory.cache(
            KEPT_EXPLANATIONS, lambda kept: tensors_mb(*kept.tensors)
        )
        self._uniform: Cache[vq.TableCost] = Cache(KEPT_COSTS)
        self._usable: Cache[list[Sample]] = memory.cache(KEPT_LISTS)

    def frame(self, model_id: str) -> Frame:
        return self._frames.get_or_make(a_name(model_id), lambda: self._look(model_id))

    def _look(self, model_id: str) -> Frame:
        model = self.store.apart(model_id)
        blank = torch.zeros(1, 3, *model.preprocessing.size)
        prepared = prepare(model, "the relevance page", blank)
        weighted = {name: layer.weight is not None for name, layer in prepared.layers.items()}
        grid = layer_grid(weighted, prepared.blocks)
        classes = [name_of(i, model.labels) for i in range(len(model.labels or []) or model.classes)]
        return Frame(model.module, blank, grid, classes)

    def score(
        self, scoring: Scoring, progress: Progress | None = None, cancel: Cancel | None = None
    ) -> vq.Importance:
        """Goes on where the same scoring was stopped before; raises vq.Cancelled."""
        with self.store.computing(scoring.uploads):
            said = part_of(progress, 0, 1)
            said(0.0, "Reading pictures")
            batches = self.batches(scoring, scoring.count, said, cancel)
            state = state_file(scoring, self.store.source(scoring).key)
            model, count = self.store.model(scoring.model), len(batches.samples)
            return resumed(
                lambda: carry_out(
                    importance_of, model, batches.samples, scoring.importance, state,
                    asked={"cancel": cancel},
                    heard={"progress": lambda done, text: said(done, f"{text}; {count} in all")},
                ),
                state,
            )  # fmt: skip

    def allocate(
        self,
        scoring: Scoring,
        scores: vq.Importance | dict[str, float],
        options: dict[str, Any],
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> BitsTable:
        """Bits by the policy that `options` (of `vq.allocate_bits`) name, noise measured on `scoring`'s."""
        options = {**options, "progress": progress, "cancel": cancel}
        if options["policy"] == "paper":
            frame = self.frame(scoring.model)
            return vq.allocate_bits(scores, frame.module, images=frame.blank, **options)
        with self.store.computing(scoring.uploads):
            batches = self.batches(scoring, min(scoring.count, MEASURED), progress, cancel)
            model = self.store.model(scoring.model)
            return vq.allocate_bits(scores, model, images=batches, **options)

    def uniform(self, model_id: str, weight: int, act: int) -> BitsTable:
        """The same bits everywhere, but for the picture, which keeps 8."""
        equal = dict.fromkeys(self.frame(model_id).grid.places, 1.0)
        options = {"policy": "paper", "base_bits": (weight, act), "first_blocks": 0}
        return self.allocate(Scoring(model_id), equal, options)

    def uniform_cost(self, model_id: str, weight: int, act: int) -> vq.TableCost:
        return self._uniform.get_or_make(
            (model_id, weight, act), lambda: self.cost(model_id, self.uniform(model_id, weight, act))
        )

    def cost(self, model_id: str, table: BitsTable) -> vq.TableCost:
        """ValueError where the table does not fit the model."""
        frame = self.frame(model_id)
        return vq.table_cost(table, frame.module, frame.blank)

    def check_scores(self, model_id: str, scores: vq.Importance) -> None:
        """ValueError where the scores do not fit the model."""
        options = {"policy": "paper", "first_blocks": 0}
        self.allocate(Scoring(model_id), scores, options)

    def samples(self, settings: RunSettings, cancel: Cancel | None = None) -> list[Sample]:
        """Held-out pictures for a gallery, before a run has measured them. Raises vq.Cancelled."""
        with self.store.computing(settings.uploads):
            source = self.store.source(settings, cancel=cancel)
            key = (settings.model, source.key)
            return self._usable.get_or_make(key, lambda: usable(source.held_out(GALLERY), cancel).samples)

    def batches(
        self, scoring: Scoring, count: int, progress: Progress | None, cancel: Cancel | None
    ) -> Batches:
        """Calibration pictures of `scoring` that can be read, at most `count`. Raises vq.Cancelled."""
        model, source = self.store.model(scoring.model), self.store.source(scoring, progress, cancel)
        given = calibration_of(source, count, scoring.seed, progress, cancel)
        return Batches(usable(given, cancel).samples, model.preprocess, SCORED_AT_ONCE, cancel)

    def explain(self, question: Question, picture: Image.Image) -> Explained:
        return self._explained.get_or_make(question, lambda: self._explain(question, picture))

    def _explain(self, question: Question, picture: Image.Image) -> Explained:
        with self.store.computing():
            model = self.store.model(question.model)
            image, labels = model.preprocess(picture)[None], model.labels
            full = view(model, model.module, image, question.target, labels)
            outcome = self._outcome(question.quantized) if question.quantized else None
            quantized = None
            if outcome is not None:
                result = outcome.result
                with self.store.result_lock(result):
                    quantized = view(result, result.model, image, question.target, labels)
            own = question.picture[0] != "file"  # one of the run's
            unlike = None if own or outcome is None else _unlike(outcome, image)
        return Explained(model.preprocessing.seen(image[0]), full, quantized, unlike)

    def _outcome(self, settings: RunSettings) -> Outcome:
        outcome = self.outcome(settings)
        if outcome is None:
            raise ValueError(GONE)
        return outcome


def importance_of(
    model: vq.Model,
    samples: list[Sample],
    source: str,
    state: Path,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> vq.Importance:
    """Goes on from the file `state`. Raises vq.Cancelled."""
    batches = Batches(samples, model.preprocess, SCORED_AT_ONCE, cancel)
    return vq.importance(model, batches, source, progress=progress, cancel=cancel, state=state)


def _unlike(outcome: Outcome, image: Tensor) -> bool | None:
    """Told by the full-precision model's features of `image` [1, 3, H, W]."""
    with watching(outcome.model.module) as seen, torch.inference_mode():
        outcome.model.module(image)
    return outcome.is_unlike(seen.features)
