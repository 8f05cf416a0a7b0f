"""Answers of single pictures are compared by the logarithms of their errors."""

from __future__ import annotations

import pytest
import torch

from vitq_core.common.batch import Batch
from vitq_core.passes.answers import answers, log_errors, mean_error, worse
from vitq_core.tasks import TASKS


@pytest.mark.parametrize(
    ("rise", "is_worse", "beyond_doubt"),
    [
        ([0.02, 0.03, 0.02, 0.03], True, True),
        ([0.0, 0.0, 0.0, 0.0], False, False),
        ([1.5, -0.5, -0.5, -0.4], True, False),  # one picture of four
        ([-0.2, -0.1, -0.3, 0.1], False, False),
        ([0.3, -0.1, 0.3, 0.2], True, True),
    ],
)
def test_few_pictures_do_not_decide_by_chance(rise: list[float], is_worse: bool, beyond_doubt: bool) -> None:
    before = torch.tensor([-5.0, 1.0, -0.4, 2.0])
    after = before + torch.tensor(rise)
    assert [worse(before, after, doubt) for doubt in (0.0, 1.0)] == [is_worse, beyond_doubt]


def test_pictures_are_answered_alone_however_many_run_together(model, pictures) -> None:
    task, images = TASKS["classification"], pictures(model, 20)
    found = answers(task, model, Batch((images,)))
    with torch.no_grad():
        expected = model(images)
    assert len(found) == 20
    torch.testing.assert_close(torch.cat([each["logits"] for each in found]), expected)
    moved = [{"logits": each["logits"] + torch.arange(each["logits"].shape[1])} for each in found]
    logs = log_errors(task, moved, found)
    assert logs.shape == (20,)
    assert mean_error(logs) == pytest.approx(float(logs.exp().prod() ** (1 / 20)))
    assert mean_error(log_errors(task, found, found)) == pytest.approx(1e-12, rel=1e-6)
