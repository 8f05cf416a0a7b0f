"""Families × tasks × recipes through the public functions: a new entry of any is held to the same contract.

What a family, a task or a recipe has of its own is seen by tests of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import vitq_core as vq
from tests.widening import mostly_wide
from vitq_core.common.batch import Batch
from vitq_core.graph import FAMILIES, family_of
from vitq_core.quantized.audit import audit
from vitq_core.reconstruction.progress import UnitProgress
from vitq_core.scoring.sources import SOURCES
from vitq_core.tasks import TASKS, Outputs

from .conftest import build, random_pictures
from .sam import picture, prompted, tiny_sam
from .swin import pictures as swin_pictures
from .swin import tiny_swin

pytestmark = pytest.mark.usefixtures("spill")

QUICK = {"effort": "quick", "iterations": 3, "batch_size": 4, "pictures": 8}
SIZES = ((90, 120), (120, 90), (60, 60), (90, 120))
DONE = 1  # units, when a run is cancelled
NEARNESS = {  # per task: how near answers are to full precision's, 1 for equal ones
    "classification": lambda found: 1 - found.kl,
    "features": lambda found: found.cosine,
    "segmentation": lambda found: found.agreement_iou,
}


@dataclass(frozen=True)
class Example:
    """``model()``: tiny, random; ``data(model)``: what calibrates and judges it, as a loader gives it."""

    model: Callable[[], nn.Module]
    data: Callable[[nn.Module], list[Any]]


def two_batches(draw: Callable[..., torch.Tensor], model: nn.Module) -> list[torch.Tensor]:
    return [*draw(model, 8).split(4)]


def two_sizes(model: nn.Module) -> list[list[dict]]:
    """Records of pictures that lie and stand, two objects each."""
    return [[record] for record in prompted([picture(seed, *size) for seed, size in enumerate(SIZES)])]


EXAMPLES = {
    ("vit", "classification"): Example(partial(build, depth=2), partial(two_batches, random_pictures)),
    ("vit", "features"): Example(
        partial(build, depth=2, num_classes=0), partial(two_batches, random_pictures)
    ),
    ("swin", "classification"): Example(tiny_swin, partial(two_batches, swin_pictures)),
    ("swin", "features"): Example(partial(tiny_swin, num_classes=0), partial(two_batches, swin_pictures)),
    ("sam", "segmentation"): Example(tiny_sam, two_sizes),
}


@cache
def example(kind: tuple[str, str]) -> tuple[nn.Module, list[Any]]:
    found = EXAMPLES[kind]
    model = found.model()
    return model, found.data(model)


@pytest.fixture(params=EXAMPLES, ids=" ".join)
def kind(request: pytest.FixtureRequest) -> tuple[str, str]:
    return request.param


def answers(kind: tuple[str, str], model: object, data: list[Any]) -> list[Outputs]:
    task = TASKS[kind[1]]
    with torch.no_grad():
        return [task.run(model, task.collate(item)) for item in data]


def equal(some: list[Outputs], others: list[Outputs]) -> bool:
    return all(
        torch.equal(one[name], other[name]) for one, other in zip(some, others, strict=True) for name in one
    )


def nearness(kind: tuple[str, str], result: vq.QuantizeResult) -> float:
    model, data = example(kind)
    return NEARNESS[kind[1]](vq.evaluate(result.model, data, reference=model))


@pytest.mark.parametrize(("place", "registry"), [(0, FAMILIES), (1, TASKS)], ids=["family", "task"])
def test_every_family_and_task_has_an_example(place: int, registry: dict) -> None:
    assert {kind[place] for kind in EXAMPLES} == set(registry)
    for kind in EXAMPLES:
        model, _ = example(kind)
        assert (family_of(model).name, vq.wrap_model(model).info.task) == kind


NOT_FOR_SAM = ("fq", "psaq")  # their tensors between layers are listed for ViT and Swin alone


@pytest.mark.parametrize("recipe", NOT_FOR_SAM)
def test_what_is_made_for_vit_and_swin_alone_refuses_others_by_name(recipe: str) -> None:
    model, data = example(("sam", "segmentation"))
    with pytest.raises(ValueError, match="take a ViT, DeiT or Swin, or another recipe"):
        vq.quantize(model, data, recipe)


def options_for(kind: tuple[str, str], recipe: str) -> dict:
    """What lets the recipe do with few bits, and be done soon."""
    if recipe == "fq":
        return {"lis": False}  # the integer softmax does not take few bits
    slow = recipe == "apq" and kind[0] == "sam"  # every scale is tried by a whole block of it
    return {"search_pictures": 1} if slow else {}


def skip_what_is_refused(kind: tuple[str, str], recipe: str) -> None:
    if kind[0] == "sam" and recipe in NOT_FOR_SAM:
        pytest.skip("refused, as the test above has it")


@pytest.mark.parametrize("recipe", vq.RECIPES)
def test_a_recipe_leaves_the_model_alone_and_a_file_holds_what_it_makes(
    kind, recipe: str, calibrating, tmp_path: Path
) -> None:
    skip_what_is_refused(kind, recipe)
    model, data = example(kind)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    result = vq.quantize(model, data, calibrating(recipe, 6, 6, **options_for(kind, recipe)))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert isinstance(result.model, type(model))
    audit(result.model, TASKS[kind[1]].collate(data[0]))
    assert 0.9 < nearness(kind, result) < 1
    vq.save_quantized(result, tmp_path / "saved")
    loaded = vq.load_quantized(tmp_path / "saved")
    assert equal(answers(kind, loaded.model, data), answers(kind, result.model, data))
    assert loaded.bits == result.bits and isinstance(loaded.model, type(model))


@pytest.mark.wide
@pytest.mark.parametrize("recipe", vq.RECIPES)
def test_more_bits_are_nearer(kind, recipe: str, calibrating) -> None:
    skip_what_is_refused(kind, recipe)
    model, data = example(kind)
    recipes = [calibrating(recipe, bits, bits, **options_for(kind, recipe)) for bits in (3, 5, 7)]
    found = [nearness(kind, vq.quantize(model, data, each)) for each in recipes]
    assert all(less < more for less, more in pairwise(found)) and found[-1] > 0.97, found


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_scores_every_layer_and_bits_come_of_it(kind, source: str) -> None:
    model, data = example(kind)
    scores = vq.importance(model, data, source)
    assert all(score >= 0 for score in scores.layer_scores.values()) and any(scores.layer_scores.values())
    table = vq.allocate_bits(scores, model, policy="budget", images=data, avg_weight_bits=4, avg_act_bits=5)
    assert set(table) == set(scores.layer_scores)
    assert len({bits for pair in table.values() for bits in pair if bits}) > 1, "mixed"
    cost = vq.table_cost(table, model)
    report = vq.quantize(model, data, vq.recipe("crl", bits=table)).report
    assert report.avg_weight_bits == pytest.approx(cost.avg_weight_bits) and cost.avg_weight_bits <= 4
    assert report.avg_act_bits == pytest.approx(cost.avg_act_bits) and cost.avg_act_bits <= 5


def past(heard: list[UnitProgress], done: int) -> bool:
    """Whether the units before ``done`` are learned, and the next one is being."""
    return any(said.index == done and said.row.outcome == "learning" for said in heard)


@pytest.mark.usefixtures("every_iteration")
@pytest.mark.parametrize("recipe", mostly_wide(["adfq", "vitq"], "vitq"))
def test_cancelled_while_it_learns_it_is_usable_and_goes_on_to_the_same_end(
    kind, recipe: str, tmp_path: Path
) -> None:
    model, data = example(kind)
    asked = vq.recipe(recipe, 4, 4, **{**QUICK, "iterations": 12})  # enough for units that learning helps
    whole = vq.quantize(model, data, asked)
    heard: list[UnitProgress] = []
    stopped = vq.quantize(model, data, asked, watch=heard.append, cancel=lambda: past(heard, DONE))
    assert stopped.report.cancelled and len(stopped.report.units) < len(whole.report.units)
    audit(stopped.model, TASKS[kind[1]].collate(data[0]))
    assert not equal(answers(kind, stopped.model, data), answers(kind, whole.model, data))
    resumed: list[UnitProgress] = []
    again = vq.quantize(model, data, asked, watch=resumed.append)
    learned = {p.index for p in resumed if p.row.outcome == "learning"}
    assert learned and min(learned) >= DONE, "what was learned is not learned again"
    assert not again.report.cancelled
    assert equal(answers(kind, again.model, data), answers(kind, whole.model, data))
    vq.save_quantized(again, tmp_path / "saved")
    loaded = vq.load_quantized(tmp_path / "saved")
    assert equal(answers(kind, loaded.model, data), answers(kind, whole.model, data))


def test_relevance_begins_with_1_a_picture_and_names_every_layer(kind) -> None:
    model, data = example(kind)
    found = vq.relevance(model, data[:1])
    assert set(found.layer_scores) == set(vq.importance(model, data[:1], "relevance").layer_scores)
    assert all(score >= 0 for score in found.layer_scores.values())
    assert all(torch.as_tensor(each).isfinite().all() for each in found.pixel_maps)


def test_pictures_that_are_none_are_a_sentence_for_every_function(kind) -> None:
    model, _ = example(kind)
    for ask in (vq.quantize, vq.relevance, vq.importance):
        with pytest.raises((ValueError, vq.VitqError)):
            ask(model, [torch.full((1, 3, 16, 16), float("nan"))], *(["repq"] if ask is vq.quantize else []))


def test_batches_do_not_matter(kind, calibrating) -> None:
    """Calibrated in other pieces it is the same model."""
    model, data = example(kind)
    task = TASKS[kind[1]]
    if task.chunk == 1:
        others = [[record for item in data for record in item]]
    else:
        others = [*torch.cat(data).split(3)]
    results = [vq.quantize(model, each, calibrating("vitq", 4, 4)) for each in (data, others)]
    assert equal(*(answers(kind, result.model, data) for result in results))
    assert isinstance(task.collate(data[0]), Batch)
