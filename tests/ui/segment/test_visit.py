"""What gestures make of a visit."""

import pytest

from ui.parts.prompt_canvas import Click, Drag
from ui.segment import visit as visits
from ui.segment.visit import Picture, Thing, Visit

PICTURE = Picture("scene", 3, "scene 3", (640, 400))


def clicked(visit: Visit, x: float, positive: bool = True) -> Visit:
    return visits.point_at(visit, Click((x, 10.0), positive))


def test_clicks_gather_on_the_active_object_and_a_box_replaces_its_earlier_one():
    visit = clicked(clicked(Visit(PICTURE), 1), 2, positive=False)
    visit = visits.point_at(visits.point_at(visit, Drag((0, 0, 9, 9))), Drag((1, 1, 8, 8)))
    assert visit.things == (Thing(((1, 10.0), (2, 10.0)), (1, 0), (1, 1, 8, 8)),)


def test_points_of_two_objects_stay_apart():
    visit = clicked(visits.new_object(clicked(Visit(PICTURE), 1)), 2)
    assert [thing.points for thing in visit.things] == [((1, 10.0),), ((2, 10.0),)]
    visit = clicked(visits.select_object(visit, 0), 3)
    assert [len(thing.points) for thing in visit.things] == [2, 1]


def test_an_empty_object_is_begun_once():
    visit = visits.new_object(visits.new_object(clicked(Visit(PICTURE), 1)))
    assert len(visit.things) == 2
    assert visits.new_object(visits.select_object(visit, 0)).active == 1
    assert visits.new_object(Visit(PICTURE)) == Visit(PICTURE)


def test_everything_can_be_undone_step_by_step():
    steps = [Visit(PICTURE)]
    steps.append(clicked(steps[-1], 1))
    steps.append(visits.new_object(steps[-1]))
    steps.append(visits.point_at(steps[-1], Drag((0, 0, 9, 9))))
    steps.append(visits.clear(steps[-1]))
    for later, earlier in zip(steps[::-1], steps[-2::-1], strict=False):
        assert visits.undo(later) == earlier
    assert visits.undo(steps[0]) == steps[0]
    assert visits.clear(steps[0]) == steps[0]


def test_earlier_visits_are_never_changed():
    before = clicked(Visit(PICTURE), 1)
    kept = (before.things, before.past)
    visits.clear(clicked(before, 2))
    assert (before.things, before.past) == kept


def test_only_clicks_beside_the_object_are_noticed():
    assert clicked(Visit(PICTURE), 1, positive=False).thing.only_beside
    assert not clicked(clicked(Visit(PICTURE), 1, positive=False), 2).thing.only_beside
    assert not Visit(PICTURE).thing.only_beside


@pytest.mark.parametrize("number", [-1, 1, None, "0", True, 0.0, [0]])
def test_what_is_no_object_gets_a_sentence(number):
    with pytest.raises(ValueError, match="no such object"):
        visits.select_object(Visit(PICTURE), number)


def test_there_are_limits():
    visit = Visit(PICTURE)
    for _ in range(visits.MAX_POINTS):
        visit = clicked(visit, 1)
    with pytest.raises(ValueError, match="64 clicks"):
        clicked(visit, 1)
    for _ in range(visits.MAX_OBJECTS - 1):
        visit = clicked(visits.new_object(visit), 1)
    with pytest.raises(ValueError, match="24 objects"):
        visits.new_object(visit)
    for _ in range(visits.KEPT_STEPS * 2):
        visit = visits.clear(clicked(visit, 1))
    assert len(visit.past) == visits.KEPT_STEPS
