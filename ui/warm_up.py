"""Getting ready while the person reads the page: the first model and its answers."""

import logging

from .parts.forms import first_recipe, model_choices
from .parts.settings import RunSettings
from .workbench import Workbench

log = logging.getLogger(__name__)


def warm_up(bench: Workbench) -> None:
    """Fills the caches for the settings that the page opens with."""
    try:
        settings = RunSettings(model_choices()[0][1], first_recipe())
        bench.reference(settings)
    except Exception:
        log.exception("warming up failed; the studio works without it")
