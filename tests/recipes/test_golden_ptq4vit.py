"""PTQ4ViT on the tiny model of tests/golden: every scale and the logits of the authors' own code."""

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

import vitq_core as vq
from vitq_core.passes import hessian_search
from vitq_core.passes.search.product import Calls

from ..swin import distance, golden

TOLERANCE = 1e-3  # relative to the largest logit
RUNS = [
    ("published", 8),
    ("published", 6),
    *((run, bits) for run in ("label", "label_fixed") for bits in (8, 6, 4)),
]
PARAMETERS = {
    "w_scale": lambda layer: layer.parametrizations.weight[0].quantizer.scale,
    "a_scale": lambda layer: layer.input_quantizers[0].scale,
    "a_neg_scale": lambda layer: torch.tensor(layer.input_quantizers[0].negative_scale),
    "A_scale": lambda layer: layer.input_quantizers[0].scale,
    "B_scale": lambda layer: layer.input_quantizers[1].scale,
    "split": lambda layer: layer.input_quantizers[0].split,
}


class Float(nn.Module):
    """In place of the picture's quantizer: published, the picture stays in floating point."""

    fitted = True

    def forward(self, x: Tensor, overwrite: bool = False) -> Tensor:
        return x


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return golden("ptq4vit")


@pytest.fixture(scope="module")
def model(stored: dict[str, np.ndarray]) -> VisionTransformer:
    geometry = {key[5:]: value.item() for key, value in stored.items() if key.startswith("geom.")}
    model = VisionTransformer(**geometry)
    model.load_state_dict({key[2:]: torch.from_numpy(stored[key]) for key in stored if key.startswith("w.")})
    return model.eval().requires_grad_(False)


def test_float_logits(model: VisionTransformer, stored: dict[str, np.ndarray]) -> None:
    assert distance(model(torch.from_numpy(stored["x"])), stored["fp.logits"]) < 1e-5


@pytest.fixture
def published_gradients(stored: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    """The rounding noise of the machine on which the published code ran."""
    searched = hessian_search.searched

    def with_noise(run, name: str, calls: Calls, *others):
        return searched(run, name, Calls(calls.inputs, [torch.from_numpy(stored[f"grad.{name}"])]), *others)

    monkeypatch.setattr(hessian_search, "searched", with_noise)


@pytest.mark.parametrize(("run", "bits"), RUNS)
def test_every_scale_and_the_logits(model, stored, run: str, bits: int, request) -> None:
    if run == "published":
        request.getfixturevalue("published_gradients")
    prefix = f"{run}.w{bits}a{bits}."
    calib = stored["w8a8.calib" if run == "published" else f"w{bits}a{bits}.calib"]
    options = {} if run == "label_fixed" else {"twin": "published"}
    result = vq.quantize(model, torch.from_numpy(calib), vq.recipe("ptq4vit", bits, bits, **options))
    names = [name for name in stored if name.startswith(prefix) and name.rpartition(".")[2] in PARAMETERS]
    assert len(names) == 1 + 2 * 13 + 2
    for name in names:
        layer, _, parameter = name.removeprefix(prefix).rpartition(".")
        expected = torch.from_numpy(stored[name]).flatten()
        found = PARAMETERS[parameter](result.model.get_submodule(layer)).reshape(expected.numel(), -1)
        assert torch.equal(found, found[:, :1].expand_as(found)), "a third of the rows has one scale"
        right = (found[:, 0] - expected).abs() <= 1e-6 * expected
        assert (right | ~torch.from_numpy(stored[f"{name}.stable"])).all(), name
    result.model.patch_embed.proj.input_quantizers[0] = Float()
    with torch.no_grad():
        logits = result(torch.from_numpy(stored["x"]))
    assert distance(logits, stored[f"{prefix}logits"]) < TOLERANCE
    assert distance(logits, stored["fp.logits"]) > TOLERANCE, "quantization must be seen"
