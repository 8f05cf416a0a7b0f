"""Error of every module before and after it was learned, as a Plotly figure."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from ..parts.plots import GRID, INK, plain
from .module_errors import learned, share

ROW_HEIGHT = 20
FINE = tuple(tuple(k / n for k in range(n, 10 * n)) for n in (1, 2, 5, 10))
DIGITS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 6, 8), *FINE)  # of the ticks
BEFORE, AFTER, KEPT = "#94a3b8", "#4f6df5", "#e08a1e"
COLORS = {"calibrated": BEFORE, "learned": AFTER, "learned, but no better: kept as it was": KEPT}


def errors_figure(rows: Sequence[Any]) -> go.Figure:
    """A row for each module, on a logarithmic scale: from the error as calibrated to the one learned."""
    better, kept = ([row for row in rows if learned(row) == wanted] for wanted in (True, False))
    figure = go.Figure([_ways(better)])
    figure.add_trace(_dots(better, "error_before", BEFORE, "circle"))
    figure.add_trace(_dots(better, "error_after", AFTER, "circle"))
    figure.add_trace(_dots(kept, "error_after", KEPT, "diamond"))
    names = [row.unit for row in rows]
    figure.update_yaxes(
        categoryorder="array", categoryarray=names, autorange="reversed", tickvals=names, showgrid=False,
        zeroline=False, automargin=True, fixedrange=True, ticks="",
    )  # fmt: skip
    ticks = {f"{tick:.3g} %": tick for tick in _ticks(rows)}
    figure.update_xaxes(
        type="log", side="top", tickvals=list(ticks.values()), ticktext=list(ticks), gridcolor=GRID,
        tickangle=0, zeroline=False, fixedrange=True, ticks="", title="error of the module's output",
    )  # fmt: skip
    plain(figure, height=ROW_HEIGHT * len(rows) + 76)
    return figure.update_layout(margin={"l": 8, "r": 16, "t": 52, "b": 8}, font_size=11)


def _ticks(rows: Sequence[Any]) -> list[float]:
    """Percent: as few as tell the scale, for a phone has little room."""
    errors = [100 * error for row in rows for error in (row.error_before, row.error_after) if error > 0]
    low, high = min(errors, default=1.0), max(errors, default=1.0)
    for digits in DIGITS:
        ticks = [digit * 10.0**power for power in range(-6, 4) for digit in digits]
        if sum(low <= tick <= high for tick in ticks) > 1:
            return ticks
    return [low, high]


def _ways(rows: Sequence[Any]) -> go.Scatter:
    """The lines between the two dots of each module."""
    xs = [x for row in rows for x in (100 * row.error_before, 100 * row.error_after, None)]
    ys = [row.unit for row in rows for _ in range(3)]
    return go.Scatter(x=xs, y=ys, mode="lines", line={"color": INK, "width": 2}, hoverinfo="skip")


def _dots(rows: Sequence[Any], which: str, color: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=[100 * getattr(row, which) for row in rows],
        y=[row.unit for row in rows],
        mode="markers",
        marker={"color": color, "size": 9, "symbol": symbol},
        customdata=[(share(row.error_before), share(row.error_after), row.outcome) for row in rows],
        hovertemplate="%{y}<br>%{customdata[0]} → %{customdata[1]} %<br>%{customdata[2]}<extra></extra>",
    )
