"""Axes that one outlier does not flatten, and what is drawn of it."""

from types import SimpleNamespace

import pytest
import torch

from ui.activations import figures
from ui.parts.plots import reach, sqnr_figure

USUAL = [20.0 + step / 2 for step in range(20)]


def rows(*decibels: float) -> list[SimpleNamespace]:
    return [
        SimpleNamespace(layer=f"blocks.{i}", tensor="weight", role="weight", bits=4, sqnr_db=value)
        for i, value in enumerate(decibels)
    ]


@pytest.mark.parametrize("values", [USUAL, [1.0, 100.0], [3.0, 3.0], [3.0, 3.0, 3.0, 900.0]])
def test_an_axis_reaches_from_the_least_to_the_largest(values):
    assert reach(values) == (min(values), max(values))


@pytest.mark.parametrize("outlier", [900.0, -900.0])
def test_one_outlier_leaves_the_others_most_of_the_axis(outlier):
    low, high = reach([*USUAL, outlier])
    assert low <= min(USUAL) and max(USUAL) <= high and high - low < 2 * (max(USUAL) - min(USUAL))


def test_an_axis_of_nothing_or_of_what_is_no_number_still_has_ends():
    assert reach([]) == (0.0, 1.0)
    assert reach([float("inf"), float("nan"), 2.0, 5.0]) == (2.0, 5.0)


def test_a_layer_off_the_axis_is_an_arrow_that_tells_its_value():
    (trace,) = sqnr_figure(rows(*USUAL, 900.0)).data
    assert trace.marker.symbol[-1] == "triangle-up" and set(trace.marker.symbol[:-1]) == {"circle"}
    assert trace.y[-1] < 60 and trace.customdata[-1][3] == 900.0


def test_every_axis_has_a_name():
    layout = sqnr_figure(rows(*USUAL)).layout
    assert layout.xaxis.title.text and layout.yaxis.title.text


def test_a_histogram_counts_far_values_at_its_ends_and_says_how_many():
    values = torch.cat((torch.linspace(-1, 1, 1000), torch.tensor([80.0, 90.0])))
    figure = figures.histogram(values, values, torch.tensor([0.0]), "post_layernorm")
    before = figure.data[0]
    assert max(before.x) < 5 and before.y[-1] >= 2
    assert figure.layout.annotations[0].text == "2 beyond, to 90"


def test_a_bar_that_is_cut_off_says_how_high_it_is():
    shares = {f"blocks.{i}": 0.001 * (i + 5) for i in range(12)} | {"head": 0.9}
    bars = figures.by_layer(shares, "rounding error", "head").data[0]
    assert max(bars.y) < 5 and bars.text[-1] == "90 %" and not any(bars.text[:-1])
