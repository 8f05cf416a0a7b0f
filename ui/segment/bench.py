"""Behind the Segment page: models, pictures, quantized models and what they said, shared by everybody.

Everything is keyed by what was asked, nothing by who asked.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

from PIL import Image

import vitq_core as vq
from vitq_core.experiment.measure import Progress, part_of
from vitq_core.experiment.prompted import Tried, compare_on, judging_scenes, quantize_on_scenes
from vitq_core.experiment.runs import Asked, RunRecord, record_of

from ..model_store import megabytes
from ..parts.cache import Cache
from ..parts.jobs import Job
from ..parts.memory import give_back
from ..parts.settings import a_name
from ..parts.visitors import EVERYBODY
from ..running.accelerator import carry_out
from ..workbench import MASKS, Kind, Workbench
from .answers import Compared, compared
from .judging import Judging
from .pictures import Pictures
from .settings import SamSettings
from .source import JUDGING, Masks
from .visit import Picture, Thing

EMBEDDINGS = 128 * 2**20  # bytes of embeddings: 32 of a published Segment Anything
SHOWN_SIDE = 800  # pixels of a mask on the page
KEPT_MODELS, KEPT_LOOKS = 2, 4  # a look is an embedding of at most four megabytes
KEPT_ANSWERS = 64  # of a few megabytes at most
READ, MADE = 0.05, 0.8  # how much of a run is done when it is quantized, and when scenes are asked for
GONE = "This quantized model is no longer in memory; press Quantize to make it again."


class Answerer:
    """A model that answers prompts, and the pictures that it looked at last, as large as they are shown."""

    def __init__(self, model: Any, embeddings: vq.EmbeddingCache, identity: Hashable):
        self.segmenter = vq.Segmenter(model, embeddings, identity)
        self._looks: Cache[Any] = Cache(KEPT_LOOKS)

    def look(self, picture: Picture, read: Image.Image) -> Any:
        """`read` encoded; what identifies a photograph by its pixels would take as long as an answer."""
        return self._looks.get_or_make(picture.key, lambda: self.segmenter.opened(read).reduced(SHOWN_SIDE))


@dataclass(frozen=True, eq=False)
class Made:
    """A quantized model, ready to be asked."""

    settings: SamSettings
    model: vq.Model
    result: vq.QuantizeResult
    asked: Answerer
    tried: Tried


class SegmentBench:
    def __init__(self, bench: Workbench):
        self.bench, memory = bench, bench.memory
        self.pictures = Pictures(memory)
        self.embeddings = vq.EmbeddingCache(EMBEDDINGS)
        self._full: Cache[Answerer] = memory.cache(KEPT_MODELS)
        self._made: Cache[Made] = memory.cache(weigh=lambda made: 2 * megabytes(made.model))
        self._compared: Cache[Compared] = memory.cache(KEPT_ANSWERS, weigh=lambda kept: kept.megabytes)
        # Both models of one question after each other: two at once would only share the processor.
        self._asking = Lock()
        bench.kinds[MASKS] = Kind(self.make, _plan)
        bench.sources[SamSettings] = Masks(self)

    def full(self, model_id: str) -> Answerer:
        """The full-precision model. Raises ValueError for what is none."""
        return self._full.get_or_make(
            a_name(model_id), lambda: Answerer(self.bench.model(model_id), self.embeddings, model_id)
        )

    def made(self, settings: SamSettings | None) -> Made | None:
        """A quantized model that is still in memory."""
        return None if settings is None else self._made.get(settings)

    def quantize(
        self, settings: SamSettings, progress: Progress | None = None, job: Job | None = None
    ) -> Made:
        """The quantized model of `settings`, made unless it is still in memory. Raises vq.Cancelled."""
        with self.bench.computing():
            made = self.made(settings)
            if made is None:
                try:
                    made = self._quantize(settings, progress, job or Job())
                finally:
                    give_back()
            self._made.put(settings, made)
            return made

    def _quantize(self, settings: SamSettings, progress: Progress | None, job: Job) -> Made:
        part_of(progress, 0, 1)(0.0, "Loading the model")
        model = self.bench.model(settings.model)
        result = carry_out(
            quantize_on_scenes, model, settings.engine_recipe(), settings.calibration, settings.seed,
            asked={"cancel": job}, heard={"progress": part_of(progress, READ, MADE)},
        )  # fmt: skip
        if result.source is not model:  # made in another process: a second copy of the model
            result = replace(result, source=model)
        self.embeddings.forget(settings)
        asked = Answerer(result.model, self.embeddings, settings)
        full, scenes = self.full(settings.model).segmenter, judging_scenes(JUDGING)
        tried = compare_on(full, asked.segmenter, scenes, part_of(progress, MADE, 1), job)
        return Made(settings, model, result, asked, tried)

    def measure(
        self,
        settings: SamSettings,
        judging: Judging,
        progress: Progress | None = None,
        job: Job | None = None,
    ) -> tuple[RunRecord | None, Tried]:
        """Both models on the pictures that judge, and what is kept of it.

        Raises vq.Cancelled, ValueError where the quantized model is gone or no object is there.
        """
        begin = time.perf_counter()
        with self.bench.computing((judging.file,) if judging.file else ()):
            full, quantized = (asked.segmenter for asked in self.asked(settings.model, settings))
            pictures = judging.labelled()
            tried = compare_on(full, quantized, pictures, progress, job)
            digest = pictures.digest
        asked, result = settings.asked(judging), self.made(settings).result
        record = record_of(
            asked, self.bench.model(settings.model), _pictures(asked), digest, result,
            tried.as_results(), time.perf_counter() - begin,
            name=f"{settings.title}, on {judging.title}", settings=asdict(settings),
        )  # fmt: skip
        return self.bench.keep(record, job.owner if job else EVERYBODY), tried

    def make(
        self, wanted: Mapping[str, Any], owner: str, progress: Progress | None = None, job: Job | None = None
    ) -> None:
        """A run of a sweep, unless this owner has it. Raises vq.Cancelled."""
        settings, judging = SamSettings(**wanted["settings"]), Judging(**wanted["judging"])
        job = job or Job()
        job.owner = owner
        asked, weights = settings.asked(judging), self.bench.weights_of(settings.model)
        if self.bench.runs.find(asked.key(weights, _pictures(asked)), (owner,)) is None:
            self.quantize(settings, part_of(progress, 0, 0.7), job)
            self.measure(settings, judging, part_of(progress, 0.7, 1), job)

    def download(self, settings: SamSettings) -> Path | None:
        """A zip of the quantized model; None where it is no longer in memory."""
        made = self.made(settings)
        return None if made is None else self.bench.packed(made)

    def compare(
        self, model_id: str, quantized: SamSettings | None, picture: Picture, thing: Thing
    ) -> Compared:
        """What the model says of an object, and what the quantized one does, where there is one.

        Masks are as large as they are shown. Raises ValueError for a prompt that means nothing and for a
        quantized model that is gone, and vq.VitqError for NaN.
        """
        key = (model_id, quantized, picture.key, thing)
        return self._compared.get_or_make(
            key, lambda: compared(*self._answers(model_id, quantized, picture, thing))
        )

    def _answers(
        self, model_id: str, quantized: SamSettings | None, picture: Picture, thing: Thing
    ) -> list[vq.Answer]:
        read = self.pictures.read(picture)
        with self._asking:
            looks = [asked.look(picture, read) for asked in self.asked(model_id, quantized)]
            height, width = looks[0].size
            prompt = thing.within((width, height), picture.size).prompt()
            return [look.answer(prompt) for look in looks]

    def look(self, model_id: str, quantized: SamSettings | None, picture: Picture) -> None:
        """Encode a picture, so that the first click is answered as soon as the others."""
        read = self.pictures.read(picture)
        with self._asking:
            for asked in self.asked(model_id, quantized):
                asked.look(picture, read)

    def ask(
        self, model_id: str, quantized: SamSettings | None, picture: Picture, thing: Thing
    ) -> list[vq.Answer]:
        """Of both models, masks as large as the picture; of one where `quantized` is None."""
        read, prompt = self.pictures.read(picture), thing.prompt()
        with self._asking:
            return [asked.segmenter.segment(read, [prompt])[0] for asked in self.asked(model_id, quantized)]

    def asked(self, model_id: str, quantized: SamSettings | None) -> list[Answerer]:
        """Full precision and, where there is one, the quantized model. ValueError where that is gone."""
        if quantized is None:
            return [self.full(model_id)]
        made = self.made(quantized)
        if made is None:
            raise ValueError(GONE)
        return [self.full(model_id), made.asked]


def _plan(model: str, recipe: str, bits: int, judged: int) -> dict[str, Any]:
    settings, judging = SamSettings(model, recipe, bits, bits), Judging(count=judged)
    named = {"title": settings.title, "settings": asdict(settings), "judging": asdict(judging)}
    return {"kind": MASKS, **named}


def _pictures(asked: Asked) -> tuple:
    return asked.pictures, *asked.places
