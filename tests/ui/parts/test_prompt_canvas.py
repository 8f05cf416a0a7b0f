"""What the browser may say of a click, and what is drawn over a picture."""

import pytest

from tests import nasty
from ui.parts import prompt_canvas as canvas
from ui.parts.prompt_canvas import Click, Drag

SIZE = (640, 400)


def test_fractions_become_pixels_of_the_original():
    click = {"key": "a", "kind": "point", "place": [0.5, 0.25], "positive": True}
    assert canvas.gesture(click, "a", SIZE) == Click((320, 100), True)
    drag = {"key": "a", "kind": "box", "place": [0, 0.25, 0.5, 1]}
    assert canvas.gesture(drag, "a", SIZE) == Drag((0, 100, 320, 400))


def test_a_click_in_a_picture_that_is_gone_is_refused():
    with pytest.raises(ValueError, match="changed meanwhile"):
        canvas.gesture({"key": "b", "kind": "point", "place": [0, 0], "positive": True}, "a", SIZE)


@pytest.mark.parametrize("value", **nasty.named(nasty.SENT | {"nothing": None}))
@pytest.mark.parametrize("field", ["kind", "place", "positive", "x"])
def test_what_no_canvas_sends_gets_a_sentence(field, value):
    data = {"key": "a", "kind": "point", "place": [0, 0.5], "positive": True}
    sent = data | ({"place": [value, 0.5]} if field == "x" else {field: value})
    with pytest.raises(ValueError, match=canvas.SENSELESS):
        canvas.gesture(sent, "a", SIZE)
    with pytest.raises(ValueError, match=r"\.$"):
        canvas.gesture(value, "a", SIZE)


def test_what_is_drawn_is_escaped_and_placed_in_shares():
    value = canvas.canvas_value('"><b>', "<i>", SIZE, canvas.point_mark((320, 100), False, SIZE))
    assert "<" not in value["key"] + value["label"]
    assert "left:50.000%;top:25.000%" in value["marks"]
    assert "vq-minus" in value["marks"]
    assert "width:50.000%;height:50.000%" in canvas.box_mark((0, 100, 320, 300), SIZE)
    assert canvas.gesture({"key": '"><b>', "kind": "box", "place": [0, 0, 1, 1]}, '"><b>', SIZE)
