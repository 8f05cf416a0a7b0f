"""Loss curves as small drawings (SVG) that cost a page nothing to replace twice a second."""

from collections.abc import Sequence

WIDTH, HEIGHT, MARGIN = 300, 100, 4


def curve(losses: Sequence[float], done: float = 1.0, label: str = "") -> str:
    """The losses from left to right over `done` of the width; it stretches to whatever room it gets."""
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in _points(losses, done))
    name = f' role="img" aria-label="{label}"' if label else ' aria-hidden="true"'
    line = f'<polyline points="{points}" vector-effect="non-scaling-stroke"/>'
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none"{name}>{line}</svg>'


def _points(losses: Sequence[float], done: float) -> list[tuple[float, float]]:
    """The largest at the top, the smallest below; a single one is a flat line."""
    losses = [*losses, *losses] if len(losses) == 1 else losses
    if not losses:
        return []
    low, high = min(losses), max(losses)
    height, step = HEIGHT - 2 * MARGIN, WIDTH * min(max(done, 0.0), 1.0) / (len(losses) - 1)
    shares = [(loss - low) / (high - low) if high > low else 0.5 for loss in losses]
    return [(i * step, MARGIN + height * (1 - share)) for i, share in enumerate(shares)]
