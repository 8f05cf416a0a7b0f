"""Which sessions have a run under way, what it told so far, and which of them asked for it to stop."""

from threading import Event, Lock

from .progress_log import Told


class Job:
    """A run. Called, it says whether to stop; `dropped` says whether even what it has is wanted no more.

    `told`: what its reconstruction told so far.
    """

    def __init__(self) -> None:
        self.told = Told()
        self._stop, self._drop = Event(), Event()

    def __call__(self) -> bool:
        return self._stop.is_set()

    def dropped(self) -> bool:
        return self._drop.is_set()

    def stop(self) -> None:
        """Come to an end with what there is."""
        self._stop.set()

    def drop(self) -> None:
        """Come to an end with nothing."""
        self._stop.set()
        self._drop.set()


class Jobs:
    """One run per session; starting another one stops the first."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = Lock()

    def start(self, session: str) -> Job:
        """Registers a run."""
        job = Job()
        with self._lock:
            before = self._jobs.pop(session, None)
            self._jobs[session] = job
        if before is not None:
            before.drop()
        return job

    def of(self, session: str) -> Job | None:
        """The run under way."""
        with self._lock:
            return self._jobs.get(session)

    def flag(self, session: str) -> Job:
        """What `start` returned; a run cancelled while it waited for its turn finds itself stopped."""
        return self.of(session) or _dropped()

    def running(self, session: str) -> bool:
        return session in self._jobs

    def conclude(self, session: str) -> bool:
        """Asks the session's run to end with what it has; False where it has nothing, or was asked before."""
        job = self.of(session)
        if job is None or job() or not job.told:
            return False
        job.stop()
        return True

    def cancel(self, session: str) -> bool:
        """Asks the session's run to stop and forgets it; False where none is under way."""
        with self._lock:
            job = self._jobs.pop(session, None)
        if job is not None:
            job.drop()
        return job is not None

    def finish(self, session: str, job: Job) -> None:
        """Forgets a run that ended, unless a newer one has taken its place."""
        with self._lock:
            if self._jobs.get(session) is job:
                del self._jobs[session]


def _dropped() -> Job:
    job = Job()
    job.drop()
    return job
