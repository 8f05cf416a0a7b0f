"""Reconstruction from end to end: better or as calibrated, the same every time, stopped and gone on with."""

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.audit import audit
from vitq_core.reconstruction import UnitProgress, optimize, progress
from vitq_core.report import UnitRow

CHUNK = 32
QUICK = {"effort": "quick", "iterations": 3, "batch_size": 8, "autocast": False}
UNITS = ["patch_embed.proj", "blocks.0.attn", "blocks.0.mlp", "blocks.1.attn", "blocks.1.mlp", "head"]


@pytest.fixture(autouse=True)
def home(spill) -> Path:
    return spill


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So that a child process adds up in the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def every_iteration(monkeypatch) -> None:
    """Watchers hear of every iteration."""
    monkeypatch.setattr(progress, "EVERY", 0.0)


@pytest.fixture
def images(model, pictures) -> Tensor:
    return pictures(model, 16)


def quick(name: str = "repq", weight_bits: int = 4, act_bits: int = 4, **options) -> vq.Recipe:
    return vq.recipe(name, weight_bits, act_bits, **{**QUICK, **options})


def state_of(result: vq.QuantizeResult, unit: str = "") -> dict[str, Tensor]:
    module = result.model.get_submodule(unit)
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def same(one: vq.QuantizeResult, other: vq.QuantizeResult, images: Tensor) -> bool:
    """Bit for bit: tensors, outputs, and what is reported of the units apart from the time."""
    rows = [[replace(row, seconds=0.0) for row in result.report.units] for result in (one, other)]
    with torch.no_grad():
        outputs = torch.equal(one(images), other(images))
    return outputs and rows[0] == rows[1] and equal(state_of(one), state_of(other))


def output_of(model: nn.Module, unit: str, images: Tensor) -> Tensor:
    found: list[Tensor] = []
    hook = model.get_submodule(unit).register_forward_hook(lambda _, x, y: found.append(y.clone()))
    with torch.no_grad():
        for chunk in images.split(CHUNK):
            model(chunk)
    hook.remove()
    return torch.cat(found)


def error_of(result: vq.QuantizeResult, model: nn.Module, unit: str, images: Tensor) -> float:
    """``‖O − Ô‖² / ‖O‖²`` in whole forwards of the model that was given and of the result."""
    wanted = output_of(model, unit, images).double()
    noise = output_of(result.model, unit, images) - wanted
    return float(noise.square().sum() / wanted.square().sum())


def assert_reported(result: vq.QuantizeResult, model: nn.Module, images: Tensor) -> None:
    for row in result.report.units:
        assert 0 < row.error_after <= row.error_before
        assert (row.outcome == "reconstructed") == (row.error_after < row.error_before)
        assert row.outcome == "reconstructed" or row.outcome.startswith("kept as it was: ")
        assert error_of(result, model, row.unit, images) == pytest.approx(row.error_after, rel=1e-3), row
        assert len(row.losses) == row.iterations and row.seconds > 0


def assert_began_as_calibrated(result: vq.QuantizeResult, model: nn.Module, images: Tensor) -> None:
    first, calibrated = result.report.units[0], vq.quantize(model, images, calibration(result.recipe))
    assert error_of(calibrated, model, first.unit, images) == pytest.approx(first.error_before, rel=1e-3)


def calibration(recipe: vq.Recipe) -> vq.Recipe:
    return replace(recipe, options=replace(recipe.options, effort="none", reconstruction={}))


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
    audit(result.model, images)
    assert_reported(result, model, images)
    if name != "vitq":  # its choices take longest
        assert_began_as_calibrated(result, model, images)
    assert not result.report.cancelled
    blocks = result.recipe.options.schedule.blocks
    units = ["patch_embed.proj", "blocks.0", "blocks.1", "head"] if blocks else UNITS
    assert [row.unit for row in result.report.units] == units
    assert any(row.outcome == "reconstructed" for row in result.report.units)
    assert all(row.iterations == 3 for row in result.report.units)
    if mixed:
        assert {layer: result.bits[layer] for layer in MIXED} == MIXED
    assert not any(module.training for module in result.model.modules())
    assert not any(p.requires_grad for p in result.model.parameters())
    assert not any(buffer.requires_grad for buffer in result.model.buffers())
    assert_saves(result, images, tmp_path)


def assert_saves(result: vq.QuantizeResult, images: Tensor, folder: Path) -> None:
    """And loads bit for bit."""
    loaded = vq.load_quantized(vq.save_quantized(result, folder))
    assert (loaded.report.units, loaded.report.cancelled) == (result.report.units, result.report.cancelled)
    assert all(isinstance(row, UnitRow) and isinstance(row.losses, tuple) for row in loaded.report.units)
    assert loaded.recipe == result.recipe
    audit(loaded.model, images)
    with torch.no_grad():
        assert torch.equal(loaded(images), result(images))


def test_every_variant_is_reconstructed(variant, pictures) -> None:
    images = pictures(variant, 4)
    result = vq.quantize(variant, images, quick("adfq", iterations=2, batch_size=4))
    audit(result.model, images)
    assert len(result.report.units) >= 3
    assert_reported(result, variant, images)


def test_a_model_that_is_no_chain_is_reconstructed(tiny, pictures) -> None:
    model = tiny(interleaved=True, depth=2)
    images = pictures(model, 40)
    result = vq.quantize(model, images, quick("minmax", 3, 3))
    assert [row.unit for row in result.report.units] == UNITS
    assert_reported(result, model, images)


OPTIONS = {
    "blocks": {"blocks": True},
    "affine": {"affine_lr": 1e-3},
    "weight scales": {"weight_scales": True},
    "fisher": {"weighting": "fisher"},
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
    audit(result.model, images)
    assert_reported(result, model, images)
    assert not equal(state_of(result), state_of(plain))
    assert_saves(result, images, tmp_path)


def test_a_last_stage_makes_the_answers_better(model, images, tmp_path) -> None:
    recipe = quick("repq", 3, 3)
    plain = vq.quantize(model, images, recipe)
    result = vq.quantize(model, images, quick("repq", 3, 3, finish=5, weight_scales=True, affine_lr=1e-3))
    audit(result.model, images)
    *_, last = result.report.units
    assert last.unit == "whole model" and last.iterations == 5 * plain.report.units[-1].iterations
    assert last.outcome == "reconstructed" and last.error_after < last.error_before
    wanted = model(images).detach()
    with torch.no_grad():
        error = float((result(images) - wanted).square().sum() / wanted.square().sum())
    assert error == pytest.approx(last.error_after, rel=1e-3)
    assert len(result.report.units) == len(plain.report.units) + 1
    assert_saves(result, images, tmp_path)


@pytest.mark.parametrize(("name", "gain"), [("minmax", 0.8), ("repq", 0.92), ("adfq", 0.85)])
def test_sixty_iterations_make_it_really_better_on_other_pictures(tiny, pictures, name, gain) -> None:
    model = tiny(depth=2, embed_dim=32, num_heads=2)
    images, others = pictures(model, 64), pictures(model, 64, seed=9)
    recipe = quick(name, 3, 4, iterations=60, batch_size=16)
    errors = []
    for chosen in (calibration(recipe), recipe):
        result = vq.quantize(model, images, chosen)
        with torch.no_grad():
            errors.append(float((result(others) - model(others)).square().mean()))
    assert errors[1] < gain * errors[0]


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
    reconstruct = import_module("vitq_core.reconstruction.reconstruct")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            reconstruct, "hard_error", lambda m, feed: found.append(feed.given.count) or hard_error(m, feed)
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
    assert fractions[0] == 0.0 and heard[-1] == (1.0, "done")
    assert max(b - a for a, b in pairwise(fractions)) < 0.35
    messages = [message for _, message in heard if message.startswith("reconstruct ")]
    assert "reconstruct blocks.0.attn: 2 of 3, about 1 s left" in messages


def test_a_curve_has_at_most_sixty_points(model, images) -> None:
    result = vq.quantize(model, images, quick("minmax", iterations=70, batch_size=4))
    for row in result.report.units:
        assert row.iterations == 70 and len(row.losses) == 35
        assert all(isinstance(loss, float) for loss in row.losses)


# -- cancelled -----------------------------------------------------------------------------------------
def cancelling(at: Callable[[UnitProgress], bool]) -> tuple[Callable, Callable]:
    """(watch, cancel) that stop once ``at`` says so."""
    said: list[bool] = []
    return (lambda heard: said.append(True) if at(heard) else None), (lambda: bool(said))


STOPS = {
    "inside a unit": (lambda p: (p.index, p.iteration) == (2, 2), 2),
    "between two": (lambda p: p.index == 2 and p.row.outcome != "learning", 3),
    "inside the first": (lambda p: p.iteration == 1, 0),
    "inside the last": (lambda p: (p.index, p.iteration) == (5, 1), 5),
}


@pytest.mark.usefixtures("every_iteration")
@pytest.mark.parametrize(("at", "done"), STOPS.values(), ids=STOPS)
def test_cancelled_it_is_usable_and_goes_on_from_there(model, images, home, tmp_path, at, done) -> None:
    whole = vq.quantize(model, images, quick())
    calibrated = vq.quantize(model, images, calibration(quick()))
    watch, cancel = cancelling(at)
    heard: list[float] = []
    progress_ = lambda fraction, _: heard.append(fraction)  # noqa: E731
    result = vq.quantize(model, images, quick(), progress=progress_, watch=watch, cancel=cancel)
    assert result.report.cancelled and heard[-1] < 1.0
    assert [row.unit for row in result.report.units] == UNITS[:done]
    for index, unit in enumerate(UNITS):
        expected = whole if index < done else calibrated
        assert equal(state_of(result, unit), state_of(expected, unit)), unit
    audit(result.model, images)
    assert_saves(result, images, tmp_path / "saved")
    resumed: list[UnitProgress] = []
    again = vq.quantize(model, images, quick(), watch=resumed.append)
    learned = {p.index for p in resumed if p.row.outcome == "learning"}
    assert learned == set(range(done, 6)), "units that were done are not learned again"
    assert same(again, whole, images)
    assert list((home / "runs").iterdir()) == []


def test_cancelled_while_it_calibrates_there_is_no_result(model, images, home) -> None:
    with pytest.raises(vq.Cancelled, match="unchanged"):
        vq.quantize(model, images, quick(), cancel=lambda: True)
    assert not (home / "runs").exists()


class Broken(Exception):
    """What a callback may raise."""


@pytest.mark.usefixtures("every_iteration")
def test_an_exception_of_the_watcher_comes_through_and_what_was_done_is_kept(model, images, home) -> None:
    def watch(heard: UnitProgress) -> None:
        if (heard.index, heard.iteration) == (3, 2):
            raise Broken

    whole = vq.quantize(model, images, quick())
    with pytest.raises(Broken):
        vq.quantize(model, images, quick(), watch=watch)
    (folder,) = (home / "runs").iterdir()
    assert len(list(folder.glob("*.safetensors"))) == 3
    assert [path for path in home.iterdir() if path.name != "runs"] == [], "activations are gone"
    assert same(vq.quantize(model, images, quick()), whole, images)


# -- diverged ------------------------------------------------------------------------------------------
def test_a_unit_whose_loss_is_no_number_stays_as_calibrated_and_says_so(model, images, monkeypatch) -> None:
    calibrated = vq.quantize(model, images, calibration(quick()))
    output_loss, calls = optimize.output_loss, []

    def broken(output: Tensor, wanted: Tensor, *rest: object) -> Tensor:
        """Not finite in the second iteration of the second unit."""
        calls.append(1)
        return output_loss(output, wanted, *rest) * (torch.inf if len(calls) == 5 else 1.0)

    monkeypatch.setattr(optimize, "output_loss", broken)
    result = vq.quantize(model, images, quick())
    row = result.report.units[1]
    assert row.outcome == "kept as it was: the loss was not finite at iteration 1"
    assert row.error_after == row.error_before and row.iterations == 1
    assert equal(state_of(result, row.unit), state_of(calibrated, row.unit))
    assert [other.iterations for other in result.report.units] == [3, 1, 3, 3, 3, 3]
    audit(result.model, images)
    assert_reported_errors(result, model, images)


def assert_reported_errors(result: vq.QuantizeResult, model: nn.Module, images: Tensor) -> None:
    for row in result.report.units:
        assert error_of(result, model, row.unit, images) == pytest.approx(row.error_after, rel=1e-3), row


@pytest.mark.parametrize("options", [{"rounding_lr": 1e6}, {"scale_lr": 1e6}, {"affine_lr": 1e6}], ids=str)
def test_units_that_only_got_worse_stay_as_calibrated_and_say_so(model, images, options) -> None:
    calibrated = vq.quantize(model, images, calibration(quick()))
    result = vq.quantize(model, images, quick(**options))
    kept = [row for row in result.report.units if row.outcome != "reconstructed"]
    assert len(kept) >= 3
    for row in kept:
        assert row.outcome.startswith("kept as it was: ")
        assert row.error_after == row.error_before
        assert equal(state_of(result, row.unit), state_of(calibrated, row.unit))
    audit(result.model, images)
    assert_reported_errors(result, model, images)
    assert all(tensor.isfinite().all() for tensor in state_of(result).values())


# -- kept on disk --------------------------------------------------------------------------------------
def test_its_own_folder_is_gone_after_success(model, images, home) -> None:
    vq.quantize(model, images, quick())
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_a_folder_that_was_named_stays_and_is_not_learned_again(model, images, home, tmp_path) -> None:
    first = vq.quantize(model, images, quick(), state=tmp_path / "a" / "state")
    files = sorted(path.name for path in (tmp_path / "a" / "state").iterdir())
    assert files == [*(f"{i:03d}-{unit}.safetensors" for i, unit in enumerate(UNITS)), "run.json"]
    heard: list[UnitProgress] = []
    again = vq.quantize(model, images, quick(), state=str(tmp_path / "a" / "state"), watch=heard.append)
    assert again.report.units == first.report.units
    assert same(again, first, images)
    assert [p.index for p in heard] == list(range(6))
    assert not (home / "runs").exists()


def nudged(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        model.blocks[1].mlp.fc1.bias[3] += 1e-3
    return model


OTHERS = {
    "recipe": lambda model, images: (model, images, quick("crl"), 0),
    "bits": lambda model, images: (model, images, quick(weight_bits=5), 0),
    "iterations": lambda model, images: (model, images, quick(iterations=4), 0),
    "one bias": lambda model, images: (nudged(model), images, quick(), 0),
    "pictures": lambda model, images: (model, images.flip(0), quick(), 0),
    "seed": lambda model, images: (model, images, quick(), 1),
}


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_a_folder_of_another_run_is_refused(model, images, tmp_path, make) -> None:
    vq.quantize(model, images, quick(), state=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    model_, images_, recipe, seed = make(model, images)
    with pytest.raises(vq.VitqError, match=r"belongs to another run \(model, recipe, pictures or seed diff"):
        vq.quantize(model_, images_, recipe, seed=seed, state=tmp_path)
    assert {path: path.read_bytes() for path in before} == before


def test_a_damaged_unit_is_a_sentence_and_without_it_the_run_goes_on(model, images, tmp_path) -> None:
    whole = vq.quantize(model, images, quick(), state=tmp_path)
    path = tmp_path / "002-blocks.0.mlp.safetensors"
    good = path.read_bytes()
    for bad in (good[: len(good) // 2], b"", (tmp_path / "001-blocks.0.attn.safetensors").read_bytes()):
        path.write_bytes(bad)
        with pytest.raises(vq.VitqError, match=r"002-blocks.0.mlp.safetensors is damaged; delete it"):
            vq.quantize(model, images, quick(), state=tmp_path)
    path.unlink()
    assert same(vq.quantize(model, images, quick(), state=tmp_path), whole, images)


@contextmanager
def small_files() -> Iterator[Callable[[], None]]:
    """Gives a function after which no file may grow beyond 2000 bytes, as on a disk that runs full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_a_sentence_and_with_room_again_the_run_goes_on(model, images, tmp_path) -> None:
    whole = vq.quantize(model, images, quick())
    sentence = r"the state of blocks.1.attn cannot be written to .*: .*File too large"
    with small_files() as full, pytest.raises(vq.VitqError, match=sentence):
        watch = lambda heard: full() if heard.row.unit == "blocks.0.mlp" else None  # noqa: E731
        vq.quantize(model, images, quick(), state=tmp_path, watch=watch)
    assert sorted(path.name[:3] for path in tmp_path.glob("*.safetensors")) == ["000", "001", "002"]
    heard: list[UnitProgress] = []
    resumed = vq.quantize(model, images, quick(), state=tmp_path, watch=heard.append)
    assert same(resumed, whole, images)
    assert len(heard) >= 6


KILLED = """
import os, sys, time
sys.path.insert(0, sys.argv[2])
import torch
torch.set_num_threads(1)
import vitq_core as vq
from vitq_core.reconstruction import progress
progress.EVERY = 0.0
model, images, recipe = torch.load(sys.argv[1], weights_only=False)
for line in sys.stdin:  # one child each, which the test kills; importing takes longest
    child = os.fork()
    if child == 0:
        vq.quantize(model, images, vq.Recipe.from_json(recipe), seed=3, watch=lambda _: time.sleep(0.01))
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_killed_three_times_it_ends_as_if_it_never_was(model, images, home, tmp_path) -> None:
    recipe, moments = quick("adfq", iterations=12), random.Random(os.getpid())
    whole = vq.quantize(model, images, recipe, seed=3)
    torch.save((model, images, recipe.to_json()), tmp_path / "given")
    arguments = [sys.executable, "-c", KILLED, str(tmp_path / "given"), str(Path(vq.__file__).parents[1])]
    kept: list[int] = []
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        for units in (1, 2, 4):
            print(file=parent.stdin, flush=True)
            child = int(parent.stdout.readline())
            wait_for(lambda n=units: len(finished(home)) >= n)
            time.sleep(moments.uniform(0.0, 0.1))
            os.kill(child, signal.SIGKILL)
            assert int(parent.stdout.readline()) == -signal.SIGKILL
            kept.append(len(finished(home)))
    assert 1 <= kept[0] <= kept[1] <= kept[2] < 6 and kept[2] >= 4
    heard: list[UnitProgress] = []
    resumed = vq.quantize(model, images, recipe, seed=3, watch=heard.append)
    assert {p.index for p in heard if p.row.outcome == "learning"} <= set(range(kept[2], 6))
    assert same(resumed, whole, images)
    assert list((home / "runs").iterdir()) == []


def finished(home: Path) -> list[Path]:
    return list((home / "runs").glob("*/*.safetensors"))


def wait_for(there: Callable[[], bool]) -> None:
    for _ in range(12_000):
        if there():
            return
        time.sleep(0.005)
    raise TimeoutError


# -- bad input -----------------------------------------------------------------------------------------
def test_fewer_pictures_than_a_batch_are_a_sentence_before_anything_is_done(model, images) -> None:
    heard: list[str] = []
    sentence = "takes batches of 17 pictures and got 16 in all; give more, or set batch_size lower, or effort"
    with pytest.raises(ValueError, match=sentence):
        vq.quantize(model, images, quick(batch_size=17), progress=lambda _, message: heard.append(message))
    assert heard == ["preparing"]
    with pytest.raises(ValueError, match="takes batches of 32 pictures and got 16"):
        vq.quantize(model, [images[:8], images[8:]], "adfq")
    assert vq.quantize(model, images, quick(batch_size=16)).report.units


@pytest.mark.parametrize("state", ["", 5, True])
def test_what_names_no_folder_is_a_sentence(model, images, state: object) -> None:
    with pytest.raises(ValueError, match="state must be the name of a folder, got"):
        vq.quantize(model, images, quick(), state=state)
