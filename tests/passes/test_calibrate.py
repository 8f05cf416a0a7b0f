"""Every site is fitted to all pictures, behind quantizers that are active already, in bounded memory."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from timm.layers import SwiGLU
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import vitq_core as vq
from vitq_core.data import store
from vitq_core.quantized import samples
from vitq_core.quantizers import Uniform
from vitq_core.tasks import Task

# As published, ranges are means over what runs together, or of its last part, or percentiles of its errors.
BY_CHUNK = ("apq", "fq", "ptq4sam")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Task, "chunk", 4)


def parameters(result: vq.QuantizeResult) -> dict[str, Tensor]:
    simulation = result.model.vitq
    found = {}
    for site in simulation.sites():
        quantizer = simulation.quantizer(site)
        found |= {f"{site}.{name}": getattr(quantizer, name) for name in quantizer.PARAMETERS}
    return found


def assert_same_parameters(one: vq.QuantizeResult, other: vq.QuantizeResult, exact: bool = False) -> None:
    tolerance = 0.0 if exact else 1e-4
    theirs = parameters(other)
    for name, value in parameters(one).items():
        torch.testing.assert_close(value, theirs[name], rtol=tolerance, atol=tolerance, msg=name)


def stream(batches: tuple[Tensor, ...]) -> Iterator[Tensor]:
    yield from batches


@pytest.mark.parametrize("recipe", ["repq", "adfq", "vitq"])
def test_batching_does_not_matter(model, pictures, calibrating, recipe: str, small_chunks: None) -> None:
    recipe = calibrating(recipe)
    images = pictures(model, 10)
    reference = vq.quantize(model, images, recipe)
    labelled = DataLoader(TensorDataset(images, torch.zeros(10, dtype=torch.long)), batch_size=7)
    for way in ([images], list(images.split(3)), stream(images.split(1)), labelled):
        result = vq.quantize(model, way, recipe)
        assert result.report.pictures == 10
        assert_same_parameters(result, reference, exact=True)


@pytest.mark.parametrize("recipe", [name for name in vq.RECIPES if name not in BY_CHUNK])
def test_one_pass_and_module_by_module_agree(model, pictures, calibrating, recipe: str, monkeypatch) -> None:
    recipe = calibrating(recipe)
    images = pictures(model, 10)
    at_once = vq.quantize(model, images, recipe)
    monkeypatch.setattr(Task, "chunk", 4)
    assert_same_parameters(vq.quantize(model, images, recipe), at_once)


@pytest.mark.parametrize("chunk", [1, 5, 8])
def test_a_sample_does_not_depend_on_the_batches(model, pictures, calibrating, monkeypatch, chunk) -> None:
    """More tokens than are kept of a layer: the same ones are chosen, and the same codes."""
    monkeypatch.setattr(samples, "ROWS", 24)
    monkeypatch.setattr(samples, "RARE", 6)
    images = pictures(model, 16)
    recipe = replace(calibrating("crl"), rules=vq.RECIPES["vitq"].rules)
    at_once = vq.quantize(model, images, recipe)
    monkeypatch.setattr(Task, "chunk", chunk)
    assert_same_parameters(vq.quantize(model, images, recipe), at_once)


def test_a_weight_is_fitted_to_what_its_layer_reads(tiny, pictures, calibrating, small_chunks: None) -> None:
    """A channel that is a hundred times louder for some pictures: the weights that meet it are kept exact."""
    model = tiny(embed_norm_layer=torch.nn.LayerNorm, final_norm=False)
    with torch.no_grad():
        model.blocks[0].norm1.weight[3] *= 100.0
        model.blocks[0].attn.qkv.weight[:, 5] *= 4.0  # the largest, which would set the range
    result = vq.quantize(model, pictures(model, 10), calibrating("vitq", 4, 8, {}))
    simulation = result.model.vitq
    name = "blocks.0.attn.qkv"
    weight, shown = simulation.float_weight(name), simulation.layer(name).weight
    own = Uniform(simulation.quantizer(simulation.layers[name].weight).bits, 0, "least_error").fit(weight)
    judged, alone = ((w - weight)[:, 3].square().sum() for w in (shown, own(weight)))
    assert judged < 0.7 * alone


def test_every_variant_goes_module_by_module(mixture, pictures, small_chunks: None) -> None:
    images = pictures(mixture, 5)
    result = vq.quantize(mixture, images, "minmax")
    with torch.no_grad():
        expected = minmax_by_hand(result, images)
    assert expected, "some activation sites"
    for site, (low, high) in expected.items():
        quantizer = result.model.vitq.quantizer(site)
        scale = (high - low) / (2**quantizer.bits - 1)
        torch.testing.assert_close(quantizer.scale, scale, rtol=1e-4, atol=1e-6, msg=str(site))


def minmax_by_hand(result: vq.QuantizeResult, images: Tensor) -> dict:
    """Range of what reaches every activation site of the finished model, before its own quantizer."""
    seen: dict = {}
    simulation = result.model.vitq

    def watch(sites: tuple) -> object:
        def hook(layer: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
            for site, x in zip(sites, inputs, strict=False):
                seen[site] = x.min().clone(), x.max().clone()

        return hook

    hooks = [
        simulation.layer(name).register_forward_pre_hook(watch(layer.inputs), prepend=True)
        for name, layer in simulation.layers.items()
    ]
    result.model(images)
    for hook in hooks:
        hook.remove()
    return seen


def test_every_site_sees_the_quantization_before_it(model: VisionTransformer, images: Tensor) -> None:
    """At 2 bits that is a large difference: ranges fitted to float activations would be far off."""
    result = vq.quantize(model, images, vq.recipe("minmax", 2, 2))
    float_result = vq.quantize(model, images, vq.recipe("minmax", 8, 8))
    with torch.no_grad():
        seen, undisturbed = (minmax_by_hand(r, images) for r in (result, float_result))
    site = result.model.vitq.layers["head"].inputs[0]
    fitted = float(result.model.vitq.quantizer(site).scale) * 3
    assert fitted == pytest.approx(float(seen[site][1] - seen[site][0]), rel=1e-4)
    assert fitted != pytest.approx(float(undisturbed[site][1] - undisturbed[site][0]), rel=1e-2)


def test_all_pictures_count(model, pictures, small_chunks: None) -> None:
    images = pictures(model, 9)
    images[-1] *= 50
    simulation = vq.quantize(model, images, "minmax").model.vitq
    image_site = next(iter(simulation.sites()))
    expected = (images.max() - images.min()) / 255
    torch.testing.assert_close(simulation.quantizer(image_site).scale, expected)


def test_memory_is_bounded_and_files_go_away(model, pictures, spill: Path, monkeypatch, small_chunks) -> None:
    monkeypatch.setattr(store, "STORE_LIMIT", 1000)
    written = []
    reserve = store._reserve
    monkeypatch.setattr(store, "_reserve", lambda path, size: written.append(size) or reserve(path, size))
    images = pictures(model, 12)
    spilled = vq.quantize(model, stream(images.split(5)), "repq")
    assert len(written) > 6, "pictures and activations must have gone to disk"
    assert list(spill.iterdir()) == []
    monkeypatch.undo()
    assert_same_parameters(spilled, vq.quantize(model, images, "repq"))


def test_no_files_are_left_after_cancelling(model, pictures, spill: Path, monkeypatch, small_chunks) -> None:
    monkeypatch.setattr(store, "STORE_LIMIT", 0)
    seen: list[int] = []

    def cancel() -> bool:
        seen.append(len(list(spill.rglob("*.bin"))) if spill.exists() else 0)
        return len(seen) > 60

    with pytest.raises(vq.Cancelled) as error:
        vq.quantize(model, stream(pictures(model, 12).split(5)), "repq", cancel=cancel)
    assert max(seen) > 3
    assert list(spill.iterdir()) == [], error


def test_a_shared_input_is_the_same_for_all_its_readers(tiny, pictures) -> None:
    """A gate and qkv, or both halves of a SwiGLU, read one tensor: none may see another's quantization."""
    model = tiny(mlp_layer=SwiGLU, gated=True)
    simulation = vq.quantize(model, pictures(model), vq.recipe("percentile", 3, 3)).model.vitq
    for first, second in (("attn.gate", "attn.qkv"), ("mlp.fc1_g", "mlp.fc1_x")):
        one, other = (simulation.layers[f"blocks.0.{name}"].inputs[0] for name in (first, second))
        assert torch.equal(simulation.quantizer(one).scale, simulation.quantizer(other).scale)
        assert simulation.quantizer(one).sqnr_db == simulation.quantizer(other).sqnr_db
