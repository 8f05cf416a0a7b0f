"""What each importance source says of a layer, against twins of one picture and one layer at a time."""

import pytest
import torch
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.graph.prepared import prepare
from vitq_core.scoring.sources import SOURCES

PERCENTILES = (0.999, 0.9999, 0.99999)


def scores(source: str, model: nn.Module, images: Tensor, targets: Tensor | None = None) -> dict[str, Tensor]:
    """{layer: [B]} as the engine finds them."""
    return SOURCES[source](prepare(model, "importance", images[:1])).scores(Batch((images,)), targets)


def close(found: dict[str, Tensor], expected: dict[str, Tensor], rel: float) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].shape == values.shape
        torch.testing.assert_close(found[name].double(), values.double(), rtol=rel, atol=1e-12, msg=name)


# -- relevance -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("targets", [None, [0, 1, 2, 3, 4, 0]])
def test_relevance_is_the_mean_of_positive_gradient_times_relevance(model, images, targets) -> None:
    explained = vq.relevance(model, images, targets, return_tensors=True)
    expected = {
        name: torch.stack([(g * r).clamp(min=0).mean() for g, r in zip(gradient, relevance, strict=True)])
        for name, (relevance, gradient) in explained.tensors.items()
    }
    given = None if targets is None else torch.tensor(targets)
    close(scores("relevance", model, images, given), expected, 1e-6)


# -- fisher --------------------------------------------------------------------------------------------
def fisher_twin(model: nn.Module, images: Tensor, targets: list[int] | None) -> dict[str, Tensor]:
    """Per picture and layer: backpropagate log p(target), multiply by the output, square, sum."""
    prepared = prepare(model, "importance", images[:1])
    module, found = prepared.module.double(), {}
    for name in prepared.names:
        for index, picture in enumerate(images.double()):
            kept = []
            part = module.get_submodule(name)
            hook = part.register_forward_hook(lambda *call, kept=kept: kept.append(call[-1]))
            logits = module(picture[None].requires_grad_())[0]
            hook.remove()
            target = int(logits.argmax()) if targets is None else targets[index]
            likelihood = logits[target] - logits.exp().sum().log()
            (gradient,) = torch.autograd.grad(likelihood, kept[0])
            found.setdefault(name, []).append(((gradient * kept[0]) ** 2).sum().detach())
    return {name: torch.stack(values) for name, values in found.items()}


@pytest.mark.parametrize("targets", [None, [0, 4, 2]])
def test_fisher_is_the_squared_gradient_in_units_of_the_output(model, pictures, targets) -> None:
    images = pictures(model, 3)
    given = None if targets is None else torch.tensor(targets)
    close(scores("fisher", model, images, given), fisher_twin(model, images, targets), 2e-4)


def test_fisher_does_not_care_how_a_layers_output_is_scaled(model, images) -> None:
    """Values three times as large, read by weights a third as large: the same function, the same score."""
    before = scores("fisher", model, images)
    with torch.no_grad():
        qkv, proj = model.blocks[0].attn.qkv, model.blocks[0].attn.proj
        qkv.weight[-16:] *= 3
        qkv.bias[-16:] *= 3
        proj.weight /= 3
    after = scores("fisher", model, images)
    close({"x": after["blocks.0.attn.matmul2"]}, {"x": before["blocks.0.attn.matmul2"]}, 1e-3)


# -- signal to noise -----------------------------------------------------------------------------------
def at_four_bits(x: Tensor) -> Tensor:
    """Uniform, the best of three percentile ranges for all values of ``x``."""
    candidates = []
    for p in PERCENTILES:
        low, high = torch.quantile(x.flatten(), 1 - p), torch.quantile(x.flatten(), p)
        scale = (high - low) / 15
        zero = (-low / scale).round()
        simulated = ((x / scale).round() + zero).clamp(0, 15).sub(zero).mul(scale)
        candidates.append((float((simulated - x).square().mean()), simulated))
    return min(candidates, key=lambda candidate: candidate[0])[1]


def by_rows(weight: Tensor) -> Tensor:
    return torch.stack([at_four_bits(row) for row in weight])


def run(part: nn.Module, inputs: tuple[Tensor, ...], weight: Tensor | None) -> Tensor:
    """The layer's operation, written out."""
    if weight is None:
        return inputs[0] @ inputs[1]
    if isinstance(part, nn.Conv2d):
        return nn.functional.conv2d(inputs[0], weight, part.bias, part.stride)
    return inputs[0] @ weight.T + part.bias


def noise_over_signal(noisy: Tensor, clean: Tensor) -> Tensor:
    return torch.stack([(n - c).square().sum() / c.square().sum() for n, c in zip(noisy, clean, strict=True)])


def sqnr_twin(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    prepared, found = prepare(model, "importance", images[:1]), {}
    for name in prepared.names:
        part, seen = prepared.module.get_submodule(name), []
        hook = part.register_forward_pre_hook(lambda part, inputs, seen=seen: seen.extend(inputs))
        with torch.no_grad():
            prepared.module(images)
        hook.remove()
        weight = getattr(part, "weight", None)
        clean = run(part, seen, weight)
        found[name] = noise_over_signal(run(part, [at_four_bits(x) for x in seen], weight), clean)
        if weight is not None:
            found[name] += noise_over_signal(run(part, seen, by_rows(weight.detach())), clean)
    return found


def test_sqnr_is_the_noise_of_one_layer_alone_at_4_bits(model, images) -> None:
    close(scores("sqnr", model, images), sqnr_twin(model, images), 1e-3)


# -- all of them ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("source", list(SOURCES))
def test_every_source_scores_every_layer_of_every_picture(model, images, source: str) -> None:
    found = scores(source, model, images)
    layers = list(prepare(model, "importance", images[:1]).layers)
    assert [name for name in found if not name.endswith(".softmax")] == layers
    assert all(values.shape == (6,) and (values >= 0).all() for values in found.values())
    assert not any(values.requires_grad for values in found.values())
    assert sum(float(values.sum()) for values in found.values()) > 0


@pytest.mark.parametrize("source", list(SOURCES))
def test_every_source_scores_or_refuses_a_quantized_model(model, images, source: str) -> None:
    result = vq.quantize(model, images, "percentile")
    try:
        found = vq.importance(result, images, source)
    except (ValueError, vq.VitqError) as error:
        assert "quantized" in str(error)
    else:
        assert found.pictures == 6
