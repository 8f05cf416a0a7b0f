"""Plotly figures: functions of plain rows, unaware of events, that read well on light and dark pages."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

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
    "<br>%{y:.1f} dB<extra>%{fullData.name}</extra>"
)
UNUSED_BUTTONS = ["zoom", "pan", "select", "lasso", "zoomIn", "zoomOut", "autoScale", "resetScale"]


def sqnr_figure(rows: Sequence[Any]) -> go.Figure:
    """Signal-to-noise ratio of every site in the model's order, coloured by role; low points hurt."""
    figure = go.Figure()
    place = {layer: i for i, layer in enumerate(dict.fromkeys(row.layer for row in rows))}
    for role, color in role_colors(rows).items():
        figure.add_trace(_role_trace([row for row in rows if row.role == role], role, color, place))
    figure.update_xaxes(showgrid=False, zeroline=False, showticklabels=False)
    figure.update_yaxes(title="signal to noise (dB; higher is better)", gridcolor=GRID, zeroline=False)
    return plain(figure, height=300)


def role_colors(rows: Sequence[Any]) -> dict[str, str]:
    """{role: colour} in the model's order; the page draws the legend, Plotly's own scrolls on a phone."""
    return dict(zip(dict.fromkeys(row.role for row in rows), cycle(COLORS), strict=False))


def _role_trace(rows: Sequence[Any], role: str, color: str, place: dict[str, int]) -> go.Scatter:
    return go.Scatter(
        x=[place[row.layer] for row in rows],
        y=[row.sqnr_db for row in rows],
        mode="markers",
        name=role.replace("_", " "),
        marker={"color": color, "size": 8, "opacity": 0.85},
        customdata=[(row.layer, row.tensor, row.bits) for row in rows],
        hovertemplate=HOVER,
    )


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
    return figure
