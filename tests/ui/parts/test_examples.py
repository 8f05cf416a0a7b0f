"""Runs that come with the studio: what the engine makes today, seen by everybody and owned by nobody."""

from itertools import product

import pytest

from ui import workbench
from ui.examples import METHODS, MODELS
from ui.parts.examples import EXAMPLES, examples
from ui.parts.stored_outcome import run_settings
from ui.parts.visitors import EVERYBODY, NOBODY, new_token
from ui.quantize.address import asked_for
from ui.tradeoffs.settings import BITS
from ui.workbench import Workbench


@pytest.fixture
def bench(monkeypatch, tmp_path) -> Workbench:
    monkeypatch.setenv("VITQ_HOME", str(tmp_path))
    monkeypatch.setattr(workbench, "examples", examples)
    return Workbench()


def test_they_are_those_that_are_made(bench):
    made = [(each.model, each.asked.recipe.name, each.asked.recipe.weight_bits) for each in examples()]
    assert sorted(made) == sorted(product(MODELS, METHODS, BITS))


@pytest.mark.parametrize("model", MODELS)
def test_they_are_of_the_models_pictures_and_recipes_of_today(bench, model):
    for example in examples():
        if example.model == model:
            settings = run_settings(example.settings)
            source = bench.source(settings)
            assert settings.asked().key(bench.weights_of(model), source.key) == example.key


def test_the_engine_computes_the_same_today(bench):
    for example in examples():
        recipe = example.asked.recipe
        if (recipe.name, recipe.weight_bits) == ("minmax", 4):
            today = bench.quantize(run_settings(example.settings)).record
            assert today.results["size_mb"] == example.results["size_mb"]
            assert today.results["bits"] == {
                name: list(bits) for name, bits in example.results["bits"].items()
            }
            now, then = (each.results["quantized"]["top1"][0] for each in (today, example))
            assert now == pytest.approx(then, abs=0.02)


def test_everybody_sees_them_until_they_have_such_a_run_of_their_own(bench, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "somebody/studio")
    me, first = new_token(), examples()[0]
    for owner in (EVERYBODY, me, NOBODY):
        assert bench.runs_of(owner) == list(examples())
        assert bench.run(first.id, owner) == first
    mine = first.for_owner(me)
    bench.runs.add(mine)
    assert bench.runs_of(me) == [mine, *examples()[1:]] and bench.runs_of(EVERYBODY) == list(examples())
    assert bench.run(mine.id, me) == mine and bench.run(mine.id, new_token()) is None
    assert bench.run(["x"], me) is None and bench.run("x", me) is None
    assert asked_for(bench, {"run": first.id}, me) == run_settings(first.settings)


def test_they_stay_as_they_are(bench):
    first = examples()[0]
    assert not bench.runs.rename(first.id, "mine", EVERYBODY) and not bench.runs.delete(first.id, EVERYBODY)
    assert first.owner == EXAMPLES and first in bench.runs_of(EVERYBODY)
