"""Getting ready while the person reads the page: the first model and its answers."""

import logging

from .form_parts import first_recipe, model_choices
from .session import Workbench
from .settings import RunSettings

log = logging.getLogger(__name__)


def warm_up(bench: Workbench) -> None:
    """Fills the caches for the settings that the page opens with."""
    try:
        settings = RunSettings(model_choices()[0][1], first_recipe())
        bench.reference(settings)
    except Exception:
        log.exception("warming up failed; the studio works without it")
