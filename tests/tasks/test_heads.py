"""How many classes a model has: its head counts, whatever ``num_classes`` says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from timm.models.deit import VisionTransformerDistilled
from timm.models.resnet import resnet18
from torch import nn

from vitq_core.tasks import classes_of, task_of

HEADS = {
    "as built": (lambda m: None, 5),
    "replaced": (lambda m: setattr(m, "head", nn.Linear(16, 7)), 7),
    "dropout before": (lambda m: setattr(m, "head", nn.Sequential(nn.Dropout(), nn.Linear(16, 7))), 7),
    "two layers": (lambda m: setattr(m, "head", nn.Sequential(nn.Linear(16, 9), nn.Linear(9, 3))), 3),
    "taken off": (lambda m: setattr(m, "head", nn.Identity()), 0),
    "none": (lambda m: setattr(m, "head", None), 0),
    "reset to none": (lambda m: m.reset_classifier(0), 0),
    "unknown kind": (lambda m: setattr(m, "head", nn.Softmax(-1)), 5),
}


@pytest.mark.parametrize("name", HEADS)
def test_the_head_counts(tiny: Callable, name: str) -> None:
    model, (change, classes) = tiny(), HEADS[name]
    change(model)
    assert classes_of(model) == classes
    assert task_of(model).name == ("classification" if classes else "features")


def test_a_head_put_on_a_model_without_one_makes_a_classifier(tiny: Callable) -> None:
    model = tiny(num_classes=0)
    assert task_of(model).name == "features"
    model.head = nn.Linear(16, 4)
    assert classes_of(model) == 4 and task_of(model).name == "classification"


def test_other_architectures(tiny: Callable) -> None:
    assert classes_of(resnet18(num_classes=6)) == 6
    assert classes_of(resnet18(num_classes=0)) == 0
    assert classes_of(tiny(**{"class": VisionTransformerDistilled})) == 5
    assert classes_of(nn.Flatten()) is None and task_of(nn.Flatten()).name == "classification"
