"""Tiny transformers of every kind, random pictures, and a home for files that tests spill."""

import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from timm.layers import Attention, GluMlp, RmsNorm, SwiGLU
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import (
    ParallelScalingBlock,
    ParallelThingsBlock,
    ResPostBlock,
    VisionTransformer,
)
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.reconstruction import progress

settings.register_profile("patient", deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("patient")

SMALL = {
    "img_size": 16,
    "patch_size": 8,
    "embed_dim": 16,
    "depth": 1,
    "num_heads": 2,
    "mlp_ratio": 2,
    "num_classes": 5,
}


def pytest_collection_finish() -> None:
    """The collector of garbage looks at thousands of tests no more, which every recording of a graph pays."""
    gc.collect()
    gc.freeze()


class Subclass(VisionTransformer):
    """What a user might write: another name, the same computation."""


class Interleaved(VisionTransformer):
    """Does something of its own between the blocks."""

    def forward_features(self, x, attn_mask=None, is_causal=False):
        x = self._pos_embed(self.patch_embed(x))
        for block in self.blocks:
            x = block(x) * 0.9
        return self.norm(x)


class Shortcut(VisionTransformer):
    """Adds the first block's output to the last one's: needed twice, so the blocks are no chain."""

    def forward_features(self, x, attn_mask=None, is_causal=False):
        first, *others = self.blocks
        x = given = first(self._pos_embed(self.patch_embed(x)))
        for block in others:
            x = block(x)
        return self.norm(x + given)


# Name → constructor arguments; "class" where it is not VisionTransformer itself.
VARIANTS = {
    "class token": {},
    "average pooled": {"global_pool": "avg", "class_token": False},
    "max pooled": {"global_pool": "max"},
    "average and max pooled": {"global_pool": "avgmax"},
    "attention pooled": {"global_pool": "map", "class_token": False},
    "not pooled": {"global_pool": "", "num_classes": 3},
    "registers": {"reg_tokens": 3, "no_embed_class": True},
    "layer scale": {"init_values": 0.1},
    "query and key norm": {"qk_norm": True},
    "no qkv bias": {"qkv_bias": False},
    "no proj bias": {"proj_bias": False},
    "norm first": {"pre_norm": True},
    "scale norms": {"scale_attn_norm": True, "scale_mlp_norm": True},
    "swiglu": {"mlp_layer": SwiGLU, "act_layer": "silu"},
    "swiglu packed": {"mlp_layer": partial(GluMlp, gate_last=False), "act_layer": "silu"},
    "glu": {"mlp_layer": GluMlp, "proj_bias": False},
    "rms norm": {"norm_layer": partial(RmsNorm, eps=1e-5), "mlp_layer": SwiGLU},
    "plain norm": {"norm_layer": partial(nn.LayerNorm, elementwise_affine=False, eps=1e-5)},
    "post norm": {"block_fn": ResPostBlock, "init_values": 0.5},
    "parallel": {"block_fn": partial(ParallelThingsBlock, num_parallel=3), "init_values": 0.2},
    "one first layer": {"block_fn": ParallelScalingBlock, "qkv_bias": False, "qk_norm": True},
    "gated": {"gated": True, "qkv_bias": False},
    "any size": {"dynamic_img_size": True},
    "rectangular": {"img_size": (16, 24)},
    "no position": {"pos_embed": "none"},
    "norm in embedding": {"embed_norm_layer": nn.LayerNorm, "final_norm": False},
    "distilled": {"class": VisionTransformerDistilled},
    "no head": {"num_classes": 0},
    "one channel": {"in_chans": 1},
    "tanh gelu": {"act_layer": "gelu_tanh"},
    "relu": {"act_layer": nn.ReLU},
    "subclass": {"class": Subclass},
}
# Every variant in company, for what holds of each kind of part whatever the others are: no two of a row set
# the same argument (tests/test_conftest.py).
MIXTURES = (
    ("class token", "registers", "layer scale", "query and key norm", "norm first", "tanh gelu"),
    ("average pooled", "no qkv bias", "swiglu", "scale norms", "rectangular", "one channel"),
    ("max pooled", "glu", "plain norm", "any size"),
    ("average and max pooled", "no proj bias", "rms norm", "no position"),
    ("attention pooled", "swiglu packed", "norm in embedding"),
    ("not pooled",),  # of which many tests see only that it is refused
    ("post norm", "subclass", "relu"),
    ("distilled", "parallel"),
    ("gated", "no head"),
    ("one first layer",),
)


def build(seed: int = 0, **options) -> VisionTransformer:
    """A tiny model in evaluation mode whose every parameter is random, channels spread as LayerNorms' are."""
    arguments = {**SMALL, **options}
    gated = arguments.pop("gated", False)
    if arguments.pop("interleaved", False):
        arguments["class"] = Interleaved
    model = arguments.pop("class", VisionTransformer)(**arguments)
    if gated:
        for block in model.blocks:
            block.attn = Attention(16, 2, gated=True, qkv_bias=arguments.get("qkv_bias", True))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(noise.mul(0.5).exp() if name.endswith("weight") else 0.3 * noise)
    return model.eval()


def random_pictures(model: VisionTransformer, count: int = 6, seed: int = 1) -> Tensor:
    shape = (count, model.in_chans, *model.patch_embed.img_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="session")
def noise_picture() -> Callable[[int, int], Image.Image]:
    """``noise_picture(width, height)``: RGB noise, the same in every run and order of tests.

    ``Image.effect_noise`` draws from the process's own generator, so its picture depends on who ran before.
    """

    def made(width: int, height: int) -> Image.Image:
        values = np.random.default_rng(0).normal(128, 90, (height, width)).clip(0, 255)
        return Image.fromarray(values.astype(np.uint8)).convert("RGB")

    return made


@pytest.fixture
def tiny() -> Callable[..., VisionTransformer]:
    """``tiny(seed=0, **VisionTransformer's arguments)``."""
    return build


@pytest.fixture
def pictures() -> Callable[..., Tensor]:
    """``pictures(model, count=6, seed=1)``: [count, C, H, W] as the model takes them."""
    return random_pictures


@pytest.fixture
def model() -> VisionTransformer:
    """Two plain blocks with a class token."""
    return build(depth=2)


@pytest.fixture
def images(model: VisionTransformer) -> Tensor:
    return random_pictures(model)


@pytest.fixture
def calibrating() -> Callable[..., vq.Recipe]:
    """``calibrating(name, …)``: that recipe without the reconstruction, which takes a batch of pictures."""
    return partial(vq.recipe, effort="none")


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> VisionTransformer:
    """One tiny model of every kind."""
    return build(**VARIANTS[request.param])


@pytest.fixture(params=MIXTURES, ids=", ".join)
def mixture(request: pytest.FixtureRequest) -> VisionTransformer:
    """Tiny models of several kinds each, every kind in one of them: a third as many as ``variant``."""
    return build(**{key: value for kind in request.param for key, value in VARIANTS[kind].items()})


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> dict[str, Tensor]:
    """What the authors' code gave: the tensors of the file in tests/golden that the test module names."""
    with np.load(Path(__file__).parent / "golden" / request.module.GOLDEN) as data:
        return {name: torch.from_numpy(data[name]) for name in data.files}


@pytest.fixture(scope="module")
def golden_model(golden: dict[str, Tensor]) -> VisionTransformer:
    """The tiny model that the authors' code was given."""
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 3, "num_heads": 3, "num_classes": 5}
    size |= {name[5:]: value.item() for name, value in golden.items() if name.startswith("geom.")}
    model = VisionTransformer(**{"qkv_bias": True, **size}, norm_layer=partial(nn.LayerNorm, eps=1e-6))
    model.load_state_dict({name[2:]: value for name, value in golden.items() if name.startswith("w.")})
    return model.eval()


@pytest.fixture
def spill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh VITQ_HOME, where calibration puts what does not fit in memory."""
    monkeypatch.setenv("VITQ_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def every_iteration(monkeypatch) -> None:
    """Watchers hear of every iteration."""
    monkeypatch.setattr(progress, "EVERY", 0.0)
