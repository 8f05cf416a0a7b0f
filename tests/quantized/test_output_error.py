"""Error of a layer's output, against quantizing one operand of one layer at a time, written out."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.common.hooks import hooked
from vitq_core.common.monitor import Monitor
from vitq_core.graph.prepared import PreparedModel, prepare
from vitq_core.graph.site import Site
from vitq_core.quantized import samples
from vitq_core.quantized.output_error import LayerError, output_errors
from vitq_core.quantized.samples import rows_of
from vitq_core.quantizers import kind_of
from vitq_core.quantizers.judges import Judge, Multiplied, Weighted
from vitq_core.tasks import TASKS

from ..sam import records, tiny_sam

BITS = (2, 3, 4, 6, 8)
RECORDED = TASKS["segmentation"].collate


@pytest.fixture
def prepared(model, images) -> PreparedModel:
    return prepare(model, "output_errors", images[:1])


def measure(prepared: PreparedModel, recipe: str, images: Tensor, **options: object) -> dict[str, LayerError]:
    return output_errors(
        prepared.module, prepared.layers, vq.recipe(recipe), Batch((images,)), BITS, **options
    )


def inputs_of(module: nn.Module, name: str, images: Tensor) -> list[Tensor]:
    """What reaches a layer in full precision."""
    seen: list[Tensor] = []
    hook = module.get_submodule(name).register_forward_pre_hook(lambda part, inputs: seen.extend(inputs))
    with torch.no_grad():
        module(images)
    hook.remove()
    return [x.clone() for x in seen]


def run(part: nn.Module, inputs: list[Tensor], weight: Tensor | None) -> Tensor:
    if weight is None:
        return inputs[0] @ inputs[1]
    if isinstance(part, nn.Conv2d):
        return nn.functional.conv2d(inputs[0], weight, part.bias, part.stride)
    return nn.functional.linear(inputs[0], weight, part.bias)


def simulated(site: Site, recipe: vq.Recipe, bits: int, x: Tensor, judge: Judge | None) -> Tensor:
    """``x`` through a quantizer of its own, as the recipe's first rule for the site has it."""
    use = recipe.use_for(site)
    return kind_of(use.quantizer)(bits, **use.options).fit(x, judge)(x)


JUDGED = ("ptq4sam", "vitq")  # recipes with ranges by the output's error


def judges_of(part: nn.Module, inputs: list[Tensor], roles: list[str]) -> list[Judge]:
    """One for each input, then the weight's: by the output's error if no two inputs go together."""
    if not hasattr(part, "weight"):
        axes = [None, 1] if roles[0] == "post_softmax" else [1, 1]  # a range for each head
        counts = torch.ones(inputs[0].shape[:-1])
        return [Multiplied(*inputs, counts, i == 0, axis) for i, axis in enumerate(axes)]
    rows, weight = rows_of(part, inputs[0]), part.weight.detach().flatten(1)
    met = weight.square().sum(0)
    channel, tensor = Weighted(rows.T, torch.ones(())), Weighted(rows.reshape(1, -1), met.repeat(len(rows)))
    moments = Weighted(weight, rows.square().sum(0))
    return [channel if roles == ["post_layernorm"] else tensor, moments]


def ratio(actual: Tensor, expected: Tensor) -> list[float]:
    return [float(((a - b) ** 2).sum() / (b**2).sum()) for a, b in zip(actual, expected, strict=True)]


def twin(
    prepared: PreparedModel, recipe: vq.Recipe, name: str, bits: int, images: Tensor
) -> tuple[list, list]:
    """Noise per picture with the inputs quantized and with the weight quantized."""
    part, layer = prepared.module.get_submodule(name), prepared.layers[name]
    inputs = inputs_of(prepared.module, name, images)
    weight = None if layer.weight is None else part.weight.detach()
    expected = run(part, inputs, weight)
    roles = [site.role for site in layer.inputs]
    judges = judges_of(part, inputs, roles) if recipe.name in JUDGED else [None] * 2
    rough = [
        simulated(*each) for each in zip(layer.inputs, [recipe] * 2, [bits] * 2, inputs, judges, strict=False)
    ]
    act = ratio(run(part, rough, weight), expected)
    if weight is None:
        return act, []
    return act, ratio(run(part, inputs, simulated(layer.weight, recipe, bits, weight, judges[-1])), expected)


RULES = {str(recipe.rules): name for name, recipe in vq.RECIPES.items()}  # one recipe for each set of them


@pytest.mark.parametrize("recipe", list(RULES.values()))
def test_equals_quantizing_one_layer_at_a_time(prepared, images, recipe: str, monkeypatch) -> None:
    monkeypatch.setattr(samples, "PRODUCTS", len(images))  # all are kept of a product
    found = measure(prepared, recipe, images)
    assert list(found) == prepared.names
    for name, error in found.items():
        for bits in (2, 4, 8):
            act, weight = twin(prepared, vq.recipe(recipe), name, bits, images)
            assert error.act[bits].tolist() == pytest.approx(act, rel=1e-3), (name, bits)
            if weight:
                assert error.weight[bits].tolist() == pytest.approx(weight, rel=1e-3), (name, bits)
            else:
                assert error.weight == {}


@pytest.mark.parametrize("recipe", ["percentile", "minmax"])
def test_more_bits_are_not_more_error(tiny, pictures, recipe: str) -> None:
    """Of uniform quantizers; a log quantizer with a fixed base stops improving."""
    for seed in range(2):
        model = tiny(seed=seed, depth=1)
        images = pictures(model, 16, seed=seed)
        for error in measure(prepare(model, "output_errors", images[:1]), recipe, images).values():
            for part in error.parts:
                means = [float(part[bits].mean()) for bits in BITS]
                assert all(more <= fewer * 1.02 for fewer, more in pairwise(means))
                assert 0 < means[-1] < 1e-2 < means[0]


def test_fitted_on_all_pictures_measured_on_some(prepared, model, pictures) -> None:
    images = pictures(model, 10)
    everywhere = measure(prepared, "crl", images, measured=10)
    some = measure(prepared, "crl", images, measured=4)
    for name, error in some.items():
        for bits in BITS:
            assert torch.allclose(error.act[bits], everywhere[name].act[bits][::3], rtol=1e-4)
    alone = measure(prepared, "crl", images[::3])
    assert any(
        not torch.allclose(error.act[4], alone[name].act[4], rtol=1e-2) for name, error in some.items()
    ), "the ranges are of all ten"


def test_counts_what_quantizers_keep(prepared, images) -> None:
    """A scale and a zero point for each input and weight row; CRL has one for each normalized channel."""
    plain, reparameterized = measure(prepared, "percentile", images), measure(prepared, "crl", images)
    for name, layer in prepared.layers.items():
        rows = 0 if layer.weight is None else len(prepared.module.get_submodule(name).weight)
        wide = sum(site.role == "post_layernorm" for site in layer.inputs)  # rescaling leaves fractions there
        assert plain[name].parameter_bytes == 6 * (rows + len(layer.inputs)) + 2 * wide
    assert reparameterized["blocks.0.attn.qkv"].parameter_bytes == 6 * 48 + 8 * 16
    assert reparameterized["blocks.0.attn.matmul2"].parameter_bytes == 4 + 6  # a logarithm has no zero point


def test_parts_are_those_there_are(prepared, images) -> None:
    found = measure(prepared, "crl", images)
    assert len(found["head"].parts) == 2 and len(found["blocks.0.attn.matmul1"].parts) == 1


def test_one_forward_is_enough(prepared, images) -> None:
    calls = []
    prepared.module.register_forward_pre_hook(lambda *_: calls.append(1))
    measure(prepared, "crl", images)
    assert len(calls) == 1


def fingerprint(module: nn.Module) -> list:
    parts: list = [(name, id(p), p._version, p.requires_grad) for name, p in module.named_parameters()]
    parts += [list(m._forward_hooks) + list(m._forward_pre_hooks) for m in module.modules()]
    return [*parts, [sorted(vars(m)) for m in module.modules()], [p.tolist() for p in module.parameters()]]


@pytest.mark.parametrize("recipe", ["crl", "percentile"])
def test_the_module_is_as_it_was(prepared, model, images, recipe: str) -> None:
    before, given = fingerprint(prepared.module), fingerprint(model)
    with torch.no_grad():
        output, pixels = prepared.module(images), images.clone()
    measure(prepared, recipe, images)
    assert fingerprint(prepared.module) == before and fingerprint(model) == given
    with torch.no_grad():
        assert torch.equal(prepared.module(images), output)
    assert torch.equal(images, pixels)


def test_stopped_in_the_middle_the_module_is_as_it_was(prepared, images) -> None:
    before, heard = fingerprint(prepared.module), []
    monitor = Monitor(lambda *said: heard.append(said), lambda: len(heard) == 5)
    with pytest.raises(vq.Cancelled):
        measure(prepared, "crl", images, monitor=monitor)
    assert fingerprint(prepared.module) == before
    assert [fraction for fraction, _ in heard] == pytest.approx([i / 14 for i in range(5)])
    assert heard[1][1] == "Measuring rounding noise (2 of 14 layers)"


def test_a_layer_that_gives_nothing_has_no_infinite_error(tiny, pictures) -> None:
    model = tiny()
    with torch.no_grad():
        for parameter in (model.head.weight, model.head.bias, model.blocks[0].attn.proj.weight):
            parameter.zero_()
    images = pictures(model)
    for error in measure(prepare(model, "output_errors", images[:1]), "crl", images).values():
        assert all(torch.isfinite(values).all() for part in error.parts for values in part.values())


def test_pictures_of_their_own_sizes_are_measured_one_by_one() -> None:
    """Of Segment Anything: a number for each picture, whatever is asked of it and in however many windows."""
    batch = RECORDED(records(3))
    prepared = prepare(tiny_sam(), "output_errors", batch[:1])
    before = {name: x.clone() for name, x in prepared.module.state_dict().items()}
    shares: list[float] = []
    monitor = Monitor(lambda share, _: shares.append(share))
    found = output_errors(prepared.module, prepared.layers, vq.recipe("repq"), batch, (4, 8), monitor=monitor)
    assert list(found) == prepared.names and shares == sorted(shares) and 0 <= shares[-1] <= 1
    for name, error in found.items():
        assert (prepared.layers[name].weight is None) == (not error.weight)
        for part in error.parts:
            assert part[4].shape == part[8].shape == (3,) and torch.isfinite(part[4]).all(), name
            assert float(part[8].sum()) < float(part[4].sum()), name
    assert all(torch.equal(x, before[name]) for name, x in prepared.module.state_dict().items())
    alone = output_errors(prepared.module, prepared.layers, vq.recipe("repq"), batch[:1], (4, 8))
    name = "mask_decoder.transformer.layers.0.mlp.lin1"
    assert torch.equal(alone[name].weight[4], found[name].weight[4][:1])
    of_one, of_three = (float(each[name].act[4][0]) for each in (alone, found))
    assert of_one != pytest.approx(of_three, rel=1e-3), "the ranges are of all three"
    layer, weight = prepared.module.get_submodule(name), prepared.module.get_submodule(name).weight
    seen: list[Tensor] = []
    with torch.no_grad(), hooked((layer, lambda part, inputs, output: seen.append(inputs[0].clone()))):
        for one in batch.split(1):
            one.through(prepared.module)
        quantizer = kind_of("uniform")(4, **vq.recipe("repq").rules["*"].options)
        for x in seen:
            quantizer.observe(x, 1 / 3)
        quantizer.finish()
        for number, x in enumerate(seen):
            expected, rounded = (nn.functional.linear(y, weight, layer.bias) for y in (x, quantizer(x)))
            error = float((rounded - expected).square().sum() / expected.square().sum())
            assert float(found[name].act[4][number]) == pytest.approx(error, rel=1e-4)
