"""`python -m ui.opening` computes the result that the first page opens with, and stores it."""

import shutil

from .parts.forms import opening_settings
from .parts.stored_outcome import store_outcome
from .workbench import OPENING, Workbench


def main() -> None:
    settings = opening_settings()
    outcome = Workbench().quantize(settings, lambda done, said: print(f"{100 * done:3.0f} % {said}"))
    shutil.rmtree(OPENING, ignore_errors=True)
    store_outcome(outcome, OPENING)
    print(f"{settings.title}: {outcome.evaluation}")


if __name__ == "__main__":
    main()
