"""Optional passes are tried on held-back pictures; one that makes the answers worse is struck."""

from dataclasses import replace

import pytest
import torch

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.data.calibration_set import CalibrationPictures
from vitq_core.passes import calibrate, stages
from vitq_core.recipes.steps import CALIBRATED, PASSES, Pass
from vitq_core.tasks import TASKS


def weights(model) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def spoil(run) -> None:
    """What no pass should do: all weights of a layer become zero."""
    name = next(name for name, layer in run.prepared.layers.items() if layer.weight is not None)
    run.simulation.float_weight(name).data.zero_()
    run.simulation.fit_weight(name)


@pytest.fixture
def spoiling(monkeypatch):
    monkeypatch.setitem(
        PASSES._entries, "spoil", Pass("spoil", spoil, needs=(CALIBRATED,), optional="spoiling")
    )


def compared(*passes: str, weight_bits: int = 4) -> vq.Recipe:
    options = {"importance": "sqnr"} if "allocate_budget" in passes else {}
    recipe = vq.recipe("lrp-budget", weight_bits, 4, effort="none", **options)
    return replace(recipe, passes=("compare_stages", *passes))


def codes(result: vq.QuantizeResult) -> dict[str, torch.Tensor]:
    simulation = result.model.vitq
    sites = simulation.sites()
    return {
        str(site): getattr(simulation.quantizer(site), simulation.quantizer(site).PARAMETERS[0])
        for site in sites
    }


def test_a_pass_that_harms_is_struck_and_reported(model, pictures, spoiling) -> None:
    images = pictures(model, 12)
    found = vq.quantize(model, images, compared("calibrate", "spoil"))
    (row,) = found.report.stages
    assert (row.stage, row.does, row.kept) == ("spoil", "spoiling", False)
    assert row.after > row.before > 0
    without = vq.quantize(model, images, replace(compared("calibrate"), passes=("calibrate",)))
    assert torch.equal(found.model(images), without.model(images))


def test_what_helps_is_kept_with_its_bits(model, pictures) -> None:
    images = pictures(model, 12)
    found = vq.quantize(model, images, compared("rotate_heads", "allocate_budget", "calibrate", "compensate"))
    rows = {row.stage: row for row in found.report.stages}
    assert list(rows) == ["compensate", "allocate_budget"], "what follows a pass is there when it is judged"
    compensation, budget = rows.values()
    assert budget.before == (compensation.after if compensation.kept else compensation.before)
    equal = vq.quantize(model, images, replace(compared("calibrate"), passes=("calibrate",))).bits
    assert (found.bits != equal) == budget.kept


def test_bits_that_are_given_leave_nothing_to_try(model, pictures) -> None:
    images = pictures(model, 12)
    given = vq.quantize(model, images, compared("allocate_budget", "calibrate")).bits
    recipe = replace(compared("allocate_budget", "calibrate", "compensate"), bits=given)
    found = vq.quantize(model, images, recipe)
    assert [row.stage for row in found.report.stages] == ["compensate"]
    assert found.bits == given


def test_a_pass_goes_on_from_the_trial_before_it(model, pictures, monkeypatch) -> None:
    """Calibrating is most of a trial's cost: what only comes after it needs no other."""
    fitted = []
    fit_all = calibrate.fit_all
    monkeypatch.setattr(calibrate, "fit_all", lambda *call: fitted.append(1) or fit_all(*call))
    found = vq.quantize(model, pictures(model, 12), compared("calibrate", "compensate"))
    assert len(found.report.stages) == 1
    assert len(fitted) == 2, "the trials' and the run's own"


@pytest.mark.parametrize(("step", "kept"), [("compensate", True), ("allocate_budget", False)])
def test_what_judged_itself_has_the_benefit_of_the_doubt(
    model, pictures, monkeypatch, step: str, kept: bool
) -> None:
    logs = torch.tensor([0.1, -0.2, 0.3, -0.1, 0.2, -0.3])
    measured = iter((logs, logs + torch.tensor([1.5, -0.5, -0.5, -0.4, 0.1, 0.1])))
    monkeypatch.setattr(stages, "log_errors", lambda *_: next(measured))
    plan = ("calibrate", step) if step == "compensate" else (step, "calibrate")
    (row,) = vq.quantize(model, pictures(model, 12), compared(*plan)).report.stages
    assert row.kept is kept


def test_an_error_is_the_geometric_mean_over_held_back_pictures(model, pictures, monkeypatch) -> None:
    seen = []
    worse = stages.worse
    monkeypatch.setattr(stages, "worse", lambda *both: seen.extend(both[:2]) or worse(*both))
    found = vq.quantize(model, pictures(model, 12), compared("calibrate", "compensate"))
    (row,) = found.report.stages
    assert [len(logs) for logs in seen] == [6, 6]  # half of them, one number each
    means = [float(logs.exp().prod() ** (1 / 6)) for logs in seen]
    assert [row.before, row.after] == pytest.approx(means)
    assert row.kept is not worse(*seen, 1.0)


def test_the_run_itself_uses_all_pictures_and_leaves_the_model_alone(model, pictures) -> None:
    images, before = pictures(model, 12), weights(model)
    found = vq.quantize(model, images, compared("calibrate", "compensate"))
    assert found.report.pictures == 12
    assert all(map(torch.equal, weights(model), before))
    again = vq.quantize(model, images, compared("calibrate", "compensate"))
    assert again.report.stages == found.report.stages != ()
    assert all(torch.equal(value, codes(again)[name]) for name, value in codes(found).items())


def test_with_too_few_pictures_nothing_is_tried(model, pictures, spoiling) -> None:
    found = vq.quantize(model, pictures(model, stages.FEWEST - 1), compared("calibrate", "spoil"))
    assert found.report.stages == ()
    plain = replace(compared("calibrate", "spoil"), passes=("calibrate", "spoil"))
    images = pictures(model, stages.FEWEST - 1)
    assert torch.equal(found.model(images), vq.quantize(model, images, plain).model(images))


def test_features_are_judged_by_their_cosines(tiny, pictures, spoiling) -> None:
    headless = tiny(num_classes=0)
    found = vq.quantize(headless, pictures(headless, 12), compared("calibrate", "spoil"))
    (row,) = found.report.stages
    assert not row.kept
    assert 0 < row.before < row.after <= 2


def test_cancelled_among_the_trials_nothing_is_changed(model, pictures) -> None:
    heard, before = [], weights(model)
    with pytest.raises(vq.Cancelled):
        vq.quantize(
            model, pictures(model, 12), compared("calibrate", "compensate"),
            progress=lambda done, text: heard.append(done), cancel=lambda: len(heard) > 6,
        )  # fmt: skip
    assert heard == sorted(heard)
    assert all(map(torch.equal, weights(model), before))


def test_the_report_is_saved_with_the_model(model, pictures, tmp_path) -> None:
    found = vq.quantize(model, pictures(model, 12), compared("calibrate", "compensate"))
    vq.save_quantized(found, tmp_path)
    assert vq.load_quantized(tmp_path).report.stages == found.report.stages


@pytest.mark.parametrize("count", [8, 37, 200])
@pytest.mark.parametrize("batch", [1, 5, 64])
def test_pictures_are_held_back_evenly_however_they_came(count: int, batch: int) -> None:
    images = torch.arange(count).float().reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    with CalibrationPictures(images.split(batch), TASKS["classification"].collate) as given:
        rest, held = given.parted(4, 128)
        with rest:
            calibrating = Batch.joined(list(rest)).args[0][:, 0, 0, 0]
    (held,), most = held.args, min(count, 128)
    assert held[:, 0, 0, 0].tolist() == list(range(3, most, 4))
    assert sorted([*calibrating.tolist(), *held[:, 0, 0, 0].tolist()]) == list(range(most))
