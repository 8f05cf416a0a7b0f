"""What units are given is what hooks on a whole forward see, whether the model runs block by block or not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import ParallelThingsBlock, ResPostBlock, VisionTransformer
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.data.calibration_set import CalibrationPictures
from vitq_core.data.store import Scratch
from vitq_core.graph.site import Unit
from vitq_core.quantized.simulation import Simulation
from vitq_core.reconstruction.unit_inputs import CHUNK, UnitData, UnitInputs
from vitq_core.tasks import TASKS

from ..conftest import Shortcut
from ..sam import records, tiny_sam
from .stored import everything, kept, only_tensor

COUNT = 40  # two chunks


KINDS = {
    "chain": {},
    "something between": {"interleaved": True},
    "no chain": {"class": Shortcut},
    "two heads": {"class": VisionTransformerDistilled},
    "average pooled": {"global_pool": "avg", "class_token": False},
    "post norm": {"block_fn": ResPostBlock},
    "parallel": {"block_fn": ParallelThingsBlock},
    "registers": {"reg_tokens": 2},
}


@pytest.fixture(params=KINDS)
def subject(request: pytest.FixtureRequest, tiny) -> VisionTransformer:
    return tiny(depth=2, **KINDS[request.param])


def calibrated(model: nn.Module, images: Tensor, recipe: str = "repq") -> Simulation:
    return vq.quantize(model, images, vq.recipe(recipe, effort="none")).model.vitq


@contextmanager
def inputs_of(
    simulation: Simulation, images: Tensor, limit: int = 2**30, chained: bool = True
) -> Iterator[tuple[UnitInputs, nn.Module, Scratch]]:
    family, module = simulation.family, simulation.module
    chain = family.blocks(module) if chained else []
    with Scratch(limit) as scratch:
        fp_model = simulation.fp_model()
        yield (
            UnitInputs(module, fp_model, family.units(module), chain, kept(images, scratch), 4.0),
            fp_model,
            scratch,
        )


def seen(model: nn.Module, unit: Unit, images: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """(input, output, softmaxes' outputs) of ``unit`` in a whole forward, chunk after chunk."""
    inputs, outputs, maps = [], [], [[] for _ in unit.softmaxes]
    target = model.get_submodule(unit.name)
    hooks = [
        target.register_forward_pre_hook(lambda _, x: inputs.append(x[0].clone()), prepend=True),
        target.register_forward_hook(lambda _, x, y: outputs.append(y.clone())),
    ]
    for name, found in zip(unit.softmaxes, maps, strict=True):
        softmax = model.get_submodule(name)
        hooks.append(
            softmax.register_forward_hook(lambda _, x, y, found=found: found.append(y.clone()), prepend=True)
        )
    with torch.no_grad():
        for chunk in images.split(CHUNK):
            model(chunk)
    for hook in hooks:
        hook.remove()
    return torch.cat(inputs), torch.cat(outputs), [torch.cat(found) for found in maps]


def assert_given(
    data: UnitData, unit: Unit, simulation: Simulation, fp_model: nn.Module, images: Tensor
) -> None:
    assert data.together == len(data.pictures) == len(images)
    fp_input, target, maps = seen(fp_model, unit, images)
    quant_input, _, _ = seen(simulation.module, unit, images)
    assert torch.equal(everything(data.fp_input), fp_input), unit
    assert torch.equal(everything(data.target), target), unit
    assert torch.equal(everything(data.quant_input), quant_input), unit
    maps = [(m / 4.0).log_softmax(-1) for m in maps]
    assert [torch.equal(everything(store), m) for store, m in zip(data.maps, maps, strict=True)] == [
        True for _ in unit.softmaxes
    ]


def change(simulation: Simulation, unit: Unit) -> None:
    """As learning does: the unit computes something else from now on."""
    for layer in simulation.layers.values():
        if unit.holds(layer.name):
            for site in layer.inputs:
                simulation.quantizer(site).scale.mul_(0.7)
            if layer.weight is not None:
                weight = simulation.float_weight(layer.name)
                weight.data.mul_(1.1)
                simulation.simulated_weight(layer.name).refresh(weight)


@pytest.mark.parametrize("limit", [2**30, 0])
def test_every_unit_is_fed_what_a_whole_forward_gives_it(subject, pictures, spill, limit: int) -> None:
    images = pictures(subject, COUNT)
    simulation = calibrated(subject, images)
    units, names = simulation.family.units(simulation.module), []
    with inputs_of(simulation, images, limit) as (inputs, fp_model, scratch):
        for unit, gather in inputs:
            data = gather()
            assert_given(data, unit, simulation, fp_model, images)
            names.append(unit.name)
            assert not torch.equal(everything(data.quant_input), everything(data.fp_input)) or len(names) == 1
            data.close()
            change(simulation, unit)
        assert scratch.held == (4 * images.numel() if limit else 0), "only the pictures are left"
    assert names == [unit.name for unit in units]
    assert list(spill.glob("*")) == []


def test_units_that_are_not_gathered_are_passed(model, pictures) -> None:
    """As those that a stopped run has done."""
    images = pictures(model, COUNT)
    simulation = calibrated(model, images)
    with inputs_of(simulation, images) as (inputs, fp_model, _):
        for unit, gather in inputs:
            change(simulation, unit)
            if unit.name in ("blocks.1.attn", "head"):
                assert_given(gather(), unit, simulation, fp_model, images)


def test_run_block_by_block_or_not_units_are_given_the_same(model, pictures) -> None:
    images = pictures(model, COUNT)
    simulation = calibrated(model, images)
    with (
        inputs_of(simulation, images) as (chain, _, _),
        inputs_of(simulation, images, chained=False) as (no, _, _),
    ):
        for (unit, gather), (_, other) in zip(chain, no, strict=True):
            one, two = gather(), other()
            for name in ("quant_input", "fp_input", "target"):
                assert torch.equal(everything(getattr(one, name)), everything(getattr(two, name))), unit


def test_a_chain_is_not_run_from_the_start_for_every_unit(tiny, pictures) -> None:
    model = tiny(depth=4)
    images = pictures(model, 4)
    simulation = calibrated(model, images)
    runs: list[int] = []
    with inputs_of(simulation, images) as (inputs, fp_model, _):
        fp_model.blocks[0].register_forward_hook(lambda *_: runs.append(1))
        for _, gather in inputs:
            gather().close()
    assert len(runs) <= 3, "its attention stops it, its MLP, and once to go on"


def test_the_whole_model_is_fed_the_pictures(model, pictures) -> None:
    images = pictures(model, COUNT)
    simulation = calibrated(model, images)
    with inputs_of(simulation, images) as (inputs, fp_model, _):
        for unit, _ in inputs:
            change(simulation, unit)
        data = inputs.whole(TASKS["classification"])
        assert torch.equal(everything(data.quant_input), images) and torch.equal(
            everything(data.fp_input), images
        )
        with torch.no_grad():
            logits = torch.cat([fp_model(x) for x in images.split(CHUNK)])
        assert torch.equal(data.target[torch.arange(COUNT)]["logits"], logits)
        first = next(data.numbers(3))
        assert len(data.quant_input) == COUNT and data.target[first]["logits"].shape == (3, 5)
        assert torch.equal(only_tensor(data.quant_input[first]), images[:3])


def test_the_twin_is_the_model_in_full_precision(model, pictures) -> None:
    images = pictures(model, 8)
    simulation = calibrated(model, images, "minmax")
    fp_model = simulation.fp_model()
    with torch.no_grad():
        torch.testing.assert_close(fp_model(images), model(images), atol=1e-5, rtol=1e-5)
        assert not torch.allclose(simulation.module(images), model(images), atol=1e-3)


def test_no_hooks_are_left(model, pictures) -> None:
    images = pictures(model, 4)
    simulation = calibrated(model, images)

    def hooks(*models: nn.Module) -> list[int]:
        modules = [module for each in models for module in each.modules()]
        return [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in modules]

    with inputs_of(simulation, images) as (inputs, fp_model, _):
        before = hooks(simulation.module, fp_model)
        for _, gather in inputs:
            gather()
        assert hooks(simulation.module, fp_model) == before


def test_without_a_temperature_no_maps_are_kept(model, pictures) -> None:
    images = pictures(model, 4)
    simulation = calibrated(model, images)
    with Scratch() as scratch:
        inputs = UnitInputs(
            simulation.module, simulation.fp_model(), [Unit("blocks.0.attn", ("blocks.0.attn.softmax",))],
            simulation.family.blocks(simulation.module), kept(images, scratch),
        )  # fmt: skip
        assert [gather().maps for _, gather in inputs] == [[]]


def test_a_unit_that_takes_two_tensors_is_named(model, pictures) -> None:
    images = pictures(model, 4)
    simulation = calibrated(model, images)
    with Scratch() as scratch:
        units = [Unit("blocks.0.attn.matmul1")]
        inputs = UnitInputs(simulation.module, simulation.fp_model(), units, [], kept(images, scratch))
        with pytest.raises(vq.VitqError, match=r"blocks.0.attn.matmul1 takes more than one tensor"):
            for _, gather in inputs:
                gather()


@pytest.mark.parametrize(
    ("count", "trained"), [(1, 1), (31, 31), (32, 24), (128, 96), (255, 223), (300, 263), (1024, 896)]
)
def test_an_eighth_only_measures_and_more_of_few_pictures(count: int, trained: int) -> None:
    with Scratch() as scratch:
        rows = kept(torch.arange(count).float()[:, None, None, None], scratch)
        data = UnitData(rows, rows, rows, rows, [])
        assert data.trained == trained
        measured = everything(data.quant_input[index] for index in data.measured(32)).flatten()
        assert measured.tolist() == list(range(trained % count, count))


# Segment Anything: pictures one by one, blocks of two streams


def trees_of(model: nn.Module, name: str, batches: list[Batch]) -> tuple[list, list]:
    """(args and kwargs, output) of a module in whole forwards, for each of ``batches``."""
    entered, left = [], []
    module = model.get_submodule(name)
    hooks = [
        module.register_forward_pre_hook(
            lambda _, *call: entered.append(cloned(call)), prepend=True, with_kwargs=True
        ),
        module.register_forward_hook(lambda _, __, output: left.append(cloned(output))),
    ]
    with torch.no_grad():
        for batch in batches:
            batch.through(model)
    for hook in hooks:
        hook.remove()
    return entered, left


def cloned(tree: Any) -> Any:
    return tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, tree)


def alike(actual: Any, expected: Any) -> bool:
    """Equal but for the order of sums: of one build, tensors of one shape."""
    (ours, build), (theirs, other) = tree_flatten(actual), tree_flatten(expected)
    return build == other and all(
        x.shape == y.shape and torch.allclose(x, y, rtol=1e-4, atol=1e-4 * float(y.abs().max()))
        if isinstance(y, Tensor)
        else x == y
        for x, y in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("limit", [2**30, 0])
def test_units_of_a_segment_anything_are_fed_what_whole_forwards_give_them(spill, limit: int) -> None:
    collate, count = TASKS["segmentation"].collate, 5
    simulation = vq.quantize(tiny_sam(), records(count), vq.recipe("minmax", effort="none")).model.vitq
    family, module, fp_model, names = simulation.family, simulation.module, simulation.fp_model(), []
    with CalibrationPictures(records(count), collate, chunk=1) as pictures, Scratch(limit) as scratch:
        store = pictures.kept(count, scratch)
        held, batches = scratch.held, list(pictures)
        inputs = UnitInputs(module, fp_model, family.units(module), family.blocks(module), store, 4.0)
        for unit, gather in inputs:
            data = gather()
            assert data.together == 1 and data.trained == count
            fp_inputs, targets = trees_of(fp_model, unit.name, batches)
            quant_inputs, _ = trees_of(module, unit.name, batches)
            for found, expected in (
                (data.fp_input, fp_inputs), (data.quant_input, quant_inputs), (data.target, targets)
            ):  # fmt: skip
                assert all(alike(*pair) for pair in zip(found, expected, strict=True)), unit
                assert alike(found[torch.tensor([3])], expected[3]), unit
            assert len(data.maps) == len(unit.softmaxes)
            for softmax, maps in zip(unit.softmaxes, data.maps, strict=True):
                _, outputs = trees_of(fp_model, softmax, batches)
                tempered = [(x / 4.0).log_softmax(-1) for x in outputs]
                assert all(alike(*pair) for pair in zip(maps, tempered, strict=True)), softmax
            names.append(unit.name)
            data.close()
            change(simulation, unit)
        assert scratch.held == held, "only the pictures are left"
        whole = inputs.whole(TASKS["segmentation"])
        for number, index in enumerate(whole.numbers(3)):
            expected = TASKS["segmentation"].run(fp_model, batches[number])
            assert len(whole.quant_input[index]) == 1 and alike(whole.target[index], expected)
    assert names == [unit.name for unit in family.units(module)]
    assert list(spill.glob("*")) == []
