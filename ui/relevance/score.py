"""The relevance page's first step: which layers matter to the answers."""

from typing import Any

import gradio as gr
from gradio.components import Component

import vitq_core as vq
from vitq_core.experiment import given_path, is_name
from vitq_core.experiment.measure import Progress

from ..explaining.scoring import Scores
from ..parts import layer_maps, markup, steps
from ..parts.forms import LIGHT, Count, Fields, verdicts
from ..parts.model_bar import ModelBar
from ..running.run_parts import files_of, start_and_stop, status_line
from ..running.runs import HEAVY, Data, Run, Updates, check_settings, sentence
from ..workbench import Cancel, Workbench
from . import markup as relevance_html
from .settings import score_problems, scoring_of

PREFIX = "relevance-"
IDLE = markup.banner(
    "idle", "Not scored yet.", "Press Score layers; it takes seconds for the bundled models."
)
STOPPED = markup.banner(
    "stopped", "Cancelled.", "What was gathered is kept: Score layers goes on from there."
)
EMPTY = steps.waiting("A map of blocks and layer types appears here.")
SCORED = Count("scored", "Pictures to score with", 64, f"{PREFIX}scored")
LARGEST_FILE = 20_000_000  # bytes; a table of scores or bits has some kilobytes


class ScoreSection:
    """`fields` has the model and the pictures above the tabs too; `scores`: a `Scores` or None."""

    def __init__(self, bench: Workbench, bar: ModelBar):
        self.bench, self.bar = bench, bar
        self.fields: Fields = dict(bar.fields)
        self.scores = gr.State(None)
        with gr.Row(elem_classes="vq-page"):
            with gr.Column(scale=4, min_width=320, elem_classes="vq-form"):
                self._build_form()
            with gr.Column(scale=9, min_width=320, elem_classes="vq-results"):
                self._build_map()
        self.run = Run(
            self.start,
            self.stop,
            self.status,
            STOPPED,
            work=self.score,
            server=bench,
        )

    def _build_form(self) -> None:
        with gr.Group(elem_classes="vq-group"):
            self.fields[SCORED.name] = SCORED.build(90)
            names = [(_in_words(name), name) for name in _sources()]
            self.fields["importance"] = gr.Radio(
                names, value="relevance", label="What makes a layer matter", elem_id=f"{PREFIX}importance"
            )
        self.start, self.stop = start_and_stop("Score layers", "score", "score-cancel")

    def _build_map(self) -> None:
        self.status = status_line(IDLE, "score-status")
        self.empty = gr.HTML(EMPTY, elem_id="score-empty")
        with gr.Column(visible=False, elem_id="scores") as self.panel:
            self.certainty = gr.HTML(elem_id="certainty")
            self.plot = gr.Plot(show_label=False, elem_id="importance-map", elem_classes="vq-map")
        self.download, self.upload = files_of("scores")

    @property
    def outputs(self) -> set[Component]:
        return {
            self.status, self.empty, self.panel, self.certainty, self.plot, self.download, self.scores,
        }  # fmt: skip

    @property
    def inputs(self) -> set[Component]:
        return set(self.fields.values())

    def connect(self) -> Any:
        """The event of a finished run."""
        run = self.run.connect(self.inputs, self.outputs, self._validate, self._name)
        run.success(self.settle, self.inputs | {self.scores, self.status}, self.status, **LIGHT)
        self.upload.upload(
            self.read, self.inputs | {self.upload}, self.outputs, show_progress="hidden", **HEAVY
        )
        for name in ("scored", "importance", "seed", "pictures", "folder", "uploads"):
            self.fields[name].change(
                self.reflect, self.inputs | {self.scores}, self.status, trigger_mode="always_last", **LIGHT
            )
        return run

    def values(self, data: Data) -> dict[str, Any]:
        return {name: data[component] for name, component in self.fields.items()}

    def _validate(self, data: Data) -> list[dict]:
        return verdicts(self.fields, score_problems(self.values(data)), data)

    def _name(self, data: Data) -> str:
        return scoring_of(self.values(data)).title

    def score(self, data: Data, progress: Progress, stopped: Cancel) -> Updates:
        scoring = scoring_of(self.values(data))
        importance = self.bench.relevance.score(scoring, progress, stopped)
        return self.show(Scores(scoring.model, importance, scoring))

    def show(self, scores: Scores) -> Updates:
        importance, grid = scores.importance, self.bench.relevance.frame(scores.model).grid
        name = f"{scores.model}-{importance.source}-scores.json"
        return {
            self.status: _title(scores),
            self.empty: gr.update(visible=False),
            self.panel: gr.update(visible=True),
            self.certainty: relevance_html.certainty(importance),
            self.plot: layer_maps.importance_figure(importance, grid),
            self.download: gr.update(
                value=str(self.bench.text_file(name, importance.to_json())), interactive=True
            ),
            self.scores: scores,
        }

    def clear(self) -> Updates:
        """Before the first scores, and after another model was chosen."""
        return {
            self.status: IDLE,
            self.empty: gr.update(visible=True),
            self.panel: gr.update(visible=False),
            self.download: gr.update(value=None, interactive=False),
            self.scores: None,
        }

    def read(self, data: Data) -> Updates:
        """Scores from a file, if they fit the model."""
        try:
            importance = vq.Importance.from_json(read_text(data[self.upload]))
            model = data[self.fields["model"]]
            if not is_name(importance.source, vq.SOURCES):
                known = ", ".join(vq.SOURCES)
                raise ValueError(f"Their source must be one of {known}, not {importance.source!r:.40}.")
            self.bench.relevance.check_scores(model, importance)
            return self.show(Scores(model, importance))
        except Exception as error:
            return {self.status: markup.banner("error", "These scores cannot be used.", sentence(error))}

    def reflect(self, data: Data, request: gr.Request) -> Any:
        """After a change of the form: what is wrong with it, and whether the scores are still its own."""
        return gr.skip() if self.run.has_last_word(data, request) else self._compare(data)

    def settle(self, data: Data) -> Any:
        """After a run that ended well: the form may have changed meanwhile."""
        return self._compare(data) if "vq-done" in data[self.status] else gr.skip()

    def _compare(self, data: Data) -> str:
        values, scores = self.values(data), data[self.scores]
        wrong = score_problems(values)
        if wrong:
            return check_settings(wrong, self.fields)
        if scores is None:
            return IDLE
        if scores.scoring is None or scoring_of(values) == scores.scoring:
            return _title(scores)
        still = f"Below is still {scores.scoring.title}; press Score layers to update."
        return markup.banner("stale", "The settings changed.", still)


def _title(scores: Scores) -> str:
    if scores.scoring is None:
        return markup.banner(
            "done", f"{scores.model} · {scores.importance.source}", "From the uploaded file."
        )
    return markup.banner("done", scores.scoring.title)


def _in_words(source: str) -> str:
    title, summary = vq.SOURCES[source].title, vq.SOURCES[source].summary
    return ": ".join(part for part in (title or source, summary) if part)


def _sources() -> list[str]:
    """The first one is what the page opens with."""
    return sorted(vq.SOURCES, key=lambda name: name != "relevance")


def read_text(path: str | None) -> str:
    """What an uploaded file says. Raises ValueError for what cannot be text of a sensible size."""
    file = given_path(path, "the uploaded file")
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise ValueError("Upload one file of less than 20 MB.")
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError("This file is not text; upload a JSON file downloaded here.") from error
