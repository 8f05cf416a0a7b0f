"""``allocate_bits``: from importance to a table of bits for every layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real

from torch import Tensor, nn

from ..common.arithmetic import plain_arithmetic
from ..common.batch import Batch
from ..common.checks import check_name
from ..common.monitor import Monitor, Progress
from ..data.batches import streamed
from ..graph.prepared import PreparedModel, peeked, prepare
from ..models import Model
from ..recipes.recipe import Recipe
from ..recipes.recipe import recipe as named_recipe
from ..scoring.explanation import Relevance
from ..scoring.scores import Importance
from ..scoring.sources import SOURCES
from .budget import Budget, check_possible
from .forecast import Forecast, forecast_of
from .paper import paper_policy
from .table import BitsTable, check_complete

POLICIES = ("paper", "budget")
PICTURES = 32  # as many measure the output error


@plain_arithmetic
def allocate_bits(
    rel: Relevance | Importance | Mapping[str, float],
    model: Model | nn.Module,
    policy: str = "paper",
    *,
    base_bits: int | tuple[int, int] | None = None,
    first_blocks: int | None = None,
    reductions: bool | None = None,
    images: Tensor | Iterable | None = None,
    avg_weight_bits: float | None = None,
    avg_act_bits: float | None = None,
    size_mb: float | None = None,
    gbops: float | None = None,
    recipe: Recipe | str | None = None,
    progress: Progress | None = None,
    cancel: object = None,
) -> BitsTable:
    """{layer: (weight bits or None, activation bits)} for ``vq.recipe(…, bits=…)``.

    ``rel``: what ``relevance`` or ``importance`` returned, or {layer: score}.

    ``policy="paper"`` (LRP-QViT): ``base_bits`` (4; a pair for weights and activations), one more in the
    ``first_blocks`` (2), one less where importance is least; ``reductions=False`` leaves those out, and the
    average rises. The picture keeps 8 bits.

    ``policy="budget"``: bits of 2 to 8 that minimize Σ relative importance × the error that ``recipe``'s
    quantizers (``crl``) make in the layer's output, measured on up to 32 of ``images``, within any of
    ``avg_weight_bits``, ``avg_act_bits``, ``size_mb`` and ``gbops``, counted as in a result's report. Scores
    by relevance count as the root of their sum over the layer's outputs (``SOURCES``' ``weights``); those
    of a plain table as they are.

    Raises ValueError for an option of the other policy, scores that do not fit the model, or a budget that
    cannot be met (it names the nearest that can); VitqError for a model of no known family.
    """
    monitor = Monitor(progress, cancel)
    settings = {"base_bits": base_bits, "first_blocks": first_blocks, "reductions": reductions}
    limits = {
        "avg_weight_bits": avg_weight_bits, "avg_act_bits": avg_act_bits, "size_mb": size_mb, "gbops": gbops,
    }  # fmt: skip
    check_name("policy", policy, POLICIES)
    monitor.report(0.0, "Preparing")
    if policy == "paper":
        _refuse({**limits, "recipe": recipe}, policy, "budget")
        prepared = _prepared(model, images)
        given = {name: value for name, value in settings.items() if value is not None}
        table = by_paper(_scores(rel, prepared), prepared, **given)
    else:
        _refuse(settings, policy, "paper")
        table = _within(Budget(**limits), rel, model, images, recipe, monitor)
    monitor.done("Done")
    return table


def _within(
    budget: Budget,
    rel: object,
    model: object,
    images: Tensor | Iterable | None,
    recipe: Recipe | str | None,
    monitor: Monitor,
) -> BitsTable:
    """The budget policy for what a caller gives."""
    if images is None:
        raise ValueError("policy='budget' measures output error: give it images")
    return by_budget(*_measurable(rel, model, images, recipe, "allocate_bits"), budget, monitor)


@plain_arithmetic
def forecast_bits(
    rel: Relevance | Importance | Mapping[str, float],
    model: Model | nn.Module,
    images: Tensor | Iterable,
    recipe: Recipe | str | None = None,
    progress: Progress | None = None,
    cancel: object = None,
) -> Forecast:
    """What ``policy="budget"`` of :func:`allocate_bits` decides by, measured once for any number of budgets.

    Arguments and errors as there; ``.within(Budget(size_mb=2))`` gives the same table.
    """
    monitor = Monitor(progress, cancel)
    monitor.report(0.0, "Preparing")
    found = forecast_of(*_measurable(rel, model, images, recipe, "forecast_bits"), monitor)
    monitor.done("Done")
    return found


def _measurable(
    rel: object, model: object, images: Tensor | Iterable, recipe: Recipe | str | None, who: str
) -> tuple[dict[str, float], PreparedModel, Batch, Recipe]:
    """What output error is measured by, of what a caller gives."""
    first, images = peeked(images, model, who)
    prepared = prepare(model, who, first)
    method = _method(recipe)
    weights = _weights(rel, _scores(rel, prepared), prepared)
    return weights, prepared, first_pictures(images, prepared), method


def _method(recipe: Recipe | str | None) -> Recipe:
    if isinstance(recipe, str) or recipe is None:
        return named_recipe("crl" if recipe is None else recipe)
    if not isinstance(recipe, Recipe):
        raise ValueError(f"recipe must be a recipe's name or vq.recipe(...), got {type(recipe).__name__}")
    return recipe


def by_paper(
    scores: dict[str, float],
    prepared: PreparedModel,
    base_bits: int | tuple[int, int] = 4,
    first_blocks: int | None = None,
    reductions: bool = True,
) -> BitsTable:
    """The paper's policy for a prepared model; two first blocks, or the one there is."""
    base = tuple(base_bits) if isinstance(base_bits, (tuple, list)) else (base_bits, base_bits)
    blocks = prepared.blocks
    first_blocks = min(2, len(blocks)) if first_blocks is None else first_blocks
    for names in prepared.shared:  # ranked as one, so that they move together
        scores = scores | dict.fromkeys(names, sum(scores[name] for name in names))
    return paper_policy(scores, prepared.layers, blocks, base, first_blocks, reductions)


def by_budget(
    weights: dict[str, float],
    prepared: PreparedModel,
    pictures: Batch,
    recipe: Recipe,
    budget: Budget,
    monitor: Monitor,
) -> BitsTable:
    """The budget policy for a prepared model and ``pictures`` to measure output error on.

    ``weights``: what a unit of relative error in a layer's output counts.
    """
    check_possible(budget, prepared.layers)  # before the costly part
    return forecast_of(weights, prepared, pictures, recipe, monitor).within(budget)


def _prepared(model: object, images: Tensor | Iterable | None) -> PreparedModel:
    return prepare(
        model, "allocate_bits", None if images is None else peeked(images, model, "allocate_bits")[0]
    )


def first_pictures(images: Tensor | Iterable, prepared: PreparedModel) -> Batch:
    """The first pictures, at most PICTURES."""
    found: list[Batch] = []
    for batch in streamed(images, prepared.collate, PICTURES):
        found.append(batch)
        if sum(map(len, found)) >= PICTURES:
            break
    return Batch.joined(found)[:PICTURES]


def _scores(rel: object, prepared: PreparedModel) -> dict[str, float]:
    """Checked: one finite score, not below 0, for each layer of the model and for nothing else."""
    scores = getattr(rel, "layer_scores", rel)
    if not isinstance(scores, Mapping):
        raise ValueError(
            "rel must be what relevance or importance returned, or {layer: score}, "
            f"got {type(rel).__name__}"
        )
    check_complete(scores, prepared.layers, "the importance")
    for name, score in scores.items():
        if isinstance(score, bool) or not isinstance(score, Real) or not 0 <= score < float("inf"):
            raise ValueError(f"the importance of {name!r} must be a number of at least 0, got {score!r}")
    return {name: float(scores[name]) for name in prepared.layers}


def _weights(rel: object, scores: dict[str, float], prepared: PreparedModel) -> dict[str, float]:
    """Scores whose source is known, in the unit that output error is weighed with."""
    source = getattr(getattr(rel, "importance", rel), "source", None)
    return SOURCES[source].weights(scores, prepared.layers) if source in SOURCES else scores


def _refuse(options: dict[str, object], policy: str, other: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"{name} does nothing with policy={policy!r}; it works with policy={other!r}")
