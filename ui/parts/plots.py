"""Plotly figures: functions of plain rows, unaware of events, that read well on light and dark pages."""

from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import plotly.graph_objects as go

INK = "rgb(128, 136, 150)"  # grey that reads on white and on near-black
GRID = "rgba(128, 136, 150, 0.22)"
COLORS = [
    "#4f6df5",
    "#0fa3a3",
    "#e08a1e",
    "#c2417c",
    "#7b5cd6",
    "#4b9c3f",
    "#b0632c",
    "#5b8bb2",
    "#9a9a2e",
    "#888888",
]
HOVER = (
    "%{customdata[0]} · %{customdata[1]} · %{customdata[2]} bits"
    "<br>%{customdata[3]:.1f} dB<extra>%{fullData.name}</extra>"
)
USUAL = (5, 95)  # percentiles between which usual values lie
FLAT = 4  # an axis this many times as long as they need shows nothing of them
UNUSED_BUTTONS = ["zoom", "pan", "select", "lasso", "zoomIn", "zoomOut", "autoScale", "resetScale"]


def sqnr_figure(rows: Sequence[Any]) -> go.Figure:
    """Signal-to-noise ratio of every site in the model's order, coloured by role; low points hurt."""
    figure = go.Figure()
    place = {layer: i for i, layer in enumerate(dict.fromkeys(row.layer for row in rows))}
    low, high = reach(row.sqnr_db for row in rows)
    for role, color in role_colors(rows).items():
        own = [row for row in rows if row.role == role]
        figure.add_trace(_role_trace(own, role, color, place, low, high))
    figure.update_xaxes(
        showgrid=False, zeroline=False, showticklabels=False, title="layers, from picture to answer"
    )
    figure.update_yaxes(title="signal to noise (dB)", gridcolor=GRID, zeroline=False)
    return plain(figure, height=300).update_layout(margin_b=36)


def reach(values: Iterable[float]) -> tuple[float, float]:
    """The ends of an axis on which no outlier flattens the others: those of the values, unless a few of them
    would make it ``FLAT`` times as long as the usual ones need. What is beyond is drawn at the edge.
    """
    x = np.fromiter(values, float)
    x = x[np.isfinite(x)]
    if not len(x):
        return 0.0, 1.0
    least, most = float(x.min()), float(x.max())
    low = float(np.percentile(x, USUAL[0], method="higher"))
    high = float(np.percentile(x, USUAL[1], method="lower"))
    room = high - low
    if room <= 0 or most - least <= FLAT * room:
        return least, most
    return max(least, low - room / 2), min(most, high + room / 2)


def role_colors(rows: Sequence[Any]) -> dict[str, str]:
    """{role: colour} in the model's order; the page draws the legend, Plotly's own scrolls on a phone."""
    return dict(zip(dict.fromkeys(row.role for row in rows), cycle(COLORS), strict=False))


def _role_trace(
    rows: Sequence[Any], role: str, color: str, place: dict[str, int], low: float, high: float
) -> go.Scatter:
    """What lies below ``low`` or above ``high`` is an arrow at that edge; hovering tells its value."""
    return go.Scatter(
        x=[place[row.layer] for row in rows],
        y=[min(max(row.sqnr_db, low), high) for row in rows],
        mode="markers",
        name=role.replace("_", " "),
        marker={
            "color": color, "size": 8, "opacity": 0.85,
            "symbol": [arrow(row.sqnr_db, low, high) for row in rows],
        },
        customdata=[(row.layer, row.tensor, row.bits, row.sqnr_db) for row in rows],
        hovertemplate=HOVER,
    )  # fmt: skip


def arrow(value: float, low: float, high: float) -> str:
    """The symbol of a point: where it points, if it is off the axis."""
    return "triangle-down" if value < low else "triangle-up" if value > high else "circle"


def plain(figure: go.Figure, height: int) -> go.Figure:
    figure.update_layout(
        height=height,
        autosize=True,
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": INK, "size": 12, "family": "system-ui, sans-serif"},
        margin={"l": 48, "r": 12, "t": 28, "b": 8},
        modebar={"remove": UNUSED_BUTTONS},
        showlegend=False,
        hoverlabel={"font": {"family": "system-ui, sans-serif"}},
    )
    return figure.update_xaxes(title_standoff=6)
