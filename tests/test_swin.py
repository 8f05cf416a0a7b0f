"""Swin through the public functions: every recipe, files, learning, relevance, importance, bits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import _get_current_function_mode_stack

import vitq_core as vq
from tests.pairs import in_turn
from vitq_core.common.batch import Batch
from vitq_core.common.hooks import hooked
from vitq_core.experiment.tensors import attempt, errors_alone, tensors_of
from vitq_core.graph import FAMILIES
from vitq_core.graph.prepared import prepare
from vitq_core.graph.site import Unit
from vitq_core.lrp import rules
from vitq_core.lrp.mode import RelevanceMode
from vitq_core.lrp.propagate import propagate
from vitq_core.models.outliers import spread_channels
from vitq_core.passes.replay import Replay
from vitq_core.quantized.audit import audit
from vitq_core.scoring.sources import SOURCES
from vitq_core.tasks import Task

from .swin import VARIANTS, distance, pictures, tiny_swin, traits, variant

QUICK = {"effort": "quick", "iterations": 3, "batch_size": 4, "pictures": 8}
BLOCKS = [f"layers.{stage}.blocks.{block}" for stage in (0, 1) for block in (0, 1)]
DIFFICULT = "sides that nothing divides"


@pytest.fixture(autouse=True)
def home(spill: Path) -> Path:
    return spill


@pytest.fixture
def model() -> SwinTransformer:
    return tiny_swin()


@pytest.fixture
def images(model: SwinTransformer) -> Tensor:
    return pictures(model, 16)


def shake(images: Tensor, seed: int) -> Tensor:
    """By about what rounding does."""
    return images + 1e-7 * torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))


def apart(one: vq.Importance, other: vq.Importance) -> float:
    """The largest relative difference of a layer's score."""
    pairs = [(one.layer_scores[name], score) for name, score in other.layer_scores.items()]
    return max(abs(mine / theirs - 1) for mine, theirs in pairs)


def answered(model: object, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images)


def error(result: vq.QuantizeResult, model: SwinTransformer, images: Tensor) -> float:
    """Relative, squared."""
    expected = answered(model, images)
    return float((answered(result, images) - expected).square().mean() / expected.square().mean())


# -- recipes and files ----------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "recipe"), in_turn(VARIANTS, vq.RECIPES, times=2))
def test_every_recipe_quantizes_every_variant_and_files_hold_it(
    tmp_path: Path, calibrating, name: str, recipe: str
) -> None:
    model, images = variant(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    result = vq.quantize(model, images, calibrating(recipe, 5, 5))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    audit(result.model, Batch((images,)))
    assert 0 < error(result, model, images) < 0.5
    vq.save_quantized(result, tmp_path / "saved")
    loaded = vq.load_quantized(tmp_path / "saved")
    assert torch.equal(answered(loaded, images), answered(result, images))
    audit(loaded.model, Batch((images,)))
    assert loaded.bits == result.bits and type(loaded.model) is SwinTransformer


@pytest.mark.parametrize("recipe", ["repq", "crl"])
@pytest.mark.parametrize("name", ["plain", DIFFICULT, "any size", "no qkv bias"])
def test_rescaling_changes_no_float_answer(name: str, recipe: str) -> None:
    model, images = variant(name)
    spread_channels(model)  # also what a timm module itself bears
    assert distance(answered(model, images), answered(variant(name)[0], images)) < 1e-4
    result = vq.quantize(model, images, recipe)
    result.model.vitq.detach()
    assert distance(answered(result, images), answered(model, images)) < 1e-4
    assert result.model.layers[1].downsample.reduction.bias is not None
    if name != "plain":  # what fills windows up moved too
        assert any(block.norm1.padding.abs().max() > 0 for block in result.model.layers[0].blocks)


def test_pad_first_is_kept_in_a_file(tmp_path: Path) -> None:
    model, images = variant(DIFFICULT)
    family = FAMILIES["swin"]
    first = family.build({**family.config(model), "pad_first": True})
    first.load_state_dict(model.state_dict(), strict=False)
    assert distance(answered(first, images), answered(model, images)) > 1e-3
    result = vq.quantize(first, images, vq.recipe("minmax", 8, 8))
    assert error(result, first, images) < error(result, model, images)
    vq.save_quantized(result, tmp_path / "saved")
    loaded = vq.load_quantized(tmp_path / "saved")
    assert torch.equal(answered(loaded, images), answered(result, images))


def test_ranges_belong_to_heads_and_positions_to_the_picture(model, images, calibrating) -> None:
    """Not to windows, which are many."""
    ours = vq.quantize(model, images, calibrating("vitq", 6, 6)).model
    for stage, heads in zip(ours.layers, (2, 4), strict=True):
        for quantizer in stage.blocks[1].attn.matmul1.input_quantizers:
            assert quantizer.scale.shape == (1, heads, 1, 1)
    published = vq.quantize(model, images, calibrating("adfq", 6, 6)).model.layers[0].blocks[1]
    assert published.attn.qkv.input_quantizers[0].scale.shape == (1, 4, 16, 1)
    assert published.mlp.fc1.input_quantizers[0].scale.shape == (1, 64, 1)


def test_the_same_numbers_whether_fitted_layers_run_once_or_again(images, model, calibrating, monkeypatch):
    monkeypatch.setattr(Task, "chunk", 4)
    states = []
    for _ in range(2):
        states.append(vq.quantize(model, images, calibrating("repq", 4, 4)).model.state_dict())
        monkeypatch.setattr(Replay, "begin_round", lambda self: None)
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


# -- learning -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("recipe", [name for name in vq.RECIPES if name != "ptq4sam"])
def test_every_unit_is_learned(tmp_path: Path, recipe: str) -> None:
    model, _ = variant(DIFFICULT)
    images = pictures(model, 8)
    result = vq.quantize(model, images, vq.recipe(recipe, 3, 3, **QUICK))
    audit(result.model, Batch((images,)))
    family, rows = FAMILIES["swin"], result.report.units
    units = [unit.title for unit in family.units(result.model)]
    if result.recipe.options.schedule.blocks:
        units = ["patch_embed.proj", *BLOCKS[:2], "layers.1.downsample.reduction", *BLOCKS[2:], "head.fc"]
    assert [row.unit for row in rows if row.unit != Unit("").title] == units
    assert all(row.error_after <= row.error_before for row in rows)
    if "compensate" not in result.recipe.passes:  # a tiny model has little left to learn then
        assert any(row.error_after < row.error_before for row in rows)
    vq.save_quantized(result, tmp_path / "saved")
    assert torch.equal(answered(vq.load_quantized(tmp_path / "saved"), images), answered(result, images))


def test_learning_attention_maps_and_weighing_tokens_does_something(model, images) -> None:
    plain = vq.recipe("adfq", 3, 3, **QUICK)
    other = vq.recipe("adfq", 3, 3, **QUICK, weighting="tokens")
    fisher = vq.recipe("adfq", 3, 3, **QUICK, weighting="fisher")
    without = vq.recipe("adfq", 3, 3, **QUICK, kl_lambda=None)
    found = [answered(vq.quantize(model, images, r), images) for r in (plain, other, fisher, without)]
    for index, answer in enumerate(found):
        assert torch.isfinite(answer).all()
        assert all(not torch.equal(answer, another) for another in found[:index])


def test_sixty_iterations_make_it_better_on_other_pictures(model) -> None:
    calib, held = pictures(model, 48).split(32)
    before, after = (
        error(vq.quantize(model, calib, vq.recipe("repq", 3, 3, **options)), model, held)
        for options in ({}, {"effort": "quick", "batch_size": 16})
    )
    assert after < 0.9 * before


# -- relevance ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", VARIANTS)
def test_relevance_is_lost_only_where_the_rules_say_so(name: str, monkeypatch) -> None:
    """In double precision. What fills maps up drops its own: zeros that queries, keys and values are made of,
    and in merged squares. A linear layer's rule has nobody to hand on to where no product is positive."""
    monkeypatch.setattr(rules, "EPSILON", 1e-14)  # what the division leaks is not what is looked for
    model, images = variant(name)
    model, images = model.double().requires_grad_(False), images.double()
    FAMILIES["swin"].rewrite(model)
    lost = {"linear": torch.zeros_like(images[:, 0, 0, 0]), "merging": torch.zeros_like(images[:, 0, 0, 0])}
    with hooked(*_linears(model, lost["linear"]), before=[*_mergings(model, lost["merging"])]):
        found = propagate(model, ["head.fc"], Batch((images,)), to_pixels=True)
    arrived = found.pixels[0].sum((1, 2, 3))
    total = arrived + lost["linear"] + lost["merging"]
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)
    assert (arrived > 0.5).all()
    assert bool(lost["merging"].abs().max() > 0) == ("odd" in traits(name))


def _linears(model: SwinTransformer, lost: Tensor) -> Iterator[tuple]:
    """Hooks that add to ``lost`` [B] the relevance of outputs to which no input contributes."""

    def watch(layer: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> None:
        with torch.no_grad():
            signs = (
                (inputs[0].clamp(min=0), layer.weight.clamp(min=0)),
                (inputs[0].clamp(max=0), layer.weight.clamp(max=0)),
            )
            empty = sum(x @ weight.T for x, weight in signs) == 0

        def note(relevance: Tensor) -> None:
            lost.add_((relevance * empty).flatten(1).sum(1))

        if under_rules():
            output.register_hook(note)

    yield from ((part, watch) for part in model.modules() if isinstance(part, nn.Linear))


def _mergings(model: SwinTransformer, lost: Tensor) -> Iterator[tuple]:
    """Hooks that add to ``lost`` [B] the relevance of what makes odd sides even."""

    def enter(merging: nn.Module, inputs: tuple[Tensor]) -> None:
        merging.sides = inputs[0].shape[1:3]

    def watch(norm: nn.Module, inputs: tuple[Tensor], merging: nn.Module) -> None:
        height, width = merging.sides
        real = functional.pad(torch.ones(height, width), (0, width % 2, 0, height % 2))
        real = real.unflatten(0, (-1, 2)).unflatten(2, (-1, 2)).permute(0, 2, 3, 1).flatten(2)
        filling = real.repeat_interleave(inputs[0].shape[-1] // 4, -1) == 0

        def note(relevance: Tensor) -> None:
            lost.add_((relevance * filling).flatten(1).sum(1))

        if under_rules():
            inputs[0].register_hook(note)

    for stage in model.layers[1:]:
        yield stage.downsample, enter
        yield stage.downsample.norm, partial(watch, merging=stage.downsample)


def under_rules() -> bool:
    """Whether relevance is what a backward pass will bring: not so for the pass of gradients before."""
    return any(isinstance(mode, RelevanceMode) for mode in _get_current_function_mode_stack())


def test_the_rule_of_sums_gives_biases_their_share(monkeypatch) -> None:
    monkeypatch.setattr(rules, "EPSILON", 1e-14)
    model = tiny_swin(embed_dim=48)  # in narrow layers the rule often has nobody to hand on to
    images = pictures(model, 4)
    model = model.double().requires_grad_(False)
    FAMILIES["swin"].rewrite(model)
    batch = Batch((images.double(),))
    found = [propagate(model, ["head.fc"], batch, to_pixels=True, biases=b) for b in ("identity", "add")]
    whole, less = (each.pixels[0].sum((1, 2, 3)) for each in found)
    torch.testing.assert_close(whole, torch.ones_like(whole), rtol=0, atol=1e-5)
    assert (less < 0.95).all() and (less > 0.3).all()


def test_pictures_together_are_explained_as_each_alone(model, images) -> None:
    together = vq.relevance(model, images[:4], return_tensors=True)
    assert together.heatmaps is None and together.pixel_maps.shape == (4, 16, 16)
    assert set(together.tensors) == set(prepare(model, "relevance").names)
    for index in range(4):
        alone = vq.relevance(model, images[index : index + 1], return_tensors=True)
        assert torch.equal(alone.targets, together.targets[index : index + 1])
        for name, pair in alone.tensors.items():
            for mine, ours in zip(pair, together.tensors[name], strict=True):
                share = len(ours) // 4  # windows of a picture
                assert distance(ours[index * share : (index + 1) * share], mine) < 2e-3, name


def test_a_quantized_model_is_explained_too(model, images) -> None:
    result = vq.quantize(model, images, vq.recipe("repq", 8, 8))
    found = [vq.relevance(each, images[:2], targets=1) for each in (model, result)]
    scores = torch.tensor([list(each.layer_scores.values()) for each in found]).log()
    assert float(torch.corrcoef(scores)[0, 1]) > 0.9


# -- importance and bits --------------------------------------------------------------------------------
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_scores_every_layer_whatever_the_batches(model, images, source: str) -> None:
    names = prepare(model, "importance").names
    found = vq.importance(model, images, source)
    assert list(found.layer_scores) == names and all(score > 0 for score in found.layer_scores.values())
    if source == "relevance":  # the others draw answers, or take ranges, batch by batch
        again = vq.importance(model, images.split(5), source)
        shaken = [vq.importance(model, shake(images, seed), source) for seed in range(3)]
        # relevance of this random model divides by sums near zero: 1e-7 in a picture moves it by 1 %
        assert apart(again, found) < max(1e-3, *(apart(other, found) for other in shaken))


def test_averages_of_the_papers_policy_count_sizes() -> None:
    model = tiny_swin(depths=(2, 6))
    images = pictures(model, 4)
    scores = vq.importance(model, images)
    table = vq.allocate_bits(scores, model, policy="paper", base_bits=4, first_blocks=2)
    layers = prepare(model, "allocate_bits").layers
    blocks = [
        f"layers.{stage}.blocks.{block}" for stage, depth in enumerate((2, 6)) for block in range(depth)
    ]
    inside = [name for name in layers if any(Unit(block).holds(name) for block in blocks)]
    weights = [name for name in inside if table[name][0] is not None]
    for names, sizes, which in (
        (weights, {n: layers[n].params for n in weights}, 0),
        (inside, {n: layers[n].macs for n in inside}, 1),
    ):
        average = sum(table[n][which] * sizes[n] for n in names) / sum(sizes.values())
        assert 3.5 < average <= 4
    assert {4, 5} <= {bits for name in inside for bits in table[name] if bits}
    assert table["layers.1.downsample.reduction"] == (4, 4) == table["head.fc"]
    assert table["patch_embed.proj"] == (4, 8)


# -- looked at, wrapped ---------------------------------------------------------------------------------
@pytest.mark.parametrize("recipe", ["minmax", "crl", "adfq", "vitq"])
def test_a_quantizer_is_tried_on_every_tensor(model, images, recipe: str) -> None:
    seen = tensors_of(vq.wrap_model(model), images)
    assert {site.role for site in seen.sites.values()} >= {"query", "post_softmax", "post_gelu", "features"}
    for site in seen.sites.values():
        tried = attempt(seen, site, vq.recipe(recipe), 6)
        assert 0 <= tried.error < 0.1, site
        assert torch.equal(tried.simulated, tried.quantizer.decode(tried.quantizer.encode(tried.values)))
    alone = errors_alone(vq.wrap_model(model), images, vq.recipe(recipe, 4, 4))
    assert list(alone) == list(seen.prepared.layers) and all(0 < value < 1 for value in alone.values())


def test_labels_and_preprocessing_survive(model, images, tmp_path: Path) -> None:
    wrapped = vq.wrap_model(model, labels=list("abcde"))
    assert wrapped.preprocess.size == (16, 16)
    vq.save_quantized(vq.quantize(wrapped, images, "repq"), tmp_path / "saved")
    loaded = vq.load_quantized(tmp_path / "saved").source
    assert loaded.labels == wrapped.labels and loaded.preprocessing == wrapped.preprocessing


# -- without classes, and what it cannot do --------------------------------------------------------------
@pytest.mark.parametrize("name", ["no head", "not pooled"])
def test_features_are_quantized_measured_and_explained(name: str, calibrating) -> None:
    model, _ = variant(name)
    images = pictures(model, 8)
    result = vq.quantize(model, images, calibrating("vitq", 6, 6))
    found = vq.evaluate(result, [images], reference=model)
    assert found.top1 is None and 0.97 < found.cosine < 1 and found.token_cosine is None
    explained = vq.relevance(model, images[:2])
    assert explained.targets is None and explained.pixel_maps.shape == (2, 16, 16)
    with pytest.raises(ValueError, match="targets name classes, and this model has none"):
        vq.relevance(model, images, targets=0)


def test_what_segment_anything_alone_has_is_refused(model, images) -> None:
    with pytest.raises(ValueError, match="a swin model is quantized whole"):
        vq.quantize(model, images, vq.recipe("ptq4sam", parts=("encoder",)))


def test_pictures_of_a_wrong_size_are_refused(model) -> None:
    with pytest.raises(ValueError, match=r"the model takes pictures of \(3, 16, 16\), got \(3, 20, 16\)"):
        vq.quantize(model, torch.randn(2, 3, 20, 16), "minmax")
    anything, images = variant("any size")
    result = vq.quantize(anything, images, vq.recipe("repq", 8, 8))
    other = torch.randn(1, 3, 18, 30, generator=torch.Generator().manual_seed(2))
    assert distance(answered(result, other), answered(anything, other)) < 0.2
