"""Plotly figures of one tensor: before and after its quantizer, and where its large values are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
import torch
from numpy import ndarray
from torch import Tensor

from ..parts.plots import COLORS, GRID, INK, plain, reach

BINS = 160
MOST = 200_000  # values that a histogram is made of
MOST_LEVELS = 300
ROWS, COLUMNS = 200, 400  # of a heat map, at most
POSITIVE = ("post_softmax",)  # on a log scale: nearly all of it is near 0
HEIGHT = 300
NONE = 0.5  # what no value at all is drawn as, on a log scale
BEFORE, AFTER = COLORS[0], COLORS[2]


def histogram(values: Tensor, simulated: Tensor, levels: Tensor, role: str) -> go.Figure:
    """How often each value occurs before and after; the quantizer's levels as ticks below.

    A few values far out would leave all others a bin or two; they are counted in the bins at the ends.
    """
    before, after = (thinned(x) for x in (values, simulated))
    logarithmic = role in POSITIVE
    edges = _log_edges(before) if logarithmic else np.linspace(*_ends(before, after), BINS + 1)
    figure = go.Figure()
    for x, name, color in ((before, "full precision", BEFORE), (after, "quantized", AFTER)):
        counts, _ = np.histogram(x.clip(edges[0], edges[-1]), edges)
        figure.add_trace(_steps(edges, counts, name, color, logarithmic))
    shown = levels.numpy()[:: max(1, -(-len(levels) // MOST_LEVELS))]
    inside = shown[(shown >= edges[0]) & (shown <= edges[-1])]
    ticks = {"color": INK, "symbol": "line-ns-open", "size": 9}
    figure.add_trace(
        go.Scatter(x=inside, y=np.full(len(inside), 0.7), mode="markers", marker=ticks, name="levels")
    )
    figure.update_xaxes(
        type="log" if logarithmic else "linear", gridcolor=GRID, zeroline=False, title="value"
    )
    figure.update_yaxes(type="log", gridcolor=GRID, title="how often")
    return _framed(_noted(figure, before, edges[0] if not logarithmic else -np.inf, edges[-1]))


def _noted(figure: go.Figure, values: ndarray, low: float, high: float) -> go.Figure:
    """With a line about values that are beyond the axis."""
    beyond = values[(values < low) | (values > high)]
    if not len(beyond):
        return figure
    text = f"{len(beyond)} beyond, to {beyond[np.abs(beyond).argmax()]:.3g}"
    return figure.add_annotation(
        text=text, x=1, y=1, xref="paper", yref="paper", xanchor="right", yanchor="top", showarrow=False,
        font={"color": INK, "size": 11},
    )  # fmt: skip


def _steps(edges: ndarray, counts: ndarray, name: str, color: str, logarithmic: bool) -> go.Scatter:
    middles = np.sqrt(edges[1:] * edges[:-1]) if logarithmic else (edges[1:] + edges[:-1]) / 2
    shown = np.maximum(counts, NONE)  # a gap would hide a bin between two empty ones
    line = {"color": color, "width": 1.5, "shape": "hvh"}
    return go.Scatter(x=middles, y=shown, mode="lines", line=line, name=name)


def _ends(*parts: ndarray) -> tuple[float, float]:
    low, high = reach(np.concatenate(parts))
    return low, high if high > low else low + 1.0


def _log_edges(values: ndarray) -> ndarray:
    """From a millionth of the largest value on; what is smaller is counted in the first bin."""
    largest = max(float(values.max()), 1e-30)
    return np.geomspace(1e-6 * largest, largest * 1.0001, BINS + 1)


def magnitudes(values: Tensor, role: str) -> go.Figure | None:
    """|x| of the first picture by patch and channel, of a weight by row and column; None of other shapes."""
    plane = values.abs() if role == "weight" else values[0].abs()
    if role == "weight":
        plane = plane.flatten(1)
    elif plane.ndim != 2:
        return None
    shrunk = _largest_of(plane.numpy())
    names = ("row", "column") if role == "weight" else ("patch", "channel")
    heat = go.Heatmap(
        z=np.log10(np.maximum(shrunk, 1e-6)), colorscale="Viridis", customdata=shrunk,
        hovertemplate=f"{names[0]} %{{y}}, {names[1]} %{{x}}<br>%{{customdata:.3g}}<extra></extra>",
        colorbar={"title": "|x|, 10ⁿ", "thickness": 10, "outlinewidth": 0},
    )  # fmt: skip
    figure = go.Figure(heat)
    figure.update_xaxes(title=names[1], showgrid=False)
    figure.update_yaxes(title=names[0], showgrid=False, autorange="reversed")
    return _framed(figure, legend=False)


def ranges(values: Tensor, role: str) -> go.Figure:
    """Least and largest value of each channel, sorted by how far they span; of a weight of each row."""
    rows = values.flatten(1) if role == "weight" else values.reshape(-1, values.shape[-1]).T
    low, high = rows.amin(1), rows.amax(1)
    order = (high - low).argsort()
    least, most = reach(torch.cat((low, high)).tolist())
    figure = go.Figure()
    for x, name in ((high[order], "largest"), (low[order], "least")):
        thin = {"color": BEFORE, "width": 1.2}
        figure.add_trace(
            go.Scatter(
                y=x.clamp(least, most).numpy(), customdata=x.numpy(), mode="lines", line=thin, name=name,
                fill="tonexty", hovertemplate="%{customdata:.3g}",
            )
        )  # fmt: skip
    what = "rows" if role == "weight" else "channels"
    figure.update_xaxes(title=f"{what}, by how far their values span", gridcolor=GRID, zeroline=False)
    figure.update_yaxes(title="value", gridcolor=GRID, zeroline=False)
    return _framed(_noted(figure, torch.cat((low, high)).numpy(), least, most), legend=False)


def by_layer(shares: Mapping[str, float], title: str, chosen: str) -> go.Figure:
    """A bar for each layer: outlier ratio, or error. One that is cut off says how high it is."""
    colors = [AFTER if name == chosen else BEFORE for name in shares]
    heights = [100 * share for share in shares.values()]
    _, most = reach(heights)
    bars = go.Bar(
        x=list(shares), y=[min(height, most) for height in heights], marker_color=colors, customdata=heights,
        text=[f"{height:.3g} %" if height > most else "" for height in heights], textposition="outside",
        cliponaxis=False, hovertemplate="%{x}<br>%{customdata:.3g} %<extra></extra>",
    )  # fmt: skip
    figure = go.Figure(bars)
    figure.update_xaxes(showticklabels=False, title="layers, in the model's order")
    figure.update_yaxes(title=f"{title} (%)", gridcolor=GRID, zeroline=False)
    return _framed(figure, legend=False)


def thinned(values: Tensor) -> ndarray:
    """Every n-th of many values, flat."""
    flat = values.detach().flatten().float()
    return flat[:: -(-len(flat) // MOST)].numpy()


def _largest_of(plane: ndarray) -> ndarray:
    """[≤ ROWS, ≤ COLUMNS]: the largest of each tile, so that no outlier disappears."""
    for axis, most in ((0, ROWS), (1, COLUMNS)):
        step = -(-plane.shape[axis] // most)
        plane = np.maximum.reduceat(plane, np.arange(0, plane.shape[axis], step), axis=axis)
    return plane


def _framed(figure: go.Figure, legend: bool = True) -> go.Figure:
    plain(figure, HEIGHT).update_layout(margin={"l": 56, "r": 12, "t": 30, "b": 44}, showlegend=legend)
    return figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
