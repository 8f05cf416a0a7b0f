"""Schedules of the reconstruction: the published numbers, the presets, steps for fewer iterations, errors."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vitq_core as vq
from vitq_core.recipes.schedule import EFFORT_NAMES, EFFORTS, SETTINGS, Schedule, schedule_for

PUBLISHED = {  # ADFQ-ViT, methods.md section 5
    "iterations": 3000,
    "pictures": 1024,
    "batch_size": 32,
    "kl_lambda": 0.1,
    "temperature": 4.0,
    "rounding_weight": 0.01,
    "beta_start": 20.0,
    "beta_end": 2.0,
    "warmup": 0.2,
    "drop": 0.5,
    "scale_travel": None,
    "finish": 0.0,
    "finish_bits": None,
}


def test_the_paper_is_as_published() -> None:
    assert {name: getattr(EFFORTS["paper"], name) for name in PUBLISHED} == PUBLISHED
    assert EFFORTS["paper"].steps == (3e-3, 4e-5)


def test_efforts_grow() -> None:
    assert EFFORT_NAMES == ("none", "quick", "standard", "paper")
    schedules = [EFFORTS[name] for name in EFFORT_NAMES[1:]]
    for name in ("iterations", "pictures"):
        values = [getattr(schedule, name) for schedule in schedules]
        assert values == sorted(set(values))


@given(st.integers(1, 10_000))
def test_fewer_iterations_take_larger_steps_up_to_a_limit(iterations: int) -> None:
    rounding, scale = Schedule(iterations=iterations).steps
    stretch = max(1.0, 3000 / iterations)
    assert rounding == pytest.approx(min(3e-3 * stretch, 0.1))
    assert scale == pytest.approx(min(4e-5 * stretch, 1e-3))
    given = Schedule(iterations=iterations, rounding_lr=0.5, scale_lr=0.25)
    assert given.steps == (0.5, 0.25), "steps that are given are taken as they are"


def test_settings_replace_those_of_the_effort() -> None:
    quick = schedule_for("quick", {"iterations": 7, "kl_lambda": None})
    assert quick == replace(EFFORTS["quick"], iterations=7, kl_lambda=None)
    assert EFFORTS["quick"].iterations != 7
    with pytest.raises(FrozenInstanceError):
        quick.iterations = 8


BAD = {
    **{
        (
            "iterations",
            value,
        ): r"^iterations must be a whole number of at least 1, got .*; effort='none' leaves"
        for value in (0, -1, True, 2.5, "3", None)
    },
    **{
        (name, value): f"^{name} must be a whole" for name in ("batch_size", "pictures") for value in (0, 2.5)
    },
    ("pictures", 7): "^pictures=7 is fewer than a batch of 8$",
    ("batch_size", 129): "^pictures=128 is fewer than a batch of 129$",
    **{
        (name, value): f"^{name} must be a number above 0, got"
        for name in ("rounding_lr", "scale_lr", "kl_lambda", "scale_travel", "affine_lr", "finish_bits")
        for value in (0, -1.0, float("nan"), float("inf"), "1", True)
    },
    **{
        (name, value): f"^{name} must be a number from 0.001 to 1000, got"
        for name in ("temperature", "beta_start", "beta_end")
        for value in (0, 1e9, None, "4")
    },
    ("rounding_weight", -1): "^rounding_weight must be a number from 0 to 1e[+]06, got -1",
    **{
        (name, value): f"^{name} must be a number from 0 to 1, got"
        for name in ("warmup", "drop")
        for value in (-0.1, 1.1, None, True)
    },
    ("autocast", "yes"): "^autocast must be one of None, True, False, got 'yes'",
}


@pytest.mark.parametrize(("name", "value"), BAD)
def test_settings_that_mean_nothing_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=BAD[name, value]):
        vq.recipe("adfq", effort="quick", **{name: value})
    data = json.loads(vq.recipe("adfq", effort="quick", iterations=3).to_json())
    data["options"]["reconstruction"] = {name: value}
    with pytest.raises(ValueError, match=BAD[name, value]):
        vq.Recipe.from_json(json.dumps(data))


def test_every_setting_is_an_option_of_recipe() -> None:
    for name in SETTINGS:
        value = getattr(EFFORTS["quick"], name)
        recipe = vq.recipe("minmax", effort="quick", **{name: value})
        assert recipe.options.schedule == EFFORTS["quick"]
        assert recipe.options.reconstruction == {name: value}
