"""Getting ready while the person reads the page: the first model, its answers, and the stored result."""

import logging

from .parts.forms import opening_settings
from .workbench import Workbench

log = logging.getLogger(__name__)


def warm_up(bench: Workbench) -> None:
    """Fills the caches for the settings that the page opens with."""
    try:
        bench.opening() or bench.reference(opening_settings())
    except Exception:
        log.exception("warming up failed; the studio works without it")
