"""The relevance page's fourth step: where both models look in a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component
from PIL import Image

import vitq_core as vq
from vitq_core.experiment import open_picture
from vitq_core.experiment.measure import Cancel

from ..explaining.explained import MAPS, Explained, Question, over_each_other
from ..parts import divider, markup
from ..parts.checks import one_of, refuse, whole
from ..parts.forms import LIGHT, verdicts
from ..parts.jobs import Jobs
from ..parts.model_list import wrong_model
from ..parts.raw_inputs import raw_image
from ..parts.settings import RunSettings
from ..parts.thumbnails import SHOWN_SIDE
from ..running.runs import HEAVY, Data, Updates, sentence
from ..workbench import Workbench
from . import markup as relevance_html
from .gallery import UNQUANTIZED, Gallery
from .quantize import QuantizeSection
from .score import ScoreSection
from .settings import gallery_of, gallery_problems

PREDICTION = -1
MAX_CLASS = 1_000_000  # the engine names the model's own number of classes
PREDICTED = ("what each model predicts", PREDICTION)
STOPPED = markup.banner("stopped", "Stopped.", "Press Show test pictures to read them again.")
QUIET = {**HEAVY, "show_progress": "hidden", "trigger_mode": "always_last"}
SHOW_MAPS = "() => document.querySelector('#maps').scrollIntoView({behavior: 'smooth', block: 'nearest'})"


class ExplainSection:
    """`listed`: the settings of the pictures in the gallery; `question`: what is explained."""

    def __init__(self, bench: Workbench, score: ScoreSection, quantized: QuantizeSection, shown: gr.State):
        """`shown`: the settings of the result whose answers are explained."""
        self.bench, self.score, self.quantized, self.shown_run = bench, score, quantized, shown
        self.pictures = Gallery(bench)
        self.listed, self.question = gr.State(None), gr.State(None)
        self.jobs = Jobs()  # what reads pictures: a large upload takes a minute
        with gr.Row(elem_classes="vq-page"):
            with gr.Column(scale=4, min_width=320, elem_classes="vq-form"):
                self._build_choice()
            with gr.Column(scale=9, min_width=320, elem_classes="vq-results"):
                self.verdict = gr.HTML(elem_id="relevance-verdict")
                self.maps = gr.HTML(relevance_html.maps(None, MAPS[0]), elem_id="maps")
                self.divider = divider.divider("Where the models look", "maps-divider")

    def _build_choice(self) -> None:
        self.note = gr.HTML(markup.note(UNQUANTIZED), elem_id="relevance-note")
        self.gallery = gr.Gallery(
            columns=4, object_fit="cover", allow_preview=False, show_label=False, interactive=False,
            buttons=[], elem_id="relevance-gallery", elem_classes="vq-gallery",
        )  # fmt: skip
        with gr.Row():
            self.fill = gr.Button("Show test pictures", size="sm", scale=3, elem_id="relevance-fill")
            self.stop = gr.Button(
                "Stop reading pictures", size="sm", min_width=90, visible=False, elem_id="relevance-fill-stop"
            )
        self.picture = raw_image(
            show_label=False, sources=["upload", "clipboard"], height=150, elem_id="relevance-picture",
            elem_classes="vq-picture", buttons=[], placeholder="Or drop a picture here",
        )  # fmt: skip
        with gr.Group(elem_classes="vq-group"):
            self.target = gr.Dropdown(
                [PREDICTED], value=PREDICTION, label="Explain the class", elem_id="target"
            )
            kinds = [(f"map of {kind}", kind) for kind in MAPS]
            self.kind = gr.Radio(kinds, value=MAPS[0], label="Relevance as a", elem_id="map-kind")

    @property
    def outputs(self) -> set[Component]:
        return {
            self.note, self.gallery, self.target, self.listed, self.question, self.stop, *self.shown,
        }  # fmt: skip

    @property
    def shown(self) -> set[Component]:
        return {self.picture, self.verdict, self.maps, self.divider}

    @property
    def inputs(self) -> set[Component]:
        return set(self.quantized.fields.values()) | {self.shown_run}

    @property
    def asked(self) -> set[Component]:
        return {self.question, self.listed, self.target, self.kind, self.shown_run}

    def connect(self) -> None:
        self.fill.click(
            self.fill_clicked, self.inputs | self.asked, self.outputs, validator=self._validate, **QUIET
        )  # fmt: skip
        self.gallery.select(self.pick, self.asked, self.shown | {self.question}, **QUIET)
        self.gallery.select(None, js=SHOW_MAPS)
        self.stop.click(self.leave, None, None, **LIGHT)
        self.picture.upload(
            self.drop, self.asked | {self.picture, self.score.fields["model"]}, self.shown | {self.question},
            **QUIET,
        )  # fmt: skip
        for choice in (self.target, self.kind):
            choice.input(self.again, self.asked, self.shown, **QUIET)

    def _validate(self, data: Data) -> list[dict]:
        fields = self.quantized.fields
        return verdicts(fields, gallery_problems(self.quantized.values(data)), data)

    def leave(self, request: gr.Request) -> None:
        """Nobody waits for the pictures any more."""
        self.jobs.abandon(request.session_hash)

    def fill_clicked(self, data: Data, request: gr.Request) -> Iterator[Updates]:
        yield from self.while_reading(lambda: self.show(data, request))

    def while_reading(self, work: Callable[[], Updates]) -> Iterator[Updates]:
        """What `work()` gives; meanwhile there is a button that stops it."""
        yield {self.stop: gr.update(visible=True)}
        yield {**work(), self.stop: gr.update(visible=False)}

    def show(self, data: Data, request: gr.Request) -> Updates:
        """The gallery, and its first picture explained."""

        def work(cancel: Cancel) -> Updates:
            settings = self.result(data) or gallery_of(self.quantized.values(data))
            return self._filled(settings, data[self.kind], cancel)

        return self._reading(request, work)

    def result(self, data: Data) -> RunSettings | None:
        """The result of all tabs, where it is one of the model on the page and still in memory."""
        shown = data[self.shown_run]
        mine = shown is not None and shown.model == data[self.score.fields["model"]]
        return shown if mine and self.bench.outcome(shown) is not None else None

    def fill_gallery(self, settings: RunSettings, kind: str, request: gr.Request) -> Updates:
        """The pictures that `settings` stand for, the first of them explained."""
        return self._reading(request, lambda cancel: self._filled(settings, kind, cancel))

    def _reading(self, request: gr.Request, work: Callable[[Cancel], Updates]) -> Updates:
        """`work(cancel)`: stopped where the visitor leaves, says so or asks for something else."""
        job = self.jobs.start(request.session_hash)
        try:
            return work(job)
        except vq.Cancelled:
            return {self.verdict: STOPPED}
        except Exception as error:
            return {self.verdict: _failed(error)}
        finally:
            self.jobs.forget(request.session_hash, job)

    def _filled(self, settings: RunSettings, kind: str, cancel: Cancel) -> Updates:
        classes = self.bench.relevance.frame(settings.model).classes
        question = self.pictures.question(settings, 0, cancel)
        choices = [PREDICTED, *((name, i) for i, name in enumerate(classes))]
        return {
            self.note: self.pictures.note(settings),
            self.gallery: gr.update(value=self.pictures.pictures(settings, cancel), selected_index=None),
            self.target: gr.update(choices=choices, value=PREDICTION, interactive=bool(classes)),
            self.listed: settings,
            self.question: question,
            **self.answer(question, kind, cancel),
        }

    def pick(self, data: Data, event: gr.SelectData, request: gr.Request) -> Updates:
        """A picture of the gallery was clicked."""

        def work(cancel: Cancel) -> Updates:
            question = self.pictures.question(data[self.listed], event.index, cancel)
            return {self.question: question, **self._answer(question, data, cancel)}

        return self._reading(request, work)

    def drop(self, data: Data, request: gr.Request) -> Updates:
        """A picture was uploaded."""
        path, model = data[self.picture], data[self.score.fields["model"]]
        if not path:
            return gr.skip()
        question = Question(model, ("file", path), Path(path).name, quantized=self.result(data))
        return {self.question: question, **self._ask(question, data, request)}

    def again(self, data: Data, request: gr.Request) -> Updates:
        """Another class or another kind of map."""
        question = data[self.question]
        return self._ask(question, data, request) if question else gr.skip()

    def _ask(self, question: Question, data: Data, request: gr.Request) -> Updates:
        return self._reading(request, lambda cancel: self._answer(question, data, cancel))

    def _answer(self, question: Question, data: Data, cancel: Cancel) -> Updates:
        target = data[self.target]
        asked = question.about(None if target == PREDICTION else target)
        return self.answer(asked, data[self.kind], cancel)

    def answer(self, question: Question, kind: str, cancel: Cancel) -> Updates:
        """Both models' maps for a picture, or the sentence that says why not. Raises vq.Cancelled."""
        try:
            _check(question, kind)
            picture = self._read(question, cancel)
            explained = self.bench.relevance.explain(question, picture)
            return {**self._shown(explained, kind, question), self.picture: _fitting(picture)}
        except vq.Cancelled:
            raise
        except Exception as error:
            return {
                self.picture: None, self.verdict: _failed(error), self.maps: "",
                self.divider: divider.nothing(),
            }  # fmt: skip

    def _read(self, question: Question, cancel: Cancel) -> Image.Image:
        where, *which = question.picture
        return open_picture(which[0]) if where == "file" else self.pictures.sample(*which, cancel).read()

    def _shown(self, explained: Explained, kind: str, question: Question) -> Updates:
        asked, kind = kind, explained.drawn(kind)
        instead = "" if kind == asked else markup.note(relevance_html.NO_PATCHES)
        return {
            self.verdict: relevance_html.comparison(explained, kind, question.name, question.truth),
            self.maps: instead + relevance_html.maps(explained, kind),
            self.divider: over_each_other(explained, kind),
        }

    def clear(self) -> Updates:
        return {
            self.note: markup.note(UNQUANTIZED),
            self.gallery: gr.update(value=None),
            self.target: gr.update(value=PREDICTION),
            self.listed: None,
            self.question: None,
            self.picture: None,
            self.verdict: "",
            self.maps: relevance_html.maps(None, MAPS[0]),
            self.divider: divider.nothing(),
        }


def _check(question: Question, kind: Any) -> None:
    """ValueError for what the page's own boxes never send."""
    wrong = {
        "Model": wrong_model(question.model),
        "Map": one_of(kind, MAPS),
        "Class": "" if question.target is None else whole(question.target, 0, MAX_CLASS),
    }
    refuse({name: said for name, said in wrong.items() if said})


def _fitting(picture: Image.Image) -> Image.Image:
    shown = picture.copy()
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    return shown


def _failed(error: Exception) -> str:
    return markup.banner("error", "This picture could not be tried.", sentence(error))
