"""Relevance of a tiny Swin, in double precision, is that of an independent derivation (tests/golden)."""

import numpy as np
import pytest
import torch

import vitq_core as vq
from vitq_core.common.batch import Batch
from vitq_core.graph import FAMILIES
from vitq_core.lrp.propagate import Propagated, propagate

from ..swin import distance, golden, golden_swin

TOLERANCE = 1e-5  # relative to the greatest value
RULES = {"identity": "sample", "add": "biasadd"}
KINDS = {"R": "relevances", "G": "gradients"}


@pytest.fixture(scope="module")
def stored() -> dict[str, np.ndarray]:
    return golden("swin_lrp")


@pytest.fixture(scope="module")
def names(stored: dict[str, np.ndarray]) -> list[str]:
    return [name.removeprefix("sample.R.") for name in stored if name.startswith("sample.R.")]


@pytest.fixture(scope="module", params=RULES)
def found(request: pytest.FixtureRequest, stored: dict, names: list[str]) -> tuple[str, Propagated]:
    """(how the file calls the rule of biases, what was propagated)."""
    model = golden_swin(stored).double()
    FAMILIES["swin"].rewrite(model)
    batch = Batch((torch.from_numpy(stored["x"]).double(),))
    propagated = propagate(model, names, batch, torch.arange(3), to_pixels=True, biases=request.param)
    return RULES[request.param], propagated


def test_logits(stored: dict[str, np.ndarray]) -> None:
    with torch.no_grad():
        logits = golden_swin(stored).double()(torch.from_numpy(stored["x"]).double())
    assert distance(logits, stored["sample.logits"]) < TOLERANCE


def test_every_stored_tensor(found: tuple[str, Propagated], stored: dict[str, np.ndarray]) -> None:
    """Relevance and gradients, [3, windows, …] in windows."""
    rule, propagated = found
    compared = 0
    for kind, where in KINDS.items():
        for name, actual in getattr(propagated, where).items():
            if (key := f"{rule}.{kind}.{name}") in stored:
                expected = stored[key]
                assert distance(actual.reshape(expected.shape), expected) < TOLERANCE, key
                compared += 1
    assert compared == sum(key.startswith((f"{rule}.R.", f"{rule}.G.")) for key in stored) > 5


def test_scores(found: tuple[str, Propagated], stored: dict[str, np.ndarray], names: list[str]) -> None:
    rule, propagated = found
    for name, actual in propagated.scores().items():
        assert distance(actual, stored[f"{rule}.score.{name}"]) < TOLERANCE, name
    assert len(propagated.scores()) == len(names) == 31


def test_pixels(found: tuple[str, Propagated], stored: dict[str, np.ndarray]) -> None:
    rule, propagated = found
    assert distance(propagated.pixels[0].sum(1), stored[f"{rule}.pixel_relevance"]) < TOLERANCE


def test_biases_swallow_a_part_by_the_rule_of_sums_alone(found: tuple[str, Propagated]) -> None:
    rule, propagated = found
    arrived = propagated.pixels[0].sum((1, 2, 3))
    if rule == "sample":
        assert torch.allclose(arrived, torch.ones(3, dtype=torch.float64), atol=1e-6)
    else:
        assert (arrived < 0.9).all() and (arrived > 0.5).all()


def test_an_unknown_rule_is_named(stored: dict[str, np.ndarray]) -> None:
    model = golden_swin(stored)
    FAMILIES["swin"].rewrite(model)
    with pytest.raises(ValueError, match="unknown rule of biases 'ignore'; available: identity, add"):
        propagate(model, ["head.fc"], Batch((torch.from_numpy(stored["x"]),)), biases="ignore")


def test_the_public_function_takes_the_rule(found: tuple[str, Propagated], stored: dict) -> None:
    """In float32, and to the pixels."""
    rule, propagated = found
    asked = next(name for name, known in RULES.items() if known == rule)
    images = torch.from_numpy(stored["x"]).float()
    explained = vq.relevance(golden_swin(stored), images, torch.arange(3), biases=asked)
    assert distance(explained.pixel_maps, propagated.pixels[0].sum(-3)) < 1e-3
    with pytest.raises(ValueError, match="unknown rule of biases 'both'; available: identity, add"):
        vq.relevance(golden_swin(stored), images, biases="both")
