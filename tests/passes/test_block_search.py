"""APQ-ViT's pass: what a candidate costs at the block's output, written out; options that do something."""

import pytest
import torch
from torch import Tensor

import vitq_core as vq
from tests.swin import pictures as swin_pictures
from tests.swin import tiny_swin
from vitq_core.passes.search import blocks
from vitq_core.passes.search.blocks import BlockPiece, BlockSearch, heard


@pytest.fixture
def model(tiny):
    return tiny(depth=2)


def parameters(result: vq.QuantizeResult) -> list[Tensor]:
    simulation = result.model.vitq
    return [simulation.quantizer(site).scale for site in simulation.sites()]


def same(some: vq.QuantizeResult, others: vq.QuantizeResult) -> bool:
    return all(torch.equal(*pair) for pair in zip(parameters(some), parameters(others), strict=True))


def test_replaying_what_is_settled_changes_nothing(model, images, monkeypatch) -> None:
    found = vq.quantize(model, images, vq.recipe("apq"))
    monkeypatch.setattr(BlockSearch, "_ended", lambda search: [])
    assert same(vq.quantize(model, images, vq.recipe("apq")), found)


def test_every_scale_is_the_best_of_all_at_its_blocks_output(model, images, monkeypatch) -> None:
    """Of the last operand that is searched, the others as they are."""
    asked, error = {}, BlockSearch._error

    def noted(search, found, operand, piece, number):
        lost = error(search, found, operand, piece, number)
        asked.setdefault((operand.site, str(search._settled)), {})[piece, number] = float(lost)
        return lost

    monkeypatch.setattr(BlockSearch, "_error", noted)
    result = vq.quantize(model, images, vq.recipe("apq", scales_tried="all"))
    last = next(site for site, _ in reversed(asked) if site.module == "blocks.1.mlp.fc2")
    assert len({number for key, table in asked.items() if key[0] == last for _, number in table}) == 100
    block = result.model.blocks[1]
    quantizer, candidates = result.model.vitq.quantizer(last), 9
    kept = quantizer.scale.clone()
    seen: list[Tensor] = []
    hook = block.register_forward_pre_hook(lambda part, inputs: seen.append(inputs[0].clone()))
    with torch.no_grad():
        result(images)
    hook.remove()
    wanted, gradient = of_float(model, images)

    def lost(scale: Tensor) -> float:
        quantizer.scale = scale
        if last.tensor == "weight":
            weight = result.model.vitq.simulated_weight(last.module)
            weight.refresh(result.model.vitq.float_weight(last.module))
        with torch.no_grad():
            return float(blocks.metric((block(seen[0]) - wanted)[None], gradient)[0])

    best = lost(kept)
    assert all(lost(kept * factor) >= best for factor in torch.linspace(0.8, 1.2, candidates))


def of_float(model, images: Tensor) -> tuple[Tensor, Tensor]:
    """The last block's output, and there the gradient of the predicted class's log-likelihood."""
    kept: list[Tensor] = []
    hook = model.blocks[1].register_forward_hook(lambda part, inputs, output: kept.append(output))
    logits = model(images)
    hook.remove()
    loss = torch.nn.functional.cross_entropy(logits, logits.argmax(1), reduction="sum")
    return kept[0].detach(), torch.autograd.grad(loss, kept[0])[0]


def test_all_candidates_or_those_around_the_best(model, images, monkeypatch) -> None:
    counts = {}
    for tried in ("coarse", "all"):
        counts[tried], error = 0, BlockSearch._error

        def counted(*arguments, tried=tried, error=error):
            counts[tried] += 1
            return error(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(BlockSearch, "_error", counted)
            vq.quantize(model, images, vq.recipe("apq", scales_tried=tried))
    assert counts["coarse"] < counts["all"] / 2


def test_no_candidate_is_worked_out_twice_and_later_rounds_begin_at_the_best(
    model, images, monkeypatch
) -> None:
    asked: list[list[tuple[int, int]]] = []
    begun: list[int | None] = []
    best, error = BlockSearch._best, BlockSearch._error

    def searched(search, found, operand):
        asked.append([])
        begun.append(operand.near)
        return best(search, found, operand)

    def noted(search, found, operand, piece, number):
        asked[-1].append((piece, number))
        return error(search, found, operand, piece, number)

    monkeypatch.setattr(BlockSearch, "_best", searched)
    monkeypatch.setattr(BlockSearch, "_error", noted)
    vq.quantize(model, images, vq.recipe("apq"))
    assert all(len(set(some)) == len(some) for some in asked)
    later = [some for some, near in zip(asked, begun, strict=True) if near is not None]
    assert later and all(len({number for _, number in some}) <= 1 + 4 * 2 for some in later)


def test_swin_blocks_and_merging() -> None:
    model = tiny_swin()
    images = swin_pictures(model, 4)
    found = vq.evaluate(vq.quantize(model, images, vq.recipe("apq", 6, 6)).model, images, model)
    other = vq.evaluate(vq.quantize(model, images, vq.recipe("minmax", 6, 6)).model, images, model)
    assert found.kl < other.kl


def test_without_gradients_errors_count_evenly() -> None:
    silent = BlockPiece((), {}, [torch.ones(2)], [torch.zeros(2)])
    assert heard([silent])[0].gradients[0].tolist() == [1, 1]
    loud = BlockPiece((), {}, [torch.ones(2)], [torch.tensor([0.0, 3.0])])
    assert heard([silent, loud]) == [silent, loud]
