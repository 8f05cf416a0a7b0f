"""What a model can answer, as HTML."""

from types import SimpleNamespace

import pytest

from ui.parts.class_list import classes


def model(labels=None, task="classification", classes=0):
    return SimpleNamespace(labels=labels, info=SimpleNamespace(task=task), classes=classes)


def test_all_classes_are_listed_by_the_alphabet_and_escaped():
    shown = classes(model(["zebra", "<b>ant", "Bee"]))
    assert "3 classes" in shown and "<b>" not in shown
    assert shown.index("&lt;b&gt;ant") < shown.index("Bee") < shown.index("zebra")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (model(classes=7), "without names for its 7 classes"),
        (model(), "without names for its classes"),
        (model(task="features"), "names nothing"),
    ],
)
def test_a_model_without_names_says_so(given, said):
    assert said in classes(given) and "<li>" not in classes(given)
