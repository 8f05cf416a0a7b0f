"""Runs that last: what was asked, what it was made of and what came out, in a file under `VITQ_HOME`."""

from ...common.digests import digest_of
from .asked import FOLDER, GENERATED, OWN, SCENES, UPLOADS, Asked
from .plans import DONE, RUNNING, STOPPED, Plan, PlanStore
from .prediction import Prediction, predicted_from
from .record import RunRecord, record_of, record_of_answers
from .results import Quality, quality_of
from .store import RunStore, as_csv

__all__ = [
    "DONE",
    "FOLDER",
    "GENERATED",
    "OWN",
    "RUNNING",
    "SCENES",
    "STOPPED",
    "UPLOADS",
    "Asked",
    "Plan",
    "PlanStore",
    "Prediction",
    "Quality",
    "RunRecord",
    "RunStore",
    "as_csv",
    "digest_of",
    "predicted_from",
    "quality_of",
    "record_of",
    "record_of_answers",
]
