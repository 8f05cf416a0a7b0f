"""Maps of the model: a row for each block, a column for each layer type, coloured by score or bits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import ceil, floor, isfinite, log10, nan

import plotly.graph_objects as go

import vitq_core as vq
from vitq_core.experiment import MAX_BITS, MIN_BITS

from .bits_table import BitsTable
from .layer_grid import OTHER, LayerGrid
from .plots import plain, reach

ROW_HEIGHT = 23
SCORES = "Viridis"
# One colour for each number of bits, from pale to dark blue; few bits are the ones to look at.
BITS = ["#c2410c", "#f59e0b", "#fde68a", "#bfdbfe", "#7aa5f5", "#4f6df5", "#312e81"]


def importance_figure(importance: vq.Importance, grid: LayerGrid) -> go.Figure:
    """Score of every layer on a logarithmic colour scale; the number in a cell is its share of the column.

    The scale covers the blocks: the last layer's score is larger by orders of magnitude. Nor does a single
    layer that hardly counts take the colours from all others.
    """
    scores, shares = importance.layer_scores, column_shares(importance.layer_scores, grid)
    logs = {layer: log10(score) for layer, score in scores.items() if score > 0}
    inner = [value for layer, value in logs.items() if layer in shares] or list(logs.values()) or [0.0]
    texts = {layer: f"{100 * share:.0f}" for layer, share in shares.items()}
    hovers = {layer: _score_hover(importance, layer, shares.get(layer)) for layer in scores}
    heat = _heatmap(grid, grid.columns, logs, texts, hovers)
    low, high = reach(inner)
    heat.update(colorscale=SCORES, zmin=low, zmax=high, colorbar=_colorbar(_decades(low, high)))
    return _map(heat, grid, row_height=30)


def column_shares(scores: Mapping[str, float], grid: LayerGrid) -> dict[str, float]:
    """{layer: share of its type's sum}: what the paper's policy compares; none for `OTHER`."""
    sums: dict[str, float] = defaultdict(float)
    for layer, (_, column) in grid.places.items():
        sums[column] += scores[layer]
    return {
        layer: scores[layer] / sums[column]
        for layer, (_, column) in grid.places.items()
        if column != OTHER and sums[column] > 0
    }


def _score_hover(importance: vq.Importance, layer: str, share: float | None) -> str:
    score, error = importance.layer_scores[layer], importance.standard_errors.get(layer, nan)
    margin = f" ± {error:.2g}" if isfinite(error) else ""
    part = "" if share is None else f"<br>{100 * share:.1f} % of its column"
    return f"{layer}<br>{score:.3g}{margin}{part}"


def _decades(low: float, high: float) -> dict[float, str]:
    """{log10 of a value: its text} for the ends of the scale and the powers of ten between them."""
    inner = {float(power): f"10<sup>{power}</sup>" for power in range(ceil(low), floor(high) + 1)}
    return inner or {low: f"{10**low:.1g}", high: f"{10**high:.1g}"}


def bits_figure(table: BitsTable, grid: LayerGrid, part: int) -> go.Figure:
    """Bits of every weight (``part`` 0) or activation (1)."""
    bits = {layer: pair[part] for layer, pair in table.items() if pair[part] is not None}
    columns = [column for column in grid.columns if any(grid.places[layer][1] == column for layer in bits)]
    hovers = {layer: f"{layer}<br>{b} bits" for layer, b in bits.items()}
    heat = _heatmap(grid, columns, bits, {layer: str(b) for layer, b in bits.items()}, hovers)
    ticks = {float(b): str(b) for b in range(MIN_BITS, MAX_BITS + 1)}
    low, high = MIN_BITS - 0.5, MAX_BITS + 0.5
    heat.update(colorscale=_steps(BITS), zmin=low, zmax=high, colorbar=_colorbar(ticks))
    return _map(heat, grid)


def _steps(colours: Sequence[str]) -> list[tuple[float, str]]:
    """A colour scale of equal steps without transitions."""
    n = len(colours)
    return [(edge / n, colour) for i, colour in enumerate(colours) for edge in (i, i + 1)]


def _heatmap(
    grid: LayerGrid,
    columns: Sequence[str],
    values: Mapping[str, float],
    texts: Mapping[str, str],
    hovers: Mapping[str, str],
) -> go.Heatmap:
    return go.Heatmap(
        x=columns,
        y=grid.rows,
        z=grid.matrix(values, columns),
        text=grid.matrix(texts, columns, empty=""),
        customdata=grid.matrix(hovers, columns, empty=""),
        texttemplate="%{text}",
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=False,
        xgap=2,
        ygap=2,
    )


def _colorbar(ticks: dict[float, str]) -> dict:
    return {
        "tickvals": list(ticks), "ticktext": list(ticks.values()), "thickness": 10, "outlinewidth": 0,
        "x": 1.01, "xpad": 4,
    }  # fmt: skip


def _map(heat: go.Heatmap, grid: LayerGrid, row_height: int = ROW_HEIGHT) -> go.Figure:
    figure, columns = go.Figure(heat), list(heat.x)
    shown = {"categoryorder": "array", "showgrid": False, "zeroline": False, "fixedrange": True, "ticks": ""}
    figure.update_xaxes(side="top", categoryarray=columns, automargin=True, **shown)
    figure.update_xaxes(tickvals=columns, ticktext=_broken(columns), tickfont_size=10)
    figure.update_yaxes(tickvals=grid.rows, ticktext=_broken(grid.rows, longest=10))
    figure.update_yaxes(autorange="reversed", categoryarray=grid.rows, automargin=True, **shown)
    plain(figure, height=row_height * len(grid.rows) + 64)
    return figure.update_layout(margin={"l": 8, "r": 8, "t": 44, "b": 8}, font_size=11)


def _broken(names: Sequence[str], longest: int = 0) -> list[str]:
    """Names of more than ``longest`` letters on two lines."""
    return [name.replace(".", ".<br>", 1) if len(name) > longest else name for name in names]
