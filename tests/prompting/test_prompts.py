"""Prompts that mean nothing are refused in one sentence; the package answers all of them with confidence."""

import numpy as np
import pytest

from tests.nasty import VALUES, named, sentence
from vitq_core.prompting.prompts import Prompt, check_prompt, hint

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(((0, 0),), (1,)),
        Prompt(((39.9, 29.9), (3, 4)), (0, 1)),
        Prompt(box=(0, 0, 40, 30)),
        Prompt(((5, 5),), (0,), (1.5, 2, 8, 9)),
        Prompt(np.array([[5, 6]]), np.array([1]), np.array([0, 0, 4, 4])),
        Prompt([[5, 6]], [True]),
    ],
)
def test_what_means_something_is_taken(prompt: Prompt) -> None:
    check_prompt(prompt, 40, 30)


@pytest.mark.parametrize(
    ("prompt", "fault"),
    [
        (Prompt(), "there is no prompt"),
        (Prompt(((40, 3),), (1,)), r"click at \(40, 3\) is outside the picture of 40×30"),
        (Prompt(((3, 30),), (1,)), "outside the picture"),
        (Prompt(((-0.5, 3),), (1,)), "outside the picture"),
        (Prompt(((5, 5), (3, -1)), (1, 1)), r"click at \(3, -1\)"),
        (Prompt(((NAN, 3),), (1,)), "a point must be .*nan"),
        (Prompt(((3, INFINITE),), (1,)), "a point must be .*inf"),
        (Prompt(((3, 3),)), "1 point and 0 labels"),
        (Prompt((), (1,), (0, 0, 3, 3)), "0 points and 1 label"),
        (Prompt(((3, 3),), (2,)), "a label must be 1 .* got 2"),
        (Prompt(((3, 3),), (NAN,)), "a label must be 1"),
        (Prompt(((3, 3),), ("1",)), "a label must be 1"),
        (Prompt(box=(8, 2, 4, 9)), r"the box \(8, 2, 4, 9\) is empty or inverted"),
        (Prompt(box=(2, 9, 4, 3)), "empty or inverted"),
        (Prompt(box=(4, 2, 4, 9)), "empty or inverted"),
        (Prompt(box=(0, 0, 41, 9)), "outside the picture"),
        (Prompt(box=(-1, 0, 3, 9)), "outside the picture"),
        (Prompt(box=(0, 0, 3, 31)), "outside the picture"),
        (Prompt(box=(0, NAN, 3, 9)), "a box must be .*nan"),
        (Prompt(((3, 3),), (1,), (0, 0, INFINITE, 9)), "a box must be .*inf"),
    ],
)
def test_what_means_nothing_is_refused_in_one_sentence(prompt: Prompt, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as caught:
        check_prompt(prompt, 40, 30)
    assert "\n" not in sentence(caught.value)


@pytest.mark.parametrize("value", **named(VALUES))
@pytest.mark.parametrize("field", ["points", "labels", "box"])
def test_what_is_no_prompt_at_all_is_a_sentence(field: str, value: object) -> None:
    with pytest.raises(ValueError) as caught:
        check_prompt(Prompt(**{field: value}), 40, 30)
    sentence(caught.value)


def test_a_dict_is_no_prompt() -> None:
    with pytest.raises(ValueError, match="must be a Prompt"):
        check_prompt({"points": [[3, 3]]}, 40, 30)


def test_only_minus_points_get_a_hint() -> None:
    assert "add a point" in hint(Prompt(((3, 3), (4, 4)), (0, 0)))
    assert not hint(Prompt(((3, 3), (4, 4)), (0, 1)))
    assert not hint(Prompt(((3, 3),), (0,), (1, 1, 5, 5)))
    assert not hint(Prompt(box=(1, 1, 5, 5)))
