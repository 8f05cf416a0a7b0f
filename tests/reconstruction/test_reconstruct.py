"""Reconstruction from end to end: better or as calibrated, the same every time, heard of, refused."""

import random
from dataclasses import replace
from importlib import import_module
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.quantized.audit import audit
from vitq_core.reconstruction import optimize
from vitq_core.reconstruction.progress import UnitProgress
from vitq_core.tasks import TASKS

from ..conftest import Shortcut
from .whole_runs import (
    UNITS,
    assert_began_as_calibrated,
    assert_reported,
    assert_saves,
    calibration,
    equal,
    error_of,
    quick,
    same,
    state_of,
)

# -- what it gives -------------------------------------------------------------------------------------
MIXED = {"blocks.0.attn.qkv": (3, 5), "blocks.1.attn.matmul1": (None, 6), "blocks.1.mlp.fc2": (2, 8)}


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("name", list(vq.RECIPES))
def test_every_recipe_is_reconstructed_and_no_unit_gets_worse(
    model, images, tmp_path, name: str, mixed: bool
) -> None:
    recipe = quick(name, finish=0.0)  # the last stage changes all units once more
    if mixed and any(step.startswith("allocate") for step in recipe.passes):
        pytest.skip("gives out bits of its own")
    result = vq.quantize(model, images, replace(recipe, bits=MIXED if mixed else {}))
    audit(result.model, Batch((images,)))
    assert_reported(result, model, images)
    if name != "vitq":  # its choices take longest
        assert_began_as_calibrated(result, model, images)
    assert not result.report.cancelled
    blocks = result.recipe.options.schedule.blocks
    units = ["patch_embed.proj", "blocks.0", "blocks.1", "head"] if blocks else UNITS
    assert [row.unit for row in result.report.units] == units
    if "compensate" not in recipe.passes:  # a tiny model has little left to learn then
        assert any(row.outcome == "reconstructed" for row in result.report.units)
    assert all(row.iterations == 3 for row in result.report.units)
    if mixed:
        assert {layer: result.bits[layer] for layer in MIXED} == MIXED
    assert not any(module.training for module in result.model.modules())
    assert not any(p.requires_grad for p in result.model.parameters())
    assert not any(buffer.requires_grad for buffer in result.model.buffers())
    assert_saves(result, images, tmp_path)


def test_every_variant_is_reconstructed(mixture, pictures) -> None:
    images = pictures(mixture, 4)
    result = vq.quantize(mixture, images, quick("adfq", iterations=2, batch_size=4))
    audit(result.model, Batch((images,)))
    assert len(result.report.units) >= 3
    assert_reported(result, mixture, images)


@pytest.mark.parametrize("options", [{"interleaved": True}, {"class": Shortcut}])
def test_a_model_that_is_no_chain_is_reconstructed(tiny, pictures, options: dict) -> None:
    model = tiny(**options, depth=2)
    images = pictures(model, 24)  # so few that all are learned from and measure
    result = vq.quantize(model, images, quick("minmax", 3, 3))
    assert [row.unit for row in result.report.units] == UNITS
    assert_reported(result, model, images)


OPTIONS = {
    "blocks": {"blocks": True},
    "affine": {"affine_lr": 1e-3},
    "weight scales": {"weight_scales": True},
    "fisher": {"weighting": "fisher"},
    "tokens": {"weighting": "tokens"},
    "perturbation": {"weighting": "perturbation"},
    "no divergence": {"kl_lambda": None},
    "bfloat16": {"autocast": True},
    "a short way": {"scale_travel": 0.01},
    "no drop": {"drop": 0.0},
    "all drop": {"drop": 1.0},
    "all at once": {"blocks": True, "affine_lr": 1e-3, "weight_scales": True, "weighting": "fisher"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_option_does_something_and_nothing_gets_worse(model, images, tmp_path, options) -> None:
    plain = vq.quantize(model, images, quick(iterations=8))
    result = vq.quantize(model, images, quick(iterations=8, **options))
    audit(result.model, Batch((images,)))
    assert_reported(result, model, images)
    assert not equal(state_of(result), state_of(plain))
    assert_saves(result, images, tmp_path)


def test_a_last_stage_makes_the_answers_better(model, pictures, tmp_path) -> None:
    images, settings = pictures(model, 31), {"iterations": 12, "weight_scales": True, "affine_lr": 1e-3}
    plain = vq.quantize(model, images, quick("repq", 3, 8, **settings))
    result = vq.quantize(model, images, quick("repq", 3, 8, finish=5, finish_bits=None, **settings))
    audit(result.model, Batch((images,)))
    *units, last = result.report.units
    assert [row.unit for row in units] == [row.unit for row in plain.report.units]
    assert last.unit == "whole model" and last.iterations == 60
    assert last.outcome == "reconstructed" and last.error_after < last.error_before
    for given, error in ((plain, last.error_before), (result, last.error_after)):
        assert error_of(given, model, "", images) == pytest.approx(error, rel=1e-3)
    assert_saves(result, images, tmp_path)


def test_a_last_stage_makes_the_tokens_better(tiny, pictures, tmp_path) -> None:
    """Of a model without a head, where the answer that is compared is every token."""
    model = tiny(depth=2, num_classes=0)
    images, settings = pictures(model, 31), {"iterations": 12, "weight_scales": True, "affine_lr": 1e-3}
    damages = []
    for finish in (0, 5):
        recipe = quick("repq", 3, 8, finish=finish, finish_bits=None, **settings)
        result = vq.quantize(model, images, recipe)
        found = vq.evaluate(result.model, images, model)
        damages.append(1 - (found.token_cosine + found.class_token_cosine) / 2)
    last = result.report.units[-1]
    assert last.unit == "whole model" and last.outcome == "reconstructed"
    assert [last.error_before, last.error_after] == pytest.approx(damages, rel=1e-3)
    assert damages[1] < damages[0]
    assert_saves(result, images, tmp_path)


@pytest.mark.parametrize(("held", "batch"), [(optimize.HELD, 8), (1, 1)])
def test_a_large_models_last_stage_takes_small_batches(model, images, monkeypatch, held, batch) -> None:
    reconstruct, sizes = import_module("vitq_core.passes.reconstruct"), []
    monkeypatch.setattr(optimize, "HELD", held)
    learn = optimize.learn
    monkeypatch.setattr(
        reconstruct, "learn", lambda *given: sizes.append(given[3].batch_size) or learn(*given)
    )
    vq.quantize(model, images, quick(finish=1, finish_bits=None))
    assert sizes == [8] * 6 + [batch]


@pytest.mark.parametrize(
    ("limit", "bits", "finishes"), [(2.5, 2, True), (2.5, 3, False), (3, 3, True), (None, 8, True)]
)
def test_a_last_stage_can_be_kept_for_narrow_weights(model, images, limit, bits, finishes) -> None:
    recipe = quick("repq", bits, 8, iterations=2, finish=1, finish_bits=limit)
    names = [row.unit for row in vq.quantize(model, images, recipe).report.units]
    assert ("whole model" in names) == finishes


def test_what_counts_for_the_last_stage_is_the_average_width(model, images) -> None:
    """One wide layer of many leaves the average just above 2 bits."""
    recipe = quick("repq", 2, 8, iterations=2, finish=1, finish_bits=2, bits={"head": (3, 8)})
    result = vq.quantize(model, images, recipe)
    assert result.report.avg_weight_bits > 2
    assert "whole model" not in [row.unit for row in result.report.units]


@pytest.mark.parametrize(("name", "gain"), [("minmax", 0.8), ("repq", 0.9), ("adfq", 0.85)])
def test_sixty_iterations_make_it_really_better_on_other_pictures(tiny, pictures, name, gain) -> None:
    """On the mean of five models: a single one can be lucky or not."""
    recipe = quick(name, 3, 4, iterations=60, batch_size=16)
    gains = []
    for seed in range(5):
        model = tiny(seed, depth=2, embed_dim=32, num_heads=2)
        images, others = pictures(model, 64), pictures(model, 64, seed=9)
        errors = []
        for chosen in (calibration(recipe), recipe):
            result = vq.quantize(model, images, chosen)
            with torch.no_grad():
                errors.append(float((result(others) - model(others)).square().mean()))
        gains.append(errors[1] / errors[0])
    assert sum(gains) / 5 < gain


def test_scales_of_eight_bits_are_not_undone(tiny, pictures) -> None:
    """Steps that suit 4 bits are as large as these scales: without a bound most units fall back."""
    model = tiny(depth=2, embed_dim=32, num_heads=2)
    images, kept = pictures(model, 64), []
    for travel in (1.0, None):
        recipe = quick("repq", 8, 8, iterations=60, weight_scales=True, scale_travel=travel)
        rows = vq.quantize(model, images, recipe).report.units
        kept.append(sum(row.outcome != "reconstructed" for row in rows))
    assert kept[0] < kept[1]


# -- nothing else is touched ---------------------------------------------------------------------------
def test_the_model_that_is_given_stays_as_it_is(tiny, pictures) -> None:
    model = tiny(depth=2, proj_drop_rate=0.3, drop_path_rate=0.3, attn_drop_rate=0.3)
    images = pictures(model, 8)
    model.train()
    model(images).sum().backward()
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    before = [(id(p), p.clone(), p.grad.clone(), p.requires_grad) for p in model.parameters()]
    given, states = images.clone(), (torch.get_rng_state(), random.getstate())
    vq.quantize(model, images, quick())
    assert torch.equal(images, given)
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert all(module.training for module in model.modules())
    assert [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()] == hooks
    for p, (identity, value, gradient, requires_grad) in zip(model.parameters(), before, strict=True):
        assert (id(p), p.requires_grad) == (identity, requires_grad)
        assert torch.equal(p, value) and torch.equal(p.grad, gradient)


def test_it_learns_also_where_gradients_are_off(model, images) -> None:
    with torch.no_grad():
        result = vq.quantize(model, images, quick())
    with torch.inference_mode():
        other = vq.quantize(model, images, quick())
    assert same(result, vq.quantize(model, images, quick()), images)
    assert same(result, other, images)


def test_the_seed_is_all_randomness(model, images) -> None:
    results = []
    for seed in (5, 5, 6):
        torch.manual_seed(len(results))
        results.append(vq.quantize(model, images, quick(), seed=seed))
    assert same(results[0], results[1], images)
    assert not equal(state_of(results[0]), state_of(results[2]))


def test_only_so_many_pictures_are_learned_from(model, pictures) -> None:
    images = pictures(model, 24)
    found = []
    hard_error = optimize.hard_error
    reconstruct = import_module("vitq_core.passes.reconstruct")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            reconstruct,
            "hard_error",
            lambda m, data: found.append(len(data.quant_input)) or hard_error(m, data),
        )
        result = vq.quantize(model, images, quick(pictures=16))
    assert set(found) == {16}
    assert result.report.pictures == 24, "all of them calibrate"


# -- what is heard -------------------------------------------------------------------------------------
@pytest.mark.usefixtures("every_iteration")
def test_a_watcher_hears_every_unit_in_order(model, images) -> None:
    heard: list[UnitProgress] = []
    result = vq.quantize(model, images, quick(), watch=heard.append)
    assert [(p.index, p.iteration) for p in heard] == [(i, n) for i in range(6) for n in (1, 2, 3, 3)]
    assert {(p.total, p.iterations) for p in heard} == {(6, 3)}
    assert [p.row.unit for p in heard[::4]] == UNITS
    assert [p.row for p in heard[3::4]] == list(result.report.units)
    for p in heard:
        done = p in heard[3::4]
        assert (p.row.outcome == "learning") != done
        assert len(p.row.losses) == p.iteration and p.row.iterations == p.iteration
        assert p.row.error_before == heard[4 * p.index].row.error_before
        assert p.seconds_left >= 0
    assert heard[-1].seconds_left == 0


@pytest.mark.usefixtures("every_iteration")
@pytest.mark.parametrize("name", ["repq", "lrp"])
def test_progress_goes_from_0_to_1(model, images, name: str) -> None:
    heard: list[tuple[float, str]] = []
    vq.quantize(model, images, quick(name), progress=lambda *said: heard.append(said))
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0 and heard[-1] == (1.0, "Quantized")
    assert max(b - a for a, b in pairwise(fractions)) < 0.35
    messages = [message for _, message in heard if message.startswith("Fine-tuning ")]
    assert "Fine-tuning blocks.0.attn: step 2 of 3, about 1 s left" in messages


def test_a_curve_has_at_most_sixty_points(model, images) -> None:
    result = vq.quantize(model, images, quick("minmax", iterations=70, batch_size=4))
    for row in result.report.units:
        assert row.iterations == 70 and len(row.losses) == 35
        assert all(isinstance(loss, float) for loss in row.losses)


# -- diverged ------------------------------------------------------------------------------------------
def test_a_unit_whose_loss_is_no_number_stays_as_calibrated_and_says_so(model, images, monkeypatch) -> None:
    calibrated = vq.quantize(model, images, calibration(quick()))
    output_loss, calls = optimize.output_loss, []

    def broken(output: Tensor, target: Tensor, *rest: object) -> Tensor:
        """Not finite in the second iteration of the second unit."""
        calls.append(1)
        return output_loss(output, target, *rest) * (torch.inf if len(calls) == 5 else 1.0)

    monkeypatch.setattr(optimize, "output_loss", broken)
    result = vq.quantize(model, images, quick())
    row = result.report.units[1]
    assert row.outcome == "kept as it was: the loss was not finite at iteration 1"
    assert row.error_after == row.error_before and row.iterations == 1
    assert equal(state_of(result, row.unit), state_of(calibrated, row.unit))
    assert [other.iterations for other in result.report.units] == [3, 1, 3, 3, 3, 3]
    audit(result.model, Batch((images,)))
    assert_reported_errors(result, model, images)


def assert_reported_errors(result: vq.QuantizeResult, model: nn.Module, images: Tensor) -> None:
    for row in result.report.units:
        assert error_of(result, model, row.unit, images) == pytest.approx(row.error_after, rel=1e-3), row


@pytest.mark.parametrize(
    "options", [{"rounding_lr": 1e6}, {"scale_lr": 1e6, "scale_travel": None}, {"affine_lr": 1e6}], ids=str
)
def test_units_that_only_got_worse_stay_as_calibrated_and_say_so(model, images, options) -> None:
    calibrated = vq.quantize(model, images, calibration(quick()))
    result = vq.quantize(model, images, quick(**options))
    kept = [row for row in result.report.units if row.outcome != "reconstructed"]
    assert len(kept) >= 3
    for row in kept:
        assert row.outcome.startswith("kept as it was: ")
        assert row.error_after == row.error_before
        assert equal(state_of(result, row.unit), state_of(calibrated, row.unit))
    audit(result.model, Batch((images,)))
    assert_reported_errors(result, model, images)
    assert all(tensor.isfinite().all() for tensor in state_of(result).values())


# -- bad input -----------------------------------------------------------------------------------------
def test_fewer_pictures_than_a_batch_are_a_sentence_before_anything_is_done(model, images) -> None:
    heard: list[str] = []
    sentence = "takes batches of 17 pictures and got 16 in all; give more, or set batch_size lower, or effort"
    with pytest.raises(ValueError, match=sentence):
        vq.quantize(model, images, quick(batch_size=17), progress=lambda _, message: heard.append(message))
    assert heard == ["Preparing"]
    with pytest.raises(ValueError, match="takes batches of 32 pictures and got 16"):
        vq.quantize(model, [images[:8], images[8:]], "adfq")
    assert vq.quantize(model, images, quick(batch_size=16)).report.units


@pytest.mark.parametrize("state", ["", 5, True])
def test_what_names_no_folder_is_a_sentence(model, images, state: object) -> None:
    with pytest.raises(ValueError, match="state must be the name of a folder, got"):
        vq.quantize(model, images, quick(), state=state)


# -- compared as a whole -------------------------------------------------------------------------------
@pytest.mark.parametrize("is_worse", [True, False])
def test_all_units_go_back_where_the_answers_got_worse(model, pictures, monkeypatch, is_worse: bool) -> None:
    images = pictures(model, 40)
    reconstruct = import_module("vitq_core.passes.reconstruct")
    monkeypatch.setattr(reconstruct, "worse", lambda *_, **__: is_worse)
    result = vq.quantize(model, images, quick("repq", 3, 8, iterations=8, compare=True))
    plain = vq.quantize(model, images, quick("repq", 3, 8, iterations=8))
    calibrated = vq.quantize(model, images, vq.recipe("repq", 3, 8, effort="none"))
    (row,) = result.report.stages
    assert (row.stage, row.kept) == ("reconstruct", not is_worse)
    assert row.before != row.after and not plain.report.stages
    assert equal(state_of(result), state_of(calibrated if is_worse else plain))
    audit(result.model, Batch((images,)))
    learned = [unit.outcome == "reconstructed" for unit in result.report.units]
    assert any(learned) is not is_worse
    undone = [unit for unit in result.report.units if "the answers were worse" in unit.outcome]
    assert bool(undone) is is_worse and all(unit.error_after == unit.error_before for unit in undone)


def test_the_whole_is_judged_by_pictures_that_nothing_was_learned_from(model, pictures, monkeypatch) -> None:
    reconstruct = import_module("vitq_core.passes.reconstruct")
    seen = []
    original = reconstruct.worse
    monkeypatch.setattr(
        reconstruct, "worse", lambda *both, **more: seen.append(both) or original(*both, **more)
    )
    images = pictures(model, 40)
    result = vq.quantize(model, images, quick("repq", 3, 8, iterations=4, pictures=36, compare=True))
    (before, after) = seen[0]
    assert len(before) == len(after) == 9  # a quarter of the 36 that take part
    task = TASKS["classification"]
    with torch.no_grad():
        own = [task.run(result.model, Batch((picture,))) for picture in images[27:36].split(1)]
        expected = [task.run(model, Batch((picture,))) for picture in images[27:36].split(1)]
    logs = torch.stack([task.loss(*pair) for pair in zip(own, expected, strict=True)]).double().log()
    torch.testing.assert_close(logs, after if result.report.stages[0].kept else before, rtol=0, atol=1e-2)


@pytest.mark.parametrize(("count", "known", "compared"), [(24, 0, False), (40, 8, True), (40, 40, False)])
def test_pictures_that_something_was_made_from_judge_nothing(
    model, pictures, monkeypatch, count: int, known: int, compared: bool
) -> None:
    """Weights that make up for rounding know theirs by heart; of fewer than 32 all are learned from."""
    monkeypatch.setattr(import_module("vitq_core.passes.reconstruct"), "MOST", known)
    recipe = replace(quick("repq", 3, 8, iterations=2, compare=True), passes=("calibrate", "compensate"))
    rows = vq.quantize(model, pictures(model, count), recipe).report.stages
    assert [row.stage for row in rows] == (["reconstruct"] if compared else [])
