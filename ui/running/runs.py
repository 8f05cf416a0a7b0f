"""A long run as a page has it: a button that starts it, one that stops it, a banner that says how it goes."""

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import gradio as gr
from gradio.components import Component

import vitq_core as vq

from ..learning.live import Live
from ..parts import markup
from ..parts.forms import LIGHT
from ..parts.jobs import Job, Jobs
from ..parts.visitors import Visitors

# Packing a result takes seconds and does not wait for anybody's run; two at once, so that one visitor's large
# model does not keep another's file.
DOWNLOAD = {"concurrency_id": "download", "concurrency_limit": 2, "api_visibility": "private"}
HEAVY = {"concurrency_id": "heavy", "concurrency_limit": 1, "api_visibility": "private"}

FINISHING = markup.banner("stopping", "Stopping …", "What is done is kept and being measured.")

WAITING = "Waiting: another run is before yours."

log = logging.getLogger(__name__)
Data = Mapping[Component, Any]
Updates = dict[Component, Any]
Work = Callable[[Data, Callable[[float, str], None], Job], Updates]


class Server(Protocol):
    """What every page's runs share."""

    visitors: Visitors

    def busy(self) -> bool: ...


@dataclass
class LongRun(ABC):
    """What a page has of a run, whoever makes it: itself (`Run`), or the server (`ServerRun`).

    Of a visitor it keeps their job (what ends it, and its progress log) and, until the form asks for another,
    what their last run was asked for. `failed`: shown too where the work did not end well. `live`: shows what
    is being learned. A run that has learned something finishes with that when it is cancelled; cancelled once
    more, or any other run, it is abandoned. `kept`: the settings of the result on the page, which stays there
    where a run does not end well, and is then named. `server`: knows whether another run goes first, and
    whose a session is.
    """

    start: gr.Button
    stop: gr.Button
    status: gr.HTML
    stopped: str
    failed: Updates = field(default_factory=dict)
    live: Live | None = None
    kept: gr.State | None = None
    server: Server | None = None
    jobs: Jobs = field(default_factory=Jobs)
    _asked_for: dict[str, dict] = field(default_factory=dict)
    _name: Callable[[Data], str] = lambda data: "That"

    queue = HEAVY  # how Gradio runs it

    def connect(
        self,
        inputs: set[Component],
        outputs: set[Component],
        validate: Callable[[Data], list[dict]],
        name: Callable[[Data], str],
    ) -> Any:
        """The event of the run. `validate` judges the values of `inputs`; `name` says what is run."""
        self._name = name

        def begin(data: Data, request: gr.Request) -> tuple[str, Any, Any]:
            self.start_job(data, request)
            self._asked_for[request.session_hash] = dict(data)
            said = WAITING if self.server is not None and self.server.busy() else "Starting …"
            return (
                markup.banner("busy", said, name(data)),
                gr.update(interactive=False),
                gr.update(interactive=True),
            )

        bar = [self.status, self.start, self.stop]
        self.begun = begun = self.start.click(
            begin, inputs, bar, validator=validate, concurrency_limit=None, show_progress="hidden",
            api_visibility="private",
        )  # fmt: skip
        run = begun.success(
            self.run, inputs | self._kept, outputs | set(bar), show_progress_on=self.status, **self.queue
        )
        cancelled = self.stop.click(self.cancel, list(self._kept), bar, **LIGHT)
        abandon_id = (
            f"{self.stop.elem_id}-abandon"  # Gradio cancels an event from a click only, not in a chain
        )
        gr.Button(elem_id=abandon_id, elem_classes="vq-hidden").click(None, cancels=[run])
        cancelled.success(None, js=f"() => document.querySelector('#{abandon_id}').click()")
        cancelled.failure(lambda: FINISHING, None, self.status, **LIGHT)
        if self.live is not None:
            self.live.connect(begun, self.jobs)
        return run

    def start_job(self, data: Data, request: gr.Request) -> None:
        """Called before the run has its turn."""
        self.jobs.start(request.session_hash)

    @abstractmethod
    def run(self, data: Data, request: gr.Request, progress: gr.Progress) -> Any:
        """What to show when it has ended, the banner and the buttons included."""

    def _failed(self, data: Data, said: str) -> Updates:
        failed = f"{self._called(data)} did not work."
        return {**self.failed, self.status: markup.banner("error", failed, said, _title(data.get(self.kept)))}

    def cancel(self, request: gr.Request, kept: Any = None) -> Updates:
        """Raises, so that Gradio does not drop the run's event, where it finishes with what it has."""
        if self.jobs.finish(request.session_hash):
            raise gr.Error(visible=False, print_exception=False)
        self.jobs.abandon(request.session_hash)
        return {**self.idle_buttons(), self.status: self._stopped(kept)}

    def _called(self, data: Data) -> str:
        """What is run; a program may ask for what has no name."""
        try:
            return self._name(data)
        except (ValueError, LookupError):
            return "That"

    @property
    def _kept(self) -> set[Component]:
        return set() if self.kept is None else {self.kept}

    def _stopped(self, kept: Any) -> str:
        return self.stopped if kept is None else markup.banner("stopped", "Cancelled.", earlier=_title(kept))

    def leave(self, request: gr.Request) -> None:
        """Nobody waits for the run of a page that was closed."""
        self.jobs.abandon(request.session_hash)
        self._asked_for.pop(request.session_hash, None)

    def running(self, request: gr.Request) -> bool:
        return self.jobs.running(request.session_hash)

    def has_last_word(self, data: Data, request: gr.Request) -> bool:
        """Whether the banner is the run's: under way, or over with these very inputs.

        An answer to a change of the form that was asked before the button was pressed comes after both. With
        other inputs the run's word is the last no more, whatever comes back.
        """
        if self.running(request):
            return True
        asked = self._asked_for.get(request.session_hash, {})
        same = bool(asked) and all(data.get(item) == value for item, value in asked.items() if item in data)
        if not same:
            self._asked_for.pop(request.session_hash, None)
        return same

    def idle_buttons(self) -> Updates:
        return {self.start: gr.update(interactive=True), self.stop: gr.update(interactive=False)}


@dataclass
class Run(LongRun):
    """`work(data, progress, job)` returns what to show, the banner included, or raises."""

    work: Work = field(kw_only=True)

    def run(
        self,
        data: Data,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio hands it over
    ) -> Updates:
        job = self.jobs.begun(request.session_hash)
        if self.server is not None:
            job.owner = self.server.visitors.owner(request.session_hash)
        self._asked_for[request.session_hash] = dict(data)
        try:
            shown = self.work(data, lambda done, message: progress(done, desc=message), job)
        except vq.Cancelled:
            shown = {**self.failed, self.status: self._stopped(data.get(self.kept))}
        except Exception as error:
            shown = self._failed(data, sentence(error))
        finally:
            self.jobs.forget(request.session_hash, job)
        return {**self.idle_buttons(), **shown}


def _title(settings: Any) -> str:
    """Empty where there is no earlier result."""
    return "" if settings is None else settings.title


def sentence(error: Exception) -> str:
    """What to tell the person: the engine's own words where it has some, and never a traceback."""
    if isinstance(error, vq.StorageError):
        log.warning("%s", error)
        return f"{error.public}."
    if isinstance(error, (vq.VitqError, ValueError)):
        return without_folders(str(error))
    log.exception("a run failed", exc_info=error)
    return f"The engine stopped with an unexpected {type(error).__name__}; the server's log has the details."


# An absolute path of two names or more, with its last one in brackets.
FOLDERS = re.compile(r"(?<![\w.~/:])/(?:[^/\s'\"]+/)+([^/\s'\",;:)]+)")


def without_folders(said: str) -> str:
    """``said`` with the last name of each path alone: how a server's folders lie is not for visitors."""
    return FOLDERS.sub(r"\1", said)


def check_settings(wrong: Mapping[str, str], fields: Mapping[str, Component], kept: Any = None) -> str:
    """The banner that names what is wrong with a form. `kept`: the settings of the result on the page."""
    parts: Sequence[str] = [f"{fields[name].label}: {text}" for name, text in wrong.items()]
    return markup.banner("error", "Check the settings.", " ".join(parts), _title(kept))
