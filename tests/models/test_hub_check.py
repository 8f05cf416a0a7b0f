"""What cannot be used is refused by its config.json alone."""

from __future__ import annotations

import pytest

from vitq_core import VitqError
from vitq_core.models.hub_check import check_worth, described, supported

from .hub_models import NAMES, SIZES, SWIN, config

BEIT = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3}


@pytest.mark.parametrize(
    ("architecture", "args", "task"),
    [
        ("vit_tiny_patch16_224", SIZES, "classification"),
        ("deit_tiny_distilled_patch16_224", SIZES, "classification"),
        ("swin_tiny_patch4_window7_224", SWIN, "classification"),
        ("vit_base_patch16_siglip_224", {**SIZES, "num_classes": 0}, "features"),
    ],
)
def test_what_can_be_used_is_described(architecture: str, args: dict, task: str) -> None:
    classes = 0 if task == "features" else 3
    changes = {"num_classes": classes} | ({"label_names": None} if not classes else {})
    found = described(config(architecture, args, **changes), "user/x")
    assert (found.architecture, found.task, found.classes, found.size) == (
        architecture,
        task,
        classes,
        (16, 16),
    )
    assert found.params > 5000


def test_a_published_one_is_described_without_its_weights() -> None:
    found = described(b'{"architecture": "vit_base_patch16_224"}', "user/x")
    assert (found.params, found.classes, found.size) == (86_567_656, 1000, (224, 224))


def test_a_hybrid_is_what_the_engine_takes_too() -> None:
    """Its convolutions stay in floating point, which a report says."""
    found = described(b'{"architecture": "vit_tiny_r_s16_p8_224", "num_classes": 3}', "user/x")
    assert (found.task, found.classes) == ("classification", 3)


def test_a_segment_anything_is_told_by_its_weights() -> None:
    found = described(b'{"architecture": "segment_anything"}', "user/x")
    assert (found.task, found.params, found.size) == ("segmentation", 0, None)


REFUSED = {
    "BEiT": (config("beit_base_patch16_224", BEIT), "user/x cannot be quantized: no model family knows Beit"),
    "EVA": (config("eva02_tiny_patch14_224", BEIT), "no model family knows Eva"),
    "Swin V2": (config("swinv2_tiny_window8_256", {}), "is a Swin V2, which is not known here"),
    "convolutions": (b'{"architecture": "resnet18"}', "no model family knows ResNet"),
    "unknown": (config("vit_colossal"), "user/x asks for 'vit_colossal', an architecture that timm .* lacks"),
    "transformers": (
        b'{"model_type": "beit"}',
        r"describes no class \(model_type 'beit'\) of the transformers library",
    ),
    "nothing": (b"{}", "user/x names no architecture in its config.json"),
    "a list": (b"[]", "names no architecture"),
    "damaged": (b"{,", "the config.json of user/x is damaged"),
    "too deep to read": (b"[" * 100_000, "the config.json of user/x is damaged"),
    "odd argument": (config(args={"wings": 2}), "does not fit timm: .*wings"),
    "endless": (config(args={**SIZES, "depth": 10**9}), "does not fit timm: it has more than 1,000 blocks"),
    "endless stages": (
        config("swin_tiny_patch4_window7_224", {**SWIN, "depths": [2, 10**9]}),
        "1,000 blocks",
    ),
    "not pooled": (config(args={**SIZES, "global_pool": ""}), "gives one answer for each patch"),
    "few labels": (config(label_names=NAMES[:1]), "names 1 labels for 3 classes"),
    "one channel": (config(args={**SIZES, "in_chans": 1}), "only RGB"),
    "other classes": (
        config(args={**SIZES, "num_classes": 5}, label_names=None),
        "says 3 classes but builds",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_a_sentence(case: str) -> None:
    given, sentence = REFUSED[case]
    with pytest.raises(VitqError, match=sentence) as caught:
        described(given, "user/x")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_weights_must_be_able_to_hold_what_is_described() -> None:
    with pytest.raises(
        VitqError, match=r"describes [0-9,]+ parameters, and model.safetensors has 5,000 bytes"
    ):
        check_worth(config(), "model.safetensors", 5000, "user/x")
    with pytest.raises(VitqError, match=r"user/x has no model.safetensors"):
        check_worth(config(), "model.pth", 10**6, "user/x")


def test_timm_and_segment_anything_are_supported() -> None:
    assert supported({"architecture": "vit_tiny_patch16_224"}) is None
    assert supported({"architecture": "segment_anything"}) is None
