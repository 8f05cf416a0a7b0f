"""Runs that belong to the server and not to a page: made one after the other, also after a restart."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import mean
from threading import Condition, Thread
from typing import Any

import vitq_core as vq
from vitq_core.experiment.runs import DONE, RUNNING, STOPPED, Plan, PlanStore

from ..parts.jobs import Job
from ..parts.visitors import seen_by
from .runs import sentence

log = logging.getLogger(__name__)
WAITING, BEGINNING = "Waiting", "Beginning"
KEPT = 256  # sweeps that are over and still known
LAST, AT_ONCE = 16, 0.5  # runs whose seconds say how long the next one takes; fewer: it was there already
TELLING = 0.05  # share of a run after which its own pace says when it ends

Make = Callable[[Mapping[str, Any], str, Callable[[float, str], None], Job], Any]


@dataclass
class Sweep:
    """How far a plan is. `made`: what each run that is there gave, `failed`: (what was asked, a sentence) of
    the others; `share` and `said`: of the run under way.
    """

    plan: Plan
    state: str = RUNNING
    made: list[Any] = field(default_factory=list)
    share: float = 0.0
    said: str = WAITING
    failed: list[tuple[Mapping[str, Any], str]] = field(default_factory=list)
    job: Job = field(default_factory=Job)
    begun: float = 0.0  # the run under way, on the clock of `time.monotonic`

    def __post_init__(self) -> None:
        self.job.owner = self.plan.owner

    @property
    def kind(self) -> str:
        """Of its runs."""
        return self.plan.wanted[0].get("kind", "") if self.plan.wanted else ""

    @property
    def done(self) -> int:
        return len(self.made)

    @property
    def total(self) -> int:
        return len(self.plan.wanted)

    @property
    def ended(self) -> int:
        return self.done + len(self.failed)


class Sweeps:
    """`make(wanted, owner, progress, job)` makes a run, or finds that it is there; raises as a run does.

    A plan of one run goes before the next run of a longer one: somebody waits for it.
    """

    def __init__(self, make: Make, plans: PlanStore | None = None):
        self.make, self.plans = make, plans or PlanStore()
        self._sweeps: dict[str, Sweep] = {}
        self._waiting: list[Sweep] = []
        self._now: Sweep | None = None
        self._took: deque[float] = deque(maxlen=LAST)
        self._changed = Condition()
        self._worker: Thread | None = None

    def start(self, plan: Plan) -> str:
        """Queue a plan; its id. Raises StorageError where it cannot be kept."""
        self.plans.add(plan)
        self._queue(plan)
        return plan.id

    def resume(self) -> None:
        """Go on with what was under way when the server ended; what was stopped then can be continued.

        Where that is not known, the log says so.
        """
        try:
            for plan in self.plans.all(STOPPED):
                self._sweeps[plan.id] = Sweep(plan, STOPPED)
            for plan in self.plans.all(RUNNING):
                self._queue(plan)
        except vq.StorageError as error:
            log.warning("earlier sweeps are not known: %s", error)

    def go_on(self, plan_id: str) -> bool:
        """Queue a stopped plan again; whether there is one."""
        plan = self.plans.get(plan_id)
        if plan is None or plan.state != STOPPED:
            return False
        self.plans.mark(plan_id, RUNNING)
        self._queue(plan)
        return True

    def stop(self, plan_id: str) -> bool:
        """End the run under way with nothing, and make no other; whether there was one to stop."""
        with self._changed:
            sweep = self._sweeps.get(plan_id)
            if sweep is None or sweep.state != RUNNING:
                return False
            self._ends(sweep, STOPPED)
            sweep.job.abandon()
        return True

    def sweep(self, plan_id: str | None) -> Sweep | None:
        """None where it is not of this server's time."""
        return self._sweeps.get(plan_id) if plan_id else None

    def newest(self, owner: str, kinds: Collection[str]) -> Sweep | None:
        """The one that this `owner` asked for last and may see, of runs of these `kinds`."""
        own = [
            sweep
            for sweep in list(self._sweeps.values())
            if sweep.plan.owner in seen_by(owner) and sweep.kind in kinds
        ]
        return own[-1] if own else None

    def before(self, plan_id: str) -> int:
        """How many runs are made before the next one of this plan."""
        with self._changed:
            sweep = self._sweeps.get(plan_id)
            if sweep is None or sweep is self._now or sweep not in self._waiting:
                return 0
            return self._waiting.index(sweep) + (self._now is not None)

    def seconds_before(self, plan_id: str) -> float | None:
        """About how long until it is this plan's turn; None where no run has ended yet that would say so."""
        with self._changed:
            usual = mean(self._took) if self._took else None
            seconds, now = [usual] * self.before(plan_id), self._now
            if seconds and now is not None:
                seconds[0] = _rest(now, usual)
        return None if None in seconds else sum(seconds)

    def under_way(self) -> int:
        """How many of everybody's are not at their end."""
        return sum(sweep.state == RUNNING for sweep in list(self._sweeps.values()))

    def wait(self, seconds: float | None = None) -> bool:
        """Until nothing is to be made any more; False where that takes longer."""
        with self._changed:
            return self._changed.wait_for(
                lambda: all(sweep.state != RUNNING for sweep in self._sweeps.values()), seconds
            )

    def _queue(self, plan: Plan) -> None:
        with self._changed:
            sweep = Sweep(plan)
            self._sweeps.pop(plan.id, None)
            self._sweeps[plan.id] = sweep
            over = [each.plan.id for each in self._sweeps.values() if each.state != RUNNING]
            for plan_id in over[:-KEPT]:
                del self._sweeps[plan_id]
            self._wait(sweep)
            if self._worker is None:
                self._worker = Thread(target=self._work, daemon=True, name="sweeps")
                self._worker.start()
            self._changed.notify_all()

    def _wait(self, sweep: Sweep) -> None:
        """Behind those that wait; of one run, before those of more."""
        place = len(self._waiting)
        if sweep.total == 1:
            place = next((i for i, other in enumerate(self._waiting) if other.total > 1), place)
        self._waiting.insert(place, sweep)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                self._now = sweep = self._waiting.pop(0)
            if sweep.state == RUNNING:
                self._make_next(sweep)
            with self._changed:
                self._now = None
                if sweep.state == RUNNING:
                    self._wait(sweep)
                self._changed.notify_all()

    def _make_next(self, sweep: Sweep) -> None:
        """The next run of a plan, which has ended with its last one."""
        wanted = sweep.plan.wanted[sweep.ended] if sweep.ended < sweep.total else None
        if wanted is not None:
            sweep.share, sweep.said, sweep.begun = 0.0, BEGINNING, time.monotonic()
            try:
                made = self.make(wanted, sweep.plan.owner, partial(_hear, sweep), sweep.job)
            except vq.Cancelled:
                self.stop(sweep.plan.id)  # of itself, where it was not told to
                return
            except Exception as error:
                sweep.failed.append((wanted, sentence(error)))
            else:
                sweep.made.append(made)
                took = time.monotonic() - sweep.begun
                if took > AT_ONCE:
                    with self._changed:
                        self._took.append(took)
        if sweep.state == RUNNING and sweep.ended == sweep.total:
            self._ends(sweep, DONE)

    def _ends(self, sweep: Sweep, state: str) -> None:
        """It is over, also where that cannot be written: nobody may wait for it, and the others go on."""
        try:
            self.plans.mark(sweep.plan.id, state)
        except vq.StorageError as error:
            log.warning("the end of a sweep was not kept: %s", error)
        sweep.state = state


def _rest(sweep: Sweep, usual: float | None) -> float | None:
    """Seconds that its run still takes: by its own pace, and before that shows as others took."""
    elapsed, share = time.monotonic() - sweep.begun, sweep.share
    if share > TELLING:
        return elapsed * (1 - share) / share
    return None if usual is None else max(0.0, usual - elapsed)


def _hear(sweep: Sweep, done: float, said: str) -> None:
    sweep.share, sweep.said = done, said
