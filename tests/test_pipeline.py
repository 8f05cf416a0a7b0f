"""``quantize`` from end to end: every recipe on every kind of model, nothing happens to what it is given."""

import random
from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
import torch
from timm.models.resnet import resnet18
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize
from torch.testing import assert_close

import vitq_core as vq
from tests.conftest import VARIANTS
from tests.pairs import in_turn
from vitq_core.common.batch import Batch
from vitq_core.graph.copies import untied
from vitq_core.quantized.audit import audit
from vitq_core.tasks import Task


def fingerprint(model: nn.Module) -> list:
    """Whatever quantization could have changed about a model; compares equal where all is as it was."""
    parts: list = [(name, type(module), module.training) for name, module in model.named_modules()]
    parts += [sorted(vars(module).keys()) for module in model.modules()]
    parts += [list(m._forward_hooks) + list(m._forward_pre_hooks) for m in model.modules()]
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        gradient = None if tensor.grad is None else tensor.grad.numpy().tobytes()
        data = tensor.detach().view(torch.uint8).numpy().tobytes() if tensor.ndim else float(tensor)
        parts.append((name, id(tensor), tensor.requires_grad, tensor.dtype, data, gradient))
    return parts


# Passes that look at what the model answers as a whole.
ANSWERING = {"allocate_paper", "allocate_budget", "hessian_search", "block_search"}
RUNS = [*((recipe, 4) for recipe in vq.RECIPES), ("repq", 8), ("adfq", 8)]
# Of three neighbours in this order one at least rescales and one only calibrates.
SPREAD = RUNS[::3] + RUNS[1::3] + RUNS[2::3]


@pytest.mark.parametrize(
    ("variant", "run"),
    in_turn(VARIANTS, SPREAD, times=3),
    indirect=["variant"],
    ids=str,
)
def test_every_recipe_quantizes_every_variant(variant, pictures, calibrating, run: tuple[str, int]) -> None:
    (recipe, bits), images = run, pictures(variant, 2)
    if variant(images).ndim != 2 and not ANSWERING.isdisjoint(vq.RECIPES[recipe].passes):
        pytest.skip("a classifier that does not pool; tests/recipes/test_lrp.py sees that it says so")
    before, given = fingerprint(variant), images.clone()
    result = vq.quantize(variant, images, calibrating(recipe, bits, bits))
    assert fingerprint(variant) == before
    assert torch.equal(images, given)
    audit(result.model, Batch((images,)))
    with torch.no_grad():
        outputs, expected = result(images), variant(images)
    assert outputs.shape == expected.shape and torch.isfinite(outputs).all()
    error = float((outputs - expected).square().mean() / expected.square().mean())
    assert 0 < error < (0.05 if bits == 8 else 2.0)


def busy(model: VisionTransformer, images: Tensor) -> VisionTransformer:
    """In the middle of its training: dropout, gradients, a hook, a frozen part."""
    model.train()
    model.blocks[0].eval()
    model.head.requires_grad_(False)
    model(images).sum().backward()
    model.blocks[1].norm1.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("recipe", list(vq.RECIPES))
def test_a_model_in_training_stays_as_it_is(tiny, pictures, calibrating, recipe: str) -> None:
    model = tiny(depth=2, proj_drop_rate=0.3, attn_drop_rate=0.3, drop_path_rate=0.3, drop_rate=0.3)
    images = pictures(model)
    before = fingerprint(busy(model, images))
    result = vq.quantize(model, images, calibrating(recipe))
    assert fingerprint(model) == before
    assert not any(module.training for module in result.model.modules())
    assert not any(p.requires_grad for p in result.model.parameters())
    with torch.no_grad():
        assert torch.equal(result(images), result(images)), "no dropout in the result"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"seed": 1.5}, "seed must be a whole number, got 1.5"),
        ({"seed": None}, "seed must be a whole number, got None"),
        ({"watch": 5}, "watch must be a function, got 5"),
    ],
)
def test_wrong_arguments_are_a_sentence_at_once(model, images, wrong: dict, sentence: str) -> None:
    heard: list[str] = []
    with pytest.raises(ValueError, match=sentence):
        vq.quantize(model, images, "repq", progress=lambda _, said: heard.append(said), **wrong)
    assert heard == []


def test_a_table_that_is_not_of_all_layers_is_refused_before_anything_is_worked_out(model, images) -> None:
    heard: list[str] = []
    recipe = vq.recipe("vitq", bits={"blocks.0.attn.qkv": (8, 8)}, effort="none")
    with pytest.raises(ValueError, match="the table of bits for recipe 'vitq' lacks"):
        vq.quantize(model, images, recipe, progress=lambda _, said: heard.append(said))
    assert heard == ["Preparing"]


class Broken(Exception):
    """What a callback may raise."""


@pytest.mark.parametrize(("when", "chunk"), in_turn([1, 5, 15, 25, -1], [32, 2]))
def test_stopped_anywhere_the_model_is_as_it_was(model, images, monkeypatch, when: int, chunk: int) -> None:
    monkeypatch.setattr(Task, "chunk", chunk)
    busy(model, images)
    before, steps = fingerprint(model), []
    vq.quantize(model, images, "crl", progress=lambda *said: steps.append(said))
    limit = when % len(steps)
    asked: list[int] = []

    def progress(*_: object) -> None:
        asked.append(1)
        if len(asked) > limit:
            raise Broken

    with pytest.raises(Broken):
        vq.quantize(model, images, "crl", progress=progress)
    assert fingerprint(model) == before
    asked.clear()
    with pytest.raises(vq.Cancelled, match="unchanged"):
        vq.quantize(model, images, "crl", cancel=lambda: asked.append(1) or len(asked) > limit)
    assert fingerprint(model) == before


@pytest.mark.parametrize(("recipe", "chunk"), in_turn(vq.RECIPES, [32, 4]))
def test_progress_goes_from_0_to_1(model, images, monkeypatch, calibrating, recipe: str, chunk: int) -> None:
    monkeypatch.setattr(Task, "chunk", chunk)
    heard: list[tuple[float, str]] = []
    vq.quantize(model, images, calibrating(recipe), progress=lambda *said: heard.append(said))
    fractions = [fraction for fraction, _ in heard]
    assert fractions[0] == 0.0 and heard[-1] == (1.0, "Quantized")
    assert fractions == sorted(fractions)
    assert len(set(fractions)) > 20
    assert max(b - a for a, b in pairwise(fractions)) < 0.3
    assert all(isinstance(message, str) and message for _, message in heard)


def test_half_precision_is_quantized_as_float(model, images) -> None:
    half = deepcopy(model).half()
    before = fingerprint(half)
    result = vq.quantize(half, images.half(), "repq")
    assert fingerprint(half) == before
    reference = vq.quantize(deepcopy(half).float(), images.half().float(), "repq")
    with torch.no_grad():
        assert torch.equal(result(images), reference(images))


def test_the_seed_is_all_randomness_and_the_callers_is_left_alone(model, images) -> None:
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    results = [vq.quantize(model, images, "crl", seed=7) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]
    torch.randn(5)
    results.append(vq.quantize(model, images, "crl", seed=7))
    tensors = [result.model.state_dict() for result in results]
    for other in tensors[1:]:
        assert tensors[0].keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in tensors[0].items() if value is not None)


def test_mixed_precision_is_respected(model, images) -> None:
    bits = {"blocks.0.attn.qkv": (3, 5), "blocks.1.attn.matmul2": (None, 6), "head": (8, 8)}
    result = vq.quantize(model, images, vq.recipe("minmax", 4, 4, bits=bits))
    expected = dict.fromkeys(result.bits, (4, 4))
    expected |= {name: (None, 4) for name in expected if "matmul" in name}
    expected |= {"patch_embed.proj": (4, 8), **bits}
    assert result.bits == expected
    for name, (_, act) in bits.items():
        layer = result.model.get_submodule(name)
        assert {q.bits for q in layer.input_quantizers} == {act}
    codes = result.model.get_submodule("blocks.0.attn.qkv").weight
    assert max(row.unique().numel() for row in codes) <= 2**3
    assert max(row.unique().numel() for row in result.model.head.weight) > 2**3


def test_models_and_recipe_names_are_taken(model, images) -> None:
    wrapped = vq.wrap_model(model, labels=list("abcde"))
    result = vq.quantize(wrapped, images, "percentile")
    assert result.source is wrapped
    assert result.recipe == vq.recipe("percentile")
    assert result.report.preprocessing == wrapped.preprocessing.describe()


def test_masks_reach_the_quantized_model(model, images) -> None:
    result = vq.quantize(model, images, vq.recipe("minmax", 8, 8))
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    with torch.no_grad():
        features = result.model.forward_features(images, attn_mask=mask)
        expected = model.forward_features(images, attn_mask=mask)
        other = model.forward_features(images)
    assert (features - expected).norm() < 0.2 * (other - expected).norm()


def test_any_size_may_be_calibrated_with_any_size(tiny, pictures) -> None:
    model = tiny(dynamic_img_size=True)
    result = vq.quantize(model, torch.randn(3, 3, 24, 32), "repq")
    assert result(torch.randn(1, 3, 16, 16)).shape == (1, 5)
    with pytest.raises(ValueError, match=r"cannot take pictures of \(3, 20, 16\)"):
        vq.quantize(model, torch.randn(3, 3, 20, 16), "repq")
    with pytest.raises(ValueError, match=r"cannot take pictures of \(1, 16, 16\)"):
        vq.quantize(model, torch.randn(3, 1, 16, 16), "repq")


def quantized(model: nn.Module, images: Tensor) -> nn.Module:
    return vq.quantize(model, images, "minmax").model


BAD = {
    "no family": (lambda m, x: (resnet18(), x, "repq"), vq.VitqError, "no model family knows ResNet"),
    "no model": (lambda m, x: ("demo-vit", x, "repq"), ValueError, "an nn.Module, got str"),
    "quantized": (lambda m, x: (quantized(m, x), x, "repq"), ValueError, "is quantized already"),
    "a result": (lambda m, x: (vq.quantize(m, x, "minmax"), x, "repq"), ValueError, "quantized already"),
    "recipe": (lambda m, x: (m, x, "rebq"), ValueError, "unknown recipe 'rebq'; available: adfq, apq, crl,"),
    "no recipe": (lambda m, x: (m, x, None), ValueError, "a recipe's name or .* got NoneType"),
    "no pictures": (lambda m, x: (m, x[:0], "repq"), ValueError, "no calibration pictures"),
    "other size": (lambda m, x: (m, x[..., :8], "repq"), ValueError, r"pictures of \(3, 16, 16\), got"),
    "one picture": (lambda m, x: (m, x[0], "repq"), ValueError, "must be a float tensor"),
    "integers": (lambda m, x: (m, x.int(), "repq"), ValueError, "preprocessed floats"),
    "not a number": (lambda m, x: (m, x * torch.nan, "repq"), ValueError, "NaN or infinite"),
    "unknown layer": (
        lambda m, x: (m, x, vq.recipe("repq", bits={"blocks.9.attn.qkv": (4, 4)})),
        ValueError,
        r"does not have: 'blocks.9.attn.qkv'; it has patch_embed.proj, blocks.0.attn.qkv, .*…",
    ),
}


@pytest.mark.parametrize(("make", "error", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_is_a_sentence(model, images, make, error: type, sentence: str) -> None:
    arguments = make(model, images)
    before = fingerprint(model)
    with pytest.raises(error, match=sentence) as caught:
        vq.quantize(*arguments)
    assert "\n" not in str(caught.value)
    assert fingerprint(model) == before


def test_the_state_can_be_kept(model, images, tmp_path) -> None:
    result = vq.quantize(model, images, "repq")
    torch.save(result.model.state_dict(), tmp_path / "state.pt")
    other = deepcopy(result.model)
    for parameter in other.parameters():
        parameter.data.zero_()
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    with torch.no_grad():
        assert torch.equal(other(images), result(images))


@pytest.mark.parametrize("tied", ["layer", "weight"])
def test_tied_layers_are_quantized_each_for_itself(model, images, calibrating, tied: str) -> None:
    """Rescaling or rotating one of them must not change what the other computes."""
    first, second = (block.attn for block in model.blocks)
    if tied == "layer":
        second.qkv = first.qkv
    else:
        second.qkv.weight = first.qkv.weight
    for name in ("repq", "vitq"):
        recipe = calibrating(name, 4, 4)
        result, wanted = (vq.quantize(each, images, recipe) for each in (model, untied(deepcopy(model))))
        assert torch.equal(result(images), wanted(images))
    assert (second.qkv is first.qkv) == (tied == "layer") and second.qkv.weight is first.qkv.weight


@pytest.mark.parametrize("name", sorted(vq.RECIPES))
def test_a_block_that_is_used_twice_and_weights_that_are_computed_work_everywhere(
    model, images, calibrating, name: str
) -> None:
    model.blocks[1] = model.blocks[0]
    before = deepcopy(model)
    parametrizations.weight_norm(model.blocks[0].mlp.fc1)
    recipe = calibrating(name, 6, 6)
    results = [vq.quantize(each, images, recipe) for each in (model, untied(before))]
    assert results[0].bits == results[1].bits
    assert_close(results[0](images), results[1](images))
    assert parametrize.is_parametrized(model.blocks[0].mlp.fc1) and model.blocks[1] is model.blocks[0]
    shown, wanted = (vq.relevance(each, images[:2]).heatmaps for each in (model, before))
    assert_close(shown, wanted)


@pytest.mark.parametrize("wrap", ["parallel", "compiled"])
def test_a_wrapper_that_adds_nothing_is_taken_off(model, images, wrap: str) -> None:
    wrapped = nn.DataParallel(model) if wrap == "parallel" else torch.compile(model, backend="eager")
    found = vq.quantize(wrapped, images, "repq")
    assert torch.equal(found(images), vq.quantize(model, images, "repq")(images))
    assert found.source is None and found.report.preprocessing == "not known: pictures came as tensors"


@pytest.mark.parametrize("recipe", ["minmax", "vitq", "lrp-budget"])
def test_what_would_be_lost_is_refused_before_any_work(model, images, calibrating, recipe: str) -> None:
    model.blocks[1].attn.register_forward_hook(lambda _, __, output: output * 3)
    heard = []
    with pytest.raises(vq.VitqError, match=r"the forward hook of blocks\.1\.attn changes what passes"):
        vq.quantize(model, images, calibrating(recipe), lambda share, message: heard.append(message))
    assert heard == ["Preparing"]


def test_that_it_cannot_be_saved_is_said_before_the_work(tiny, pictures) -> None:
    model = tiny()
    model.head = nn.Sequential(nn.Linear(16, 5), nn.Softplus())
    heard = []
    with pytest.warns(UserWarning, match="save_quantized will refuse the result: the head holds a Softplus"):
        vq.quantize(model, pictures(model), "minmax", lambda share, message: heard.append(message))
    assert heard[-1] == "Quantized"


@pytest.mark.parametrize("name", ["quantize", "relevance", "importance", "allocate"])
def test_gradient_checkpointing_is_a_setting_of_training(model, images, name: str) -> None:
    calls = {
        "quantize": lambda: vq.quantize(model, images, "lrp").bits,
        "relevance": lambda: vq.relevance(model, images).heatmaps.tolist(),
        "importance": lambda: vq.importance(model, images).layer_scores,
        "allocate": lambda: vq.quantize(model, images, "lrp-budget").bits,
    }
    expected = calls[name]()
    model.set_grad_checkpointing(True)
    assert calls[name]() == expected and model.grad_checkpointing
