"""A copy computes what its model computes, or a sentence names what is in the way."""

import types
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from timm.layers import Mlp
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize, prune

import vitq_core as vq
from tests.pairs import in_turn
from vitq_core.common.batch import Batch
from vitq_core.graph.faithful import check_same

ENTRIES = {
    "quantize": lambda model, images: vq.quantize(model, images, "minmax"),
    "relevance": lambda model, images: vq.relevance(model, images),
    "importance": lambda model, images: vq.importance(model, images),
    "allocate_bits": lambda model, images: vq.quantize(model, images, "lrp-budget"),
}


def quantized_error(model: nn.Module, images: Tensor) -> float:
    """Relative error of eight bits: rounding alone is far below a tenth."""
    with torch.no_grad():
        expected = model(images).float()
        return float(
            (vq.quantize(model, images, vq.recipe("minmax", 8, 8))(images) - expected).norm()
            / expected.norm()
        )


def refused(model: nn.Module, images: Tensor, sentence: str) -> None:
    for name, call in ENTRIES.items():
        with pytest.raises(vq.VitqError, match=sentence) as error:
            call(model, images)
        assert "\n" not in str(error.value), name


# Hooks

PLACES = [
    "",
    "patch_embed",
    "blocks",
    "blocks.0",
    "blocks.1.attn",
    "blocks.0.mlp",
    "norm",
    "blocks.0.attn.qkv",
    "head",
]


@pytest.mark.parametrize(
    ("place", "kind"), in_turn(PLACES, ["forward", "before", "in place", "with kwargs"], times=2)
)
def test_a_hook_that_changes_what_passes_is_named(model, images, place: str, kind: str) -> None:
    part = model.get_submodule(place)
    if kind == "forward":
        part.register_forward_hook(lambda _, __, output: output.abs())
    elif kind == "before":
        part.register_forward_pre_hook(lambda _, inputs: (inputs[0].abs(),))
    elif kind == "in place":
        part.register_forward_hook(lambda _, __, output: fold(output))
    else:
        part.register_forward_hook(lambda _, __, named, output: output.abs(), with_kwargs=True)
    refused(model, images, f"the forward hook of {place or 'the model itself'} changes what passes")
    assert part._forward_hooks or part._forward_pre_hooks


def fold(output: Tensor) -> None:
    output.abs_()


@pytest.mark.parametrize("place", PLACES)
def test_a_hook_that_only_looks_is_left_out(model, images, place: str) -> None:
    expected = vq.quantize(model, images, "repq")
    seen = []
    model.get_submodule(place).register_forward_hook(lambda _, __, output: seen.append(output.shape))
    found = vq.quantize(model, images, "repq")
    assert torch.equal(found(images), expected(images))
    assert len(seen) <= 1, "calibration is none of its business"


# Methods replaced on an instance


def closure(owner: nn.Module, method: str) -> None:
    inner = getattr(owner, method)
    setattr(owner, method, lambda *args, **named: inner(*args, **named).float())


def bound_closure(owner: nn.Module, method: str) -> None:
    inner = getattr(owner, method)
    setattr(owner, method, types.MethodType(lambda self, *args, **named: inner(*args, **named), owner))


def partial_closure(owner: nn.Module, method: str) -> None:
    setattr(owner, method, partial(getattr(owner, method)))


PATCHED = [
    ("", "forward"),
    ("", "forward_features"),
    ("", "forward_head"),
    ("", "_pos_embed"),
    ("patch_embed", "forward"),
    ("blocks", "forward"),
    ("blocks.1", "forward"),
    ("blocks.0.attn", "forward"),
    ("blocks.0.mlp", "forward"),
    ("blocks.0.mlp.fc1", "forward"),
    ("norm", "forward"),
    ("head", "forward"),
]


@pytest.mark.parametrize(("patched", "patch"), in_turn(PATCHED, [closure, bound_closure, partial_closure]))
def test_a_replaced_method_is_named(model, images, patched: tuple[str, str], patch: Callable) -> None:
    place, method = patched
    patch(model.get_submodule(place), method)
    refused(model, images, f"the {method} of {place or 'the model'} was replaced from outside")


class Chooses(VisionTransformer):
    """Takes one of its own methods for its forward."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.forward = self.forward_doubled

    def forward_doubled(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_a_method_of_its_own_class_is_no_wrapper(tiny, pictures) -> None:
    model = tiny(**{"class": Chooses})
    assert quantized_error(model, pictures(model)) < 0.1


def test_compiled_in_place_it_is_quantized(model, images) -> None:
    expected = vq.quantize(model, images, "minmax")(images)
    model.compile(backend="eager")
    assert torch.equal(vq.quantize(model, images, "minmax")(images), expected)


# Layers that are not what their place says


class LoRA(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.scale = layer, nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * (1 + self.scale)


class LoRALinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x.mean(-1, keepdim=True)


class MixedPrecisionLinear(nn.Linear):
    """As timm's, which casts under a scripting compiler."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


LAYERS = [
    "patch_embed.proj",
    "blocks.0.attn.qkv",
    "blocks.1.attn.proj",
    "blocks.0.mlp.fc1",
    "blocks.1.mlp.fc2",
]


@pytest.mark.parametrize("place", LAYERS)
def test_a_wrapped_layer_is_named(model, images, place: str) -> None:
    model.set_submodule(place, LoRA(model.get_submodule(place)))
    kind = "convolution" if place == "patch_embed.proj" else "linear layer"
    refused(model, images, f"{place} is a LoRA, not a {kind}; merge adapters into the weights first")


@pytest.mark.parametrize("place", [*LAYERS[1:], "head"])
def test_a_subclass_with_a_forward_of_its_own_is_named(model, images, place: str) -> None:
    layer = model.get_submodule(place)
    model.set_submodule(place, LoRALinear(layer.in_features, layer.out_features))
    refused(model, images, f"{place} is a LoRALinear, not a linear layer")


def test_a_subclass_that_computes_the_same_is_a_linear_layer(model, images) -> None:
    expected = vq.quantize(model, images, "minmax")
    for block in model.blocks:
        layer, block.attn.qkv = block.attn.qkv, MixedPrecisionLinear(16, 48)
        block.attn.qkv.load_state_dict(layer.state_dict())
    found = vq.quantize(model, images, "minmax")
    assert found.bits == expected.bits and torch.equal(found(images), expected(images))


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def test_a_parametrized_weight_is_taken_as_it_is(model, images) -> None:
    parametrize.register_parametrization(model.blocks[0].mlp.fc1, "weight", Symmetric())
    parametrize.register_parametrization(model.norm, "weight", Symmetric())
    assert quantized_error(model, images) < 0.1


HOOKED_WEIGHTS = {
    "pruned": (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), "torch.nn.utils.prune.remove"),
    "weight norm": (nn.utils.weight_norm, "torch.nn.utils.remove_weight_norm"),
    "spectral norm": (nn.utils.spectral_norm, "torch.nn.utils.remove_spectral_norm"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", HOOKED_WEIGHTS)
def test_a_weight_that_a_hook_computes_is_named(model, images, kind: str) -> None:
    apply, remedy = HOOKED_WEIGHTS[kind]
    apply(model.blocks[0].mlp.fc1)
    refused(model, images, rf"computes the weight of blocks\.0\.mlp\.fc1 anew .* first, with {remedy}")


# Layers that are used and not called


class Functional(VisionTransformer):
    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        return F.linear(self.fc_norm(self.pool(x)), self.head.weight, self.head.bias)


class ByParts(VisionTransformer):
    """Writes the last attention out, to get at its map."""

    def forward_features(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        x = self._pos_embed(self.patch_embed(x))
        block = self.blocks[0]
        q, k, v = block.attn.qkv(block.norm1(x)).chunk(3, -1)
        return self.norm(x + block.attn.proj((q @ k.mT).softmax(-1) @ v))


class Skips(VisionTransformer):
    """Stops after the first block, as feature extractors do."""

    def forward_features(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        return self.norm(self.blocks[0](self._pos_embed(self.patch_embed(x))))


class Constant(VisionTransformer):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def test_a_weight_that_is_used_without_its_layer_is_named(tiny, pictures) -> None:
    model = tiny(**{"class": Functional})
    refused(model, pictures(model), "uses the weight of head without calling that layer")
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_parts_that_are_called_one_by_one_are_named(tiny, pictures) -> None:
    model = tiny(**{"class": ByParts})
    refused(model, pictures(model), r"calls parts of blocks\.0\.attn but not blocks\.0\.attn itself")


def test_layers_that_never_run_are_left_alone(tiny, pictures) -> None:
    model = tiny(depth=2, **{"class": Skips})
    images = pictures(model)
    result = vq.quantize(model, images, vq.recipe("minmax", 8, 8))
    assert not any(name.startswith("blocks.1") for name in result.bits) and "head" in result.bits
    assert quantized_error(model, images) < 0.1


def test_a_forward_that_runs_no_layer_is_refused(tiny, pictures) -> None:
    model = tiny(**{"class": Constant})
    refused(model, pictures(model), "so that none of its layers ran; give the model without that wrapper")


# What is compared, and what comes out


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_models_of_any_precision_pass(model, images, dtype: torch.dtype) -> None:
    expected = {name: call(model.to(dtype).float(), images) for name, call in ENTRIES.items()}
    model.to(dtype)
    assert torch.equal(vq.quantize(model, images, "minmax")(images), expected["quantize"](images))
    assert torch.equal(vq.relevance(model, images).heatmaps, expected["relevance"].heatmaps)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}


def test_a_small_change_of_half_precision_is_not_mistaken_for_rounding(model, images) -> None:
    model.half().blocks[0].register_forward_hook(lambda _, __, output: output * 1.002)
    refused(model, images, "the forward hook of blocks.0 changes what passes")


def test_the_callers_random_numbers_and_precision_stay(tiny, pictures) -> None:
    model = tiny(drop_rate=0.5, drop_path_rate=0.5, proj_drop_rate=0.5).train()
    images, state = pictures(model), torch.get_rng_state()
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        vq.relevance(model, images)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(precision)
    assert torch.equal(torch.get_rng_state(), state) and all(part.training for part in model.modules())


class Listens(VisionTransformer):
    heard: tuple = ()

    def forward(self, x: Tensor) -> Tensor:
        Listens.heard += ((torch.get_float32_matmul_precision(), torch.is_autocast_enabled("cpu")),)
        return super().forward(x)


def test_they_are_compared_in_full_precision(tiny, pictures, monkeypatch) -> None:
    monkeypatch.setattr(Listens, "heard", ())
    given = tiny(**{"class": Listens})
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            check_same(given, given, Batch((pictures(given),)))
    finally:
        torch.set_float32_matmul_precision(precision)
    assert Listens.heard == (("highest", False), ("highest", False))


Pair = namedtuple("Pair", "logits features")


@dataclass
class Outputs:
    logits: Tensor
    features: Tensor


class Several(VisionTransformer):
    kind: Callable = tuple

    def forward(self, x: Tensor) -> object:
        features = self.forward_features(x)
        return self.kind(self.forward_head(features), features)


KINDS = {
    "tuple": lambda *found: found,
    "dict": lambda *found: dict(zip("ab", found, strict=True)),
    "nested": lambda a, b: {"a": [a, {"b": b}], "name": "x"},
    "named tuple": Pair,
    "dataclass": Outputs,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_of_the_output_is_compared(tiny, pictures, kind: str) -> None:
    model = tiny(**{"class": Several})
    model.kind = KINDS[kind]
    images = pictures(model)
    assert vq.quantize(model, images, "minmax").bits
    model.fc_norm.register_forward_hook(lambda _, __, output: output + 1)  # changes the logits alone
    with pytest.raises(vq.VitqError, match="the forward hook of fc_norm changes what passes"):
        vq.quantize(model, images, "minmax")


def test_an_mlp_of_another_make_is_still_one(model, images) -> None:
    """Without fused attention and with an MLP class of timm's that holds dropout, nothing differs."""
    model.blocks[0].mlp = Mlp(16, 24, drop=0.5).eval()
    model.blocks[1].attn.fused_attn = False
    assert quantized_error(model, images) < 0.1


def test_fused_attention_does_not_look_at_its_scale(model, images) -> None:
    expected = vq.quantize(model, images, "minmax")(images)
    model.blocks[0].attn.scale = 7.0
    assert torch.equal(vq.quantize(model, images, "minmax")(images), expected)
