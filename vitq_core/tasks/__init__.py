"""What a model is for, and how its answers are measured. A file each; the rest of the engine asks a Task."""

from . import classification, features, segmentation  # each registers its task
from .base import TASKS, Evaluation, Metrics, Outputs, Task, task_of
from .heads import classes_of

__all__ = [
    "TASKS",
    "Evaluation",
    "Metrics",
    "Outputs",
    "Task",
    "classes_of",
    "classification",
    "features",
    "segmentation",
    "task_of",
]
