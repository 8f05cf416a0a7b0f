"""The models of the papers by all their names."""

import pytest
import torch

from vitq_core.experiment.reproduce import column_of, load_subject


@pytest.mark.parametrize("name", ["deit_tiny", "deit-tiny", "DeiT-T", "DEIT_T"])
def test_a_model_is_known_by_all_its_names(name: str) -> None:
    assert column_of(name) == "DeiT-T"


def test_other_models_keep_their_names() -> None:
    assert column_of("demo-vit") == "demo-vit" and load_subject("demo-vit").info.id == "demo-vit"


def test_random_weights_are_the_same_for_the_same_seed() -> None:
    state = torch.random.get_rng_state()
    first, again, other = (load_subject("deit_tiny", True, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = [model.module.blocks[0].attn.qkv.weight for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert first.preprocessing.crop_pct == 0.9 and len(first.labels) == 1000
    assert "random" in first.info.summary


@pytest.mark.parametrize("name", ["demo-vit", "nothing-of-the-kind", "sam-vit-b"])
def test_random_weights_are_for_models_of_timm(name: str) -> None:
    with pytest.raises(ValueError, match="available: vit-small"):
        load_subject(name, random_weights=True)
