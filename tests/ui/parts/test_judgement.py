"""The verdict on a result, from plain numbers."""

import pytest

from ui.parts.judgement import ADVICE, judge_answers, judge_features


@pytest.mark.parametrize(
    ("changed", "lost", "kind"),
    [
        (0, 0.0, "good"),
        (5, 2.0, "good"),
        (5, 2.1, "warning"),
        (6, 0.0, "warning"),
        (6, None, "warning"),
        (25, 0.0, "bad"),
        (0, 10.0, "bad"),
        (96, 93.0, "bad"),
        (3, -1.0, "good"),
    ],
)
def test_a_result_is_as_good_as_its_worse_number(changed, lost, kind):
    found = judge_answers(7.5, changed, 100, lost)
    assert found.kind == kind
    assert found.advice == ("" if kind == "good" else ADVICE)
    assert f"7.5× smaller; {changed} of 100 answers changed" in found.said


@pytest.mark.parametrize(
    ("lost", "said"),
    [(3.0, "fell by 3.0 points"), (-1.5, "rose by 1.5 points"), (0.0, "stayed the same"), (None, "changed.")],
)
def test_it_says_where_accuracy_went_and_nothing_of_it_without_labels(lost, said):
    assert said in judge_answers(4, 1, 50, lost).said
    assert ("accuracy" in judge_answers(4, 1, 50, lost).said) == (lost is not None)


@pytest.mark.parametrize(
    ("found", "kind", "count"),
    [
        (judge_answers(7.5, 16, 16), "warning", "16 test pictures"),
        (judge_answers(7.5, 1, 16, 6.2), "warning", "16 test pictures"),
        (judge_answers(7.5, 0, 1, 0.0), "good", "1 test picture "),
        (judge_features(7.5, 0.5, 49), "warning", "49 test pictures"),
    ],
)
def test_a_few_pictures_may_be_chance_and_are_never_called_bad(found, kind, count):
    assert found.kind == kind
    assert f"With only {count}" in found.advice and "this may be chance" in found.advice
    assert ADVICE not in found.advice


@pytest.mark.parametrize(("cosine", "kind"), [(0.99, "good"), (0.95, "warning"), (0.5, "bad")])
def test_features_are_judged_by_their_cosine(cosine, kind):
    found = judge_features(7.5, cosine, 100)
    assert found.kind == kind
    assert f"{cosine:.3f}" in found.said
