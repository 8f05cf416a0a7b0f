"""A run that belongs to the server: it goes on where its page is closed, and another page finds it again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from gradio.components import Component

import vitq_core as vq
from vitq_core.experiment import counted
from vitq_core.experiment.runs import RUNNING, STOPPED, Plan

from ..learning.effort import spoken
from ..parts import markup
from ..parts.forms import LIGHT
from ..parts.visitors import seen_by
from .runs import Data, LongRun, Updates, sentence
from .sweeps import Sweep, Sweeps

LOOK = 0.1  # seconds between two looks at a run
# Nothing is computed by those who look.
FOLLOWING = {"concurrency_limit": None, "api_visibility": "private"}
TO_ADDRESS = """(run) => {
    const address = new URL(location), theme = address.searchParams.get('__theme')
    address.search = ''
    if (theme) address.searchParams.set('__theme', theme)
    if (run) address.searchParams.set('run', run)
    history.replaceState(null, '', address)
}"""


@dataclass(kw_only=True)
class ServerRun(LongRun):
    """`wanted(data)`: what is to be made, as a plan has it; `show(sweep)`: what to show of what was made, the
    banner included. `kinds`: of the runs that a page goes on to follow which opens with their address.
    """

    sweeps: Sweeps
    wanted: Callable[[Data], Mapping[str, Any]]
    show: Callable[[Sweep], Updates]
    kinds: tuple[str, ...] = ()
    _plans: dict[str, str] = field(default_factory=dict)  # {session: id of the plan it follows}
    _refused: dict[str, str] = field(default_factory=dict)  # {session: why nothing was begun}

    queue = FOLLOWING

    def __post_init__(self) -> None:
        self.address = gr.Textbox(label="Address of the run", visible=False)

    def connect(self, inputs: set[Component], outputs: set[Component], *given: Any) -> Any:
        run = super().connect(inputs, outputs, *given)
        self.begun.success(self._id, None, self.address, **LIGHT).success(None, self.address, js=TO_ADDRESS)
        return run

    def connect_finding(self, after: Any, inputs: set[Component], outputs: set[Component]) -> Any:
        """The event that ends what `after`, the opening of a page, finds under way."""
        bar = [self.status, self.start, self.stop]
        found = after.then(self.find, list(self._kept), bar, **LIGHT)
        if self.live is not None:
            self.live.watch(found)
        return found.then(
            self.go_on, inputs | self._kept, outputs | set(bar), show_progress_on=self.status, **self.queue
        )

    def start_job(self, data: Data, request: gr.Request) -> None:
        session = request.session_hash
        earlier = self._plans.pop(session, None)
        if earlier is not None:
            self.sweeps.stop(earlier)
        try:
            wanted = self.wanted(data)
            plan_id = self.sweeps.start(Plan(wanted["title"], (wanted,), self._owner(request)))
        except (ValueError, vq.StorageError) as error:
            self._refused[session] = sentence(error)
            self.jobs.start(session)
        else:
            self._follow(request, self.sweeps.sweep(plan_id))

    def find(self, request: gr.Request, kept: Any = None) -> Any:
        """The run that the page's address names; nothing where this visitor has no such under way.

        `kept`: what the page shows. Where that is nothing, the run may have ended since the page was opened.
        """
        sweep = self.addressed(request)
        if self.running(request) or sweep is None:
            return [gr.skip()] * 3
        if sweep.state != RUNNING and kept is not None:
            return [gr.skip()] * 3
        self._follow(request, sweep)
        return (
            markup.banner("busy", self._waiting(sweep) or "Still at it …", sweep.plan.title),
            gr.update(interactive=False),
            gr.update(interactive=True),
        )

    def addressed(self, request: gr.Request) -> Sweep | None:
        """The run that the page's address names; None where this visitor may not follow it."""
        sweep = self.sweeps.sweep(dict(getattr(request, "query_params", None) or {}).get("run"))
        return sweep if sweep is not None and self._can_follow(sweep, request) else None

    async def go_on(
        self,
        data: Data,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio hands it over
    ) -> Any:
        """What `find` found, if anything."""
        return await self.run(data, request, progress) if self.follows(request) else gr.skip()

    async def run(
        self,
        data: Data,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio hands it over
    ) -> Updates:
        """Until what this page follows has ended."""
        session = request.session_hash
        followed = self._plans.get(session)
        sweep = self.sweeps.sweep(followed)
        self._asked_for[session] = dict(data)
        while sweep is not None and sweep.state == RUNNING and self._plans.get(session) == followed:
            progress(sweep.share, desc=self._waiting(sweep) or sweep.said)
            await asyncio.sleep(LOOK)
        if self._plans.get(session) != followed:  # the page is about something else by now
            return self.idle_buttons()
        refused = self._refused.pop(session, None)
        self.jobs.abandon(session) if sweep is None else self.jobs.forget(session, sweep.job)
        shown = self._ended(sweep, data) if refused is None else self._failed(data, refused)
        return {**self.idle_buttons(), **shown}

    def follows(self, request: gr.Request) -> bool:
        """Whether the page is about a run that was asked for since it was opened, or by its address."""
        return request.session_hash in self._plans

    def cancel(self, request: gr.Request, kept: Any = None) -> Updates:
        shown = super().cancel(request, kept)
        plan_id = self._plans.get(request.session_hash)
        if plan_id is not None:
            self.sweeps.stop(plan_id)
        return shown

    def leave(self, request: gr.Request) -> None:
        """The run goes on."""
        job = self.jobs.of(request.session_hash)
        if job is not None:
            self.jobs.forget(request.session_hash, job)
        for kept in (self._plans, self._refused, self._asked_for):
            kept.pop(request.session_hash, None)

    def _id(self, request: gr.Request) -> str:
        return self._plans.get(request.session_hash, "")

    def _owner(self, request: gr.Request) -> str:
        return self.server.visitors.owner(request.session_hash)

    def _can_follow(self, sweep: Sweep, request: gr.Request) -> bool:
        return sweep.plan.owner in seen_by(self._owner(request)) and sweep.kind in self.kinds

    def _follow(self, request: gr.Request, sweep: Sweep) -> None:
        self._plans[request.session_hash] = sweep.plan.id
        self.jobs.start(request.session_hash, sweep.job)

    def _waiting(self, sweep: Sweep) -> str:
        """Who is before it, and for how long; empty where it is being made."""
        before = self.sweeps.before(sweep.plan.id)
        if not before:
            return ""
        seconds = self.sweeps.seconds_before(sweep.plan.id)
        about = "" if seconds is None else f", about {spoken(seconds)}"
        return f"Waiting: {counted(before, 'run')} before yours{about}"

    def _ended(self, sweep: Sweep | None, data: Data) -> Updates:
        if sweep is None or sweep.state == STOPPED:
            return {**self.failed, self.status: self._stopped(data.get(self.kept))}
        if sweep.failed:
            return self._failed(data, sweep.failed[-1][1])
        try:
            return self.show(sweep)
        except Exception as error:
            return self._failed(data, sentence(error))
