"""Whether a quantized model is still good for anything, in one sentence."""

from dataclasses import dataclass

from vitq_core.experiment import counted

# The limits are chosen, not measured: what a loss costs depends on what the model is for. They are not the
# margin of sampling either: with few pictures that is so wide that a bad loss would pass, with many so narrow
# that a harmless one would not. The page says the margin beside the loss.
# Up to (share of changed answers, points of accuracy lost) it is good, and from the second pair on bad.
GOOD, BAD = (0.05, 2.0), (0.25, 10.0)
GOOD_COSINE, BAD_COSINE = 0.98, 0.9  # of features, where there are no answers
# No method by name: which one is best differs between small models and large real ones.
ADVICE = "Try more bits, another method, or a longer effort."
FEW_PICTURES = 50  # from so many on, a share is known to a few points


@dataclass(frozen=True)
class Judgement:
    """`kind`: good, warning or bad; `said`: what shrank and what changed; `advice`: what to do or to mind."""

    kind: str
    said: str
    advice: str


def judge_answers(times_smaller: float, changed: int, count: int, lost: float | None = None) -> Judgement:
    """`changed` of `count` answers differ; `lost`: points of accuracy, None without labels."""
    share, points = changed / count, lost or 0.0
    if share <= GOOD[0] and points <= GOOD[1]:
        kind = "good"
    else:
        kind = "bad" if share >= BAD[0] or points >= BAD[1] else "warning"
    accuracy = "" if lost is None else f", and accuracy {_moved(points)}"
    said = f"{times_smaller:.1f}× smaller; {changed} of {count} answers changed{accuracy}."
    return _judged(kind, said, count)


def judge_features(times_smaller: float, cosine: float, count: int) -> Judgement:
    """`cosine`: mean over the `count` pictures, between both models' features."""
    kind = "good" if cosine >= GOOD_COSINE else "bad" if cosine < BAD_COSINE else "warning"
    said = f"{times_smaller:.1f}× smaller; its features keep a cosine of {cosine:.3f} (1 = the same)."
    return _judged(kind, said, count)


def _judged(kind: str, said: str, count: int) -> Judgement:
    """Few pictures are no reason to call a result bad, or to praise it without a word."""
    if count < FEW_PICTURES:
        chance = f"With only {counted(count, 'test picture')} this may be chance."
        return Judgement("warning" if kind == "bad" else kind, said, chance)
    return Judgement(kind, said, "" if kind == "good" else ADVICE)


def _moved(points: float) -> str:
    if abs(points) < 0.05:
        return "stayed the same"
    return f"fell by {points:.1f} points" if points > 0 else f"rose by {-points:.1f} points"
