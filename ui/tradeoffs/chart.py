"""The picture of bits against quality: every run a point, the best of each cost joined by a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from ..parts.plots import COLORS, GRID, INK, plain, reach
from .points import COSTS, Point, front

DEEPEST = 0.4  # below the best; what is worse is drawn at the edge, or nothing else could be told apart
SURE = 1.96  # standard errors: 95 of 100 such samples lie within
FRONT = "Best of its cost"
HEIGHT = 380


@dataclass(frozen=True)
class Guess:
    """A run that was not made: what it will cost, and the quality that is predicted."""

    title: str
    cost: float
    value: float
    error: float | None


def chart(points: Sequence[Point], cost: str, guess: Guess | None = None) -> go.Figure:
    """`points` that are comparable; `cost`: a name of COSTS."""
    figure = go.Figure()
    title, unit = COSTS[cost]
    figure.update_xaxes(title=f"{title} ({unit})", gridcolor=GRID, zeroline=False, rangemode="tozero")
    figure.update_yaxes(gridcolor=GRID, zeroline=False)
    plain(figure, HEIGHT).update_layout(margin={"l": 56, "r": 12, "t": 12, "b": 44}, showlegend=True)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"}, margin_t=60)
    if not points:
        return figure.update_yaxes(title="Quality (%)", range=(0, 100)).update_xaxes(range=(0, 1))
    share = points[0].quality.name != "cosine"
    scale, suffix = (100, " %") if share else (1, "")
    figure.update_yaxes(title=points[0].quality.title + (" (%)" if share else ""))
    best = max(points[0].quality.full, *(point.quality.value for point in points))
    floor = max(best - DEEPEST, min(point.quality.value for point in points))
    _, far = reach(point.cost(cost) for point in points)
    _add_front(figure, points, cost, scale, floor, far)
    for number, method in enumerate(dict.fromkeys(point.method for point in points)):
        own = [point for point in points if point.method == method]
        color = COLORS[number % len(COLORS)]
        figure.add_trace(_method(own, method, color, cost, scale, suffix, floor, far))
    _add_full(figure, points[0], scale, suffix)
    if guess is not None:
        figure.add_trace(_guessed(guess, scale, suffix))
    return figure


def _add_front(
    figure: go.Figure, points: Sequence[Point], cost: str, scale: float, floor: float, far: float
) -> None:
    best = front(points, cost)
    figure.add_trace(
        go.Scatter(
            x=[min(point.cost(cost), far) for point in best],
            y=[scale * max(point.quality.value, floor) for point in best],
            mode="lines",
            line={"color": INK, "width": 1.5, "dash": "dot", "shape": "hv"},
            name=FRONT,
            hoverinfo="skip",
        )
    )


def _method(
    points: Sequence[Point],
    name: str,
    color: str,
    cost: str,
    scale: float,
    suffix: str,
    floor: float,
    far: float,
) -> go.Scatter:
    """What is worse than ``floor`` or dearer than ``far`` is an arrow at that edge."""
    inside = [point.quality.value >= floor for point in points]
    errors = [point.quality.error or 0.0 if point.quality.value >= floor else 0.0 for point in points]
    said = [
        (
            point.record.name,
            f"{scale * point.quality.value:.4g}{suffix}",
            f"{point.quality.lost:.1f}",
            f"{point.cost(cost):.3g}",
        )
        for point in points
    ]
    symbols = [
        "triangle-down" if not within else "triangle-right" if point.cost(cost) > far else "circle"
        for point, within in zip(points, inside, strict=True)
    ]
    return go.Scatter(
        x=[min(point.cost(cost), far) for point in points],
        y=[scale * max(point.quality.value, floor) for point in points],
        error_y={
            "array": [SURE * scale * error for error in errors], "color": color, "thickness": 1, "width": 3,
        },
        mode="markers",
        name=name,
        marker={"color": color, "size": 10, "symbol": symbols},
        customdata=said,
        hovertemplate="%{customdata[0]}<br>%{customdata[1]}, %{customdata[2]} points lost"
        f"<br>%{{customdata[3]}} {COSTS[cost][1]}<extra></extra>",
    )  # fmt: skip


def _add_full(figure: go.Figure, point: Point, scale: float, suffix: str) -> None:
    value = scale * point.quality.full
    figure.add_hline(
        y=value, line={"color": INK, "width": 1}, annotation_text=f"full precision {value:.4g}{suffix}",
        annotation_position="bottom right", annotation_font={"color": INK, "size": 11},
    )  # fmt: skip


def _guessed(guess: Guess, scale: float, suffix: str) -> go.Scatter:
    return go.Scatter(
        x=[guess.cost],
        y=[scale * guess.value],
        error_y={"array": [scale * (guess.error or 0.0)], "color": INK, "thickness": 1, "width": 3},
        mode="markers",
        name="Predicted",
        marker={"symbol": "diamond-open", "size": 13, "color": INK, "line": {"width": 2}},
        hovertemplate=f"{guess.title}<br>predicted {scale * guess.value:.4g}{suffix}<extra></extra>",
    )
