"""Logits: what counts as them, which class is explained, what is drawn."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import vitq_core as vq
from vitq_core.tasks import TASKS
from vitq_core.tasks.classification import check_targets

TASK = TASKS["classification"]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (torch.zeros(2, 5, 3), r"must give logits \[N, classes\], got \[2, 5, 3\]"),
        (torch.zeros(3), r"got \[3\]"),
        ((torch.zeros(2, 3),), "got tuple"),
        (None, "got NoneType"),
        (torch.tensor([[1.0, float("nan")]]), "not finite numbers"),
        (torch.tensor([[1.0, float("inf")]]), "not finite numbers"),
    ],
)
def test_what_is_no_logits(answer: object, sentence: str) -> None:
    with pytest.raises(vq.VitqError, match=sentence):
        TASK.outputs(answer)


@pytest.mark.parametrize(("targets", "wrong"), [([0, 5], 5), ([-1, 2], -1), ([-3, 9], 9)])
def test_targets_out_of_range(targets: list[int], wrong: int) -> None:
    with pytest.raises(
        ValueError, match=f"target class {wrong} is out of range: the model has classes 0 to 4"
    ):
        check_targets(torch.tensor(targets), 5)


def logits() -> Tensor:
    return torch.tensor([[1.0, 3.0, 2.0], [5.0, -1.0, 0.0]])


def test_the_prediction_is_explained_unless_a_class_is_named() -> None:
    outputs = TASK.outputs(logits())
    assert TASK.targets(outputs, None).tolist() == [1, 0]
    named = TASK.targets(outputs, torch.tensor([2, 2]))
    assert TASK.objective(outputs, named).tolist() == [2.0, 0.0]
    assert TASK.shares(outputs, named)["logits"].tolist() == [[0, 0, 1], [0, 0, 1]]


def test_answers_are_drawn_as_often_as_they_are_probable() -> None:
    outputs = TASK.outputs(torch.tensor([[2.0, 0.0, 1.0]]).expand(20_000, 3))
    drawn = TASK.sample(outputs, torch.Generator().manual_seed(0))
    found = torch.bincount(drawn, minlength=3) / 20_000
    torch.testing.assert_close(found, outputs["logits"][0].softmax(0), atol=0.01, rtol=0)


def test_likelihood_is_the_log_of_the_probability() -> None:
    found = TASK.likelihood(TASK.outputs(logits()), torch.tensor([0, 2]))
    expected = [logits()[0].softmax(0)[0].log(), logits()[1].softmax(0)[2].log()]
    torch.testing.assert_close(found, torch.stack(expected))


def test_a_picture_gets_its_five_best_answers() -> None:
    outputs = TASK.outputs(torch.tensor([[0.0, 3.0, 1.0, 2.0, 5.0, 4.0]]))
    names = [name for name, _ in TASK.present(outputs, list("abcdef"))]
    assert names == ["e", "f", "b", "d", "c"]
    unnamed = TASK.present(TASK.outputs(torch.zeros(1, 2)), None)
    assert unnamed == [("class 0", 0.5), ("class 1", 0.5)]
