"""Everything in a picture: counted, matched and shown."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import vitq_core as vq
from tests import nasty
from ui.parts.jobs import Job
from ui.segment import everything, everything_section, everything_view
from ui.segment.everything import ALONE
from vitq_core.prompting import RunLengths


def squares(*corners: tuple[int, int], side: int = 8) -> SimpleNamespace:
    """What `vq.segment_everything` gives, with a square at each corner (x, y) of a picture of 32×32."""
    parts = []
    for x, y in corners:
        mask = np.zeros((32, 32), bool)
        mask[y : y + side, x : x + side] = True
        parts.append(SimpleNamespace(runs=RunLengths.of(mask)))
    return SimpleNamespace(parts=tuple(parts), size=(32, 32))


def test_what_both_found_has_one_number_in_both():
    found = everything.compared(squares((0, 0), (20, 20)), squares((20, 21), (0, 20)))
    assert found.full.numbers == (ALONE, 0)
    assert found.quantized.numbers == (0, ALONE)
    assert found.ious == pytest.approx([56 / 72])
    cards = everything_view.cards(found)
    assert "1 / 1" in cards and "0.778" in cards


def test_one_model_alone_numbers_its_own():
    found = everything.compared(squares((0, 0), (20, 20)))
    assert found.full.numbers == (0, 1)
    assert found.quantized is None
    assert "In both" not in everything_view.cards(found)


def test_a_small_object_lies_on_top_of_a_large_one():
    large, small = squares((0, 0), side=30), squares((4, 4), side=3)
    both = SimpleNamespace(parts=(*small.parts, *large.parts), size=(32, 32))
    labels = everything.compared(both).full.labels
    assert labels[5, 5] == 1 and labels[20, 20] == 2 and labels[31, 31] == 0


def test_the_same_object_has_the_same_colour_in_both_pictures():
    found = everything.compared(squares((0, 0), (20, 20)), squares((20, 20), (0, 0)))
    picture = Image.new("RGB", (64, 64), "grey")
    one, two = (np.asarray(everything_view.painted(picture, s)) for s in (found.full, found.quantized))
    assert np.array_equal(one, two)
    assert not np.array_equal(one[8, 8], one[48, 48])
    assert everything_view.figures(picture, found).count("<img") == 2


def test_nothing_found_is_shown_as_such():
    found = everything.compared(squares(), squares())
    assert "0 / 0" in everything_view.cards(found)
    assert everything_view.figures(Image.new("RGB", (40, 30)), found)


@pytest.mark.parametrize("field", ["points", "least", "expected", "stable"])
def test_every_field(field):
    for value in nasty.SENT.values():
        found = everything_section.problems(
            {"points": 8, "least": 0, "expected": 0.5, "stable": 0.5, field: value}
        )
        assert list(found) == [field] and nasty.sentence(found[field])


def test_the_run_of_the_page(page, visitor):
    me, section = visitor(), page.everything
    section_values = {section.fields["points"]: 3, section.fields["least"]: 0}
    with pytest.raises(ValueError, match="Choose a picture first"):
        section.look({**me.held, **section_values}, lambda done, said: None, Job())
    me.opens()
    shown = section.look({**me.held, **section_values}, lambda done, said: None, Job())
    assert "Scene 1" in shown[section.status]
    assert shown[section.figures].count("<img") == 1
    job = Job()
    job.abandon()
    with pytest.raises(vq.Cancelled):
        section.look({**me.held, **section_values}, lambda done, said: None, job)
