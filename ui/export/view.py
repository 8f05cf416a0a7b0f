"""What an export is, as HTML: what to know before it is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import vitq_core as vq
from vitq_core.experiment import counted

from ..parts import markup
from ..parts.glossary import explained

MILLIONTH = "when its pictures change by a millionth"
MB = 1e6


def beside(judged: Mapping[str, str]) -> str:
    """A run and its integer form, judged by the same pictures: {title: cards as HTML}."""
    headings = ("As it was", "Integer form")
    both = (
        f"<section><h3>{heading}: {escape(title)}</h3>{cards}</section>"
        for heading, (title, cards) in zip(headings, judged.items(), strict=True)
    )
    return f'<div class="vq-beside">{"".join(both)}</div>'


def certificate(found: vq.Certificate, speed: vq.SpeedReport | None = None) -> str:
    """The facts, and what the certificate says in sentences."""
    said = "".join(f"<li>{explained(sentence)}</li>" for sentence in found.sentences)
    notes = f'<ul class="vq-said">{said}</ul>' if said else ""
    return f"{markup.fact_list(facts(found, speed), explained)}{notes}"


def facts(found: vq.Certificate, speed: vq.SpeedReport | None = None) -> list[tuple[str, str]]:
    """(name, text) of each."""
    rows = [
        ("File", _size(found)),
        ("Speed here", "not known" if speed is None else _speed(speed)),
        *([] if speed is None or not speed.loading else [("Loading here", _loading(speed))]),
        ("Integer products", _integers(found)),
        ("Compared with", f"this run's own model, on {found.counted} that judged it"),
        (
            "Largest difference",
            f"{found.max_difference:.3g} of any output; outputs spread by {found.spread:.3g}. The model "
            f"itself moves by {found.own_difference:.3g} {MILLIONTH}{_nearer(found)}.",
        ),
        (
            "Likeness",
            f"{found.cosine:.5f}, the least cosine of the outputs to one (1 = the same). The model itself "
            f"then has {found.own_cosine:.5f}.",
        ),
    ]
    if found.agreement is not None:
        rows.append(("Same answers", f"{markup.percent(found.agreement)} of {found.counted}"))
    if found.accuracy is not None:
        own = markup.percent(found.simulated_accuracy)
        rows.append(
            (
                "Accuracy",
                f"{markup.percent(found.accuracy)} by the file, {own} by the model, on these pictures",
            )
        )
    if found.agreement_iou is not None:
        rows.append(("Same masks", f"mean IoU {found.agreement_iou:.4f} of {found.counted} (1 = the same)"))
    if found.packed is not None:
        same = "the same outputs, bit for bit" if not found.packed else f"a difference of {found.packed:.3g}"
        rows.append(("VitQ's packed file", f"{same}, loaded again"))
    return [*rows, ("SHA-256", found.sha256)]


def _nearer(found: vq.Certificate) -> str:
    return ", so another runtime cannot be expected to be nearer" if found.as_near else ""


def _size(found: vq.Certificate) -> str:
    own, full = found.bytes / MB, found.fp32_bytes / MB
    times = found.fp32_bytes / found.bytes
    smaller = f"{times:.1f}× smaller" if times >= 1 else f"{1 / times:.1f}× larger"
    return f"{found.named}, {own:.2f} MB; {full:.2f} MB in full precision ({smaller})"


def _speed(found: vq.SpeedReport) -> str:
    """Of the file, which was measured last, and of full precision, fastest first."""
    *full, own = found.speeds
    full.sort(key=lambda row: row.median)
    others = "; ".join(f"{row.what}, {_milliseconds(row)}" for row in full)
    times = full[0].median / own.median
    compared = f"{times:.1f}× as fast as" if times >= 1 else f"{1 / times:.1f}× slower than"
    return (
        f"{_milliseconds(own)} for {_once(found)}, with {counted(own.threads, 'thread')}: {compared} the "
        f"fastest in full precision ({others})"
    )


def _loading(found: vq.SpeedReport) -> str:
    """As :func:`_speed`: until the first picture is answered, and the memory that takes."""
    *full, own = (f"{row.seconds:.2g} s, {row.megabytes:.0f} MB of memory" for row in found.loading)
    others = "; ".join(f"{row.what}, {said}" for row, said in zip(found.loading, full, strict=False))
    return f"{own}, the first picture included ({others})"


def _once(found: vq.SpeedReport) -> str:
    """What was timed: of Segment Anything not what answers clicks."""
    return "one picture" if found.graph == "model" else f"one picture through its {found.graph}"


def _milliseconds(row: vq.Speed) -> str:
    return f"{1000 * row.median:.1f} ms"


def _integers(found: vq.Certificate) -> str:
    if found.integer_nodes is None:
        return "none: this format computes in floating point"
    here = (
        "this machine does not tell how many of them it computes so"
        if found.kernels is None
        else f"{found.kernels} of them as integers on this machine"
    )
    return f"{found.integer_nodes} of {found.promised}, {here}"
