"""Calibration of everything in one go: what it sees, its options, and what it is not for."""

import pytest
import torch

import vitq_core as vq
from tests.conftest import build
from tests.graph.vit.test_embedding import Own
from tests.sam import records, tiny_sam
from tests.swin import pictures as swin_pictures
from tests.swin import tiny_swin
from vitq_core.quantizers import Affine, LogSqrt2, PowerOfTwo


def quantizers(result: vq.QuantizeResult) -> dict:
    return {str(site): result.model.vitq.quantizer(site) for site in result.model.vitq.sites()}


@pytest.mark.parametrize("recipe", ["fq", "psaq"])
def test_the_batches_of_the_pictures_do_not_matter(model, pictures, recipe: str) -> None:
    images = pictures(model, 9)
    whole = vq.quantize(model, images, vq.recipe(recipe, 8, 8))
    parts = vq.quantize(model, iter(images.split(2)), vq.recipe(recipe, 8, 8))
    assert torch.equal(whole(images), parts(images))


def test_ranges_are_those_of_the_network_in_floating_point(model, images) -> None:
    result = vq.quantize(model, images, vq.recipe("psaq", 2, 2))
    seen = []
    model.blocks[-1].register_forward_hook(lambda _, given, output: seen.append(output))
    model(images)
    found = quantizers(result)[f"blocks.{len(model.blocks) - 1}.add2:output"]
    torch.testing.assert_close(found.scale.reshape(()), (seen[0].max() - seen[0].min()) / 3)


def test_the_options_choose_the_quantizers(model, images) -> None:
    block = "blocks.0"
    for options, kinds in (
        ({}, (LogSqrt2, PowerOfTwo)),
        ({"lis": False}, (Affine, PowerOfTwo)),
        ({"ptf": False}, (LogSqrt2, Affine)),
    ):
        found = quantizers(vq.quantize(model, images, vq.recipe("fq", 8, 8, softmax_bits=5, **options)))
        attention, stream = found[f"{block}.attn.matmul2:input"], found[f"{block}.add1:output"]
        assert (type(attention), type(stream)) == kinds
        assert (attention.bits, stream.bits) == (5, 8)


@pytest.mark.parametrize("observer", ["minmax", "ema", "percentile", "omse"])
def test_observers_give_ranges_of_their_own(model, pictures, observer: str) -> None:
    images = pictures(model, 6)
    found = {
        name: quantizers(vq.quantize(model, images, vq.recipe("fq", 8, 8, observer=name, observed_batch=2)))[
            "blocks.0.attn.qkv:output"
        ]
        for name in {"minmax", observer}
    }
    assert (found[observer].scale <= found["minmax"].scale).all()
    assert (observer == "minmax") == torch.equal(found[observer].scale, found["minmax"].scale)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"observer": "median"}, "observer must be one of"),
        ({"softmax_bits": 9}, "softmax_bits must be a whole number from 2 to 8"),
        ({"lis": 1}, "lis must be True or False"),
        ({"observed_batch": 0}, "observed_batch must be a whole number of at least 1"),
    ],
)
def test_wrong_options_are_refused(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        vq.recipe("fq", **options)
    with pytest.raises(ValueError, match="does nothing in recipe 'psaq'"):
        vq.recipe("psaq", lis=False)


def test_another_base_of_the_attention_is_refused(model, images) -> None:
    with pytest.raises(ValueError, match="powers of 2, so log_base has nothing to choose"):
        vq.quantize(model, images, vq.recipe("fq", log_base="sqrt2"))


def test_scores_in_too_large_steps_are_refused_and_a_float_softmax_takes_them() -> None:
    model = build(depth=1)
    with torch.no_grad():
        model.blocks[0].attn.qkv.weight.mul_(6)
    images = torch.randn(4, 3, 16, 16)
    with pytest.raises(ValueError, match=r"the scores of blocks\.0\.attn lie in steps of .*lis=False"):
        vq.quantize(model, images, vq.recipe("fq", 8, 2))
    result = vq.quantize(model, images, vq.recipe("fq", 8, 2, lis=False))
    assert result(images).isfinite().all()


@pytest.mark.parametrize("recipe", ["fq", "psaq"])
def test_what_nobody_lists_is_refused_before_any_work(recipe: str) -> None:
    sentence = (
        rf"recipe '{recipe}' quantizes everything .* of this Sam is not listed; take a ViT, DeiT or Swin"
    )
    with pytest.raises(ValueError, match=sentence):
        vq.quantize(tiny_sam(), [records(2)], recipe)
    with pytest.raises(ValueError, match="of this Own is not listed"):
        vq.quantize(build(**{"class": Own}), torch.randn(2, 3, 16, 16), recipe)
    assert vq.RECIPES[recipe].suits("features") and not vq.RECIPES[recipe].suits("segmentation")


def test_a_product_of_other_bits_has_a_range_of_its_own(model, images) -> None:
    found = quantizers(
        vq.quantize(model, images, vq.recipe("psaq", 8, 8, bits={"blocks.0.attn.matmul1": (None, 4)}))
    )
    assert found["blocks.0.attn.matmul1:input"].bits == 4
    assert found["blocks.0.attn.matmul1:input"].scale > found["blocks.0.attn.qkv:output"].scale
    assert torch.equal(found["blocks.0.attn.matmul2:input2"].scale, found["blocks.0.attn.qkv:output"].scale)


def test_queries_of_a_swin_are_quantized_after_their_factor() -> None:
    model = tiny_swin()
    found = quantizers(vq.quantize(model, swin_pictures(model, 4), vq.recipe("fq", 8, 8)))
    name = "layers.0.blocks.0.attn"
    factor = model.layers[0].blocks[0].attn.scale
    torch.testing.assert_close(
        found[f"{name}.matmul1:input"].scale, factor * found[f"{name}.qkv:output"].scale
    )


def test_pictures_from_noise_serve_the_recipe() -> None:
    model = vq.wrap_model(build(depth=2))
    images = vq.generate_images(model, count=2, seed=0, iterations=2)
    result = vq.quantize(model, images, vq.recipe("psaq", 8, 8))
    assert result.report.pictures == 2 and result(images).isfinite().all()


@pytest.mark.parametrize("recipe", ["fq", "psaq"])
def test_integer_formats_refuse_it_and_take_its_integer_form(model, images, tmp_path, recipe: str) -> None:
    pytest.importorskip("onnxruntime")
    result = vq.quantize(model, images, vq.recipe(recipe, 8, 8))
    with pytest.raises(
        vq.VitqError, match=r"also quantizes \d+ tensors between layers, .*'packed' and 'torch'"
    ):
        vq.export(result, tmp_path / "refused", "onnx", images)
    form = vq.integer_form(vq.recipe(recipe, 8, 8))
    assert not form.whole and form.passes == ("calibrate",)
    assert vq.export(vq.quantize(model, images, form), tmp_path / "out", "onnx", images).integer_nodes
