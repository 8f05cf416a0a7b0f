"""Whatever is given in place of a name, a number or a path: one sentence, and no bare TypeError."""

from typing import Any

import pytest

import vitq_core as vq
from tests import nasty
from vitq_core.common.registry import Registry
from vitq_core.pictures import PictureFolder, open_picture
from vitq_core.recipes.schedule import schedule_for

ERRORS = (ValueError, vq.VitqError)
NAMES = nasty.VALUES | nasty.TEXTS


def said(call: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(Exception) as caught:
        call(*args, **options)
    return nasty.sentence(caught.value)


@pytest.mark.parametrize("value", **nasty.named(NAMES | {"nothing": None}))
def test_a_registry_answers_any_key(value):
    fruits: Registry[int] = Registry("fruit")
    fruits.register("pear")(1)
    assert value not in fruits
    assert fruits.get(value, 7) == 7
    assert "available: pear" in said(lambda: fruits[value])


@pytest.mark.parametrize("value", **nasty.named(NAMES | {"nothing": None}))
def test_names_of_recipes_efforts_and_models(value):
    assert "unknown recipe" in said(vq.recipe, value)
    assert "unknown effort" in said(vq.recipe, "adfq", effort=value)
    assert "unknown effort" in said(schedule_for, value, {})
    assert "unknown model" in said(vq.load_model, value)


@pytest.mark.parametrize("value", **nasty.named(NAMES))
def test_names_where_something_is_computed(value, model, images):
    scores = dict.fromkeys(vq.quantize(model, images, "minmax").bits, 1.0)
    assert "recipe" in said(vq.quantize, model, images, recipe=value)
    assert "source" in said(vq.importance, model, images, source=value)
    assert "unknown policy" in said(vq.allocate_bits, scores, model, policy=value)
    assert "recipe" in said(
        vq.allocate_bits, scores, model, "budget", images=images, avg_act_bits=4, recipe=value
    )


GOOD = {"a fraction": {"alpha", "clip_k", "log_base", "finish"}}  # what these values are right for
OPTIONS = ("weight_bits", "act_bits", "bits", "alpha", "alpha_ratio", "log_base", "clip_k", "collapse")
OPTIONS += ("first_blocks", "reductions", "importance", "iterations", "autocast", "weighting", "finish")
OPTIONS += ("gelu_scales", "twin", "gradient", "scales_tried", "search_pictures", "ranking", "mixed")


@pytest.mark.parametrize("kind", nasty.VALUES)
def test_options_of_recipes(kind):
    """Every option of some recipe, with a value of none of its kinds."""
    for option in OPTIONS:
        name = next((n for n in vq.RECIPES if option in vq.RECIPES[n].applies), "adfq")
        if option not in GOOD.get(kind, ()):
            assert option.split("_")[0] in said(_refused, name, option, nasty.VALUES[kind])


def _refused(name: str, option: str, value: Any) -> None:
    made = vq.recipe(name, **{option: value})
    raise AssertionError(f"{option}={value!r} was taken: {made.options}")


@pytest.mark.parametrize("value", **nasty.named(nasty.VALUES | {"nothing": None}))
def test_models_pictures_and_seeds(value, model, images):
    assert said(vq.quantize, value, images, "minmax")
    assert said(vq.quantize, model, value, "minmax")
    assert said(vq.evaluate, value, images)
    assert said(vq.evaluate, model, value)
    if value is not None:  # no labels
        assert "label" in said(vq.evaluate, model, [(images, value)])
    assert said(vq.relevance, model, value)
    if not isinstance(value, int) or value > 0:
        assert "seed" in said(vq.quantize, model, images, "minmax", seed=value)


@pytest.mark.parametrize("value", **nasty.named(nasty.VALUES))
def test_what_is_said_of_a_model_in_memory(value, model):
    for name in ("labels", "std", "size", "crop_pct", "interpolation"):
        assert said(vq.wrap_model, model, **{name: value})
    if not callable(value):
        assert "progress" in said(vq.evaluate, model, [], progress=value)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "5", "null", "{}", '{"rules": 5}', "\0"])
def test_json_that_is_no_recipe(text):
    assert "recipe's JSON" in said(vq.Recipe.from_json, text)


@pytest.mark.parametrize("path", **nasty.named(nasty.PATHS))
def test_paths(path, model, images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said(vq.load_model, path)
    said(vq.load_quantized, path)
    said(vq.save_quantized, vq.quantize(model, images, "minmax"), path)
    said(PictureFolder, path, lambda picture: picture)
    if not isinstance(path, bytes):  # those are a picture's own
        said(open_picture, path)
    if path is not None:
        said(vq.importance, model, images, state=path)
        said(vq.quantize, model, images, vq.recipe("minmax", iterations=1, batch_size=2), state=path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("home", [nasty.LONG, "~nosuchuser", "~nosuchuser/vitq", "   "])
def test_homes(home, monkeypatch):
    monkeypatch.setenv("VITQ_HOME", home)
    with pytest.raises(vq.VitqError, match="VITQ_HOME") as caught:
        vq.load_model("timm/some_model")
    nasty.sentence(caught.value)


@pytest.mark.parametrize(
    "name", ["timm/a\0b", f"timm/{nasty.LONG}", f"hf-hub:a/b@{nasty.LONG}", "hf-hub:a/b@c\0d"]
)
def test_names_on_the_hub(name, monkeypatch, tmp_path):
    monkeypatch.setenv("VITQ_HOME", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    assert said(vq.load_model, name)


def test_a_path_may_begin_at_ones_home(model, images, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    vq.save_quantized(vq.quantize(model, images, "minmax"), "~/small")
    assert (tmp_path / "small" / "vitq.json").is_file()
    assert vq.load_quantized("~/small").report.pictures == len(images)
