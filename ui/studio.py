"""The whole studio as one Gradio Blocks."""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import gradio as gr
from gradio import utils

from vitq_core.experiment import readable

from .activations import tab as activations_tab
from .another.panel import AnotherModel
from .api import add_endpoints
from .export import tab as export_tab
from .parts import glossary, markup
from .parts.forms import LIGHT
from .parts.frame import Frame
from .parts.model_bar import ModelBar
from .parts.model_list import ALL, SEGMENTS, SHOWN
from .parts.visitors import is_token, new_token
from .quantize import tab as quantize_tab
from .relevance import tab as relevance_tab
from .running.run_parts import SHOW_BANNERS
from .segment import tab as segment_tab
from .tradeoffs import tab as tradeoffs_tab
from .workbench import Workbench

Build = Callable[[Workbench, gr.Tab, Frame], Any]  # the page, or None


class Place(NamedTuple):
    """A tab: what builds its page, and the tasks of the models that it is about."""

    build: Build
    tasks: tuple[str, ...] = SHOWN


TABS = {
    "Quantize": Place(quantize_tab.build),
    "Trade-offs": Place(tradeoffs_tab.build, ALL),
    "Activations": Place(activations_tab.build),
    "Relevance & bits": Place(relevance_tab.build),
    "Segment": Place(segment_tab.build, SEGMENTS),
    "Export": Place(export_tab.build, ALL),
}
DAY = 24 * 60 * 60
UNREADABLE = "The studio cannot read this request: it holds other values than its page sends."
log = logging.getLogger(__name__)


class Studio(gr.Blocks):
    """Answers with a sentence where a program sends what the page never does."""

    async def preprocess_data(self, *given: Any, **options: Any) -> list[Any]:
        try:
            return await super().preprocess_data(*given, **options)
        except gr.Error as error:  # a choice that is none: said, and nothing the log need hold
            error.print_exception, error.message = False, _readable(error.message)
            raise
        except Exception as error:  # Gradio's own, of many kinds: files it does not know, lists for numbers
            log.info("a request could not be read: %s: %s", type(error).__name__, error)
            raise gr.Error(UNREADABLE, print_exception=False) from error

    async def postprocess_data(self, event: Any, answer: Any, *given: Any) -> list[Any]:
        """Text that is no Unicode would end the stream of a page's events, and freeze it: in what a handler
        answers, and in captions that Gradio has unpacked."""
        return _readable(await super().postprocess_data(event, _readable(answer), *given))

    async def call_function(
        self,
        block_fn: Any,
        processed_input: list[Any],
        iterator: Any = None,
        requests: Any = None,
        event_id: str | None = None,
        event_data: gr.EventData | None = None,
        *given: Any,
        **options: Any,
    ) -> Any:
        if iterator is None and not _has_its_event(block_fn.fn, event_data):
            raise gr.Error(UNREADABLE, print_exception=False)
        return await super().call_function(
            block_fn, processed_input, iterator, requests, event_id, event_data, *given, **options
        )


def _readable(value: Any) -> Any:
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, dict):
        return {_readable(name): _readable(each) for name, each in value.items()}
    if type(value) in (list, tuple):  # not a named one
        return type(value)(_readable(each) for each in value)
    return value


def _has_its_event(handler: Any, event: gr.EventData | None) -> bool:
    """Whether a handler that asks what was clicked can be told."""
    hints = utils.get_type_hints(handler).values() if handler else ()
    for kind in hints:
        if isinstance(kind, type) and issubclass(kind, gr.EventData):
            try:
                kind(event.target, event._data)
            except (AttributeError, KeyError, TypeError):
                return False
    return True


def build_studio(bench: Workbench | None = None) -> gr.Blocks:
    """Every tab around one workbench; uploads and results older than a day are deleted."""
    bench = bench or Workbench()
    with Studio(
        title="VitQ Studio", analytics_enabled=False, delete_cache=(DAY // 24, DAY), fill_width=True
    ) as studio:
        gr.HTML(markup.title() + glossary.sentences())
        arrived = _connect_visitors(bench, studio)
        bar, pages = ModelBar(next(iter(TABS))), {}
        frame = Frame(studio, bar, arrived)
        with gr.Tabs():
            for name, place in TABS.items():
                with gr.Tab(name, id=name) as tab:
                    bar.enter(name, tab, place.tasks, place.tasks == SEGMENTS)
                    pages[name] = place.build(bench, tab, frame)
        segment = pages["Segment"]
        theirs = {} if segment is None else {"Segment": segment.form.fields["model"]}
        bar.connect({name: place.tasks for name, place in TABS.items()}, theirs)
        AnotherModel(bench, bar, theirs.get("Segment")).connect(studio)
        pages["Relevance & bits"].connect_result(pages["Quantize"])
        for name in ("Trade-offs", "Activations"):
            pages[name].connect_opening(pages["Quantize"], "Quantize")
        for listening in (SHOW_BANNERS, glossary.SHOW_SENTENCES):
            studio.load(None, js=listening)
        add_endpoints(bench)
        _without_marks(studio)
    bench.uploads.keep_all()
    return studio


def _without_marks(studio: gr.Blocks) -> None:
    """Events that show no progress name one small component to show it on.

    Else Gradio's page marks all their outputs as waiting, and goes through all that were ever marked, and
    through what they hold, at each event: a second and more on a page of this size.
    """
    nowhere = gr.HTML(visible=False)
    for event in studio.fns.values():
        if event.show_progress == "hidden" and event.show_progress_on is None and not _validates(event):
            event.show_progress_on = [nowhere]


def _validates(event: Any) -> bool:
    return getattr(event, "validator", None) is not None


def _connect_visitors(bench: Workbench, studio: gr.Blocks) -> Any:
    """A browser keeps a token, by which its visitor's runs are known again after a reload; the event after
    which that is so.
    """
    token = gr.BrowserState("", storage_key="vitq-visitor", secret="vitq")

    def arrived(known: str, request: gr.Request) -> str:
        shown = known if is_token(known) else new_token()
        bench.visitors.know(request.session_hash, shown)
        return shown

    def left(request: gr.Request) -> None:
        bench.visitors.forget(request.session_hash)

    studio.unload(left)
    return studio.load(arrived, token, token, **LIGHT)


def theme() -> gr.themes.Base:
    """System fonts: a page that works offline cannot fetch others."""
    return gr.themes.Default(
        primary_hue="indigo",
        secondary_hue="indigo",
        neutral_hue="slate",
        radius_size="md",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "monospace"],
    ).set(
        body_background_fill="*neutral_50",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_text_color="white",
        body_text_color_subdued="*neutral_500",
        slider_color="*primary_600",
        checkbox_label_background_fill_selected="*primary_50",
        checkbox_label_background_fill_selected_dark="*primary_950",
        checkbox_label_border_color_selected="*primary_600",
        checkbox_background_color_selected="*primary_600",
        checkbox_border_color_selected="*primary_600",
        checkbox_border_color_dark="*neutral_500",
    )
