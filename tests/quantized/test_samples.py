"""The sample of a layer's inputs: the same however the pictures come, rare tokens in it, bounded."""

import pytest
import torch
from torch import Tensor, nn

from vitq_core.quantized import samples
from vitq_core.quantized.samples import ProductSample, RowSample, rows_of, sample_of
from vitq_core.quantizers.judges import Weighted

PICTURES, TOKENS, CHANNELS = 24, 65, 8


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def tokens() -> Tensor:
    """[24, 65, 8], of which one is a thousand times the others."""
    x = noise(PICTURES, TOKENS, CHANNELS)
    x[13, 41] *= 1000.0
    return x


def kept_of(sample: RowSample | ProductSample, batches: int, *inputs: Tensor) -> object:
    for part in zip(*(x.split(batches) for x in inputs), strict=True):
        sample.update(part, len(part[0]))
    return sample.kept()


@pytest.mark.parametrize("batches", [1, 5, 8])
def test_rows_do_not_depend_on_the_batches(tokens: Tensor, batches: int) -> None:
    layer = nn.Linear(CHANNELS, 3)
    at_once = kept_of(RowSample(layer, PICTURES), PICTURES, tokens)
    in_parts = kept_of(RowSample(layer, PICTURES), batches, tokens)
    assert torch.equal(in_parts.values, at_once.values) and torch.equal(in_parts.counts, at_once.counts)


def test_rare_tokens_are_kept_and_the_others_stand_for_all(tokens: Tensor) -> None:
    kept = kept_of(RowSample(nn.Linear(CHANNELS, 3), PICTURES), 5, tokens)
    assert samples.RARE < len(kept.values) <= samples.ROWS
    rare = (kept.values == tokens[13, 41]).all(1)
    assert int(rare.sum()) == 1 and float(kept.counts[rare]) == 1.0
    assert float(kept.counts.sum()) == pytest.approx(PICTURES * TOKENS, rel=1e-5)
    loudest = tokens.flatten(0, 1).norm(dim=1).topk(samples.RARE).values
    assert torch.allclose(kept.values[kept.counts == 1].norm(dim=1).sort(descending=True).values, loudest)
    found = (kept.counts @ kept.values.square()) / PICTURES / TOKENS
    torch.testing.assert_close(found, tokens.square().mean((0, 1)), rtol=0.1, atol=0.0)


def test_few_rows_are_all_kept() -> None:
    x = noise(3, 5, CHANNELS)
    kept = kept_of(RowSample(nn.Linear(CHANNELS, 3), 3), 2, x)
    assert torch.equal(kept.values, x.flatten(0, 1)) and bool((kept.counts == 1).all())


def test_every_place_in_a_picture_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 64 tokens, one row in 16 would always be the same four."""
    monkeypatch.setattr(samples, "ROWS", 100)
    monkeypatch.setattr(samples, "RARE", 4)
    places = torch.arange(64.0).expand(24, 64)[..., None] + 1
    kept = kept_of(RowSample(nn.Linear(1, 1), 24), 7, places)
    assert len(kept.values.unique()) > 60


def test_rows_of_pictures_of_several_sizes_stand_for_all() -> None:
    """How many rows there will be is guessed from the first picture."""
    sizes = [40 + 7 * (number % 5) for number in range(PICTURES)]
    parts = [noise(1, size, CHANNELS, seed=size) for size in sizes]
    sample = RowSample(nn.Linear(CHANNELS, 3), PICTURES)
    for part in parts:
        sample.update((part,), 1)
    kept, rows = sample.kept(), torch.cat([part[0] for part in parts])
    assert samples.RARE < len(kept.values) <= samples.ROWS * max(sizes) / sizes[0]
    assert float(kept.counts.sum()) == pytest.approx(sum(sizes), rel=1e-5)
    loudest = rows.norm(dim=1).topk(samples.RARE).values
    assert torch.allclose(kept.values[kept.counts == 1].norm(dim=1).sort(descending=True).values, loudest)


@pytest.mark.parametrize("first", [23, 40])
def test_many_rows_first_and_few_later(first: int) -> None:
    sample, parts = (
        RowSample(nn.Linear(2, 2), 23),
        [noise(1, first, 2), *(noise(1, 1, 2, seed=i) for i in range(22))],
    )
    for part in parts:
        sample.update((part,), 1)
    kept = sample.kept()
    assert float(kept.counts.sum()) == pytest.approx(min(first + 22, len(kept.values)), abs=1e-4)
    assert len(kept.values) == first + 22


@pytest.mark.parametrize("batches", [1, 5, 8])
def test_windows_of_a_picture_come_together(tokens: Tensor, batches: int) -> None:
    """A layer that is called with several windows for each picture keeps as many rows as of whole ones."""
    layer, windows = nn.Linear(CHANNELS, 3), tokens.reshape(PICTURES * 5, 13, CHANNELS)
    at_once = RowSample(layer, PICTURES)
    at_once.update((windows,), PICTURES)
    in_parts = RowSample(layer, PICTURES)
    for part in tokens.split(batches):
        in_parts.update((part.reshape(-1, 13, CHANNELS),), len(part))
    kept, other = at_once.kept(), in_parts.kept()
    assert torch.equal(other.values, kept.values) and torch.equal(other.counts, kept.counts)
    assert samples.RARE < len(kept.values) <= samples.ROWS
    assert float(kept.counts.sum()) == pytest.approx(PICTURES * TOKENS, rel=1e-5)


def test_rows_of_a_convolution_meet_its_weight() -> None:
    layer, x = nn.Conv2d(3, 5, (2, 3), stride=2, padding=1), noise(2, 3, 8, 9)
    expected = nn.functional.conv2d(x, layer.weight, stride=2, padding=1).flatten(2).transpose(1, 2)
    found = rows_of(layer, x) @ layer.weight.flatten(1).T
    torch.testing.assert_close(found, expected.flatten(0, 1))


@pytest.mark.parametrize("batches", [1, 5, 8])
def test_factors_do_not_depend_on_the_batches(batches: int) -> None:
    left, right = noise(PICTURES, 2, 60, 4), noise(PICTURES, 2, 4, 60, seed=1)
    at_once = kept_of(ProductSample(PICTURES), PICTURES, left, right)
    in_parts = kept_of(ProductSample(PICTURES), batches, left, right)
    for name in ("left", "right", "counts"):
        assert torch.equal(getattr(in_parts, name), getattr(at_once, name))
    assert at_once.right.shape == (samples.PRODUCTS, 2, 4, 60)
    assert at_once.left.shape[2] <= samples.QUERIES
    torch.testing.assert_close(at_once.counts.sum(-1), torch.full((samples.PRODUCTS, 2), 60.0))


@pytest.mark.parametrize("batches", [1, 5, 8])
@pytest.mark.parametrize("windows", [2, 3, 25])
def test_of_windows_a_few_more_factors_are_kept(batches: int, windows: int) -> None:
    left, right = noise(PICTURES, windows, 2, 6, 4), noise(PICTURES, windows, 2, 4, 6, seed=1)
    at_once, in_parts = ProductSample(PICTURES), ProductSample(PICTURES)
    at_once.update((left.flatten(0, 1), right.flatten(0, 1)), PICTURES)
    for pair in zip(left.split(batches), right.split(batches), strict=True):
        in_parts.update([x.flatten(0, 1) for x in pair], len(pair[0]))
    kept, other = at_once.kept(), in_parts.kept()
    for name in ("left", "right", "counts"):
        assert torch.equal(getattr(other, name), getattr(kept, name))
    most = samples.PRODUCTS * min(windows, samples.WINDOWS)
    assert most // 2 <= len(kept.left) == len(kept.right) <= most


def test_factors_of_several_sizes_are_filled_up() -> None:
    """What fills them up adds nothing to a product."""
    sizes, sample = [5, 3, 7], ProductSample(3)
    pairs = [(noise(1, 2, size, 4, seed=size), noise(1, 2, 4, size, seed=9)) for size in sizes]
    for left, right in pairs:
        sample.update((left, right, None, None), 1)  # what else the product is called with is no factor
    kept = sample.kept()
    assert kept.left.shape == (3, 2, 7, 4) and kept.right.shape == (3, 2, 4, 7)
    for number, (size, (left, right)) in enumerate(zip(sizes, pairs, strict=True)):
        product = kept.left[number] @ kept.right[number]
        torch.testing.assert_close(product[:, :size, :size], (left @ right)[0])
        assert not product[:, size:].any() and not product[..., size:].any()
    judge = kept.judge_input(0, None)
    off = torch.zeros_like(judge.sample).view(kept.left.shape)
    off[1, :, :3] = 0.1
    expected = (off[1, :, :3] @ pairs[1][1][0]).square().sum()
    torch.testing.assert_close(judge.errors(off.reshape(judge.sample.shape))[0], expected)


def test_the_loudest_rows_of_a_factor_are_kept() -> None:
    left, right = noise(1, 2, 60, 4), noise(1, 2, 4, 60, seed=1)
    left[0, 0, 17] *= 100.0
    kept = kept_of(ProductSample(1), 1, left, right)
    loud = (kept.left[0, 0] == left[0, 0, 17]).all(1)
    assert int(loud.sum()) == 1 and float(kept.counts[0, 0][loud]) == 1.0


def test_an_input_is_judged_by_the_weights_it_meets(tokens: Tensor) -> None:
    layer = nn.Linear(CHANNELS, 3, bias=False)
    kept = kept_of(RowSample(layer, 2), 2, tokens[:2])
    judge = kept.judge_input(layer.weight.detach(), None)
    off = torch.zeros_like(kept.values)
    off[:, 5] = 0.1  # one channel alone: then the output's error is exactly this
    expected = layer(off).square().sum()
    torch.testing.assert_close(judge.errors(off.reshape(1, -1))[0], expected.detach())


def test_groups_that_rows_do_not_have_are_judged_by_themselves(tokens: Tensor) -> None:
    layer = nn.Linear(CHANNELS, 3)
    rows = kept_of(RowSample(layer, 2), 2, tokens[:2])
    assert rows.judge_input(layer.weight, 1) is None
    assert rows.judge_input(layer.weight, -1).sample.shape == (CHANNELS, 2 * TOKENS)
    factors = kept_of(ProductSample(2), 2, noise(2, 2, 5, 4), noise(2, 2, 4, 5))
    assert factors.judge_input(0, -1) is None and factors.judge_input(1, 2) is None
    assert factors.judge_input(1, 1).sample.shape == (2, 40)


def test_rescaled_rows_are_what_the_rescaled_layer_reads(tokens: Tensor) -> None:
    rows = kept_of(RowSample(nn.Linear(CHANNELS, 3), 2), 2, tokens[:2])
    divisor, shift = noise(CHANNELS).exp(), noise(CHANNELS, seed=1)
    moved = rows.rescaled(divisor, shift)
    torch.testing.assert_close(moved.values * divisor - shift, rows.values, rtol=1e-4, atol=1e-4)
    assert isinstance(moved.judge_single_weights(torch.ones(3, CHANNELS)), Weighted)


def test_a_layer_without_a_weight_is_a_product() -> None:
    assert isinstance(sample_of(nn.Conv2d(1, 1, 1), 3), RowSample)
    assert isinstance(sample_of(nn.Identity(), 3), ProductSample)


def test_pictures_that_bring_more_than_the_first_one_do_not_fill_the_memory() -> None:
    rows, products = RowSample(nn.Linear(CHANNELS, 3), 50), ProductSample(50)
    for number in range(50):
        prompts = 1 if number == 0 else 200
        rows.update([noise(prompts, 7, CHANNELS, seed=number)], 1)
        products.update([noise(prompts, 2, 7, 4, seed=number), noise(prompts, 2, 4, 9, seed=number)], 1)
    kept = rows.kept()
    assert samples.ROWS // 4 < len(kept.values) <= samples.MOST_ROWS + samples.RARE
    assert float(kept.counts.sum()) == pytest.approx(49 * 1400 + 7, rel=0.05)
    assert 4 <= len(products.kept().left) <= samples.MOST_PRODUCTS
