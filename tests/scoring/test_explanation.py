"""``relevance`` on every kind of model: right for a batch, harmless to the model, clear about bad input."""

import threading
from collections.abc import Callable
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import vitq_core as vq
from vitq_core.demo.scenes import scene_batch

HOOKS = (
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
    *("_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks"),
)


def distance(actual: Tensor, expected: Tensor) -> float:
    """The greatest difference within any one picture, relative to that picture's greatest value."""
    assert actual.shape == expected.shape
    differences = (actual - expected).abs().flatten(1).amax(1)
    return float((differences / expected.abs().flatten(1).amax(1).clamp_min(1e-20)).max())


def state(module: nn.Module) -> dict:
    """Everything of a model that a caller could find changed."""
    return {
        "parameters": {
            name: (id(p), p.requires_grad, p.grad, p.dtype) for name, p in module.named_parameters()
        },
        "values": {name: value.clone() for name, value in module.state_dict().items()},
        "modules": {name: (id(m), type(m), m.training) for name, m in module.named_modules()},
        "hooks": {name: [len(getattr(m, kind)) for kind in HOOKS] for name, m in module.named_modules()},
        "attributes": {name: sorted(vars(m)) for name, m in module.named_modules()},
    }


def assert_untouched(module: nn.Module, before: dict) -> None:
    after = state(module)
    values, old = after.pop("values"), before["values"]
    assert after == {key: value for key, value in before.items() if key != "values"}
    assert list(values) == list(old) and all(torch.equal(values[name], old[name]) for name in old)


@pytest.fixture
def explicable(variant: VisionTransformer) -> VisionTransformer:
    if variant.global_pool == "":
        pytest.skip("gives no classes")
    return variant


# Every kind of model


def test_a_batch_is_explained_as_each_of_its_pictures(
    explicable: VisionTransformer, pictures: Callable
) -> None:
    images = pictures(explicable, 3)
    found = vq.relevance(explicable, images, return_tensors=True)
    targets = [None] * 3 if found.targets is None else found.targets.tolist()
    alone = [
        vq.relevance(explicable, image[None], target, return_tensors=True)
        for image, target in zip(images, targets, strict=True)
    ]
    for name, both in found.tensors.items():
        for kind, tensor in enumerate(both):
            assert torch.isfinite(tensor).all(), name
            assert distance(tensor, torch.cat([one.tensors[name][kind] for one in alone])) < 1e-4, name
    for kind in ("heatmaps", "pixel_maps"):
        assert distance(getattr(found, kind), torch.cat([getattr(one, kind) for one in alone])) < 1e-4
    for name, score in found.layer_scores.items():
        each = [one.layer_scores[name] for one in alone]
        assert score == pytest.approx(sum(each) / 3, rel=1e-4, abs=1e-12), name


def test_shapes_and_names(mixture: VisionTransformer, pictures: Callable) -> None:
    if mixture.global_pool == "":
        pytest.skip("gives no classes")
    images = pictures(mixture, 2)
    found = vq.relevance(mixture, images, return_tensors=True)
    assert found.heatmaps.shape == (2, *mixture.patch_embed.grid_size)
    assert found.pixel_maps.shape == (2, *images.shape[2:])
    assert found.pixel_maps.abs().amax((1, 2)).min() > 0 and (found.heatmaps >= 0).all()
    assert set(found.tensors) == {*found.layer_scores, *found.importance.attention_scores}
    assert found.importance.attention_scores and found.importance.pictures == 2
    assert all(score >= 0 for score in found.layer_scores.values())
    assert sum(found.importance.relative.values()) == pytest.approx(1)
    for relevance, gradient in found.tensors.values():
        assert (
            relevance.shape == gradient.shape and not relevance.requires_grad and not gradient.requires_grad
        )
        assert relevance.grad_fn is None and gradient.grad_fn is None
    assert not found.heatmaps.requires_grad and not found.pixel_maps.requires_grad


@pytest.mark.parametrize("batch_size", [1, 3, 4, 100])
def test_batch_size_does_not_matter(model, images, batch_size: int) -> None:
    whole = vq.relevance(model, images, return_tensors=True)
    parts = vq.relevance(model, images, batch_size=batch_size, return_tensors=True)
    assert torch.equal(whole.targets, parts.targets)
    assert distance(parts.heatmaps, whole.heatmaps) < 1e-4
    assert distance(parts.pixel_maps, whole.pixel_maps) < 1e-4
    assert parts.layer_scores == pytest.approx(whole.layer_scores, rel=1e-4)
    assert parts.importance.standard_errors == pytest.approx(whole.importance.standard_errors, rel=1e-3)
    for name, (relevance, gradient) in parts.tensors.items():
        assert distance(relevance, whole.tensors[name][0]) < 1e-4, name
        assert distance(gradient, whole.tensors[name][1]) < 1e-4, name


def test_the_order_of_pictures_does_not_matter(model, images) -> None:
    found, turned = vq.relevance(model, images), vq.relevance(model, images.flip(0))
    assert distance(turned.heatmaps.flip(0), found.heatmaps) < 1e-4
    assert turned.layer_scores == pytest.approx(found.layer_scores, rel=1e-4)


@pytest.mark.parametrize("count", [1, 2])
def test_a_model_that_does_not_pool_is_no_classifier(tiny: Callable, pictures: Callable, count: int) -> None:
    model = tiny(global_pool="", num_classes=3)
    with pytest.raises(
        vq.VitqError, match=r"taken for a classifier and must give logits \[N, classes\], got \[\d, 5, 3\]"
    ):
        vq.relevance(model, pictures(model, count))


@pytest.mark.parametrize("pool", ["avg", "max", "avgmax"])
def test_a_pooled_model_with_a_class_token_has_a_heat_map(
    tiny: Callable, pictures: Callable, pool: str
) -> None:
    model = tiny(global_pool=pool)
    assert vq.relevance(model, pictures(model, 2)).heatmaps.amax((1, 2)).min() > 0


def test_a_distilled_model_that_answers_from_its_other_token_has_a_heat_map(
    tiny: Callable, pictures: Callable
) -> None:
    model = tiny(**{"class": VisionTransformerDistilled})
    nn.init.zeros_(model.head.weight)
    assert vq.relevance(model, pictures(model, 2)).heatmaps.amax((1, 2)).min() > 0


def test_black_pictures_have_finite_maps(model) -> None:
    found = vq.relevance(model, torch.zeros(2, 3, 16, 16))
    assert torch.isfinite(found.heatmaps).all() and (found.pixel_maps == 0).all()


def test_a_head_without_weights_scores_nothing(model, images) -> None:
    nn.init.zeros_(model.head.weight)
    found = vq.relevance(model, images)
    assert (found.heatmaps == 0).all() and (found.pixel_maps == 0).all()
    assert {layer for layer, share in found.importance.relative.items() if share} == {"head"}


@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU, nn.LeakyReLU])
def test_activations_in_place_change_nothing(
    tiny: Callable, pictures: Callable, activation: type[nn.Module]
) -> None:
    model = tiny(depth=2, act_layer=activation)
    images = pictures(model, 3)
    expected = vq.relevance(model, images, return_tensors=True)
    for block in model.blocks:
        block.mlp.act.inplace = True
    found = vq.relevance(model, images, return_tensors=True)
    assert distance(found.pixel_maps, expected.pixel_maps) < 1e-4
    for name, (relevance, _) in found.tensors.items():
        assert distance(relevance, expected.tensors[name][0]) < 1e-4, name


# The model stays as it was


@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_left_as_it_was(mixture: VisionTransformer, pictures: Callable, training: bool) -> None:
    images = pictures(mixture, 2)
    with torch.no_grad():
        expected = mixture(images)
    mixture.train(training)
    mixture.blocks.train(not training)
    next(mixture.parameters()).requires_grad_(False)
    last = list(mixture.parameters())[-1]
    last.grad = torch.ones_like(last)
    before, seen = state(mixture), images.clone()
    if mixture.global_pool == "":
        with pytest.raises(vq.VitqError):
            vq.relevance(mixture, images)
    else:
        vq.relevance(mixture, images)
    assert_untouched(mixture, before)
    assert torch.equal(images, seen) and not images.requires_grad and images.grad is None
    with torch.no_grad():
        assert torch.equal(mixture.eval()(images), expected)


class Breakdown(Exception):
    """Of the caller's own code, in the middle of a run."""


def broken(images: Tensor):
    yield images
    raise Breakdown


def stop_later(fraction: float, message: str) -> None:
    if fraction > 0:
        raise Breakdown


INTERRUPTIONS = {
    "a broken stream": (lambda x: (broken(x), {}), Breakdown),
    "NaN in the second batch": (lambda x: ([x, x * float("nan")], {}), ValueError),
    "a class out of range": (lambda x: (x, {"targets": [0] * (len(x) - 1) + [9]}), ValueError),
    "too few targets": (lambda x: ([x, x], {"targets": [0] * len(x)}), ValueError),
    "a progress that fails": (lambda x: (x, {"progress": stop_later}), Breakdown),
    "cancelled": (lambda x: (x, {"cancel": iter([False, False, True]).__next__}), vq.Cancelled),
    "overflow": (lambda x: ([x, x * 1e30], {}), vq.VitqError),
}


@pytest.mark.parametrize("name", INTERRUPTIONS)
def test_an_interruption_leaves_the_model_as_it_was(model, images, name: str) -> None:
    interrupted, error = INTERRUPTIONS[name]
    stream, options = interrupted(images)
    before = state(model)
    with pytest.raises(error):
        vq.relevance(model, stream, batch_size=2, **options)
    assert_untouched(model, before)
    assert torch.is_grad_enabled() and (torch.ones(1, requires_grad=True) @ torch.ones(1)).grad_fn is not None


class Fails(VisionTransformer):
    """Breaks in its second forward, which is the one for the gradients."""

    forwards = 0

    def forward(self, x: Tensor) -> Tensor:
        type(self).forwards += 1
        if type(self).forwards > 2:
            raise Breakdown
        return super().forward(x)


def test_a_model_that_fails_is_left_as_it_was(tiny: Callable, pictures: Callable, monkeypatch) -> None:
    monkeypatch.setattr(Fails, "forwards", 0)
    model = tiny(**{"class": Fails})
    before = state(model)
    with pytest.raises(Breakdown):
        vq.relevance(model, pictures(model, 2))
    assert_untouched(model, before)


@pytest.mark.parametrize("context", [torch.no_grad, torch.enable_grad])
def test_the_callers_gradient_mode_does_not_matter(model, images, context: Callable) -> None:
    expected = vq.relevance(model, images)
    with context():
        found = vq.relevance(model, images.clone().requires_grad_())
        assert torch.is_grad_enabled() == (context is torch.enable_grad)
    assert torch.equal(found.heatmaps, expected.heatmaps) and torch.equal(
        found.pixel_maps, expected.pixel_maps
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_models_of_any_precision(model, images, dtype: torch.dtype) -> None:
    expected = vq.relevance(model, images, 0)
    model.to(dtype)
    before = state(model)
    found = vq.relevance(model, images.to(dtype), 0)
    assert_untouched(model, before)
    assert found.heatmaps.dtype == torch.float32 and torch.isfinite(found.pixel_maps).all()
    if dtype == torch.float64:
        assert torch.equal(found.heatmaps, expected.heatmaps)


# Quantized models


@pytest.mark.parametrize("recipe", ["repq", "adfq", "crl"])
def test_a_quantized_result_is_explained_and_left_as_it_was(model, images, calibrating, recipe: str) -> None:
    result = vq.quantize(model, images, calibrating(recipe))
    outputs, before = result(images), state(result.model)
    found = vq.relevance(result, images, return_tensors=True)
    assert_untouched(result.model, before)
    assert torch.equal(result(images), outputs)
    assert torch.equal(found.targets, outputs.argmax(1))
    assert all(torch.isfinite(tensor).all() for both in found.tensors.values() for tensor in both)
    assert found.heatmaps.amax((1, 2)).min() > 0
    again = vq.relevance(result.model, images)
    assert torch.equal(again.heatmaps, found.heatmaps), "the module alone is explained alike"


def test_quantized_activations_are_what_is_explained(model, images) -> None:
    result = vq.quantize(model, images, vq.recipe("minmax", 3, 3))
    found, expected = vq.relevance(result, images, 1), vq.relevance(model, images, 1)
    assert distance(found.heatmaps, expected.heatmaps) > 0.01


# Pictures

STREAMS = {
    "list": lambda x: [x[:4], x[4:]],
    "batches of different sizes": lambda x: [x[:1], x[1:6]],
    "pairs": lambda x: [(x[:3], torch.zeros(3)), [x[3:], ["labels"] * 3]],
    "generator": lambda x: (x[i : i + 2] for i in (0, 2, 4)),
    "an empty batch first": lambda x: [x[:0], x],
    "a loader": lambda x: DataLoader(TensorDataset(x, torch.zeros(6)), batch_size=4),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_explained_as_the_tensor(model, images, name: str) -> None:
    expected = vq.relevance(model, images)
    found = vq.relevance(model, STREAMS[name](images), batch_size=3)
    assert distance(found.heatmaps, expected.heatmaps) < 1e-4
    assert found.layer_scores == pytest.approx(expected.layer_scores, rel=1e-4)
    assert torch.equal(found.targets, expected.targets) and found.importance.pictures == 6


@pytest.mark.parametrize("cut", [3, 6])
def test_empty_batches_are_passed_over(model, images, cut: int) -> None:
    found = vq.relevance(model, [images[:cut], images[:0], images[cut:]] if cut < 6 else [images, images[:0]])
    assert found.importance.pictures == 6


NAN = float("nan")
UNUSABLE = {
    "empty tensor": (lambda x: x[:0], "no pictures: give at least one"),
    "empty list": (lambda x: [], "no pictures: give at least one"),
    "empty generator": (lambda x: iter(()), "no pictures: give at least one"),
    "only empty batches": (lambda x: [x[:0], x[:0]], "no pictures: give at least one"),
    "NaN": (lambda x: torch.where(x == x.max(), NAN, x), "the pictures contain NaN or infinite values"),
    "NaN later": (lambda x: [x, x * NAN], "the pictures contain NaN or infinite values"),
    "infinite": (lambda x: x / 0, "the pictures contain NaN or infinite values"),
    "wrong size": (lambda x: x[..., :8], r"takes pictures of \(3, 16, 16\), got \(3, 16, 8\)"),
    "wrong size later": (lambda x: [x, x[..., :8]], r"takes pictures of \(3, 16, 16\), got \(3, 16, 8\)"),
    "wrong channels": (lambda x: x[:, :1], r"takes pictures of \(3, 16, 16\), got \(1, 16, 16\)"),
    "one picture": (lambda x: x[0], r"must be a float tensor .* got \(3, 16, 16\)"),
    "list of pictures": (list, r"must be a float tensor .* got \(3, 16, 16\)"),
    "uint8": (lambda x: x.to(torch.uint8), r"must be preprocessed floats, got torch\.uint8; use model\.prep"),
    "uint8 later": (lambda x: [x, x.to(torch.uint8)], r"preprocessed floats, got torch\.uint8"),
    "array": (lambda x: x.numpy(), "must be a float tensor .* got ndarray"),
    "path": (lambda x: "pictures/", "must be a float tensor .* got str"),
    "dict": (lambda x: [{"x": x}], "must hold its pictures as 'pixel_values' or .*; it has 'x'"),
    "nothing": (lambda x: None, "must be a tensor or an iterable of batches, got NoneType"),
    "number": (lambda x: 5, "must be a tensor or an iterable of batches, got int"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_pictures(model, images, name: str) -> None:
    make, sentence = UNUSABLE[name]
    with pytest.raises(ValueError, match=sentence):
        vq.relevance(model, make(images))


def test_pictures_so_large_that_the_model_overflows(model, images) -> None:
    with pytest.raises(
        vq.VitqError, match="outputs that are not finite numbers; there is nothing to explain or quantize"
    ):
        vq.relevance(model, images * 1e30)


@pytest.mark.parametrize("batch_size", [0, -3, True, 1.5, "8", None])
def test_unusable_batch_sizes(model, images, batch_size: object) -> None:
    with pytest.raises(ValueError, match="batch_size must be a whole number above 0, got"):
        vq.relevance(model, images, batch_size=batch_size)


# Models


@pytest.mark.parametrize("thing", ["demo-vit", None, 5, VisionTransformer])
def test_what_is_no_model(images, thing: object) -> None:
    with pytest.raises(ValueError, match=r"relevance takes a model of load_model or an nn\.Module, got"):
        vq.relevance(thing, images)


@pytest.mark.parametrize("module", [nn.Linear(3, 2), nn.Sequential(nn.Flatten(), nn.Linear(768, 5))])
def test_models_of_no_known_family(images, module: nn.Module) -> None:
    name = type(module).__name__
    with pytest.raises(vq.VitqError, match=rf"no model family knows {name}; known: .*VisionTransformer"):
        vq.relevance(module, images)


@pytest.mark.parametrize("value", [NAN, float("inf")])
def test_broken_weights(model, images, value: float) -> None:
    with torch.no_grad():
        model.blocks[1].attn.qkv.weight[4, 2] = value
    with pytest.raises(
        vq.VitqError, match=r"the model's blocks\.1\.attn\.qkv\.weight contains NaN or infinite"
    ):
        vq.relevance(model, images)


def test_a_loaded_model_and_its_module_are_explained_alike(model, images) -> None:
    wrapped = vq.relevance(vq.wrap_model(model), images)
    assert torch.equal(wrapped.heatmaps, vq.relevance(model, images).heatmaps)


# Progress and cancelling


def heard(model: nn.Module, images: object, **options) -> list[tuple[float, str]]:
    said: list[tuple[float, str]] = []
    vq.relevance(model, images, progress=lambda *report: said.append(report), **options)
    return said


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_progress_goes_from_0_to_1(model, images, batch_size: int) -> None:
    fractions = [fraction for fraction, _ in heard(model, images, batch_size=batch_size)]
    assert fractions[0] == 0.0 and fractions[-1] == 1.0 and fractions == sorted(fractions)
    assert len(fractions) == 1 + -(-6 // batch_size) + 1


def test_progress_counts_pictures(model, images) -> None:
    for stream in (images, [images[:4], images[4:]]):
        said = [message for _, message in heard(model, stream, batch_size=4)]
        assert said == ["Preparing", "4 pictures explained", "6 pictures explained", "Done"]


@pytest.mark.parametrize("stream", ["list", "generator"])
def test_progress_of_a_stream_ends_at_1(model, images, stream: str) -> None:
    fractions = [fraction for fraction, _ in heard(model, STREAMS[stream](images))]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0


def test_progress_of_batches_moves_with_them(model, images) -> None:
    for batches in (images.split(2), DataLoader(TensorDataset(images, torch.zeros(6)), 2)):
        fractions = [fraction for fraction, _ in heard(model, batches)]
        assert fractions == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_callable_cancels(model, images, after: int) -> None:
    said: list[float] = []
    with pytest.raises(vq.Cancelled, match="cancelled; the model that was given is unchanged"):
        vq.relevance(
            *(model, images),
            batch_size=2,
            progress=lambda fraction, _: said.append(fraction),
            cancel=lambda: len(said) >= after,
        )
    assert len(said) == after


def test_an_event_cancels(model, images) -> None:
    event = threading.Event()
    vq.relevance(model, images, cancel=event)
    with pytest.raises(vq.Cancelled):
        vq.relevance(
            model,
            images,
            batch_size=1,
            progress=lambda fraction, _: event.set() if fraction else None,
            cancel=event,
        )


@pytest.mark.parametrize("cancel", [True, 1, "now"])
def test_what_cannot_cancel(model, images, cancel: object) -> None:
    with pytest.raises(ValueError, match=r"cancel must be a function or an object with is_set\(\), got"):
        vq.relevance(model, images, cancel=cancel)


# Inference mode, and tensors with a history


@pytest.mark.parametrize("where", ["around", "pictures"])
def test_inference_mode(model, images, where: str) -> None:
    expected = vq.relevance(model, images)
    with torch.inference_mode():
        inside = images.clone()
        if where == "around":
            found = vq.relevance(model, images)
    if where == "pictures":
        found = vq.relevance(model, inside)
    assert torch.equal(found.heatmaps, expected.heatmaps)


@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize("trainable", [False, True])
def test_a_model_built_in_inference_mode(
    model, images, tiny: Callable, trainable: bool, around: bool
) -> None:
    expected = vq.relevance(model, images)
    with torch.inference_mode():
        built = tiny(depth=2).requires_grad_(trainable)
    before = state(built)
    with torch.inference_mode(around):
        found = vq.relevance(built, images)
    assert_untouched(built, before)
    assert torch.equal(found.heatmaps, expected.heatmaps)
    assert torch.equal(found.pixel_maps, expected.pixel_maps)


def test_a_model_that_keeps_its_last_output(model, images) -> None:
    expected = vq.relevance(model, images)
    model.last = model(images)
    with pytest.raises(
        vq.VitqError, match=r"cannot be copied: it keeps a tensor with its history, .* detach or delete that"
    ):
        vq.relevance(model, images)
    model.last = model.last.detach()
    assert torch.equal(vq.relevance(model, images).heatmaps, expected.heatmaps)


# What it is for


@cache
def scenes() -> tuple[nn.Module, Tensor, vq.Relevance]:
    """16 scenes as the bundled model sees them, and their explanation."""
    model = vq.load_model("demo-vit")
    preprocessing = model.preprocessing
    images, _ = scene_batch(range(16), 7, preprocessing.size)
    mean, std = (torch.tensor(v)[:, None, None] for v in (preprocessing.mean, preprocessing.std))
    images = (images - mean) / std
    return model.module, images, vq.relevance(model, images)


@cache
def target_probabilities(order: Tensor | None, patches: int = 8) -> Tensor:
    """[16]: of the target class, without the first patches of ``order`` [16, patches] (all there if None)."""
    model, images, found = scenes()
    if order is not None:
        kept = torch.ones(order.shape).scatter_(1, order[:, :patches], 0.0)
        images = images * F.interpolate(kept.reshape(-1, 1, *found.heatmaps.shape[1:]), images.shape[2:])
    with torch.no_grad():
        return model(images).softmax(1).gather(1, found.targets[:, None])[:, 0]


def probability_lost(order: Tensor) -> float:
    return float((target_probabilities(None) - target_probabilities(order)).mean())


@cache
def lost_by_chance() -> list[float]:
    """Without eight patches drawn at random, four times."""
    generator = torch.Generator().manual_seed(0)
    shape = scenes()[2].heatmaps.flatten(1).shape
    return [probability_lost(torch.rand(shape, generator=generator).argsort(1)) for _ in range(4)]


def test_at_eight_bits_a_quantized_model_is_explained_as_the_float_one() -> None:
    model, images, found = scenes()
    result = vq.quantize(model, images[:2], vq.recipe("minmax", 8, 8))
    maps = vq.relevance(result, images[:2], found.targets[:2]).heatmaps
    for ours, theirs in zip(maps, found.heatmaps, strict=False):
        assert float(torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1]) > 0.9


@pytest.mark.parametrize("kind", ["heatmaps", "pixel_maps"])
def test_the_most_relevant_patches_matter_most(kind: str) -> None:
    found = scenes()[2]
    scores = F.adaptive_avg_pool2d(getattr(found, kind), found.heatmaps.shape[1:]).flatten(1)
    most = probability_lost(scores.argsort(1, descending=True))
    assert most > 2 * max(lost_by_chance()) and most > 0.3


def test_the_least_relevant_patches_matter_least() -> None:
    scores = scenes()[2].heatmaps.flatten(1)
    assert probability_lost(scores.argsort(1)) < sum(lost_by_chance()) / 4
