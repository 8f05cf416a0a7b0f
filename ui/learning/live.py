"""What is being learned, while it is: the current module's loss, and the modules that are done."""

from collections.abc import Sequence
from html import escape
from typing import Any

import gradio as gr

from vitq_core.experiment import spoken

from ..parts.curves import curve
from ..parts.forms import LIGHT
from ..parts.jobs import Job, Jobs
from ..parts.progress_log import ProgressLog
from . import module_errors as errors_text

EVERY = 0.5  # seconds between two looks
LOSS = "Loss: the distance from what this module gives in full precision. Lower is better."


class Live:
    """A panel that fills itself while a run learns, and empties itself when the run is over."""

    def __init__(self, elem_id: str) -> None:
        self.panel = gr.HTML("", elem_id=elem_id, elem_classes="vq-live-panel")
        self.timer = gr.Timer(EVERY, active=False)

    def connect(self, begun: Any, jobs: Jobs) -> None:
        """Look at the visitor's run from when it has `begun`."""

        def look(request: gr.Request) -> tuple[str, Any]:
            job = jobs.of(request.session_hash)
            return live(job), gr.Timer(active=job is not None)

        self.watch(begun)
        self.timer.tick(look, None, [self.panel, self.timer], **LIGHT)

    def watch(self, begun: Any) -> None:
        """Look from when a run has `begun`."""

        def start() -> Any:
            return gr.Timer(active=True)

        # Twice: a look from before the run, answered late, turns the timer off again.
        started = begun.success(start, None, self.timer, **LIGHT)
        started.then(start, None, self.timer, **LIGHT)


def live(job: Job | None) -> str:
    """The panel; empty unless something is being learned."""
    if job is None or not job.log:
        return ""
    now = _finishing(job.log) if job() else _current(job.log)
    return f'<section class="vq-live">{now}{_finished(job.log.finished)}</section>'


def _finishing(log: ProgressLog) -> str:
    done = f"{len(log.finished)} of {log.total} modules are done."
    return f"<header><strong>{done}</strong></header>"


def _current(log: ProgressLog) -> str:
    now = log.latest
    done = now.iteration / max(now.iterations, 1)
    where = f"Module {now.index + 1} of {now.total} · step {now.iteration:,} of {now.iterations:,}"
    left = f" · about {spoken(now.seconds_left)} left" if now.seconds_left > 0 else ""
    head = f"<header><strong>{escape(now.row.unit)}</strong><span>{where}{left}</span></header>"
    return f"{head}{_meter((now.index + done) / now.total)}{_figure(now.row, done)}"


def _meter(share: float) -> str:
    return f'<div class="vq-meter"><i style="width:{100 * min(share, 1):.1f}%"></i></div>'


def _figure(row: Any, done: float) -> str:
    drawing = curve(row.losses, done, f"Loss of {escape(row.unit)}, step by step")
    high, low = (f"{pick(row.losses):.3g}" if len(row.losses) > 1 else "" for pick in (max, min))
    axis = f'<div class="vq-axis"><span>{high}</span><span>{low}</span></div>'
    return f'<figure><div class="vq-curve">{axis}{drawing}</div><figcaption>{LOSS}</figcaption></figure>'


def _finished(rows: Sequence[Any]) -> str:
    """Newest first, so that what just ended is in sight."""
    items = "".join(_tile(row) for row in reversed(rows))
    return f'<ol class="vq-done-modules">{items}</ol>' if items else ""


def _tile(row: Any) -> str:
    kept = "" if errors_text.learned(row) else " vq-kept"
    tip = f"{row.unit}: {row.outcome}"
    return (
        f'<li class="vq-tile{kept}" title="{escape(tip)}"><b>{escape(row.unit)}</b>'
        f"{curve(row.losses)}<span>{escape(errors_text.change(row))}</span></li>"
    )
