"""The page's small pieces of HTML; everything that comes from outside is escaped."""

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from PIL import Image

import vitq_core as vq
from vitq_core.experiment import counted
from vitq_core.experiment.health import Health
from vitq_core.experiment.likeness import FEWEST

from .glossary import explained
from .judgement import FEW_PICTURES, Judgement, judge_answers, judge_features
from .outcome import Neighbours, Outcome, Pair
from .words import listed, some

NEEDS_LABELS = "needs labelled pictures"
NEIGHBOUR_SIDE = 56
UNLIKE = "This picture is unlike those the model was calibrated and tested on, so its answer may be off."


def title() -> str:
    return (
        '<header class="vq-title"><h1>VitQ Studio</h1>'
        "<p>Quantize a vision transformer after training, and see what was saved and what was lost.</p>"
        "</header>"
    )


def note(text: str) -> str:
    return f'<p class="vq-note">{explained(text)}</p>'


def banner(kind: str, text: str, detail: str = "", earlier: str = "") -> str:
    """One line of state; `kind`: idle, busy, done, stale, stopping, stopped, warning, error, good, bad.

    `earlier`: the title of an older result that stays below, dimmed.
    """
    if earlier:
        detail = f"{_sentence(detail)} Below: the earlier result, {earlier}.".strip()
    more = f"<span>{escape(detail)}</span>" if detail else ""
    role = "alert" if kind == "error" else "status"
    dims = " vq-earlier" if earlier else ""
    return f'<div class="vq-banner vq-{kind}{dims}" role="{role}"><strong>{escape(text)}</strong>{more}</div>'


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def placeholder() -> str:
    steps = (
        ("Pick", "a model, a method and the bits."),
        ("Quantize", "takes seconds for the bundled models, on this machine alone."),
        ("Compare", "sizes, accuracy, and every answer that changed."),
    )
    items = "".join(f"<li><b>{name}</b> {text}</li>" for name, text in steps)
    return f'<div class="vq-placeholder"><p>Results appear here.</p><ol>{items}</ol></div>'


def cards(outcome: Outcome) -> str:
    """The verdict on a run, and its numbers."""
    found = judged(outcome)
    made = "".join(make(outcome) for make in (_size, accuracy, agreement, _bits, _compute, _time))
    return f'{banner(found.kind, found.said, found.advice)}<div class="vq-cards">{made}</div>'


def judged(outcome: Outcome) -> Judgement:
    report = outcome.result.report
    smaller = report.fp32_size_mb / report.size_mb
    if not outcome.classifies:
        return judge_features(smaller, outcome.evaluation.cosine, outcome.evaluation.n)
    lost = -100 * outcome.change_in_accuracy[0] if outcome.reference.labelled else None
    return judge_answers(smaller, int(outcome.flips.sum()), len(outcome.flips), lost)


def card(name: str, value: str, detail: str, extra: str = "") -> str:
    return (
        f'<section class="vq-card"><h3>{explained(name)}</h3><p class="vq-value">{escape(value)}</p>'
        f"{extra}<p class='vq-detail'>{explained(detail)}</p></section>"
    )


def _size(outcome: Outcome) -> str:
    report = outcome.result.report
    share = 100 * report.size_mb / report.fp32_size_mb
    meter = f'<div class="vq-meter"><i style="width:{share:.1f}%"></i></div>'
    detail = f"{report.fp32_size_mb / report.size_mb:.1f}× smaller than {report.fp32_size_mb:.1f} MB"
    return card("Size", f"{report.size_mb:.1f} MB", detail, meter)


def accuracy(outcome: Outcome) -> str:
    full, quantized = outcome.reference.evaluation, outcome.evaluation
    if not outcome.classifies:
        return card("Features", "no classes", "this model describes pictures and names nothing")
    if not outcome.reference.labelled:
        return card("Accuracy", "—", NEEDS_LABELS)
    change, margin = outcome.change_in_accuracy
    moved = change_in_words(change, margin, outcome.labelled)
    detail = f"{percent(full.top1)} in full precision: {moved}{_few(outcome.labelled)}"
    return card("Accuracy", percent(quantized.top1), detail)


def change_in_words(change: float, margin: float, count: int) -> str:
    """`2.3 points lost (give or take 1.9, from 256 pictures)`."""
    points = f"{abs(100 * change):.1f}"
    known = f"(give or take {100 * margin:.1f}, from {pictures(count)})"
    if points == "0.0":
        return f"no change {known}"
    return f"{points} points {'lost' if change < 0 else 'gained'} {known}"


def agreement(outcome: Outcome) -> str:
    if not outcome.classifies:
        return card(
            "Likeness",
            f"{outcome.evaluation.cosine:.3f}",
            _cosines(outcome.evaluation) + _few(outcome.evaluation.n),
        )
    flipped, count = int(outcome.flips.sum()), len(outcome.flips)
    return card(
        "Same answers", percent(1 - flipped / count), f"{flipped} of {count} answers changed{_few(count)}"
    )


def _cosines(evaluation: Any) -> str:
    said = "how alike the features are to full precision's (cosine; 1 = the same)"
    if evaluation.token_cosine is None:
        return said
    return f"{said}; patch tokens {evaluation.token_cosine:.3f}, the worst {evaluation.min_cosine:.3f}"


def _bits(outcome: Outcome) -> str:
    report = outcome.result.report
    value = f"{short(report.avg_weight_bits)} / {short(report.avg_act_bits)}"
    detail, effective = "weights / activations on average", short(report.effective_act_bits)
    if effective != short(report.avg_act_bits):
        detail += f"; {effective} counting the exact values that are kept"
    return card("Bits", value, detail)


def _compute(outcome: Outcome) -> str:
    report = outcome.result.report
    detail = f"bit operations (billions), against {report.fp32_gbops:.1f} in full precision"
    return card("Arithmetic per picture", f"{report.gbops:.1f} GBOP", detail)


def _time(outcome: Outcome) -> str:
    report = outcome.result.report
    return card("Time", f"{report.seconds:.1f} s", f"to quantize, calibrated on {pictures(report.pictures)}")


def verdict(pair: Pair | Neighbours, name: str = "") -> str:
    """What happened to one picture, in a sentence."""
    if isinstance(pair, Neighbours):
        said = f"{pair.kept} of {len(pair.full)} nearest pictures are the same"
        kind = "same" if pair.kept == len(pair.full) else "flipped"
        detail = f"How alike both models' features are: {pair.cosine:.3f} (1 = the same). {name}"
        return verdict_line(kind, said, detail, pair.unlike)
    full, quantized = pair.full[0][0], pair.quantized[0][0]
    kind = "flipped" if pair.flipped else "same"
    said = f"Changed answer: {full} → {quantized}" if pair.flipped else f"Both say {full}"
    return verdict_line(kind, said, f"It shows: {pair.truth}." if pair.truth else name, pair.unlike)


def verdict_line(kind: str, said: str, detail: str, unlike: bool | None = None) -> str:
    """`kind`: same or flipped, which is whether the answer changed. `unlike`: adds a sentence about that."""
    care = f"<em>{escape(UNLIKE)}</em>" if unlike else ""
    words = f"<strong>{escape(said)}</strong><span>{escape(detail)}</span>{care}"
    return f'<div class="vq-verdict vq-{kind}">{words}</div>'


def bars(heading: str, best: Sequence[tuple[str, float]], kind: str, truth: str | None = None) -> str:
    """The five best answers of one model as horizontal bars; `kind` (full, quantized) picks the colour."""
    rows = "".join(_bar(name, p, name == truth) for name, p in best)
    return f'<section class="vq-bars vq-{kind}"><h3>{escape(heading)}</h3><ol>{rows}</ol></section>'


def _bar(name: str, probability: float, right: bool) -> str:
    mark = ' <em title="what the picture shows">✓</em>' if right else ""
    return (
        f"<li><span class='vq-label'><b>{escape(name)}</b>{mark}</span>"
        f"<span class='vq-track'><i style='width:{100 * probability:.1f}%'></i></span>"
        f"<span class='vq-share'>{percent(probability)}</span></li>"
    )


def both(pair: Pair, bits: str) -> str:
    """Both models' bars side by side, one above the other where there is no room."""
    full = bars("Full precision", pair.full, "full", pair.truth)
    quantized = bars(f"Quantized {bits}", pair.quantized, "quantized", pair.truth)
    return f'<div class="vq-both">{full}{quantized}</div>'


def neighbours(outcome: Outcome, found: Neighbours) -> str:
    """The nearest test pictures of both models side by side."""
    full = _near("Nearest in full precision", outcome, found.full, "full")
    quantized = _near(f"Nearest, quantized {outcome.settings.bits}", outcome, found.quantized, "quantized")
    return f'<div class="vq-both">{full}{quantized}</div>'


def _near(heading: str, outcome: Outcome, found: Sequence[tuple[int, float]], kind: str) -> str:
    rows = "".join(_neighbour(outcome, index, cosine) for index, cosine in found)
    return f'<section class="vq-bars vq-near vq-{kind}"><h3>{escape(heading)}</h3><ol>{rows}</ol></section>'


def _neighbour(outcome: Outcome, index: int, cosine: float) -> str:
    sample = outcome.reference.samples[index]
    return (
        f'<li><img src="{_inline(sample.read())}" alt=""><span class="vq-label"><b>{escape(sample.name)}</b>'
        f'</span><span class="vq-share">{cosine:.3f}</span></li>'
    )


def _inline(picture: Image.Image) -> str:
    """A thumbnail as the address of an <img>."""
    small = picture.convert("RGB")
    small.thumbnail((NEIGHBOUR_SIDE, NEIGHBOUR_SIDE))
    data = io.BytesIO()
    small.save(data, "JPEG")
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"


def legend(colors: Mapping[str, str]) -> str:
    """What the plot's colours stand for."""
    items = "".join(
        f'<li><i style="background:{color}"></i>{explained(role.replace("_", " "))}</li>'
        for role, color in colors.items()
    )
    return f'<ul class="vq-legend">{items}</ul>'


def facts(outcome: Outcome) -> str:
    """What the audit and the report say in words: pictures, preprocessing, what is not quantized."""
    report, evaluation = outcome.result.report, outcome.evaluation
    rows = [
        ("Pictures", f"{report.pictures} to calibrate, {evaluation.n} to test. {outcome.about}"),
        ("Preprocessing", report.preprocessing),
        ("Unlike pictures", _likeness(outcome)),
        ("In floating point", listed(report.kept_float)),
        ("At 8 bits", listed(report.kept_8bit)),
        ("Speed", "Low-bit arithmetic is simulated here: the file is small, but this preview is not faster."),
    ]
    rows[1:1] = [*_health(outcome.health), *_left_out(outcome), *_tried(report.stages)]
    if outcome.reference.labelled:
        rows.insert(1, ("Top-5", _top5(outcome)))
    return fact_list(rows, explained)


def fact_list(rows: Iterable[tuple[str, str]], said: Callable[[str], str] = escape) -> str:
    """(name, text) of each as two columns. `said`: what makes markup of a text."""
    items = "".join(f"<dt>{said(name)}</dt><dd>{said(text)}</dd>" for name, text in rows)
    return f'<dl class="vq-facts">{items}</dl>'


def _left_out(outcome: Outcome) -> list[tuple[str, str]]:
    """A row for each use that some pictures were missing from because they could not be read."""
    uses = (("calibration", outcome.left_out), ("testing", outcome.reference.left_out))
    return [
        (f"Left out of {use}", f"{pictures(len(names))} that could not be read: {some(names)}.")
        for use, names in uses
        if names
    ]


def _tried(stages: Sequence[vq.StageRow]) -> list[tuple[str, str]]:
    """The steps of the method that were compared with the model without them, where it does that."""
    kept, dropped = ([row.does for row in stages if row.kept is on] for on in (True, False))
    said = [f"kept: {', '.join(kept)}"] if kept else []
    said += [f"left out, because answers were worse with it: {', '.join(dropped)}"] if dropped else []
    return [("Compared", f"{'; '.join(said)}.")] if said else []


def _health(found: Health | None) -> list[tuple[str, str]]:
    """The numbers by which calibration pictures are warned of, and what they are where all is well."""
    if found is None:
        return []
    said = []
    if found.repeated is not None:
        said.append(f"{found.repeated} of {found.pictures} are nearly the same as another one")
    if found.nearer is not None:
        said.append(
            f"{100 * found.nearer:.0f} % of the test pictures look more like them than like each other "
            "(50 % would be usual)"
        )
    if found.beyond is not None:
        said.append(
            f"{100 * found.beyond:.0f} % of what layers see in test pictures goes beyond the measured ranges "
            f"({100 * found.chance:.0f} % would be usual)"
        )
    return [("Calibration pictures", "; ".join(said) + ".")] if said else []


def _likeness(outcome: Outcome) -> str:
    """By what a picture is called unlike those of the run, or why none is."""
    known = outcome.likeness
    if known is None:
        return (
            f"Not told: it takes at least {FEWEST} different test pictures to say which pictures are unlike "
            "those of this run."
        )
    return (
        "A picture of yours is called unlike where its features lie farther from all pictures of this run "
        f"than those of nearly every test picture. About {100 * known.chance:.0f} % of usual pictures do too."
    )


def _few(count: int) -> str:
    """What to think of a share of so few pictures."""
    return f". Only {pictures(count)} to test on: a rough number" if count < FEW_PICTURES else ""


def _top5(outcome: Outcome) -> str:
    full, quantized = outcome.reference.evaluation, outcome.evaluation
    return f"{percent(quantized.top5)} quantized, {percent(full.top5)} in full precision."


def pictures(count: int) -> str:
    return counted(count, "picture")


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−")


def short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def gallery_note(outcome: Outcome) -> str:
    if not outcome.classifies:
        return note(f"{pictures(len(outcome.cosines))}; those whose features changed most come first.")
    flipped, count = int(outcome.flips.sum()), len(outcome.flips)
    if not flipped:
        return note(f"No answer changed on {pictures(count)}; those that moved most come first.")
    return note(
        f"{flipped} of {count} answers changed; they come first, the largest changes before the others."
    )
