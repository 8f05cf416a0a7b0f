"""How one unit is learned: batches and QDrop, the pull towards whole codes, steps, errors, restoring."""

from dataclasses import replace
from math import cos, inf, pi
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.data.calibration_set import CalibrationPictures
from vitq_core.data.store import Scratch, TreeStore
from vitq_core.graph.site import Layer, Unit
from vitq_core.passes.reconstruct import set_unit
from vitq_core.quantized.simulation import Simulation
from vitq_core.quantizers import Uniform
from vitq_core.recipes.schedule import Schedule
from vitq_core.reconstruction import optimize
from vitq_core.reconstruction.optimize import (
    Learned,
    _Batches,
    _pull,
    hard_error,
    learn,
    learning_scales,
    pieces,
    uses_bfloat16,
)
from vitq_core.reconstruction.unit_inputs import UnitData, UnitInputs
from vitq_core.tasks import TASKS

from ..sam import records
from .stored import everything, kept, only_tensor

CPU = torch.device("cpu")


def stored(values: Any, rows: int | None = None) -> TreeStore:
    store = TreeStore(rows=rows or len(values))
    store.append(values)
    return store


def called(values: Tensor) -> TreeStore:
    """What a unit is called with."""
    return stored(((values,), {}), len(values))


def data_of(quant_input: Tensor, fp_input: Tensor) -> UnitData:
    pictures = kept(torch.zeros(len(quant_input), 1, 1, 1))
    return UnitData(pictures, called(quant_input), called(fp_input), stored(fp_input), [])


def drawn(batches: _Batches) -> tuple[Tensor, Tensor]:
    """The next batch's input and numbers, of one piece."""
    ((x, index),) = next(batches)
    return only_tensor(x), index


def batches_of(
    count: int, seed: int = 0, shape: tuple[int, ...] = (7, 9), piece: int = 10**6, **options
) -> _Batches:
    """Row i of the quantized inputs is full of i, of the full-precision ones of −1 − i."""
    values = torch.arange(float(count)).reshape(-1, *[1] * len(shape)).expand(count, *shape)
    schedule = Schedule(**{"batch_size": 4, **options})
    return _Batches(data_of(values, -1 - values), schedule, seed, piece, CPU)


# -- batches -------------------------------------------------------------------------------------------
@settings(max_examples=40)
@given(count=st.integers(4, 31), seed=st.integers(0, 2**40))
def test_no_picture_comes_twice_before_all_that_fit_have_come(count: int, seed: int) -> None:
    batches = batches_of(count, seed, drop=0.0)
    orders = []
    for _ in range(3):
        order = []
        for _ in range(count // 4):
            x, index = drawn(batches)
            assert torch.equal(x[:, 0, 0], index.float())
            order += index.tolist()
        assert len(set(order)) == len(order) == 4 * (count // 4)
        orders.append(order)
    if count > 12:
        assert orders[0] != orders[1] != orders[2]


def test_pictures_that_measure_are_not_trained_on() -> None:
    batches = batches_of(256, shape=(1, 1), batch_size=32)
    seen = {i for _ in range(14) for i in drawn(batches)[1].tolist()}
    assert seen == set(range(224))


@pytest.mark.parametrize("drop", [0.0, 0.25, 0.5, 1.0])
def test_each_element_is_the_full_precision_one_with_probability_drop(drop: float) -> None:
    batches = batches_of(8, shape=(50, 51), batch_size=8, drop=drop)
    x, index = drawn(batches)
    own = index.float().reshape(-1, 1, 1).expand_as(x)
    clean = x == -1 - own
    assert torch.equal(x, torch.where(clean, -1 - own, own))
    assert float(clean.float().mean()) == pytest.approx(drop, abs=0.02)
    if 0 < drop < 1:
        per_place = clean.float().mean((1, 2))
        assert per_place == pytest.approx([drop] * 8, abs=0.05)
        again, _ = drawn(batches)
        assert ((again < 0) != clean).float().mean() > 0.3, "drawn anew for every batch"


def test_the_seed_decides_the_batches() -> None:
    first, same, other = (batches_of(16, seed) for seed in (1, 1, 2))
    for _ in range(6):
        (x, i), (y, j), (z, k) = drawn(first), drawn(same), drawn(other)
        assert torch.equal(x, y) and torch.equal(i, j)
        assert not torch.equal(x, z) and not torch.equal(i, k)


def test_the_data_is_not_written_over() -> None:
    batches = batches_of(8)
    for _ in range(5):
        drawn(batches)
    data = batches._data
    assert torch.equal(everything(data.quant_input)[:, 0, 0], torch.arange(8.0))
    assert torch.equal(everything(data.fp_input)[:, 0, 0], -1 - torch.arange(8.0))


@pytest.mark.parametrize("drop", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("piece", [1, 3, 4, 5])
def test_pieces_make_the_batch(piece: int, drop: float) -> None:
    whole, cut = batches_of(16, drop=drop), batches_of(16, drop=drop, piece=piece)
    for _ in range(5):
        x, index = drawn(whole)
        parts = list(next(cut))
        assert [len(numbers) for _, numbers in parts] == [len(part) for part in index.split(piece)]
        assert torch.equal(everything(part for part, _ in parts), x)
        assert torch.equal(torch.cat([numbers for _, numbers in parts]), index)


@pytest.mark.parametrize("drop", [0.0, 0.5, 1.0])
def test_pictures_of_their_own_shapes_come_one_at_a_time(drop: float) -> None:
    """With all that a unit is called with, each tensor mixed, and what is none as it is."""
    quantized, full = TreeStore(), TreeStore()
    for number in range(9):
        for store, value in ((quantized, number), (full, -1 - number)):
            tensors = torch.full((1 + number, 40), float(value)), torch.full((2, 30 + number), float(value))
            store.append(((tensors[0], "how"), {"more": tensors[1], "scale": number}))
    pictures = CalibrationPictures(records(9), TASKS["segmentation"].collate, chunk=1).kept(9, Scratch())
    data = UnitData(pictures, quantized, full, TreeStore(), [])
    assert data.together == 1
    batches = _Batches(data, Schedule(batch_size=4, drop=drop), 0, 10**6, CPU)
    for _ in range(5):
        parts = list(next(batches))
        assert [len(index) for _, index in parts] == [1] * 4
        assert len({int(index) for _, index in parts}) == 4
        for ((x, how), options), index in parts:
            number = int(index)
            assert how == "how" and options["scale"] == number
            assert x.shape == (1 + number, 40) and options["more"].shape == (2, 30 + number)
            for tensor in (x, options["more"]):
                clean = tensor == -1 - number
                assert torch.equal(tensor, torch.where(clean, -1.0 - number, float(number)))
                assert float(clean.float().mean()) == pytest.approx(drop, abs=0.3)
    for number in range(9):
        for store, value in ((quantized, number), (full, -1 - number)):
            ((x, _), options) = store[torch.tensor([number])]
            assert (x == value).all() and (options["more"] == value).all()


# -- schedule over the iterations ----------------------------------------------------------------------
def test_the_pull_starts_after_the_warm_up_and_sharpens() -> None:
    schedule = Schedule(iterations=10, warmup=0.2, beta_start=20.0, beta_end=2.0, rounding_weight=0.03)
    found = [_pull(schedule, iteration) for iteration in range(10)]
    assert [weight for weight, _ in found] == [0.0, 0.0, *[0.03] * 8]
    assert [beta for _, beta in found[2:]] == pytest.approx([20 - 18 * k / 8 for k in range(8)])


@pytest.mark.parametrize(("warmup", "pulled"), [(0.0, 5), (1.0, 0)])
def test_warm_ups_of_nothing_and_of_all(warmup: float, pulled: int) -> None:
    schedule = Schedule(iterations=5, warmup=warmup)
    assert sum(_pull(schedule, iteration)[0] > 0 for iteration in range(5)) == pulled


# -- one unit ------------------------------------------------------------------------------------------
@pytest.fixture
def images(model, pictures) -> Tensor:
    return pictures(model, 16)


@pytest.fixture
def simulation(model, images, calibrating) -> Simulation:
    return vq.quantize(model, images, calibrating("repq", 4, 4)).model.vitq


SCHEDULE = Schedule(iterations=6, batch_size=8, autocast=False)


def gathered(simulation: Simulation, images: Tensor, name: str):
    """(unit, data)"""
    family, module = simulation.family, simulation.module
    inputs = UnitInputs(
        module,
        simulation.fp_model(),
        family.units(module),
        family.blocks(module),
        kept(images),
        SCHEDULE.temperature,
    )
    return next((unit, gather()) for unit, gather in inputs if unit.name == name)


UNITS = ["patch_embed.proj", "blocks.0.attn", "blocks.1.mlp", "head"]


@pytest.mark.parametrize("name", UNITS)
def test_measuring_gives_noise_over_signal_and_leaves_the_data_alone(simulation, images, name: str) -> None:
    unit, data = gathered(simulation, images, name)
    quant_input, target = (everything(store).clone() for store in (data.quant_input, data.target))
    module = simulation.layer(unit.name)
    output = module(quant_input.clone()).detach()  # gradients on: nothing is overwritten
    expected = float((output - target).double().square().sum() / target.double().square().sum())
    for _ in range(2):
        assert hard_error(module, data) == pytest.approx(expected, rel=1e-5)
    assert torch.equal(everything(data.quant_input), quant_input)
    assert torch.equal(everything(data.target), target)


@pytest.mark.parametrize("name", UNITS)
def test_learning_leaves_whole_codes_and_fixed_scales(simulation, images, name: str) -> None:
    unit, data = gathered(simulation, images, name)
    state = {key: tensor.clone() for key, tensor in simulation.module.state_dict().items()}
    heard: list[tuple[int, float]] = []
    learn(simulation, unit, data, SCHEDULE, 0, lambda *said: heard.append(said))
    assert [iteration for iteration, _ in heard] == list(range(6))
    for layer in simulation.layers.values():
        for site in layer.sites:
            assert not simulation.quantizer(site).scale.requires_grad
        if layer.weight is not None and unit.holds(layer.name):
            weight, quantizer = simulation.float_weight(layer.name), simulation.quantizer(layer.weight)
            assert torch.equal(quantizer(weight), weight), "a weight is what its codes stand for"
            assert torch.equal(simulation.layer(layer.name).weight, weight)
            codes, before = (quantizer.encode(w) for w in (weight, state[weight_key(layer.name)]))
            assert (codes - before).abs().max() <= 1, "up or down, no further"
    changed = {
        key for key, tensor in simulation.module.state_dict().items() if not torch.equal(tensor, state[key])
    }
    expected = {
        f"{n}.input_quantizers.{i}.scale" for n in layers_of(simulation, unit) for i in inputs(simulation, n)
    }
    expected |= {
        weight_key(n) for n in layers_of(simulation, unit) if simulation.layers[n].weight is not None
    }
    assert changed == expected, "rounding and activation scales of this unit, nothing else"


def weight_key(name: str) -> str:
    return f"{name}.parametrizations.weight.original"


def layers_of(simulation: Simulation, unit) -> list[str]:
    return [name for name in simulation.layers if unit.holds(name)]


def inputs(simulation: Simulation, name: str) -> range:
    return range(len(simulation.layers[name].inputs))


def test_affine_parameters_and_weight_scales_are_learned_where_asked(simulation, images) -> None:
    unit, data = gathered(simulation, images, "blocks.0.mlp")
    state = {key: tensor.clone() for key, tensor in simulation.module.state_dict().items()}
    schedule = Schedule(iterations=6, batch_size=8, autocast=False, affine_lr=1e-3, weight_scales=True)
    learn(simulation, unit, data, schedule, 0, lambda *_: None)
    changed = {
        key for key, tensor in simulation.module.state_dict().items() if not torch.equal(tensor, state[key])
    }
    mlp = "blocks.0.mlp"
    assert {key for key in changed if key.endswith(".bias")} == {f"{mlp}.fc1.bias", f"{mlp}.fc2.bias"}
    scales = {f"{mlp}.{fc}.parametrizations.weight.0.quantizer.scale" for fc in ("fc1", "fc2")}
    assert {key for key in changed if "weight.0.quantizer" in key} == scales
    assert all(key.startswith(mlp) for key in changed)
    assert not any(parameter.requires_grad for parameter in simulation.module.parameters())
    assert all(parameter.grad is None for parameter in simulation.module.parameters())


def test_the_divergence_counts_by_one_over_lambda(simulation, images) -> None:
    unit, data = gathered(simulation, images, "blocks.0.attn")
    ((x, index),) = next(_Batches(data, SCHEDULE, 0, SCHEDULE.batch_size, CPU))
    module = simulation.layer(unit.name)
    found = {
        k: optimize._loss(
            module, unit, data, Schedule(batch_size=8, kl_lambda=k, autocast=False), x, index
        ).item()
        for k in (None, 0.1, 0.2)
    }
    divergence = 0.1 * (found[0.1] - found[None])
    assert divergence > 0
    assert found[0.2] == pytest.approx(found[None] + divergence / 0.2, rel=1e-4)


def test_a_loss_that_is_no_number_stops_it(simulation, images, monkeypatch) -> None:
    unit, data = gathered(simulation, images, "head")
    monkeypatch.setattr(optimize, "output_loss", lambda output, *_: output.sum() * torch.nan)
    with pytest.raises(optimize.Diverged, match="0"):
        learn(simulation, unit, data, SCHEDULE, 0, lambda *_: None)
    assert not any(simulation.quantizer(site).scale.requires_grad for site in simulation.sites())


def test_scales_are_leaves_inside_and_plain_tensors_after_an_error() -> None:
    quantizers = [Uniform(4).fit(torch.randn(9)), Uniform(4, 0).fit(torch.randn(9, 2))]
    with pytest.raises(KeyError), learning_scales(quantizers) as scales:
        assert all(scale is quantizer.scale for scale, quantizer in zip(scales, quantizers, strict=True))
        assert all(scale.is_leaf and scale.requires_grad and quantizers[0].learning for scale in scales)
        raise KeyError
    assert not any(quantizer.scale.requires_grad or quantizer.learning for quantizer in quantizers)


def test_what_a_quantizer_does_not_offer_is_not_learned() -> None:
    class Fixed(Uniform):
        def learned_parameters(self) -> tuple[str, ...]:
            return ()

    class Both(Uniform):
        def learned_parameters(self) -> tuple[str, ...]:
            return ("scale", "zero_point")

    fixed, both = Fixed(4).fit(torch.randn(9)), Both(4).fit(torch.randn(9))
    with learning_scales([fixed, both]) as learned:
        assert len(learned) == 2
        assert learned[0] is both.scale and learned[1] is both.zero_point
        assert both.learning and not fixed.learning and not fixed.scale.requires_grad
    assert not both.learning


def test_steps_are_constant_for_v_and_fall_as_a_cosine_for_scales(simulation, images, monkeypatch) -> None:
    unit, data = gathered(simulation, images, "blocks.0.mlp")
    schedule = Schedule(iterations=6, batch_size=8, rounding_lr=0.01, scale_lr=0.001, autocast=False)
    steps: list[list[float]] = []
    step = torch.optim.Adam.step

    def spy(self: torch.optim.Adam, *rest: object) -> object:
        steps.append([group["lr"] for group in self.param_groups])
        return step(self, *rest)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    learn(simulation, unit, data, schedule, 0, lambda *_: None)
    assert [rounding for *_, rounding in steps] == [0.01] * 6
    for iteration, (*falling, _) in enumerate(steps):
        expected = 0.0005 * (1 + cos(pi * iteration / 6))
        assert falling == pytest.approx([expected] * len(falling)) and falling


@pytest.mark.parametrize("size", [1.0, 0.01])
def test_no_step_is_large_beside_the_scale(size) -> None:
    """Steps that suit scales of 4 bits are as large as those of 8 bits, and undid them."""
    scales = [torch.full((3, 1), size).requires_grad_(), torch.tensor(size / 100).requires_grad_()]
    schedule = Schedule(iterations=50, scale_lr=0.005, scale_travel=2.0)
    groups = Learned([], scales, []).optimizer(schedule).param_groups
    assert [group["lr"] for group in groups] == pytest.approx(
        [min(0.005, 2 * size / 50), min(0.005, 2 * size / 100 / 50)]
    )


# -- the whole model -----------------------------------------------------------------------------------
WHOLE = Unit("")
FINISHING = Schedule(
    iterations=20, batch_size=8, autocast=False, kl_lambda=None, drop=0.0, affine_lr=1e-4, weight_scales=True
)


def whole(simulation: Simulation, images: Tensor) -> UnitData:
    inputs = UnitInputs(simulation.module, simulation.fp_model(), [], [], kept(images))
    return inputs.whole(simulation.prepared.task)


@pytest.fixture(params=["classification", "features"])
def simulated(request: pytest.FixtureRequest, tiny, images, calibrating) -> Simulation:
    """A classifier and a model of features, quantized."""
    given = tiny(depth=2, **({"num_classes": 0} if request.param == "features" else {}))
    return vq.quantize(given, images, calibrating("repq", 4, 4)).model.vitq


def damage(simulation: Simulation, reference: torch.nn.Module, images: Tensor) -> float:
    """As the task measures it, not by the loss that was learned: KL, or 1 minus the cosines' mean."""
    task = simulation.prepared.task
    metrics = task.metrics()
    with torch.no_grad():
        found, expected = (task.run(m, Batch((images,))) for m in (simulation.module, reference))
    metrics.add(found, None, expected)
    measured = metrics.result()
    return (
        1 - (measured.token_cosine + measured.class_token_cosine) / 2 if measured.kl is None else measured.kl
    )


def test_the_last_stage_lowers_its_tasks_damage(simulated, images) -> None:
    reference, data = simulated.fp_model(), whole(simulated, images)
    before, error = damage(simulated, reference, images), hard_error(simulated.module, data)
    if simulated.prepared.task.name == "features":
        assert error == pytest.approx(before, rel=1e-4)
    learn(simulated, WHOLE, data, FINISHING, 0, lambda *_: None)
    assert hard_error(simulated.module, data) < error
    assert damage(simulated, reference, images) < before


def test_a_classifier_learns_its_logits_as_a_unit_does(simulation, images) -> None:
    """Bit for bit what the squared error of the output gives, and the same error."""
    state, found = simulation.module.state_dict(), []
    state = {name: tensor.clone() for name, tensor in state.items()}
    with torch.no_grad():
        logits = simulation.fp_model()(images)
    as_a_unit = UnitData(kept(images), called(images), called(images), stored(logits), [])
    for data in (whole(simulation, images), as_a_unit):
        set_unit(simulation, WHOLE, state)
        before = hard_error(simulation.module, data)
        learn(simulation, WHOLE, data, FINISHING, 0, lambda *_: None)
        learned = {name: tensor.clone() for name, tensor in simulation.module.state_dict().items()}
        found.append((before, hard_error(simulation.module, data), learned))
    (before, after, ours), (*errors, theirs) = found
    assert [before, after] == pytest.approx(errors, rel=1e-5) and after < before
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_the_last_stage_keeps_every_code(simulated, images) -> None:
    """Also of weights that no unit has learned, which lie between two."""
    weights = [layer for layer in simulated.layers.values() if layer.weight is not None]
    with torch.no_grad():
        for layer in weights:
            weight, quantizer = simulated.float_weight(layer.name), simulated.quantizer(layer.weight)
            nudge = torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)).sub(0.5)
            weight.copy_(quantizer(weight) + 0.9 * nudge * quantizer.scale)
            simulated.simulated_weight(layer.name).refresh(weight)
    before = {x.name: simulated.quantizer(x.weight).encode(simulated.float_weight(x.name)) for x in weights}
    data, heard = whole(simulated, images), []
    error = hard_error(simulated.module, data)
    schedule = replace(FINISHING, batch_size=16)
    learn(simulated, WHOLE, data, schedule, 0, lambda _, loss: heard.append(loss))
    if simulated.prepared.task.name == "features":
        assert heard[0] == pytest.approx(error, rel=1e-4), "the loss starts where the rounded model stands"
    for layer in weights:
        weight, quantizer = simulated.float_weight(layer.name), simulated.quantizer(layer.weight)
        assert torch.equal(quantizer.encode(weight), before[layer.name])
        assert torch.equal(simulated.layer(layer.name).weight, weight)


def test_what_the_tokens_do_not_depend_on_is_left_alone(tiny, images, calibrating) -> None:
    """Attention that pools, beside a class token that counts in its place."""
    given = tiny(depth=2, num_classes=0, global_pool="map")
    simulation = vq.quantize(given, images, calibrating("repq", 4, 4)).model.vitq
    pool = {k: v.clone() for k, v in simulation.layer("attn_pool").state_dict().items()}
    data = whole(simulation, images)
    error = hard_error(simulation.module, data)
    learn(simulation, WHOLE, data, FINISHING, 0, lambda *_: None)
    assert hard_error(simulation.module, data) < error
    assert all(torch.allclose(v, pool[k]) for k, v in simulation.layer("attn_pool").state_dict().items())


@pytest.mark.parametrize("name", ["", "blocks.0.attn"])
def test_a_batch_in_pieces_learns_the_same(simulated, images, monkeypatch, name: str) -> None:
    state = {k: v.clone() for k, v in simulated.module.state_dict().items()}
    unit, data = (WHOLE, whole(simulated, images)) if not name else gathered(simulated, images, name)
    found = []
    for held in (optimize.HELD, 1):
        set_unit(simulated, WHOLE, state)
        monkeypatch.setattr(optimize, "HELD", held)
        heard: list[float] = []
        learn(
            simulated,
            unit,
            data,
            replace(FINISHING, iterations=2),
            0,
            lambda _, x, heard=heard: heard.append(x),
        )
        found.append(heard)
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_large_layers_are_learned_in_smaller_pieces() -> None:
    def layer(outputs: int) -> Layer:
        return Layer("x", (), 0, 0, outputs=outputs)

    assert pieces([layer(10**6)] * 10) == int(optimize.HELD / (10**7 * optimize.PER_OUTPUT)) > 1
    assert pieces([layer(10**12)]) == pieces([layer(10**12), layer(1)]) == 1
    assert pieces([layer(10)]) > 10**6


def test_a_whole_model_that_answers_with_no_number_stops_it(simulated, images) -> None:
    data = whole(simulated, images)
    with torch.no_grad():
        simulated.layer("blocks.1.mlp.fc2").bias.fill_(torch.nan)
    assert hard_error(simulated.module, data) == inf
    with pytest.raises(optimize.Diverged, match="0"):
        learn(simulated, WHOLE, data, FINISHING, 0, lambda *_: None)


# -- precision -----------------------------------------------------------------------------------------
def test_bfloat16_is_the_schedules_choice_first() -> None:
    assert uses_bfloat16(Schedule(autocast=True), CPU) is True
    assert uses_bfloat16(Schedule(autocast=False), CPU) is False
    amx = torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.cpu._is_amx_tile_supported()
    assert uses_bfloat16(Schedule(), CPU) is amx


def test_in_bfloat16_it_is_learned_too(simulation, images) -> None:
    unit, data = gathered(simulation, images, "blocks.0.attn")
    before, heard = hard_error(simulation.layer(unit.name), data), []
    schedule = Schedule(iterations=40, batch_size=8, autocast=True)
    learn(simulation, unit, data, schedule, 0, lambda _, loss: heard.append(loss))
    assert hard_error(simulation.layer(unit.name), data) < before
