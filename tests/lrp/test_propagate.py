"""A whole model explained by hand, one picture at a time in float64: the engine says the same of a batch."""

from collections.abc import Callable
from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.graph.prepared import prepare
from vitq_core.lrp.propagate import (
    Propagated,
    captured,
    positive_mean,
    propagate,
)

FLOAT32 = 5e-3  # sums of two activations that nearly cancel lose digits; the rest is compared in float64
VARIANTS = {
    "class token": {},
    "average pooled": {"global_pool": "avg", "class_token": False},
    "average pooled with class token": {"global_pool": "avg"},
    "registers": {"reg_tokens": 3, "no_embed_class": True},
    "registers with positions": {"reg_tokens": 2},
    "layer scale": {"init_values": 0.1},
    "query and key norm": {"qk_norm": True},
    "all of them": {
        "global_pool": "avg",
        "class_token": False,
        "reg_tokens": 2,
        "no_embed_class": True,
        "init_values": 0.1,
        "qk_norm": True,
        "num_heads": 4,
        "img_size": (16, 24),
    },
}


# The rules once more, for one picture [tokens, channels]; nothing here knows vitq_core's.


def ratio(r: Tensor, z: Tensor) -> Tensor:
    safe = torch.where(z < 0, z - 1e-9, z + 1e-9)
    return torch.where(z == 0, torch.zeros_like(z), r / safe)


def through_linear(x: Tensor, weight: Tensor, r: Tensor) -> Tensor:
    agree = F.relu(x[:, None, :] * weight[None])  # [tokens, outputs, inputs]: products of equal signs
    return torch.einsum("noi,no->ni", agree, ratio(r, agree.sum(-1)))


def through_matmul(a: Tensor, b: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    terms = a[..., :, :, None] * b[..., None, :, :]  # [heads, i, k, j]
    shares = 0.5 * terms * ratio(r, terms.sum(-2))[..., :, None, :]
    return shares.sum(-1), shares.sum(-3)


def through_add(a: Tensor, c: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    r_a, r_c = a * ratio(r, a + c), c * ratio(r, a + c)
    size_a, size_c = r_a.sum().abs(), r_c.sum().abs()
    parts = [ratio(size, size_a + size_c) * r.sum() for size in (size_a, size_c)]
    return r_a * ratio(parts[0], r_a.sum()), r_c * ratio(parts[1], r_c.sum())


def through_mean(x: Tensor, r: Tensor) -> Tensor:
    return x * ratio(r, x.mean(0)) / len(x)


class ByHand:
    """``values``, ``gradients``, ``relevances``: {layer: tensor of one picture}, and both maps."""

    def __init__(self, model: VisionTransformer, picture: Tensor, target: int) -> None:
        self.model, self.depth = model, len(model.blocks)
        self.weights = {name: p.detach().double() for name, p in model.named_parameters()}
        self.values: dict[str, Tensor] = {"picture": picture.double().requires_grad_()}
        self.relevances: dict[str, Tensor] = {}
        logits = self._forward()
        names = list(self.values)
        found = torch.autograd.grad(logits[target], list(self.values.values()), allow_unused=True)
        self.gradients = dict(zip(names, found, strict=True))
        self.values = {name: value.detach() for name, value in self.values.items()}
        self.relevances["head"] = F.one_hot(torch.tensor(target), len(logits)).double()
        self._backward()
        self.heat_map = self._rollout()

    # forward

    def _keep(self, name: str, value: Tensor) -> Tensor:
        self.values[name] = value
        return value

    def _linear(self, name: str, x: Tensor) -> Tensor:
        self.values[f"{name} reads"] = x
        return self._keep(name, x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        if f"{name}.weight" not in self.weights:
            return x
        centered = x - x.mean(-1, keepdim=True)
        deviation = (centered.square().mean(-1, keepdim=True) + self.model.get_submodule(name).eps).sqrt()
        return centered / deviation * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def _heads(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), self.model.blocks[0].attn.num_heads, -1).transpose(0, 1)

    def _patches(self, picture: Tensor) -> Tensor:
        """[patches, C·P·P]"""
        size, (_, height, width) = self.model.patch_embed.patch_size[0], picture.shape
        corners = [(y, x) for y in range(0, height, size) for x in range(0, width, size)]
        return torch.stack([picture[:, y : y + size, x : x + size].flatten() for y, x in corners])

    def _forward(self) -> Tensor:
        w, model = self.weights, self.model
        embedded = self._patches(self.values["picture"]) @ w["patch_embed.proj.weight"].flatten(1).T
        x = self._keep("patch_embed.proj", embedded + w["patch_embed.proj.bias"])
        prefix = torch.cat([w[name][0] for name in ("cls_token", "reg_token") if name in w] or [x[:0]])
        x = x if model.no_embed_class else torch.cat([prefix, x])
        self._keep("positioned reads", x)
        x = x + w["pos_embed"][0]
        x = torch.cat([prefix, x]) if model.no_embed_class else x
        for i in range(self.depth):
            x = self._block(f"blocks.{i}", x)
        x = self._keep("normed", self._norm("norm", x))
        pooled = x[model.num_prefix_tokens :].mean(0) if model.global_pool == "avg" else x[0]
        return self._linear("head", self._norm("fc_norm", pooled)[None])[0]

    def _block(self, name: str, x: Tensor) -> Tensor:
        w = self.weights
        qkv = self._linear(f"{name}.attn.qkv", self._norm(f"{name}.norm1", x))
        q, k, v = (self._heads(part) for part in qkv.chunk(3, -1))
        q = self._keep(f"{name}.q", self._norm(f"{name}.attn.q_norm", q))
        k = self._keep(f"{name}.k", self._norm(f"{name}.attn.k_norm", k))
        scores = self._keep(f"{name}.attn.matmul1", q @ k.transpose(1, 2))
        attention = self._keep(f"{name}.attn.softmax", (scores / sqrt(q.shape[-1])).softmax(-1))
        joined = self._keep(f"{name}.attn.matmul2", attention @ self._keep(f"{name}.v", v))
        branch = self._linear(f"{name}.attn.proj", joined.transpose(0, 1).flatten(1))
        x = self._add(f"{name}.add1", x, branch * w.get(f"{name}.ls1.gamma", 1.0))
        hidden = self._linear(f"{name}.mlp.fc1", self._norm(f"{name}.norm2", x))
        branch = self._linear(f"{name}.mlp.fc2", hidden * 0.5 * (1 + torch.erf(hidden / sqrt(2))))
        return self._add(f"{name}.add2", x, branch * w.get(f"{name}.ls2.gamma", 1.0))

    def _add(self, name: str, x: Tensor, branch: Tensor) -> Tensor:
        self._keep(f"{name} reads", x)
        self._keep(f"{name} reads too", branch)
        return x + branch

    # backward

    def _before_linear(self, name: str) -> Tensor:
        relevance = self.relevances[name].reshape(len(self.values[f"{name} reads"]), -1)
        return through_linear(self.values[f"{name} reads"], self.weights[f"{name}.weight"], relevance)

    def _backward(self) -> None:
        model, values = self.model, self.values
        pooled = self._before_linear("head")[0]
        r = torch.zeros_like(values["normed"])
        if model.global_pool == "avg":
            first = model.num_prefix_tokens
            r[first:] = through_mean(values["normed"][first:], pooled)
        else:
            r[0] = pooled
        for i in reversed(range(self.depth)):
            r = self._before_block(f"blocks.{i}", r)
        prefix = model.num_prefix_tokens
        r = r[prefix:] if model.no_embed_class else r
        r, _ = through_add(values["positioned reads"], self.weights["pos_embed"][0], r)
        self.relevances["patch_embed.proj"] = r if model.no_embed_class else r[prefix:]
        self.pixel_map = self._pixels(self.relevances["patch_embed.proj"])

    def _before_add(self, name: str, r: Tensor) -> tuple[Tensor, Tensor]:
        return through_add(self.values[f"{name} reads"], self.values[f"{name} reads too"], r)

    def _before_block(self, name: str, r: Tensor) -> Tensor:
        values, relevances = self.values, self.relevances
        r, relevances[f"{name}.mlp.fc2"] = self._before_add(f"{name}.add2", r)
        relevances[f"{name}.mlp.fc1"] = self._before_linear(f"{name}.mlp.fc2")
        r = r + self._before_linear(f"{name}.mlp.fc1")
        r, relevances[f"{name}.attn.proj"] = self._before_add(f"{name}.add1", r)
        joined = self._heads(self._before_linear(f"{name}.attn.proj"))
        relevances[f"{name}.attn.matmul2"] = joined
        attention, v = through_matmul(values[f"{name}.attn.softmax"], values[f"{name}.v"], joined)
        relevances[f"{name}.attn.softmax"] = relevances[f"{name}.attn.matmul1"] = attention
        q, k = through_matmul(values[f"{name}.q"], values[f"{name}.k"].transpose(1, 2), attention)
        parts = [part.transpose(0, 1).flatten(1) for part in (q, k.transpose(1, 2), v)]
        relevances[f"{name}.attn.qkv"] = torch.cat(parts, -1)
        return r + self._before_linear(f"{name}.attn.qkv")

    def _pixels(self, r: Tensor) -> Tensor:
        """The z^B rule patch by patch, summed over the colours."""
        picture, weight = self.values["picture"], self.weights["patch_embed.proj.weight"].flatten(1)
        x, low, high = self._patches(picture), picture.min(), picture.max()
        terms = x[:, None] * weight - low * weight.clamp(min=0) - high * weight.clamp(max=0)
        given = torch.einsum("npi,np->ni", terms, ratio(r, terms.sum(-1)))
        size, result = self.model.patch_embed.patch_size[0], torch.zeros(picture.shape[1:]).double()
        columns = picture.shape[2] // size
        for index, patch in enumerate(given.reshape(len(given), -1, size, size).sum(1)):
            y, x = index // columns * size, index % columns * size
            result[y : y + size, x : x + size] = patch
        return result

    def _rollout(self) -> Tensor:
        product = torch.eye(len(self.values["normed"])).double()
        for i in range(self.depth):
            name = f"blocks.{i}.attn.softmax"
            weighted = (self.gradients[name] * self.relevances[name]).clamp(min=0).mean(0)
            product = (torch.eye(len(weighted)) + weighted) @ product
        first = self.model.num_prefix_tokens
        row = product[0] if self.model.global_pool == "token" else product[first:].mean(0)
        size = self.model.patch_embed.patch_size[0]
        rows = self.values["picture"].shape[1] // size
        return row[first:].reshape(rows, -1)


def distance(actual: Tensor, expected: Tensor) -> float:
    return float((actual.double() - expected).abs().max() / expected.abs().max().clamp_min(1e-300))


def as_tokens(name: str, tensor: Tensor) -> Tensor:
    """The convolution's output [D, rows, columns] as [patches, D], like every other layer's."""
    return tensor.flatten(1).T if name == "patch_embed.proj" else tensor


@pytest.fixture(params=VARIANTS)
def plain(request: pytest.FixtureRequest, tiny: Callable) -> VisionTransformer:
    return tiny(seed=3, **{"depth": 2, **VARIANTS[request.param]})


def test_float32_batch_agrees_with_the_formulas(plain: VisionTransformer, pictures: Callable) -> None:
    images, targets = pictures(plain, 3), [0, 4, 2]
    found = vq.relevance(plain, images, targets, return_tensors=True)
    for i, target in enumerate(targets):
        twin = ByHand(plain, images[i], target)
        assert distance(found.heatmaps[i], twin.heat_map) < FLOAT32
        assert distance(found.pixel_maps[i], twin.pixel_map) < FLOAT32
        for name, (relevance, gradient) in found.tensors.items():
            shape = twin.values[name].shape if name != "head" else (-1,)
            relevance, gradient = as_tokens(name, relevance[i]), as_tokens(name, gradient[i])
            assert distance(relevance, twin.relevances[name].reshape(shape)) < FLOAT32, name
            assert distance(gradient, twin.gradients[name].reshape(shape)) < FLOAT32, name


def test_float64_batch_agrees_to_the_last_digits(plain: VisionTransformer, pictures: Callable) -> None:
    images, targets = pictures(plain, 2).double(), torch.tensor([1, 3])
    prepared = prepare(plain, "relevance", None)
    found = propagate(prepared.module.double(), prepared.observed, Batch((images,)), targets, to_pixels=True)
    for i, target in enumerate(targets.tolist()):
        twin = ByHand(plain, images[i], target)
        assert distance(found.pixels[i].sum(0), twin.pixel_map) < 1e-9
        for name, relevance in found.relevances.items():
            expected = twin.relevances[name].reshape(as_tokens(name, relevance[i]).shape)
            assert distance(as_tokens(name, relevance[i]), expected) < 1e-9, name


def test_the_twin_computes_what_the_model_computes(plain: VisionTransformer, pictures: Callable) -> None:
    (image,) = pictures(plain, 1)
    assert distance(plain(image[None])[0].detach(), ByHand(plain, image, 0).values["head"][0]) < 1e-5


def test_scores_of_a_picture(plain: VisionTransformer, pictures: Callable) -> None:
    images = pictures(plain, 2)
    prepared = prepare(plain, "relevance", None)
    found = propagate(prepared.module, prepared.observed, Batch((images,)), torch.tensor([1, 2]))
    assert found.pixels == [] and set(found.scores()) == set(prepared.observed)
    twin = ByHand(plain, images[1], 2)
    for name, score in found.scores().items():
        pairs = zip(twin.gradients[name].flatten(), twin.relevances[name].flatten(), strict=True)
        products = [max(float(g * r), 0.0) for g, r in pairs]
        assert score.shape == (2,)
        assert float(score[1]) == pytest.approx(sum(products) / len(products), rel=2e-3), name


def test_positive_mean() -> None:
    gradient, relevance = (
        torch.tensor([[[1.0, -2.0]], [[3.0, 0.0]]]),
        torch.tensor([[[4.0, 1.0]], [[-1.0, 5]]]),
    )
    assert positive_mean(gradient, relevance).tolist() == [2.0, 0.0]


def test_a_layer_that_the_answer_does_not_need_has_no_relevance(tiny: Callable, pictures: Callable) -> None:
    """The last block's patches reach a class token's logit through attention alone."""
    model = tiny(depth=1)
    prepared = prepare(model, "relevance", None)
    found = propagate(prepared.module, prepared.observed, Batch((pictures(model, 2),)))
    for tensors in (found.relevances, found.gradients):
        assert (tensors["blocks.0.mlp.fc2"][:, 1:] == 0).all() and (
            tensors["blocks.0.mlp.fc2"][:, 0] != 0
        ).any()


class TwoRoads(nn.Module):
    """Its second layer runs, but nothing of it reaches the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 2)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        self.idle(x)
        return self.used(x)


def test_what_runs_in_vain_gets_zeros() -> None:
    found = propagate(TwoRoads(), ["used", "idle"], Batch((torch.randn(2, 3),)), torch.tensor([1, 0]))
    assert found.relevances["used"].tolist() == found.gradients["used"].tolist() == [[0, 1], [1, 0]]
    assert (found.relevances["idle"] == 0).all() and (found.gradients["idle"] == 0).all()
    assert found.scores()["idle"].tolist() == [0, 0]


def test_predictions_are_explained_by_default() -> None:
    module, x = TwoRoads(), torch.randn(5, 3)
    with torch.no_grad():
        predicted = module(x).argmax(1)
    assert torch.equal(propagate(module, ["used"], Batch((x,))).targets, predicted)


def test_captured_takes_its_hooks_down() -> None:
    module = TwoRoads()
    with captured(module, ["used", "idle"]) as outputs:
        module(torch.ones(1, 3))
    assert list(outputs) == ["idle", "used"], "in forward order"
    with pytest.raises(RuntimeError, match="shapes"), captured(module, ["used", "idle"]):
        module(torch.ones(1, 7))
    assert not module.used._forward_hooks and not module.idle._forward_hooks


# What happens in place between two linears


class Between(nn.Module):
    """Two linears, the first with an output that ``change`` is given."""

    def __init__(self, change: Callable) -> None:
        super().__init__()
        self.first, self.last, self.change = nn.Linear(3, 4), nn.Linear(4, 2), change
        generator = torch.Generator().manual_seed(0)
        for parameter in self.requires_grad_(False).parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.change(self.first(x)))


def explained(change: Callable) -> Propagated:
    x = torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
    return propagate(Between(change), ["first", "last"], Batch((x,)), torch.tensor([0, 1, 1]), to_pixels=True)


def assert_explained_alike(found: Propagated, expected: Propagated) -> None:
    torch.testing.assert_close(found.pixels, expected.pixels)
    torch.testing.assert_close(found.relevances, expected.relevances)
    torch.testing.assert_close(found.gradients["last"], expected.gradients["last"])


def scaled(h: Tensor) -> Tensor:
    h *= 3
    return h


IN_PLACE = {  # what overwrites the linear's recorded output → the same out of place
    "mul_": (lambda h: h.mul_(-2), lambda h: h * -2),
    "*=": (scaled, lambda h: h * 3),
    "add_": (lambda h: h.add_(5), lambda h: h + 5),
    "silu": (lambda h: F.silu(h, inplace=True), F.silu),
    "several": (lambda h: F.leaky_relu(h.neg_().add_(1), inplace=True), lambda h: F.leaky_relu(1 - h)),
    "of a view": (lambda h: h.view(3, 2, 2).mul_(4).flatten(1), lambda h: h * 4),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_recorded_product_that_was_overwritten_is_worked_out_again(name: str) -> None:
    changed, twin = IN_PLACE[name]
    assert_explained_alike(explained(changed), explained(twin))


def stated(h: Tensor) -> Tensor:
    h.mul_(-2)
    return h


def stated_of_a_slice(h: Tensor) -> Tensor:
    h[:, :2].mul_(-2)
    return h


def assigned(h: Tensor) -> Tensor:
    h[:, 0] = 0
    return h


def assigned_to_a_copy(h: Tensor) -> Tensor:
    h = h.flatten(1).clone()
    h[:, 0] = 0
    return h


@pytest.mark.parametrize(
    ("statement", "twin"),
    [
        (stated, lambda h: h * -2),
        (stated_of_a_slice, lambda h: torch.cat([h[:, :2] * -2, h[:, 2:]], 1)),
        (assigned, lambda h: torch.cat([h[:, :1] * 0, h[:, 1:]], 1)),
        (assigned_to_a_copy, lambda h: torch.cat([h[:, :1] * 0, h[:, 1:]], 1)),
    ],
)
def test_statements_in_place_are_refused_or_right(statement: Callable, twin: Callable) -> None:
    try:
        found = explained(statement)
    except vq.VitqError as error:
        assert "cannot follow this model's forward" in str(error)
        return
    expected = explained(twin)
    torch.testing.assert_close(found.pixels, expected.pixels)


class Ending(TwoRoads):
    """What happens in place after the last product is not hidden by it."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.used(x)
        y.mul_(2)
        return y


def test_a_statement_in_place_that_shows_in_the_logits_is_refused() -> None:
    with pytest.raises(vq.VitqError, match=r"cannot follow this model's forward; .* tensors in place"):
        propagate(Ending(), ["used"], Batch((torch.ones(2, 3),)), torch.tensor([1, 0]))
