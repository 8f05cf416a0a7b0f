"""What the tests of pictures share."""

import signal
from collections.abc import Iterator

import pytest

SECONDS = 10


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """The test fails, rather than hangs, where it waits for a pipe."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"still waiting after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
