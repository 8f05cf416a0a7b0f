"""Which sessions have a run under way, its progress log, and which of them asked for it to end."""

from threading import Event, Lock

from .progress_log import ProgressLog
from .visitors import EVERYBODY


class Job:
    """A run. Called, it says whether to end; `abandoned` says whether even what it has is wanted no more.

    `log`: what its reconstruction reported so far. `owner`: whose the run is.
    """

    owner = EVERYBODY

    def __init__(self) -> None:
        self.log = ProgressLog()
        self._finish, self._abandon = Event(), Event()

    def __call__(self) -> bool:
        return self._finish.is_set()

    def abandoned(self) -> bool:
        return self._abandon.is_set()

    def finish(self) -> None:
        """End with what there is."""
        self._finish.set()

    def abandon(self) -> None:
        """End with nothing."""
        self._finish.set()
        self._abandon.set()


class Jobs:
    """One run per session; starting another one abandons the first."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = Lock()

    def start(self, session: str, job: Job | None = None) -> Job:
        """Registers a run; `job`: of one that the server has begun."""
        job = job or Job()
        with self._lock:
            before = self._jobs.pop(session, None)
            self._jobs[session] = job
        if before is not None and before is not job:
            before.abandon()
        return job

    def of(self, session: str) -> Job | None:
        """The run under way."""
        with self._lock:
            return self._jobs.get(session)

    def begun(self, session: str) -> Job:
        """What `start` returned; a run abandoned while it waited for its turn is told so."""
        return self.of(session) or _abandoned()

    def running(self, session: str) -> bool:
        return session in self._jobs

    def others(self, session: str) -> int:
        """How many other sessions have a run under way."""
        with self._lock:
            return len(self._jobs.keys() - {session})

    def finish(self, session: str) -> bool:
        """Asks the session's run to end with what it has; False where it has nothing, or was asked before."""
        job = self.of(session)
        if job is None or job() or not job.log:
            return False
        job.finish()
        return True

    def abandon(self, session: str) -> bool:
        """Asks the session's run to end with nothing and forgets it; False where none is under way."""
        with self._lock:
            job = self._jobs.pop(session, None)
        if job is not None:
            job.abandon()
        return job is not None

    def forget(self, session: str, job: Job) -> None:
        """A run has ended; a newer one that has taken its place stays."""
        with self._lock:
            if self._jobs.get(session) is job:
                del self._jobs[session]


def _abandoned() -> Job:
    job = Job()
    job.abandon()
    return job
